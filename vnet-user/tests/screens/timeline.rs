//! A recording that is played: what keys ask its player for, and what the screen says.

use insta::assert_snapshot;
use vnet::{
    record::SourceKind,
    report::{Level, Report},
    tui::{Ask, Effect, Key, Look, Mark, Mouse, Timeline, Ui},
};

use crate::{build, draw, press, rows, text, ui};

fn at(seconds: f64, complete: bool) -> Report {
    let mut report = build::small();
    report.source.kind = Some(SourceKind::Trace);
    (report.source.duration_s, report.source.complete) = (seconds, complete);
    report
}

fn playing() -> Ui {
    ui(at(12.0, false), 80, 24).playing(Timeline::new(90.0))
}

fn first_row(ui: &Ui) -> String {
    text(ui, 80, 24).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn keys_ask_the_player() {
    let mut ui = playing();
    assert_eq!(ui.key(Key::Char(']')), Effect::Ask(Ask::Seek(22.0)));
    assert_eq!(ui.key(Key::Right), Effect::Ask(Ask::Seek(22.0)), "it is where its reports say");
    assert_eq!(ui.key(Key::Left), Effect::Ask(Ask::Seek(2.0)));
    assert_eq!(ui.key(Key::Char('+')), Effect::Ask(Ask::Speed(2.0)));
    assert_eq!(ui.key(Key::Char('-')), Effect::Ask(Ask::Speed(1.0)));
    assert_eq!(ui.key(Key::Char(' ')), Effect::Ask(Ask::Pause(true)));
    assert_eq!(ui.key(Key::Char(' ')), Effect::Ask(Ask::Pause(false)));
}

#[test]
fn live_has_no_timeline() {
    let mut ui = ui(build::small(), 80, 24);
    for key in ['[', ']', '+', '-'] {
        assert_eq!(ui.key(Key::Char(key)), Effect::None, "{key}");
    }
}

#[test]
fn seeking_while_paused_shows_where() {
    let mut ui = playing();
    ui.key(Key::Char(' '));
    ui.report(at(22.0, false).into());
    assert!(first_row(&ui).ends_with("PAUSED at 22 s of 1 min 30 s"), "{}", first_row(&ui));
}

#[test]
fn the_screen_says_where_it_is() {
    let mut ui = playing();
    let says = |ui: &Ui, end: &str| assert!(first_row(ui).ends_with(end), "{}", first_row(ui));
    says(&ui, "at 12 s of 1 min 30 s");
    ui.key(Key::Char('+'));
    says(&ui, "at 12 s of 1 min 30 s, 2 times as fast");
    ui.report(at(90.0, false).into());
    says(&ui, "1 min 30 s of 1 min 30 s, its end is missing");
    ui.report(at(90.0, true).into());
    says(&ui, "ended, 1 min 30 s of 1 min 30 s");
}

/// A warning from 20 to 60 s, and something critical from 40 s to the end.
fn marked() -> Ui {
    let mut ui = playing();
    let mark = |level, from, to| Mark { level, from, to };
    ui.marks(vec![mark(Level::Warning, 20.0, 60.0), mark(Level::Critical, 40.0, 90.0)]);
    ui
}

fn bar(ui: &Ui, look: Look) -> String {
    rows(&draw(ui, look, 80, 24))[22].clone()
}

#[test]
fn the_bar_shows_where_it_is_and_where_findings_are() {
    assert!(bar(&playing(), Look::FULL).ends_with("seeking findings"), "not known yet");
    let ui = marked();
    assert_snapshot!(bar(&ui, Look::FULL), @"────────●────!═════════════!══════════════════════════════════        1 min 30 s");
    let ascii = Look { colour: false, ascii: true };
    assert_snapshot!(bar(&ui, ascii), @"--------o----!=============!==================================        1 min 30 s");
}

#[test]
fn the_bar_is_on_every_screen_and_costs_no_row_of_a_table() {
    let plain = |keys: &str| {
        let mut ui = ui(at(12.0, false), 80, 24);
        press(&mut ui, keys);
        rows(&draw(&ui, Look::FULL, 80, 24))
    };
    for keys in ["1", "2", "3", "4", "5", "6"] {
        let mut ui = marked();
        press(&mut ui, keys);
        assert!(bar(&ui, Look::FULL).contains("●────!══"), "{keys}");
        if ["1", "2"].contains(&keys) {
            assert_eq!(rows(&draw(&ui, Look::FULL, 80, 24))[3..17], plain(keys)[3..17]);
        }
    }
}

#[test]
fn findings_are_walked_and_clicked() {
    let mut ui = marked();
    assert_eq!(ui.key(Key::Char('n')), Effect::Ask(Ask::Seek(20.0)));
    ui.report(at(20.0, false).into());
    assert_eq!(ui.key(Key::Char('n')), Effect::Ask(Ask::Seek(40.0)));
    ui.report(at(40.0, false).into());
    assert_eq!(ui.key(Key::Char('n')), Effect::None, "it was the last");
    assert_eq!(ui.key(Key::Char('N')), Effect::Ask(Ask::Seek(20.0)));
    let Effect::Ask(Ask::Seek(seconds)) = ui.mouse(Mouse::Click(31, 22)) else { panic!("a click seeks") };
    assert!((44.0..48.0).contains(&seconds), "{seconds}: the middle");
    assert_eq!(ui.mouse(Mouse::Click(75, 22)), Effect::None, "behind the bar");
    let mut live = crate::ui(build::small(), 80, 24);
    assert_eq!((live.key(Key::Char('n')), live.mouse(Mouse::Click(31, 22))), (Effect::None, Effect::None));
}
