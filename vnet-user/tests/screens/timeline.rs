//! A recording that is played: what keys ask its player for, and what the screen says.

use vnet::{
    record::SourceKind,
    report::Report,
    tui::{Ask, Effect, Key, Timeline, Ui},
};

use crate::{build, text, ui};

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
