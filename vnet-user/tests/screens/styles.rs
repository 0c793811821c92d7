//! Styles carry what the text says too.

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};
use vnet::tui::Look;

use crate::{build, draw, find, places, press, rows, ui};

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

/// All screens, and what opens over them.
const EVERYWHERE: [&str; 9] = ["1", "2", "3", "4", "5", "5\n", "6", "?", "2/x"];

#[test]
fn no_colour_leaves_modifiers_alone() {
    for keys in EVERYWHERE {
        let mut ui = ui(places::bad(), 120, 40);
        press(&mut ui, keys);
        let buffer = draw(&ui, Look { colour: false, ascii: false }, 120, 40);
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        assert!(buffer.content().iter().any(|cell| cell.modifier.contains(Modifier::BOLD)), "{keys}");
    }
}

#[test]
fn only_the_sixteen_colours_are_used() {
    for keys in EVERYWHERE {
        let mut ui = ui(places::bad(), 120, 40);
        press(&mut ui, keys);
        let buffer = draw(&ui, Look::FULL, 120, 40);
        let plain = |color| !matches!(color, Color::Rgb(..) | Color::Indexed(_));
        assert!(buffer.content().iter().all(|cell| plain(cell.fg) && plain(cell.bg)), "{keys}");
    }
}

/// Cyan and yellow are told apart by every kind of colour blindness; red and green beside each other are not.
#[test]
fn two_colours_are_all() {
    for keys in EVERYWHERE {
        let mut ui = ui(places::bad(), 120, 40);
        press(&mut ui, keys);
        let buffer = draw(&ui, Look::FULL, 120, 40);
        let known = |color| matches!(color, Color::Reset | Color::Cyan | Color::Yellow);
        assert!(buffer.content().iter().all(|cell| known(cell.fg) && cell.bg == Color::Reset), "{keys}");
    }
}

#[test]
fn a_verdict_that_costs_something_warns_and_says_how_bad_it_is() {
    let mut ui = ui(places::bad(), 120, 40);
    let buffer = draw(&ui, Look::FULL, 120, 40);
    for text in ["CRITICAL R19", "WARNING R4", "!!R19", "!R4"] {
        assert_warns(&buffer, text);
    }
    press(&mut ui, "2jjj\n");
    assert_warns(&draw(&ui, Look::FULL, 120, 40), "CRITICAL R19");
}

#[test]
fn the_path_of_the_selected_queue_alone_is_lit() {
    for colour in [true, false] {
        let mut ui = ui(places::bad(), 120, 40);
        press(&mut ui, "4jjj");
        let buffer = draw(&ui, Look { colour, ascii: false }, 120, 40);
        let lit = |text: &str| style(&buffer, text).add_modifier.contains(Modifier::UNDERLINED);
        assert!(lit("▶tap0 q3") && lit("▶web-1 vCPU 0") && lit("▶web-1 vCPU 3"));
        assert!(!lit(" tap0 q0 90") && !lit(" tap0 q1 9"));
        let colour = if colour { Color::Cyan } else { Color::Reset };
        assert_eq!(style(&buffer, "▶tap0 q3").fg, Some(colour));
    }
}
