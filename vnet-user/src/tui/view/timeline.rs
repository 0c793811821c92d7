//! Where a recording is, and where findings begin and end in it.

use ratatui::layout::Rect;

use super::Pen;
use crate::{
    report::Level,
    tui::{
        cell::duration,
        layout,
        timeline::{Part, Timeline},
    },
};

/// ```text
/// ───────!════●══════!!════───── 1 min 30 s
/// ```
pub(super) fn draw(timeline: &Timeline, now: f64, pen: &mut Pen<'_>, area: Rect) {
    let (look, glyphs) = (pen.look, pen.look.glyphs());
    let columns = layout::timeline_columns(area.width);
    let place = timeline.column(now, columns);
    for (x, (column, part)) in (area.x..).zip(timeline.parts(columns).into_iter().enumerate()) {
        let (glyph, style) = match part {
            _ if column == place => (glyphs.place, look.accent()),
            Part::Begins(Level::Info) => ('i', look.strong()),
            Part::Begins(_) => ('!', look.warning()),
            Part::Lasts => (glyphs.lasts, look.strong()),
            Part::Fine => (glyphs.rule, look.faint()),
        };
        pen.put(x, area.y, &glyph.to_string(), 1, style);
    }
    let told = match &timeline.marks {
        None => "seeking findings".to_owned(),
        Some(_) => duration(timeline.length_s, look),
    };
    pen.right(area, &told, look.plain());
}
