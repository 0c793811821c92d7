//! Where clicks lead, told by what is drawn there.

use vnet::tui::{Effect, Look, Mouse, Ui, columns::COLUMNS, facts::Row, screen::Screen};

use crate::{build, draw, places, press, rows, ui};

/// Clicks on the first character of `text`.
fn click(ui: &mut Ui, text: &str, (width, height): (u16, u16)) -> Effect {
    let rows = rows(&draw(ui, Look::FULL, width, height));
    let (y, row) = (0..)
        .zip(&rows)
        .find(|(_, row)| row.contains(text))
        .unwrap_or_else(|| panic!("{text:?} is not on the screen:\n{}", rows.join("\n")));
    let before = row.split(text).next().unwrap_or_default();
    ui.mouse(Mouse::Click(u16::try_from(vnet::tui::text::width(before)).expect("a small screen"), y))
}

fn name(ui: &Ui) -> String {
    ui.selected().map(|row| row.name().to_owned()).unwrap_or_default()
}

const SMALL: (u16, u16) = (80, 24);

#[test]
fn a_click_selects_and_another_opens() {
    for size in [SMALL, (120, 40), (200, 60)] {
        let mut ui = ui(build::small(), size.0, size.1);
        assert_eq!(click(&mut ui, "macvtap1 *", size), Effect::Redraw);
        assert_eq!((name(&ui).as_str(), ui.screen()), ("macvtap1", Screen::Overview));
        click(&mut ui, "macvtap1 *", size);
        assert_eq!(ui.screen().scope(), ui.selected().and_then(Row::key).map(|key| key.device));
        assert_eq!(ui.screen().place(), Screen::Queues(None).place());
    }
}

#[test]
fn a_row_that_was_scrolled_to_is_the_one_that_is_clicked() {
    let mut ui = ui(build::large(), 80, 24);
    press(&mut ui, "2Gkkkk");
    let row = rows(&draw(&ui, Look::FULL, 80, 24))[8].clone();
    ui.mouse(Mouse::Click(5, 8));
    assert_eq!(row.split_whitespace().next(), Some(name(&ui).as_str()));
}

#[test]
fn headings_sort_and_turn_round() {
    let mut ui = ui(build::small(), 80, 24);
    let sorted = |ui: &Ui| (COLUMNS[ui.list().sorted_by().0].full_title(), ui.list().sorted_by().1);
    click(&mut ui, "verdict", SMALL);
    assert_eq!(sorted(&ui), ("verdict".to_owned(), true));
    click(&mut ui, "device   ", SMALL);
    assert_eq!(sorted(&ui), ("device".to_owned(), false));
    click(&mut ui, "device↑", SMALL);
    assert_eq!(sorted(&ui), ("device".to_owned(), true));
}

#[test]
fn tabs_open_their_screens() {
    let mut ui = ui(places::bad(), 80, 24);
    for tab in ["2 Queues", "3 Queue ", "4 Layout", "5 Findings", "6 Probes", "1 Overview"] {
        assert_eq!(click(&mut ui, tab, SMALL), Effect::Redraw, "{tab}");
        let open = format!("[{}", tab.trim());
        assert!(rows(&draw(&ui, Look::FULL, 80, 24))[2].contains(&open), "{tab}");
    }
    assert_eq!(click(&mut ui, "[1 Overview]", SMALL), Effect::None);
}

#[test]
fn findings_open_from_their_list_and_from_the_overview() {
    let mut ui = ui(places::bad(), 80, 24);
    click(&mut ui, "CRITICAL R19", SMALL);
    assert_eq!((ui.screen(), ui.chosen().row()), (Screen::Findings(true), 0));
    assert!(!ui.wants_mouse(), "the terminal selects the commands");
    press(&mut ui, "\x1b");
    assert_eq!(ui.screen(), Screen::Overview);
    press(&mut ui, "5");
    assert!(ui.wants_mouse());
    click(&mut ui, "warning", SMALL);
    assert_eq!((ui.screen(), ui.chosen().row()), (Screen::Findings(false), 1));
    click(&mut ui, "warning", SMALL);
    assert_eq!(ui.screen(), Screen::Findings(true));
}

#[test]
fn the_wheel_moves_what_there_is_and_nothing_is_drawn_where_nothing_moves() {
    let mut ui = ui(build::large(), 80, 24);
    for (screen, moves) in [("1", true), ("2", true), ("3", true), ("4", true), ("5", false), ("6", true)] {
        press(&mut ui, screen);
        press(&mut ui, "g");
        assert_eq!(ui.mouse(Mouse::WheelUp), Effect::None, "{screen}: it is at the top");
        let expected = if moves { Effect::Redraw } else { Effect::None };
        assert_eq!(ui.mouse(Mouse::WheelDown), expected, "{screen}");
    }
    press(&mut ui, "?");
    assert_eq!(ui.mouse(Mouse::WheelDown), Effect::None);
}

#[test]
fn clicks_on_nothing_do_nothing() {
    let mut ui = ui(build::small(), 80, 24);
    for (x, y) in [(0, 0), (79, 1), (79, 2), (0, 4), (10, 15), (10, 21), (0, 23), (500, 500), (1, 5)] {
        assert_eq!(ui.mouse(Mouse::Click(x, y)), Effect::None, "{x} {y}");
    }
    let mut none = Ui::new(build::small().into(), 10, 4);
    assert_eq!(none.mouse(Mouse::Click(5, 2)), Effect::None);
}
