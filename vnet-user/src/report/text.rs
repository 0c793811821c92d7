//! The report as text: what one would paste into a ticket. One screen, the verdict first.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    time::Duration,
};

use super::{
    DeviceReport, QueueReport, Rate, Report,
    doctor::NO_DEVICE,
    findings,
    format::{clean, cut, maybe, plural, si},
    invisible, locality, served, table,
};
use crate::{record::Known, topology::DeviceKey};

/// Lines of a list that are shown unless all are asked for; what is left out is said.
const QUEUES_SHOWN: usize = 20;
/// Fewer where findings take their room.
const QUEUES_BESIDE_FINDINGS: usize = 6;
pub(super) const LINES_SHOWN: usize = 8;

/// Columns of a device's name; the kernel's are at most 15 bytes.
const WIDEST_NAME: usize = 20;

/// How devices are called in this report.
pub(super) struct Names {
    gone: BTreeSet<DeviceKey>,
    /// There are several namespaces, so that a name alone may mean more than one device.
    pub(super) namespaces: bool,
}

impl Names {
    fn of(report: &Report) -> Self {
        let gone = report.devices.iter().filter(|device| !device.present).map(DeviceReport::key).collect();
        let devices = report.devices.iter().map(|device| device.netns);
        let all: BTreeSet<_> = devices.chain(report.queues.iter().map(|queue| queue.netns)).collect();
        Self { gone, namespaces: all.len() > 1 }
    }

    /// The name in the table, which has a column for the namespace.
    pub(super) fn short(&self, key: DeviceKey, name: &str) -> String {
        cut(name, WIDEST_NAME) + if self.gone.contains(&key) { " (gone)" } else { "" }
    }

    /// The name elsewhere.
    pub(super) fn long(&self, key: DeviceKey, name: &str) -> String {
        let netns = if self.namespaces { format!(" in {}", key.netns.0) } else { String::new() };
        self.short(key, name) + &netns
    }
}

/// Writes the report; `all` shows idle queues and leaves nothing out.
pub fn write(report: &Report, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let names = Names::of(report);
    summary(report, out)?;
    findings::write(report, all, out)?;
    list("Not measured on this kernel:", &unavailable(report), all, out)?;
    queues(report, &names, all, out)?;
    served::write(report, &names, all, out)?;
    locality::write(report, &names, all, out)?;
    list("Drops by the device:", &drops(report, &names), all, out)?;
    list("Drops later in the host's stack (part of TX):", &stack_drops(report, &names), all, out)?;
    list("Unexplained differences between counts:", &served::unexplained(report, &names), all, out)?;
    list("Traffic not covered:", &uncovered(report, &names), all, out)?;
    list("Devices of guests that cannot be seen:", &invisible::lines(report), all, out)
}

fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let source = &report.source;
    let name = |text: &Option<String>| maybe(text.as_deref(), |text| cut(text, 64));
    writeln!(
        out,
        "vnet {} on {}, Linux {}: {} from {}",
        report.tool.version,
        name(&source.host),
        name(&source.kernel),
        seconds(source.duration_s),
        name(&source.started),
    )?;
    writeln!(out, "{}", findings::verdict(report))?;
    let gone = report.devices.iter().filter(|device| !device.present).count();
    let devices = plural(report.devices.len(), "device");
    let gone = if gone > 0 { format!(" ({gone} gone)") } else { String::new() };
    let active = report.queues.iter().filter(|queue| activity(queue) == Activity::Active).count();
    writeln!(out, "{devices}{gone}, {}, {active} active", plural(report.queues.len(), "queue"))?;
    if report.devices.is_empty() {
        writeln!(out, "{NO_DEVICE}")?;
    }
    writeln!(out, "TX {}; RX {}", total(report.average.tx), total(report.average.rx))?;
    writeln!(out, "{}", dropped(report))?;
    match (report.lost.events, report.lost.records) {
        (0, 0) => writeln!(out, "Nothing lost while measuring"),
        (events, records) => {
            writeln!(out, "LOST while measuring: {events} kernel events, {records} records")
        }
    }
}

/// `5.0 s`, `2m 3s`.
fn seconds(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds >= 100.0 => {
            humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
        }
        _ => format!("{seconds:.1} s"),
    }
}

fn total(rate: Option<Rate>) -> String {
    maybe(rate, |rate| format!("{} packets/s, {} bit/s", si(rate.pps), si(rate.bps)))
}

/// All drops in a line, and how much of that is known.
fn dropped(report: &Report) -> String {
    let sides = report.queues.iter().flat_map(|queue| [queue.tx.drops.as_ref(), queue.rx.drops.as_ref()]);
    let (mut drops, mut known, mut unknown) = (0u64, false, false);
    for side in sides {
        known |= side.is_some();
        unknown |= side.is_none();
        drops = side.into_iter().flat_map(BTreeMap::values).fold(drops, |sum, n| sum.saturating_add(*n));
    }
    match (drops, known, unknown) {
        (0, false, true) => "Drops by the device are not known".into(),
        (0, _, true) => "No drops by the device where they are known".into(),
        (0, _, false) => "No drops by the device".into(),
        (_, _, true) => format!("DROPS by the device: at least {drops}"),
        (_, _, false) => format!("DROPS by the device: {drops}"),
    }
}

fn unavailable(report: &Report) -> Vec<String> {
    let missing = report.probes.iter().filter(|probe| probe.state == Known::Unavailable);
    missing
        .map(|probe| {
            let reason = probe.reason.as_deref().unwrap_or("no reason given");
            format!("{}: {}", clean(&probe.signal), clean(reason))
        })
        .collect()
}

/// What is known of a queue's traffic.
#[derive(PartialEq)]
pub(super) enum Activity {
    Active,
    Idle,
    Unknown,
}

pub(super) fn activity(queue: &QueueReport) -> Activity {
    let sum = |drops: &Option<BTreeMap<_, u64>>| drops.as_ref().map(|drops| drops.values().any(|n| *n > 0));
    let any = |count: Option<u64>| count.map(|count| count > 0);
    let (tx, rx) = (any(queue.tx.packets), any(queue.rx.packets));
    let seen = [tx, rx, sum(&queue.tx.drops), sum(&queue.rx.drops)];
    if seen.contains(&Some(true)) {
        Activity::Active
    } else if tx.is_none() || rx.is_none() {
        Activity::Unknown
    } else {
        Activity::Idle
    }
}

/// Packets of both directions, as far as they are known.
pub(super) fn packets(queue: &QueueReport) -> u64 {
    queue.tx.packets.unwrap_or(0).saturating_add(queue.rx.packets.unwrap_or(0))
}

fn queues(report: &Report, names: &Names, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut shown: Vec<_> = report.queues.iter().enumerate().collect();
    let mut hidden = Vec::new();
    if !all {
        let count = |kind| report.queues.iter().filter(|queue| activity(queue) == kind).count();
        let mut hide = |count: usize, what: &str| {
            if count > 0 {
                hidden.push(format!("{count} {what} queue{}", if count == 1 { "" } else { "s" }));
            }
        };
        shown.retain(|(_, queue)| activity(queue) == Activity::Active);
        // The busiest stay, in the order of the report.
        shown.sort_by_key(|(index, queue)| (std::cmp::Reverse(packets(queue)), *index));
        let most = if report.findings.is_empty() { QUEUES_SHOWN } else { QUEUES_BESIDE_FINDINGS };
        hide(shown.len().saturating_sub(most), "less busy");
        shown.truncate(most);
        shown.sort_by_key(|(index, _)| *index);
        hide(count(Activity::Idle), "idle");
        hide(count(Activity::Unknown), "unmeasured");
    }
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(_, queue)| table::Row { device: names.short(queue.device_key(), &queue.device), queue })
        .collect();
    if !shown.is_empty() {
        writeln!(out)?;
        table::write(table::TRAFFIC, &shown, names.namespaces, out)?;
    }
    if !hidden.is_empty() {
        writeln!(
            out,
            "{}{} not shown (--all shows them)",
            if shown.is_empty() { "\n" } else { "" },
            hidden.join(", ")
        )?;
    }
    Ok(())
}

/// Drops of each device by direction and reason, over its queues.
fn drops(report: &Report, names: &Names) -> Vec<String> {
    let mut sums = BTreeMap::new();
    for queue in &report.queues {
        for (direction, drops) in [("TX", &queue.tx.drops), ("RX", &queue.rx.drops)] {
            for (reason, n) in drops.iter().flatten().filter(|(_, n)| **n > 0) {
                let key = (queue.netns, queue.ifindex, queue.generation, direction, reason.as_ref());
                let (sum, queues) = sums.entry(key).or_insert((0u64, Vec::new()));
                *sum = sum.saturating_add(*n);
                queues.push(queue);
            }
        }
    }
    sums.into_iter()
        .map(|((_, _, _, direction, reason), (sum, queues))| {
            let numbers: Vec<_> = queues.iter().take(9).map(|queue| queue.queue.to_string()).collect();
            let more = if queues.len() > 9 { " …" } else { "" };
            let device = names.long(queues[0].device_key(), &queues[0].device);
            format!("{device} {direction} {}: {sum} (queue {}{more})", clean(reason), numbers.join(" "))
        })
        .collect()
}

fn stack_drops(report: &Report, names: &Names) -> Vec<String> {
    let dropping = |queue: &&QueueReport| queue.tx.stack_drops.is_some_and(|n| n > 0);
    let line = |queue: &QueueReport| {
        let n = queue.tx.stack_drops.unwrap_or(0);
        let device = names.long(queue.device_key(), &queue.device);
        format!("{device} queue {}: {n}", queue.queue)
    };
    report.queues.iter().filter(dropping).map(line).collect()
}

fn uncovered(report: &Report, names: &Names) -> Vec<String> {
    let devices = report.devices.iter().filter(|device| !device.uncovered.is_empty());
    devices
        .map(|device| {
            let reasons = device.uncovered.join("; ");
            format!("{} ({}): {}", names.long(device.key(), &device.name), device.kind, clean(&reasons))
        })
        .collect()
}

/// A titled list, cut after [`LINES_SHOWN`] unless all are asked for. Nothing when it is empty.
fn list(title: &str, lines: &[String], all: bool, out: &mut dyn Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    let shown = if all { lines.len() } else { LINES_SHOWN.min(lines.len()) };
    for line in &lines[..shown] {
        writeln!(out, "  {line}")?;
    }
    match lines.len() - shown {
        0 => Ok(()),
        more => writeln!(out, "  … {more} more (--all shows them)"),
    }
}
