//! What is measured, through what, how well and at what price; what was lost.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Pen, wrap};
use crate::{
    report::{Known, ProbeReport, Report, SourceKind},
    tui::{look::Look, text, ui::Ui, units},
};

/// ```text
/// ── Probes · 12 signals, 2 not available ──────────────────────────────────────
/// signal               known        ns/run   core  through
/// tap.tx               exact            38  0.02%  tp_btf:netif_receive_skb_entry
/// vhost.copies         unavailable       —      —  fentry:vhost_net …
///                      vhost_net is not loaded
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let (report, look) = (&ui.facts().report, pen.look);
    let dot = look.glyphs().dot;
    let missing = report.probes.iter().filter(|probe| probe.state == Known::Unavailable).count();
    pen.rule(area);
    let title = format!(" Probes{dot}{} signals, {missing} not available ", report.probes.len());
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(4), look.strong());
    let mut lines = vec![Line::styled(
        format!("{:<21}{:<13}{:>7}{:>8}  through", "signal", "known", "ns/run", "core"),
        look.strong(),
    )];
    lines.extend(report.probes.iter().flat_map(|probe| signal(probe, ui.core(&probe.signal), look)));
    lines.extend(notes(report, look));
    let room = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    wrap::scrolled(lines, ui.scrolled(), "PgDn", pen, room);
}

fn signal(probe: &ProbeReport, core: Option<f64>, look: Look) -> Vec<Line<'static>> {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| look.glyphs().unknown.to_owned());
    let (state, style) = match probe.state {
        Known::Exact => ("exact", look.plain()),
        Known::Derived => ("derived", look.plain()),
        Known::Unavailable => ("unavailable", look.strong()),
    };
    let run = probe.run_seconds.zip(probe.runs).filter(|(_, runs)| *runs > 0);
    let each = or_unknown(run.and_then(|(seconds, runs)| units::si(seconds * 1e9 / runs as f64)));
    let core = core.and_then(units::share);
    let name = text::clean(&probe.signal, look.ascii);
    let name = text::cut(&name, 20, look.glyphs().cut);
    let fill = " ".repeat(21_usize.saturating_sub(text::width(&name)));
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{name}{fill}"), look.plain()),
        Span::styled(format!("{state:<13}"), style),
        Span::styled(
            format!("{each:>7}{:>8}  {}", or_unknown(core), text::clean(&probe.via, look.ascii)),
            look.plain(),
        ),
    ])];
    let reason = probe.reason.as_ref().map(|reason| text::clean(reason, look.ascii).into_owned());
    lines.extend(reason.map(|reason| Line::styled(format!("  {reason}"), look.faint())));
    lines
}

/// What was lost, and why there is no price.
fn notes(report: &Report, look: Look) -> Vec<Line<'static>> {
    let lost = report.lost;
    let nothing = lost.events == 0 && lost.records == 0;
    let told = format!("lost: {} events of the kernel, {} records", lost.events, lost.records);
    let mut lines = vec![Line::default()];
    lines.push(Line::styled(told, if nothing { look.plain() } else { look.warning() }));
    if report.probes.iter().all(|probe| probe.runs.is_none()) {
        let why = if report.source.kind == Some(SourceKind::Live) {
            "ns/run and core are not known yet: the kernel times programs from the next interval on, as long as this screen is open."
        } else {
            "ns/run and core are not known: programs were not timed when this was recorded (--probe-stats)."
        };
        lines.push(Line::from(why));
    }
    lines
}
