//! The last row: the keys that work here, or the filter being typed.

use ratatui::layout::Rect;

use super::{Pen, narrow};
use crate::tui::{
    keys::{Context, KEYS},
    text,
    ui::{Mode, Ui},
};

/// ```text
/// ? help  q quit  Enter open  Esc back  Tab next  / filter  s > sort  r reverse
/// filter: web_    Enter keep  Esc clear
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    if ui.mode() != Mode::Filter {
        keys(pen, area, ui.context());
        return;
    }
    let look = pen.look;
    let clean = text::clean(ui.filter(), look.ascii);
    // The end of a long filter is what is being typed.
    let room = usize::from(area.width) / 2;
    let mut typed = &*clean;
    while text::width(typed) > room {
        typed = typed.chars().next().map_or("", |c| &typed[c.len_utf8()..]);
    }
    let used = pen.parts(
        area,
        &[
            ("filter: ".into(), look.strong()),
            (typed.to_owned(), look.plain()),
            (" ".into(), look.selected()),
        ],
    ) + 3;
    keys(pen, Rect { x: area.x + used, width: area.width.saturating_sub(used), ..area }, ui.context());
}

pub(super) fn keys(pen: &mut Pen<'_>, area: Rect, context: Context) {
    let mut used = 0;
    for key in KEYS.iter().filter(|key| key.contexts.contains(&context) && !key.footer.is_empty()) {
        let width = narrow(text::width(key.label) + 1 + text::width(key.footer));
        if used + width > area.width {
            break;
        }
        used += pen.put(area.x + used, area.y, key.label, area.width - used, pen.look.accent()) + 1;
        used += pen.put(area.x + used, area.y, key.footer, area.width - used, pen.look.plain()) + 2;
    }
}
