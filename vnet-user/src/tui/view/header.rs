//! The first three rows: where this comes from, how much there is, what is missing, which screen is open.

use ratatui::{layout::Rect, style::Style};

use super::{Pen, narrow};
use crate::{
    report::{Known, Report, SourceKind},
    tui::{
        cell::duration,
        look::Look,
        screen::{self, SCREENS, Screen},
        text,
        timeline::Timeline,
        ui::Ui,
    },
};

/// ```text
/// vnet top · live · host · kernel                                counting 1 min 05 s
/// 3 devices, 1 gone · 9 queues                      LOST 12 events and 3 records
///  1 Overview   2 Queues   3 Queue   4 Layout   5 Findings: 1   6 Probes   2 signals unavailable: 6 says why
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let row = |i: u16| Rect { y: area.y + i, height: 1, ..area };
    let report = ui.latest();
    let look = pen.look;

    let (state, style) = state(ui, look);
    let (left, right) = split(row(0), &state);
    pen.parts(left, &[("vnet top".into(), look.strong()), (origin(report, look), look.plain())]);
    pen.right(right, &state, style);

    let (lost, style) = lost(report, look);
    let (left, right) = split(row(1), &lost);
    pen.parts(left, &[(counts(report, look), look.plain())]);
    pen.right(right, &lost, style);

    let used = tabs(ui, pen, row(2));
    let left = row(2).width.saturating_sub(used + 2);
    if let Some(hint) = unavailable(report).into_iter().find(|hint| text::width(hint) <= usize::from(left)) {
        pen.right(row(2), &hint, look.plain());
    }
}

/// Room for `right` at the right, the rest at the left, two columns between.
fn split(row: Rect, right: &str) -> (Rect, Rect) {
    let right = narrow(text::width(right)).min(row.width);
    let left = Rect { width: row.width.saturating_sub(right + 2), ..row };
    (left, Rect { x: row.x + row.width - right, width: right, ..row })
}

fn state(ui: &Ui, look: Look) -> (String, Style) {
    let source = &ui.latest().source;
    if let Some(age) = ui.paused_for() {
        return (format!("PAUSED, shown is {} old", duration(age.max(0.0), look)), look.warning());
    }
    if let Some(timeline) = ui.timeline() {
        return played(timeline, source.duration_s, source.complete, look);
    }
    let time = duration(source.duration_s, look);
    match source.kind {
        None => ("starting".to_owned(), look.plain()),
        Some(SourceKind::Live) => (format!("counting {time}"), look.plain()),
        Some(SourceKind::Trace) if !source.complete => {
            (format!("recording of {time}, its end is missing"), look.warning())
        }
        Some(SourceKind::Trace) => (format!("recording of {time}"), look.plain()),
        Some(SourceKind::Model) => (format!("model of {time}"), look.plain()),
    }
}

/// Where a recording is, and how it goes on.
fn played(timeline: &Timeline, now: f64, complete: bool, look: Look) -> (String, Style) {
    let at = format!("{} of {}", duration(now, look), duration(timeline.length_s.max(now), look));
    if timeline.paused {
        return (format!("PAUSED at {at}"), look.warning());
    }
    match () {
        () if now >= timeline.length_s && complete => (format!("ended, {at}"), look.plain()),
        () if now >= timeline.length_s => (format!("{at}, its end is missing"), look.warning()),
        () if timeline.as_recorded() => (format!("at {at}"), look.plain()),
        () => (format!("at {at}, {} times as fast", timeline.speed()), look.plain()),
    }
}

fn origin(report: &Report, look: Look) -> String {
    let kind = report.source.kind.map(|kind| match kind {
        SourceKind::Live => "live",
        SourceKind::Trace => "trace",
        SourceKind::Model => "model",
    });
    [kind, report.source.host.as_deref(), report.source.kernel.as_deref()]
        .into_iter()
        .flatten()
        .map(|part| look.glyphs().dot.to_owned() + &text::clean(part, look.ascii))
        .collect()
}

fn counts(report: &Report, look: Look) -> String {
    let gone = report.devices.iter().filter(|device| !device.present).count();
    let gone = if gone > 0 { format!(", {gone} gone") } else { String::new() };
    let [devices, queues] = [report.devices.len() as u64, report.queues.len() as u64];
    let dot = look.glyphs().dot;
    let vms = report.vms.len() as u64;
    let vms = if vms > 0 { plural(vms, "VM") + dot } else { String::new() };
    format!("{vms}{}{gone}{dot}{}", plural(devices, "device"), plural(queues, "queue"))
}

fn plural(n: u64, thing: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {thing}{s}")
}

fn lost(report: &Report, look: Look) -> (String, Style) {
    let lost = report.lost;
    if lost.events == 0 && lost.records == 0 {
        return ("lost nothing".to_owned(), look.plain());
    }
    let text = format!("LOST {} and {}", plural(lost.events, "event"), plural(lost.records, "record"));
    (text, look.warning())
}

/// A long and a short form; none when everything is measured.
fn unavailable(report: &Report) -> Vec<String> {
    match report.probes.iter().filter(|probe| probe.state == Known::Unavailable).count() {
        0 => Vec::new(),
        n => {
            let signals = plural(n as u64, "signal");
            vec![format!("{signals} unavailable: 6 says why"), format!("{n} unavailable")]
        }
    }
}

fn tabs(ui: &Ui, pen: &mut Pen<'_>, row: Rect) -> u16 {
    let open = ui.screen().place();
    let found = ui.latest().findings.len();
    let style = |i: usize, screen: Screen| match screen {
        _ if i == open => pen.look.accent(),
        Screen::Findings(_) if found > 0 => pen.look.warning(),
        _ => pen.look.plain(),
    };
    let tab = |(i, &(_, _, screen))| (screen::tab(i, i == open, found), style(i, screen));
    let parts: Vec<_> = SCREENS.iter().enumerate().map(tab).collect();
    pen.parts(row, &parts)
}
