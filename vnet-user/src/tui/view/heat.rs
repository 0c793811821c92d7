//! Which vCPU each queue interrupts, as a heat map.

use ratatui::layout::Rect;

use super::{Pen, narrow};
use crate::tui::{facts::Facts, heat::Heat, text, units};

/// Columns of a queue's name, and of a vCPU.
const NAME: u16 = 22;
const CELL: u16 = 8;

/// The selected queue's row is always in view, and so is the vCPU that it interrupts most.
///
/// ```text
/// ── Calls of VM web-1, by queue and vCPU ───────
///   queue               vCPU 0       1       2
/// ▶ tap0 q0             █  97%  ░   3%  ·   0%
/// ```
pub(super) fn draw(heat: &Heat, facts: &Facts, selected: usize, pen: &mut Pen<'_>, area: Rect) {
    let (look, glyphs) = (pen.look, pen.look.glyphs());
    pen.rule(area);
    let row = facts.queue(selected);
    let vm = row.vm_name().map(|name| format!("VM {}", text::clean(name, look.ascii)));
    let whose = vm.unwrap_or_else(|| match row.device().and_then(|device| device.vm_pid) {
        Some(pid) => format!("the VM of pid {pid}"),
        None => text::clean(row.name(), look.ascii).into_owned(),
    });
    let title = format!(" Calls of {whose}, by queue and vCPU ");
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(4), look.strong());

    let fit = usize::from(area.width.saturating_sub(NAME + 6) / CELL);
    let first = heat.first(selected, fit);
    let shown = &heat.vcpus[first..heat.vcpus.len().min(first + fit)];
    let cell = |i: usize| area.x + NAME + CELL * narrow(i);
    pen.put(area.x + 2, area.y + 1, "queue", NAME - 2, look.strong());
    for (i, vcpu) in shown.iter().enumerate() {
        let label = if i == 0 { format!("vCPU {vcpu}") } else { vcpu.to_string() };
        pen.right(Rect { x: cell(i), y: area.y + 1, width: CELL - 1, height: 1 }, &label, look.strong());
    }
    if shown.len() < heat.vcpus.len() {
        let more = format!("+{}", heat.vcpus.len() - shown.len());
        pen.put(cell(shown.len()), area.y + 1, &more, 5, look.strong());
    }

    let room = usize::from(area.height.saturating_sub(2));
    let place = heat.rows.iter().position(|row| row.queue == selected).unwrap_or(0);
    let top = (place + 1).saturating_sub(room.div_ceil(2)).min(heat.rows.len().saturating_sub(room));
    for (y, row) in (area.y + 2..area.bottom()).zip(&heat.rows[top..]) {
        let of = facts.queue(row.queue);
        let pair = of.queue().map_or(0, |queue| queue.queue);
        let name = text::clean(of.name(), look.ascii);
        let name = text::cut(&name, usize::from(NAME) - 10, glyphs.cut);
        pen.put(area.x + 2, y, &format!("{name} q{pair}"), NAME - 2, look.plain());
        if row.interrupts.is_none() {
            pen.put(cell(0), y, &format!("{} not followed", glyphs.unknown), area.width - NAME, look.plain());
        }
        for (i, share) in shown.iter().enumerate().filter_map(|(i, vcpu)| Some((i, row.share(*vcpu)?))) {
            let shade = shade(share, &glyphs.shades);
            let told = units::share(share).unwrap_or_default();
            let style = if share >= 0.5 { look.strong() } else { look.plain() };
            pen.put(cell(i), y, &format!("{shade}{told:>6}"), CELL - 1, style);
        }
        if row.queue == selected {
            pen.put(area.x, y, &glyphs.marker.to_string(), 1, look.strong());
            pen.buffer.set_style(Rect { y, height: 1, ..area }, look.selected());
        }
    }
}

/// None, up to a quarter, up to half, up to three quarters, more.
fn shade(share: f64, shades: &[char; 5]) -> char {
    let step = [0.0, 0.25, 0.5, 0.75].iter().filter(|limit| share > **limit).count();
    shades[step]
}
