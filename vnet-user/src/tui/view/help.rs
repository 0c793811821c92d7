//! The help: all keys, and what the screen's words and signs mean.

use ratatui::layout::Rect;

use super::{Pen, footer};
use crate::tui::{
    keys::{Context, KEYS},
    look::Look,
};

/// Columns of the part with the keys.
const KEYS_WIDTH: u16 = 45;

/// ```text
/// ── Keys ─────────────────────────── What it says ────────────────
/// ?         this help                 TX, RX  as the guest sees them
/// q         quit                      —       not known
/// ```
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    pen.rule(area);
    pen.put(area.x + 2, area.y, " Keys ", area.width, look.strong());
    pen.put(area.x + KEYS_WIDTH, area.y, " Signs ", area.width - KEYS_WIDTH, look.strong());
    let rows = || area.y + 1..area.bottom() - 1;
    for (y, key) in rows().zip(KEYS.iter().filter(|key| !key.label.is_empty())) {
        pen.put(area.x, y, key.label, 9, look.accent());
        pen.put(area.x + 10, y, key.help, KEYS_WIDTH - 12, look.plain());
    }
    for (y, (sign, meaning)) in rows().zip(signs(look)) {
        pen.put(area.x + KEYS_WIDTH, y, &sign, 6, look.accent());
        pen.put(area.x + KEYS_WIDTH + 7, y, meaning, area.width - KEYS_WIDTH - 7, look.plain());
    }
    footer::keys(pen, Rect { y: area.bottom() - 1, height: 1, ..area }, Context::Help);
}

fn signs(look: Look) -> Vec<(String, &'static str)> {
    let glyphs = look.glyphs();
    let text = |text: &str| text.to_owned();
    vec![
        (text("TX RX"), "as the guest sees them"),
        (text("pps"), "packets/s; GSO counts once"),
        (text("bit/s"), "of Ethernet frames"),
        (text("size"), "mean frame in bytes"),
        (text("drops"), "by the device itself"),
        (text("share"), "of the device's packets"),
        (text("CPU"), "where its worker ran last"),
        (text("busy"), "share of time that it ran"),
        (text("copied"), "share of TX packets copied"),
        (text("calls"), "to the guest, per packet"),
        (text("load"), "TX + RX pps, past to now"),
        (glyphs.bars[0].to_string(), "nothing in that interval"),
        (text(glyphs.unknown), "not known (never 0)"),
        (text("+"), "at least: a part is unknown"),
        (text("gone"), "device is no longer there"),
        (text("*"), "counts do not cover it all"),
        (text("! !!"), "a warning; it is critical"),
        (text("+2"), "so many more"),
        (text("mouse"), "click selects, again opens;"),
        (text(""), "headings sort, tabs open,"),
        (text(""), "Shift + drag selects text"),
    ]
}
