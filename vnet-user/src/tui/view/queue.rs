//! One queue: what is wrong with it, its history, its counts in both directions, and who serves it how.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
};

use super::{Pen, chart, counts, findings, narrow, served, why, wrap};
use crate::{
    report::{Level, QueueReport},
    tui::{
        facts::{Direction, Row},
        look::Look,
        text,
        ui::Ui,
        units,
    },
};

/// Most findings that are named.
const FINDINGS: u16 = 3;

/// ```text
/// ── tap0 queue 0 of 4 · VM web-1 ──────────────────────────────────────── 1/4 ──
/// WARNING R4: The guest has not enabled all queues
/// packets/s, TX + RX: last 60 intervals · highest 1.36 M
/// ▁▄███████▅▂
/// worker vhost-4711 (tid 4715) · CPU 3 node 0 · 90.0% busy …
/// calls 97.0% to vCPU 0 …
/// copies 64.2% batched …
/// drops TX none · RX FULL_RING 12.3 k
///                 TX, sent  RX, given   bytes       TX      RX
/// packets/s         1.23 M      123 k   to 64    12.3%    97.0%
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    let Some((row, queue)) = ui.selected().and_then(|row| Some((row, row.queue()?))) else {
        return super::idle::draw(ui, pen, area);
    };
    title(ui, row, queue, pen, area);
    let mut y = area.y + 1;
    for finding in row.findings().take(FINDINGS.min(area.height / 9).into()) {
        let style = if finding.level > Level::Info { look.warning() } else { look.strong() };
        let head =
            format!("{} {}", finding.level.name().to_uppercase(), findings::ascii(&finding.rule, look));
        let title = format!(": {}", findings::ascii(&finding.title, look));
        pen.parts(Rect { y, height: 1, ..area }, &[(head, style), (title, look.plain())]);
        y += 1;
    }
    let height = (area.height / 5).clamp(4, 12);
    chart::draw(&queue.history, ui.span(), pen, Rect { y, height, ..area });
    y += height;
    let lines = lines(ui, row, queue, area.width, look);
    let room = Rect { y, height: area.bottom().saturating_sub(y), ..area };
    wrap::scrolled(lines, ui.scrolled(), "PgDn", pen, room);
}

fn title(ui: &Ui, row: Row<'_>, queue: &QueueReport, pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    pen.rule(area);
    let queues = row.whole_device().map_or(0, |device| device.queues().count());
    let mut parts =
        vec![format!("{} queue {} of {queues}", text::clean(row.name(), look.ascii), queue.queue)];
    parts.extend(row.vm_name().map(|name| format!("VM {}", text::clean(name, look.ascii))));
    parts.extend(row.gone().then(|| "gone".to_owned()));
    let list = ui.list();
    let place = format!(" {}/{} ", list.row() + 1, list.len());
    let end = narrow(place.len()) + 2;
    let title = format!(" {} ", parts.join(look.glyphs().dot));
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(end + 4), look.strong());
    pen.put(area.x + area.width.saturating_sub(end), area.y, &place, end, look.plain());
}

fn lines(ui: &Ui, row: Row<'_>, queue: &QueueReport, width: u16, look: Look) -> Vec<Line<'static>> {
    let report = &ui.facts().report;
    let unknown = |label: &'static str, signals: &[&str]| {
        let why = why::unknown(report, row.device(), signals, look);
        served::line(label, &[format!("{} {why}", look.glyphs().unknown)], look)
    };
    let mut lines = vec![
        served::worker(queue, look).unwrap_or_else(|| unknown("worker", &["vhost.worker"])),
        served::calls(queue, look).unwrap_or_else(|| unknown("calls", &["vhost.calls", "kvm.interrupts"])),
        served::copies(queue, look).unwrap_or_else(|| unknown("copies", &["vhost.copies"])),
    ];
    lines.extend(served::copied_because(queue, look));
    lines.extend([Direction::Tx, Direction::Rx].map(|direction| drops(row, direction, look)));
    lines.extend(kickers(queue, look));
    for (label, runs) in [("TX turns", queue.tx.runs), ("RX turns", queue.rx.runs)] {
        lines.extend(runs.and_then(served::runs_part).map(|runs| served::line(label, &[runs], look)));
    }
    for sentence in row.device().map_or(&[][..], |device| &device.uncovered) {
        let sentence = text::clean(sentence, look.ascii).into_owned();
        let label = Span::styled("not covered: ", look.warning());
        lines.push(Line::from(vec![label, Span::styled(sentence, look.plain())]));
    }
    lines.push(Line::default());
    lines.extend(counts::lines(queue, width, look));
    lines
}

/// Drops by reason.
fn drops(row: Row<'_>, direction: Direction, look: Look) -> Line<'static> {
    let label = match direction {
        Direction::Tx => "TX drops",
        Direction::Rx => "RX drops",
    };
    let reasons = row.drop_reasons(direction);
    let named = |(reason, n): &(&str, u64)| {
        let n = units::count(*n as f64).unwrap_or_default();
        format!("{} {n}", text::clean(reason, look.ascii))
    };
    match row.drops(direction) {
        None => served::line(label, &[look.glyphs().unknown.to_owned()], look),
        Some(_) if reasons.is_empty() => served::line(label, &["none".to_owned()], look),
        Some(_) => Line::from(vec![
            Span::styled(label, look.strong()),
            Span::styled(
                format!(" {}", reasons.iter().map(named).collect::<Vec<_>>().join(look.glyphs().dot)),
                look.warning(),
            ),
        ]),
    }
}

/// Who kicked it, most first; nothing where nobody is known to have.
fn kickers(queue: &QueueReport, look: Look) -> Option<Line<'static>> {
    let mut kicks: Vec<_> = queue.kickers.iter().flatten().filter(|row| row.count > 0).collect();
    kicks.sort_by_key(|row| std::cmp::Reverse(row.count));
    let named = |row: &&crate::report::KickReport| {
        let who = row.vcpu.map_or_else(|| "no vCPU".to_owned(), |vcpu| format!("vCPU {vcpu}"));
        let n = units::count(row.count as f64).unwrap_or_default();
        format!("{} {n} by {who}", text::clean(&row.direction.to_uppercase(), look.ascii))
    };
    let parts: Vec<_> = kicks.iter().take(6).map(named).collect();
    (!parts.is_empty()).then(|| served::line("kicks", &parts, look))
}
