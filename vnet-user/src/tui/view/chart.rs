//! The history of a queue, several rows high.

use ratatui::layout::Rect;

use super::Pen;
use crate::tui::{chart, look::Look, units};

/// ```text
/// packets/s, TX + RX: last 60 intervals · highest 1.36 M
///    ▃▅█▆▂
/// ▁▄███████▅▂
/// ```
pub(super) fn draw(values: &[f32], span: usize, pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    let columns = chart::columns(values, span, area.width.into());
    let largest = chart::largest(&columns);
    let known = values.len().min(span);
    let dot = look.glyphs().dot;
    let told = if known == 0 {
        format!("packets/s, TX + RX: last {span} intervals{dot}none is known")
    } else {
        let highest = units::si(largest.into()).unwrap_or_default();
        let of = if known < span { format!(", {known} known") } else { String::new() };
        format!("packets/s, TX + RX: last {span} intervals{of}{dot}highest {highest}")
    };
    pen.put(area.x, area.y, &told, area.width, look.strong());
    let rows = usize::from(area.height.saturating_sub(1));
    let heights: Vec<_> =
        columns.iter().map(|value| value.map(|value| chart::eighths(value, largest, rows))).collect();
    for (y, row) in (area.y + 1..area.bottom()).zip((0..rows).rev()) {
        let line: String = heights.iter().map(|height| glyph(*height, row, look)).collect();
        pen.put(area.x, y, line.trim_end(), area.width, look.plain());
    }
}

/// What a bar of this height shows in a row, counted from below.
fn glyph(eighths: Option<usize>, row: usize, look: Look) -> char {
    let bars = &look.glyphs().bars;
    match (eighths, row) {
        (None, _) => ' ',
        (Some(0), 0) => bars[0],
        // At least one step above nothing.
        (Some(n), 0) => bars[n.clamp(2, 8) - 1],
        (Some(n), row) => match n.saturating_sub(row * 8) {
            0 => ' ',
            n => bars[n.min(8) - 1],
        },
    }
}
