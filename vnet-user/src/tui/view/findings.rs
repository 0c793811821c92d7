//! What is wrong: a list, and one finding in full with commands to copy.

use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Widget, Wrap},
};

use super::{Pen, narrow, wrap};
use crate::{
    report::{Finding, Level, Report, findings},
    tui::{layout::FINDINGS, look::Look, text, ui::Ui},
};

/// ```text
/// ── Findings · 2 ───────────────────────────────────────────── 1/2 ──
/// ▶ critical R40  tap0 queue 0   The tap drops packets for the guest
///   info     R38  tap1           Zero-copy is on while several VMs share …
/// ── R40: The tap drops packets for the guest ─────────────────────────
/// seen    dropped 4.8 % (limit 0.1 %), …
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect, open: bool) {
    let found = &ui.facts().report.findings;
    let row = ui.chosen().row();
    let look = pen.look;
    let title = match found.get(row).filter(|_| open) {
        Some(finding) => {
            let level = finding.level.name().to_uppercase();
            format!(" {level} {}: {} ", ascii(&finding.rule, look), ascii(&finding.title, look))
        }
        None => format!(" Findings{}{} ", look.glyphs().dot, found.len()),
    };
    heading(pen, area, &title);
    let place = if found.is_empty() { " 0 ".to_owned() } else { format!(" {}/{} ", row + 1, found.len()) };
    pen.put(
        area.x + area.width.saturating_sub(narrow(place.len()) + 2),
        area.y,
        &place,
        narrow(place.len()),
        pen.look.plain(),
    );
    let rest = |y: u16| Rect { y: area.y + y, height: area.height.saturating_sub(y), ..area };
    let Some(chosen) = found.get(row) else { return nothing(ui, pen, rest(2)) };
    if open {
        return full(chosen, pen, rest(1), Some(ui.chosen().scrolled()));
    }
    let rows = usize::from(FINDINGS.min(area.height.saturating_sub(1)));
    let top = ui.chosen().top(rows);
    for (y, (i, finding)) in (1..).zip(found.iter().enumerate().skip(top).take(rows)) {
        line(finding, pen, Rect { y: area.y + y, height: 1, ..area }, i == row);
    }
    let shown = narrow((found.len() - top).min(rows));
    let below = rest(shown + 1);
    let title = format!(" {}: {} ", ascii(&chosen.rule, look), ascii(&chosen.title, look));
    heading(pen, below, &title);
    full(chosen, pen, Rect { y: below.y + 1, height: below.height.saturating_sub(1), ..below }, None);
}

fn heading(pen: &mut Pen<'_>, area: Rect, title: &str) {
    pen.rule(area);
    pen.put(area.x + 2, area.y, title, area.width.saturating_sub(14), pen.look.strong());
}

fn line(finding: &Finding, pen: &mut Pen<'_>, area: Rect, chosen: bool) {
    let look = pen.look;
    let subject = ascii(&findings::subject(&finding.subject), look);
    let subject = text::cut(&subject, 28, look.glyphs().cut).into_owned();
    let fill = " ".repeat(28_usize.saturating_sub(text::width(&subject)));
    pen.parts(
        Rect { x: area.x + 2, width: area.width.saturating_sub(2), ..area },
        &[
            (format!("{:<9}", finding.level.name()), style(finding.level, look)),
            (format!("{:<5}", ascii(&finding.rule, look)), look.strong()),
            (subject + &fill + " ", look.plain()),
            (ascii(&finding.title, look), look.plain()),
        ],
    );
    if chosen {
        pen.put(area.x, area.y, &look.glyphs().marker.to_string(), 1, look.strong());
        pen.buffer.set_style(area, look.selected());
    }
}

fn style(level: Level, look: Look) -> Style {
    match level {
        Level::Info => look.plain(),
        Level::Warning | Level::Critical => look.warning(),
    }
}

/// All of it, from a line on where it is open; commands stand at the left edge on lines of their own, so that they can be copied.
fn full(finding: &Finding, pen: &mut Pen<'_>, area: Rect, scrolled: Option<usize>) {
    let look = pen.look;
    let key = if scrolled.is_some() { "PgDn" } else { "Enter" };
    let part = |name: &str, text: &str| {
        let name = Span::styled(format!("{name:<9}"), look.accent());
        Line::from(vec![name, Span::styled(ascii(text, look), look.plain())])
    };
    let seen: Vec<_> = finding.evidence.iter().map(findings::evidence).collect();
    let mut lines = vec![part("on", &findings::subject(&finding.subject)), part("seen", &seen.join(", "))];
    if !finding.explains.is_empty() {
        lines.push(part("explains", &finding.explains.join(", ")));
    }
    lines.push(part("why", &finding.why));
    lines.push(part("fix", if finding.fix.is_empty() { "no change helps" } else { finding.place.name() }));
    lines.extend(finding.fix.iter().map(|command| Line::styled(ascii(command, look), look.strong())));
    lines.push(part("expect", &finding.expect));
    lines.push(part("source", &finding.source));
    wrap::scrolled(lines, scrolled.unwrap_or(0), key, pen, area);
}

/// What is safe to draw.
pub(super) fn ascii(text: &str, look: Look) -> String {
    let text = if look.ascii { text.replace('…', "...") } else { text.to_owned() };
    text::clean(&text, look.ascii).into_owned()
}

/// That nothing is wrong, or that it is too early to tell.
pub(super) fn none(report: &Report) -> String {
    let waiting = report.unsure.iter().filter_map(|unsure| unsure.lacks_seconds).reduce(f64::min);
    match waiting {
        Some(seconds) => format!(
            "Nothing is sure yet: something is past its limit, and has to be for {seconds:.0} s more."
        ),
        None => "Nothing is wrong, as far as it can be judged.".to_owned(),
    }
}

fn nothing(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let report = &ui.facts().report;
    let why = none(report);
    let unsure: Vec<_> = report.unsure.iter().filter(|unsure| unsure.lacks_seconds.is_none()).collect();
    let mut lines = vec![Line::from(why)];
    if !unsure.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from("Not judged, because something is not known:"));
    }
    lines.extend(
        unsure.iter().map(|unsure| Line::from(format!("{}: {}", unsure.rule, ascii(&unsure.why, pen.look)))),
    );
    let room = Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area };
    Paragraph::new(Text::from(lines)).wrap(Wrap { trim: true }).render(room, pen.buffer);
}
