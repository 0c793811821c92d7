//! What vhost does for the selected queue: its worker, how packets were copied and why, notifications, runs.

use ratatui::text::{Line, Span};

use super::interrupts;
use crate::{
    report::{CopiesReport, QueueReport, RunsReport, TxReport, WorkerReport},
    tui::{look::Look, text, units},
};

/// ```text
/// worker vhost-4711 (tid 4715) · CPU 3 node 0 · 90.0% busy (9.0% polling) · waited 83.2 ms · moved 12 times
/// calls 97.0% to vCPU 0 · 3.0% to vCPU 1 · LLC 97.0%, remote 3.0% · 97.0% private
/// copies 64.2% batched · 2.0% single · 33.3% zero-copy · 0.5% failed · 12 in flight · 5.87 GB copied · 23.0 per batch
/// copied because short 47.5 M · too many pending 1.48 M · late 370 k
/// TX ring 0.02 kicks, <0.01 calls per packet · 17 calls spared · 74.1 M buffers · runs: empty 1.48 M, weight 106 k
/// RX ring …
/// ```
///
/// Nothing where no part of it is known.
pub(super) fn lines(queue: &QueueReport, look: Look) -> Vec<Line<'static>> {
    let (tx, rx) = (&queue.tx, &queue.rx);
    let mut lines: Vec<_> =
        [worker(queue, look), calls(queue, look), copies(queue, look), copied_because(queue, look)]
            .into_iter()
            .flatten()
            .collect();
    let sides = [
        ("TX ring", [tx.used, tx.kicks, tx.calls, tx.calls_suppressed], None, tx.packets, tx.runs),
        (
            "RX ring",
            [rx.buffers, rx.kicks, rx.calls, rx.calls_suppressed],
            rx.copied_bytes,
            rx.packets,
            rx.runs,
        ),
    ];
    for (label, counts, copied, packets, runs) in sides {
        if counts.iter().any(Option::is_some) || runs.is_some() {
            let mut parts = ring_parts(counts, packets, look);
            parts.extend(copied.and_then(|bytes| Some(units::with_unit(bytes as f64, "B")? + " copied")));
            parts.extend(runs.and_then(runs_part));
            lines.push(line(label, &parts, look));
        }
    }
    lines
}

/// The thread that serves the queue.
pub(super) fn worker(queue: &QueueReport, look: Look) -> Option<Line<'static>> {
    queue.worker.as_ref().map(|worker| line("worker", &worker_parts(worker, look), look))
}

/// Whom its calls interrupt.
pub(super) fn calls(queue: &QueueReport, look: Look) -> Option<Line<'static>> {
    let called = interrupts::parts(queue, look);
    (!called.is_empty()).then(|| line("calls", &called, look))
}

/// How its packets were copied.
pub(super) fn copies(queue: &QueueReport, look: Look) -> Option<Line<'static>> {
    let TxReport { copies, packets, batches, .. } = &queue.tx;
    copies.as_ref().map(|copies| line("copies", &copy_parts(copies, *packets, *batches, look), look))
}

/// Why they were not zero-copy; nothing where all were.
pub(super) fn copied_because(queue: &QueueReport, look: Look) -> Option<Line<'static>> {
    let why = why_parts(queue.tx.copies.as_ref()?);
    (!why.is_empty()).then(|| line("copied because", &why, look))
}

/// A label with what it stands for.
pub(super) fn line(label: &'static str, parts: &[String], look: Look) -> Line<'static> {
    let parts = format!(" {}", parts.join(look.glyphs().dot));
    Line::from(vec![Span::styled(label, look.strong()), Span::styled(parts, look.plain())])
}

fn or_unknown(text: Option<String>, look: Look) -> String {
    text.unwrap_or_else(|| look.glyphs().unknown.to_owned())
}

fn count(n: u64) -> Option<String> {
    units::count(n as f64)
}

fn worker_parts(worker: &WorkerReport, look: Look) -> Vec<String> {
    let number = |n: Option<u32>| or_unknown(n.map(|n| n.to_string()), look);
    let share = |share: Option<f64>| or_unknown(share.and_then(units::share), look);
    let polling = worker.busy_poll_ratio.filter(|polling| *polling > 0.0);
    let polling = polling.map(|polling| format!(" ({} polling)", share(Some(polling)))).unwrap_or_default();
    let busy = format!("{} busy{polling}", share(worker.busy_ratio));
    let waited = worker.wait_seconds.and_then(|seconds| units::with_unit(seconds * 1e3, "ms"));
    vec![
        format!("{} (tid {})", text::clean(&worker.comm, look.ascii), worker.tid),
        format!("CPU {} node {}", number(worker.cpu), number(worker.node)),
        busy,
        format!("waited {}", or_unknown(waited, look)),
        format!("moved {} times", or_unknown(worker.migrations.and_then(count), look)),
    ]
}

fn copy_parts(copies: &CopiesReport, packets: Option<u64>, batches: Option<u64>, look: Look) -> Vec<String> {
    let share = |n: u64| {
        let packets = packets.filter(|packets| *packets > 0)?;
        units::share(n as f64 / packets as f64)
    };
    let mut parts: Vec<_> = [
        ("batched", copies.batched),
        ("single", copies.single),
        ("zero-copy", copies.zerocopy),
        ("failed", copies.zerocopy_failed),
    ]
    .map(|(how, n)| format!("{} {how}", or_unknown(share(n), look)))
    .into();
    parts.push(format!("{} in flight", or_unknown(count(copies.in_flight), look)));
    parts.push(format!("{} copied", or_unknown(units::with_unit(copies.bytes as f64, "B"), look)));
    if let Some(batches) = batches.filter(|batches| *batches > 0) {
        let mean = units::si(copies.batched as f64 / batches as f64);
        parts.push(format!("{} per batch", or_unknown(mean, look)));
    }
    parts
}

/// Most frequent first.
fn why_parts(copies: &CopiesReport) -> Vec<String> {
    let why = copies.why;
    let mut parts = vec![
        ("zero-copy is off", why.module_off),
        ("short", why.short),
        ("too many pending", why.pending),
        ("backing off", why.backoff),
        ("rejected", why.rejected),
        ("late", why.late),
    ];
    parts.retain(|(_, n)| *n > 0);
    parts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    parts.into_iter().filter_map(|(name, n)| Some(format!("{name} {}", count(n)?))).collect()
}

fn ring_parts(
    [used, kicks, calls, suppressed]: [Option<u64>; 4],
    packets: Option<u64>,
    look: Look,
) -> Vec<String> {
    let each = |n: Option<u64>| {
        let packets = packets.filter(|packets| *packets > 0)?;
        units::si(n? as f64 / packets as f64)
    };
    vec![
        format!(
            "{} kicks, {} calls per packet",
            or_unknown(each(kicks), look),
            or_unknown(each(calls), look)
        ),
        format!("{} calls spared", or_unknown(suppressed.and_then(count), look)),
        format!("{} buffers", or_unknown(used.and_then(count), look)),
    ]
}

/// Why runs ended, where any did.
pub(super) fn runs_part(runs: RunsReport) -> Option<String> {
    let RunsReport { empty, weight, busy_poll, no_buffers } = runs;
    let ends = [("empty", empty), ("weight", weight), ("polling", busy_poll), ("no room", no_buffers)];
    let ends: Vec<_> = ends
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .filter_map(|(end, n)| Some(format!("{end} {}", count(n)?)))
        .collect();
    (!ends.is_empty()).then(|| format!("runs: {}", ends.join(", ")))
}
