//! Key sequences and what they lead to.

use std::sync::Arc;

use vnet::{
    report::{Level, Report},
    topology::QueuePair,
    tui::{Effect, Key, Ui, columns::COLUMNS, facts::RowKey, keys::Context, screen::Screen, ui::Mode},
};

use crate::{build, press, text, ui};

pub(crate) fn selected(ui: &Ui) -> Option<RowKey> {
    ui.selected().and_then(vnet::tui::facts::Row::key)
}

fn name(ui: &Ui) -> String {
    ui.selected().map(|row| row.name().to_owned()).unwrap_or_default()
}

fn names(ui: &Ui) -> Vec<String> {
    (0..ui.list().len())
        .filter_map(|i| ui.list().get(ui.facts(), i))
        .map(|row| row.name().to_owned())
        .collect()
}

/// The small report with the rates of its devices changed, by name.
fn with_pps(pps: &[(&str, f64)]) -> Arc<Report> {
    let mut report = build::small();
    for device in &mut report.devices {
        if let Some((_, pps)) = pps.iter().find(|(name, _)| *name == device.name) {
            device.tx_rate = Some(build::rate(*pps, 64.0, 0.0));
            device.rx_rate = device.tx_rate;
        }
    }
    Arc::new(report)
}

#[test]
fn screens_are_walked_jumped_to_and_left() {
    let mut ui = ui(build::small(), 80, 24);
    let tap0 = selected(&ui).map(|key| key.device);
    let screens = [
        Screen::Queues(None),
        Screen::Queue(None),
        Screen::Layout(None),
        Screen::Findings(false),
        Screen::Probes,
        Screen::Overview,
    ];
    for screen in screens {
        press(&mut ui, "\t");
        assert_eq!(ui.screen(), screen);
    }
    ui.key(Key::BackTab);
    assert_eq!(ui.screen(), Screen::Probes);
    for (digit, screen) in [
        ("1", Screen::Overview),
        ("3", Screen::Queue(tap0)),
        ("4", Screen::Layout(tap0)),
        ("6", Screen::Probes),
    ] {
        press(&mut ui, digit);
        assert_eq!(ui.screen(), screen, "{digit}: of the device that was selected");
    }
    press(&mut ui, "2");
    assert_eq!(ui.screen(), Screen::Queues(None));
    assert_eq!(ui.key(Key::Char('7')), Effect::None, "there is no such screen");
    assert_eq!(ui.key(Key::Esc), Effect::None, "there is nothing to go back to");
}

#[test]
fn a_finding_is_chosen_opened_and_left_and_stays_chosen_when_others_come() {
    let mut ui = ui(build::wrong(), 80, 24);
    assert_eq!(ui.key(Key::Char('5')), Effect::Redraw);
    press(&mut ui, "jj");
    assert_eq!(ui.chosen().row(), 1, "there are two");
    press(&mut ui, "\n");
    assert_eq!(ui.screen(), Screen::Findings(true));
    press(&mut ui, "jjk");
    assert_eq!((ui.chosen().row(), ui.chosen().scrolled()), (1, 1));
    press(&mut ui, "\x1b");
    assert_eq!(ui.screen(), Screen::Findings(false));

    let mut report = build::wrong();
    let worse = build::finding("R40", Level::Critical, &report.devices[2]);
    report.findings.insert(0, worse);
    ui.report(report.into());
    assert_eq!(ui.chosen().row(), 2);
    ui.report(build::small().into());
    assert_eq!(ui.chosen().row(), 0);
    assert_eq!(ui.key(Key::Enter), Effect::None, "there is nothing to open");
}

#[test]
fn enter_opens_the_selected_device_and_escape_returns_to_it() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "j");
    let device = selected(&ui).unwrap().device;
    assert_eq!(name(&ui), "macvtap1");
    press(&mut ui, "\n");
    assert_eq!(ui.screen(), Screen::Queues(Some(device)));
    assert_eq!(names(&ui), ["macvtap1"]);
    press(&mut ui, "\x1b");
    assert_eq!(ui.screen(), Screen::Overview);
    assert_eq!(name(&ui), "macvtap1");
}

#[test]
fn opening_another_device_starts_at_its_top() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "\njj");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(2)));
    press(&mut ui, "\x1b\n");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(2)), "the same device: where it was");
    press(&mut ui, "\x1bj\n\x1bk\n");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(0)));
}

#[test]
fn the_selection_follows_its_device_not_the_row() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "j");
    assert_eq!((name(&ui).as_str(), ui.list().row()), ("macvtap1", 1));
    ui.report(with_pps(&[("macvtap1", 9e9)]));
    assert_eq!((name(&ui).as_str(), ui.list().row()), ("macvtap1", 0));
    ui.report(with_pps(&[("macvtap1", 1.0), ("tap3", 2.0)]));
    assert_eq!((name(&ui).as_str(), ui.list().row()), ("macvtap1", 2));
}

#[test]
fn the_top_row_stays_selected_until_a_key_selects_another() {
    let mut ui = ui(build::small(), 80, 24);
    assert_eq!(name(&ui), "tap0");
    ui.report(with_pps(&[("macvtap1", 9e9)]));
    assert_eq!(name(&ui), "macvtap1");
    press(&mut ui, "G");
    assert_eq!(name(&ui), "tap3");
    press(&mut ui, "g");
    ui.report(build::small().into());
    assert_eq!(name(&ui), "tap0");
}

#[test]
fn a_reused_index_is_not_the_same_device() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "j");
    let mut report = build::small();
    for device in report.devices.iter_mut().filter(|device| device.name == "macvtap1") {
        device.generation = 1;
        device.tx_rate = Some(build::rate(9e9, 64.0, 0.0));
    }
    ui.report(report.into());
    assert_eq!((name(&ui).as_str(), ui.list().row()), ("tap0", 1), "what is in its place");
}

#[test]
fn the_filter_is_incremental_and_holds() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "/");
    assert_eq!(ui.context(), Context::Filter);
    press(&mut ui, "T");
    assert_eq!(names(&ui), ["tap0", "macvtap1", "tap3"]);
    press(&mut ui, "aP3");
    assert_eq!(names(&ui), ["tap3"]);
    ui.key(Key::Backspace);
    assert_eq!(names(&ui).len(), 3);
    ui.key(Key::Ctrl('u'));
    press(&mut ui, "macv\n");
    assert_eq!(ui.mode(), Mode::Browse);
    ui.report(with_pps(&[("tap0", 1.0)]));
    assert_eq!(names(&ui), ["macvtap1"], "after a new report");
    press(&mut ui, "2");
    assert_eq!(names(&ui), ["macvtap1"], "on another screen");
    press(&mut ui, "\x1b");
    assert_eq!(names(&ui).len(), 6);
}

#[test]
fn the_filter_looks_at_vm_and_kind_too() {
    for (filter, found) in [("web-", "tap0"), ("macvtap", "macvtap1"), ("pid 815", "macvtap1")] {
        let mut ui = ui(build::small(), 80, 24);
        press(&mut ui, &format!("/{filter}\n"));
        assert_eq!(names(&ui), [found], "{filter}");
    }
}

#[test]
fn escape_clears_a_filter_being_typed_and_the_selection_comes_back() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "jj/tap0");
    assert_eq!(name(&ui), "tap0");
    press(&mut ui, "\x1b");
    assert_eq!((ui.mode(), ui.filter()), (Mode::Browse, ""));
    assert_eq!(name(&ui), "tap3");
}

#[test]
fn letters_are_letters_while_the_filter_is_typed() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "/q ?sr1");
    assert_eq!(ui.filter(), "q ?sr1");
    assert_eq!(ui.key(Key::Ctrl('c')), Effect::Quit);
}

#[test]
fn sort_goes_through_the_columns_shown_both_ways() {
    let mut ui = ui(build::small(), 80, 24);
    let sorted = |ui: &Ui| COLUMNS[ui.list().sorted_by().0].full_title();
    assert_eq!(sorted(&ui), "load");
    press(&mut ui, "s");
    assert_eq!(sorted(&ui), "device", "round to the first");
    assert_eq!(names(&ui), ["macvtap1", "tap0", "tap3"]);
    press(&mut ui, "r");
    assert_eq!(names(&ui), ["tap3", "tap0", "macvtap1"]);
    press(&mut ui, ">");
    assert_eq!(sorted(&ui), "verdict");
    press(&mut ui, "<<");
    assert_eq!(sorted(&ui), "load");
    press(&mut ui, "<");
    assert_eq!(sorted(&ui), "drops/s", "narrow: totals are not shown");
}

#[test]
fn what_is_not_known_is_last_in_both_orders() {
    let mut ui = ui(build::small(), 80, 24);
    assert_eq!(names(&ui).last().unwrap(), "tap3");
    press(&mut ui, "r");
    assert_eq!(names(&ui), ["macvtap1", "tap0", "tap3"]);
}

#[test]
fn pause_keeps_what_is_shown_and_tells_its_age() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, " ");
    let before = text(&ui, 80, 24);
    ui.report(build::later(&with_pps(&[("macvtap1", 9e9)]), 12.0).into());
    let after = text(&ui, 80, 24);
    assert!(after.contains("PAUSED, shown is 12 s old"), "{after}");
    assert_eq!(before.split_once('\n').unwrap().1, after.split_once('\n').unwrap().1, "below the first row");
    press(&mut ui, " ");
    assert_eq!(name(&ui), "macvtap1", "continues with the newest");
    assert_eq!(ui.paused_for(), None);
}

#[test]
fn loss_shows_while_paused() {
    let mut ui = ui(build::empty(), 80, 24);
    press(&mut ui, " ");
    ui.report(build::small().into());
    assert!(text(&ui, 80, 24).contains("LOST 12 events and 1 record"));
}

#[test]
fn moving_scrolls_and_stops_at_the_ends() {
    let mut ui = ui(build::large(), 80, 24);
    press(&mut ui, "2");
    assert_eq!(ui.key(Key::Up), Effect::None, "nothing to redraw");
    ui.key(Key::PageDown);
    assert_eq!((ui.list().row(), ui.list().top()), (12, 1));
    ui.key(Key::End);
    assert_eq!((ui.list().row(), ui.list().top()), (3199, 3188));
    assert_eq!(ui.key(Key::Down), Effect::None);
    ui.key(Key::PageUp);
    assert_eq!((ui.list().row(), ui.list().top()), (3187, 3187));
    ui.resize(80, 60);
    assert_eq!(ui.list().row(), 3187);
    assert!(ui.list().top() <= 3187 && ui.list().top() + 44 > 3187);
    ui.key(Key::Home);
    assert_eq!((ui.list().row(), ui.list().top()), (0, 0));
}

#[test]
fn help_opens_and_closes_and_quit_quits() {
    let mut ui = ui(build::small(), 80, 24);
    for close in [Key::Char('?'), Key::Esc] {
        assert_eq!(ui.key(Key::Char('?')), Effect::Redraw);
        assert_eq!(ui.mode(), Mode::Help);
        assert_eq!(ui.key(Key::Char(' ')), Effect::None);
        ui.key(close);
        assert_eq!(ui.mode(), Mode::Browse);
    }
    assert_eq!(ui.key(Key::Char('q')), Effect::Quit);
    assert_eq!(ui.key(Key::Ctrl('z')), Effect::Suspend);
    assert_eq!(ui.key(Key::Ctrl('l')), Effect::Repaint);
    assert_eq!(ui.key(Key::Char('x')), Effect::None);
}

#[test]
fn enter_without_a_device_does_nothing() {
    let mut ui = ui(build::empty(), 80, 24);
    assert_eq!(ui.key(Key::Enter), Effect::None);
}
