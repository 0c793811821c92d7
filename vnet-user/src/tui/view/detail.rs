//! What is selected: what its counts do not cover, its totals, and what it is.

use ratatui::{
    layout::Rect,
    text::{Line, Span, Text},
    widgets::{Paragraph, Widget, Wrap},
};

use super::{Pen, served};
use crate::{
    report::DeviceReport,
    tui::{
        cell::partial,
        facts::{Direction, Row},
        look::Look,
        text,
        ui::Ui,
        units,
    },
};

/// Most reasons of drops that are named.
const REASONS: usize = 3;

/// Of a queue that vhost serves, what it does for it comes before the device's totals.
///
/// ```text
/// ── tap0, all 4 queues ──────────────────────────────────────────────────
/// not covered: XDP redirects bypass the tap
/// TX now 1.23 M packets/s · 12.3 Gbit/s · 0 drops/s; so far 9.87 M packets, 12.3 GB, 0 drops
/// RX now …
/// tap · ifindex 7 · netns 4026531840 · VM web (pid 4711) · 4 of 8 queues enabled
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let look = pen.look;
    pen.rule(area);
    let Some(row) = ui.selected() else { return };
    let device = row.whole_device();
    let queues = device.map_or(0, |device| device.queues().count());
    let name = text::clean(row.name(), look.ascii);
    let served = row.queue().map(|queue| served::lines(queue, look)).unwrap_or_default();
    let title = match queues {
        _ if let Some(queue) = row.queue().filter(|_| !served.is_empty()) => {
            format!(" {name}, queue {} of {queues} ", queue.queue)
        }
        1 => format!(" {name}, its only queue "),
        n => format!(" {name}, all {n} queues together "),
    };
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(4), look.strong());

    let mut lines = Vec::new();
    if row.gone() {
        let gone = "gone: what it counted until then stays listed";
        lines.push(Line::styled(gone, look.warning()));
    }
    for sentence in row.device().map_or(&[][..], |device| &device.uncovered) {
        let sentence = text::clean(sentence, look.ascii);
        lines.push(Line::from(vec![
            Span::styled("not covered: ", look.warning()),
            Span::styled(sentence.into_owned(), look.plain()),
        ]));
    }
    let of = if served.is_empty() || queues == 1 { "" } else { ", all queues:" };
    lines.extend(served);
    lines.extend(row.device().and_then(|device| unexplained(device, look)));
    if let Some(device) = device {
        lines.extend([Direction::Tx, Direction::Rx].map(|direction| flow(device, direction, of, look)));
    }
    if let Some(device) = row.device() {
        let facts = facts(row, device, look);
        lines.extend(fill(&facts, look.glyphs().dot, area.width.into()).into_iter().map(Line::from));
    }
    let room = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    Paragraph::new(Text::from(lines)).wrap(Wrap { trim: true }).render(room, pen.buffer);
}

/// Differences between independent counts: what was missed, or was under way.
fn unexplained(device: &DeviceReport, look: Look) -> Option<Line<'static>> {
    let residuals = device.residuals.iter().filter(|(_, n)| **n != 0);
    let named: Vec<_> =
        residuals.map(|(name, n)| format!("{} {n:+}", text::clean(name, look.ascii))).collect();
    (!named.is_empty()).then(|| {
        let warning = Span::styled("unexplained: ", look.warning());
        Line::from(vec![warning, Span::styled(named.join(", "), look.plain())])
    })
}

fn flow(device: Row<'_>, direction: Direction, of: &'static str, look: Look) -> Line<'static> {
    let unknown = || look.glyphs().unknown.to_owned();
    let or_unknown = |text: Option<String>| text.unwrap_or_else(unknown);
    let rate = device.rate(direction);
    let label = match direction {
        Direction::Tx => "TX",
        Direction::Rx => "RX",
    };
    let now = [
        or_unknown(rate.and_then(|rate| units::si(rate.pps))) + " packets/s",
        or_unknown(rate.and_then(|rate| units::with_unit(rate.bps, "bit/s"))),
    ];
    let packets = or_unknown(device.packets(direction).and_then(|sum| partial(sum, units::count)));
    let bytes = device.bytes(direction).and_then(|sum| partial(sum, |bytes| units::with_unit(bytes, "B")));
    let sum = device.drops(direction);
    let mut drops = or_unknown(sum.and_then(|sum| partial(sum, units::count))) + " drops";
    let reasons = device.drop_reasons(direction);
    if !reasons.is_empty() {
        let named: Vec<_> = reasons.iter().take(REASONS).map(|&(reason, n)| named(reason, n, look)).collect();
        let more = if reasons.len() > REASONS { ", other" } else { "" };
        drops = format!("{drops} ({}{more})", named.join(", "));
    }
    let style = if reasons.is_empty() { look.plain() } else { look.warning() };
    Line::from(vec![
        Span::styled(label, look.strong()),
        Span::styled(
            format!(
                "{of} {}; so far {packets} packets, {}, ",
                now.join(look.glyphs().dot),
                or_unknown(bytes)
            ),
            look.plain(),
        ),
        Span::styled(drops, style),
    ])
}

fn named(reason: &str, n: u64, look: Look) -> String {
    let n = units::count(n as f64).unwrap_or_default();
    format!("{} {n}", text::clean(reason, look.ascii))
}

fn facts(row: Row<'_>, device: &DeviceReport, look: Look) -> [String; 7] {
    let unknown = look.glyphs().unknown;
    let number = |n: Option<u32>| n.map_or_else(|| unknown.to_owned(), |n| n.to_string());
    let vm = match (row.vm_name(), device.vm_pid) {
        (Some(name), Some(pid)) => format!("VM {} (pid {pid})", text::clean(name, look.ascii)),
        (_, pid) => format!("held by pid {}", number(pid)),
    };
    let disabled = match device.queues_disabled {
        Some(n) if n > 0 => format!(", {n} disabled"),
        _ => String::new(),
    };
    let yes = |known: Option<bool>| match known {
        Some(true) => "yes",
        Some(false) => "no",
        None => unknown,
    };
    let (enabled, max) = (number(device.queues_enabled), number(device.queues_max));
    [
        text::clean(&device.kind, look.ascii).into_owned(),
        format!("queues {enabled} of {max}{disabled}"),
        vm,
        format!("vhost {}", yes(device.vhost)),
        format!("zero-copy {}", yes(device.zerocopy)),
        format!("ifindex {}", device.ifindex),
        format!("netns {}", device.netns),
    ]
}

/// Lines of at most `width` columns with as many parts each as fit.
fn fill(parts: &[String], dot: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if text::width(line) + text::width(dot) + text::width(part) <= width => {
                *line += dot;
                *line += part;
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}
