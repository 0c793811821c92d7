//! Styles carry what the text says too.

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};
use vnet::tui::Look;

use crate::{build, draw, find, press, rows, ui};

/// The style at the first character of `text`.
fn style(buffer: &Buffer, text: &str) -> Style {
    let y = find(buffer, text);
    let row = &rows(buffer)[usize::from(y)];
    let before = row.split(text).next().unwrap_or_default();
    buffer[(u16::try_from(before.chars().count()).expect("a small screen"), y)].style()
}

#[track_caller]
fn assert_warns(buffer: &Buffer, text: &str) {
    let style = style(buffer, text);
    assert_eq!(style.fg, Some(Color::Yellow), "{text}");
    assert!(style.add_modifier.contains(Modifier::BOLD), "{text}");
}

#[test]
fn the_selected_row_is_reversed_and_marked() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "2j");
    let buffer = draw(&ui, Look::FULL, 80, 24);
    let y = find(&buffer, "▶");
    for x in 0..80 {
        assert!(buffer[(x, y)].modifier.contains(Modifier::REVERSED), "column {x}");
        assert!(!buffer[(x, y - 1)].modifier.contains(Modifier::REVERSED), "column {x}, row above");
        assert!(!buffer[(x, y + 1)].modifier.contains(Modifier::REVERSED), "column {x}, row below");
    }
}

#[test]
fn drops_and_loss_and_pause_warn() {
    let mut ui = ui(build::small(), 80, 24);
    let buffer = draw(&ui, Look::FULL, 80, 24);
    assert_warns(&buffer, "42.0");
    assert_warns(&buffer, "LOST 12 events and 1 record");
    press(&mut ui, " ");
    assert_warns(&draw(&ui, Look::FULL, 80, 24), "PAUSED");
}

#[test]
fn no_drops_and_no_loss_do_not_warn() {
    let mut report = build::large();
    report.devices.truncate(1);
    report.queues.truncate(8);
    let buffer = draw(&ui(report, 80, 24), Look::FULL, 80, 24);
    assert!(buffer.content().iter().all(|cell| cell.fg != Color::Yellow));
}

#[test]
fn what_is_gone_is_faint_and_says_so() {
    let buffer = draw(&ui(build::small(), 80, 24), Look::FULL, 80, 24);
    assert!(style(&buffer, "tap3 gone").add_modifier.contains(Modifier::DIM));
    assert!(!style(&buffer, "tap0 ").add_modifier.contains(Modifier::DIM));
}

#[test]
fn the_open_screen_and_the_sort_column_stand_out() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "2");
    let buffer = draw(&ui, Look::FULL, 80, 24);
    assert_eq!(style(&buffer, "[2 Queues]").fg, Some(Color::Cyan));
    assert_eq!(style(&buffer, "1 Overview").fg, Some(Color::Reset));
    assert_eq!(style(&buffer, "load↓").fg, Some(Color::Cyan));
}

#[test]
fn no_colour_leaves_modifiers_alone() {
    let mut ui = ui(build::small(), 120, 40);
    for keys in ["", "2", "?"] {
        press(&mut ui, keys);
        let buffer = draw(&ui, Look { colour: false, ascii: false }, 120, 40);
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        assert!(buffer.content().iter().any(|cell| cell.modifier.contains(Modifier::BOLD)));
    }
}

#[test]
fn only_the_sixteen_colours_are_used() {
    let buffer = draw(&ui(build::small(), 120, 40), Look::FULL, 120, 40);
    let plain = |color| !matches!(color, Color::Rgb(..) | Color::Indexed(_));
    assert!(buffer.content().iter().all(|cell| plain(cell.fg) && plain(cell.bg)));
}
