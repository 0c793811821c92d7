//! From the start to what is wrong, and what holds while one looks at it.

use std::sync::Arc;

use vnet::{
    report::Report,
    topology::QueuePair,
    tui::{Effect, Key, Look, Ui, screen::Screen, view},
};

use crate::{build, draw, places, press, sequences::selected, text, ui};

/// The report has what a recording of taps alone has not: workers, vCPUs and calls, and a layout that is bad.
#[test]
fn three_keys_lead_from_the_start_to_the_bad_queue_its_cause_and_its_fix() {
    let told = |screen: &str| {
        ["tap0 queue 3", "runs on another node", "worker_cpu 17", "taskset -pc 0-7 4729"]
            .map(|what| screen.contains(what))
    };
    for keys in ["5", "5\n"] {
        let mut ui = ui(places::bad(), 80, 24);
        press(&mut ui, keys);
        assert_eq!(told(&text(&ui, 80, 24)), [true; 4], "{keys:?}");
    }
    let mut ui = ui(places::bad(), 80, 24);
    press(&mut ui, "5\n\n");
    assert_eq!(ui.screen().place(), Screen::Queue(None).place(), "then the queue itself");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(3)));
    assert!(text(&ui, 80, 24).contains("CPU 17 node 1"));
    press(&mut ui, "\x1b");
    assert_eq!(ui.screen(), Screen::Findings(true), "and back");
    press(&mut ui, "\x1b\x1b4");
    assert!(text(&ui, 80, 24).contains("▶tap0 q3"), "or its path through the host");
}

#[test]
fn enter_leads_from_a_device_to_its_queue_and_what_is_wrong_with_it() {
    let mut report = places::bad();
    report.queues[3].history = [2e9].into();
    (report.queues[3].tx_rate, report.queues[3].rx_rate) = (Some(build::rate(2e9, 64.0, 0.0)), None);
    let mut ui = ui(report, 80, 24);
    press(&mut ui, "\n\n");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(3)));
    press(&mut ui, "\n");
    assert!(text(&ui, 80, 24).contains("taskset -pc 0-7 4729"));
    press(&mut ui, "\x1b");
    assert_eq!(selected(&ui).unwrap().queue, Some(QueuePair(3)));
}

#[test]
fn the_queue_of_a_finding_is_shown_whatever_is_filtered() {
    let mut ui = ui(places::bad(), 80, 24);
    press(&mut ui, "/macvtap\n5g\n\n");
    assert_eq!((selected(&ui).unwrap().queue, ui.filter()), (Some(QueuePair(3)), ""));
}

#[test]
fn a_queue_that_is_looked_at_stays_while_others_overtake_it() {
    let mut ui = ui(build::small(), 80, 24);
    press(&mut ui, "2\n");
    let before = selected(&ui);
    let mut report = build::small();
    report.queues[2].tx_rate = Some(build::rate(9e9, 64.0, 0.0));
    ui.report(report.into());
    assert_eq!(selected(&ui), before);
    press(&mut ui, "k");
    assert_ne!(selected(&ui), before, "keys still move to others");
}

#[test]
fn history_is_zoomed_between_its_ends() {
    let mut ui = ui(build::small(), 80, 24);
    assert_eq!(ui.key(Key::Char('z')), Effect::None, "there is none here");
    press(&mut ui, "3");
    let mut spans = vec![ui.span()];
    while ui.key(Key::Char('z')) == Effect::Redraw {
        spans.push(ui.span());
    }
    while ui.key(Key::Char('Z')) == Effect::Redraw {
        spans.push(ui.span());
    }
    assert_eq!(spans, [60, 30, 15, 30, 60, 120]);
}

/// What a frame writes to the terminal is where it differs from the one before.
#[test]
fn nothing_is_written_without_a_change() {
    for keys in ["1", "2", "3", "4", "5", "5\n", "6"] {
        let mut ui = ui(places::large(), 200, 60);
        press(&mut ui, keys);
        let before = draw(&ui, Look::FULL, 200, 60);
        assert!(before.diff(&draw(&ui, Look::FULL, 200, 60)).is_empty(), "{keys:?}");
        ui.report(build::later(&places::large(), 1.0).into());
        let after = draw(&ui, Look::FULL, 200, 60);
        let written = before.diff(&after);
        assert!(
            !written.is_empty() && written.iter().all(|(_, y, _)| *y == 0),
            "{keys:?}: only its clock goes on"
        );
    }
}

/// `many_probes` after so many seconds in which its programs took a fiftieth of a core each.
fn costly(seconds: f64) -> Arc<Report> {
    let mut report = build::later(&build::many_probes(), seconds);
    for spent in report.probes.iter_mut().filter_map(|probe| probe.run_seconds.as_mut()) {
        *spent += seconds / 50.0;
    }
    Arc::new(report)
}

#[test]
fn costs_are_those_since_the_screen_with_them_was_opened() {
    let mut ui = Ui::new(costly(0.0), 80, 24);
    assert!(!ui.wants_costs());
    ui.report(costly(10.0));
    press(&mut ui, "6");
    assert!(ui.wants_costs());
    assert_eq!(ui.core("signal.1"), None, "not known at once");
    ui.report(costly(12.0));
    let near = |core: Option<f64>, is: f64| core.is_some_and(|core| (core - is).abs() < 1e-6);
    assert!(near(ui.core("signal.1"), 0.02) && text(&ui, 80, 24).contains("2.0%"));
    assert_eq!(ui.core("tap.tx"), None, "nobody times it");
    ui.report(costly(5.0));
    assert_eq!(ui.core("signal.1"), None, "the recording went back");
    ui.report(costly(6.0));
    assert!(near(ui.core("signal.1"), 0.02));
    press(&mut ui, "1");
    assert_eq!((ui.wants_costs(), ui.core("signal.1")), (false, None));
}

#[test]
fn scrolling_stops_at_the_last_line_and_turns_at_once() {
    for keys in ["2jjj\n", "6", "5\n"] {
        let mut ui = ui(Report { probes: build::many_probes().probes, ..places::bad() }, 80, 24);
        press(&mut ui, keys);
        let mut buffer = draw(&ui, Look::FULL, 80, 24);
        let mut paint = |ui: &mut Ui| {
            let end = view::draw(ui, Look::FULL, buffer.area, &mut buffer);
            ui.drawn(end);
            buffer.clone()
        };
        let first = paint(&mut ui);
        let mut pages = 0;
        while ui.key(Key::PageDown) == Effect::Redraw {
            assert_ne!(paint(&mut ui), first, "{keys:?}: something moves");
            pages += 1;
        }
        assert!(pages < 20, "{keys:?}: it ends");
        for _ in 0..pages {
            assert_eq!(ui.key(Key::PageUp), Effect::Redraw, "{keys:?}");
        }
        assert_eq!(paint(&mut ui), first, "{keys:?}");
    }
}
