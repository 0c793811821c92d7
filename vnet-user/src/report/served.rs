//! What the text says of vhost: which devices it serves, how packets were copied, by which worker. Nothing where it
//! serves none.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    DeviceReport, QueueReport, Report,
    format::{clean, plural},
    table,
    text::{Activity, LINES_SHOWN, Names, activity, packets},
};

/// Devices that are named in a line.
const NAMED: usize = 6;

/// Writes devices and queues.
pub(super) fn write(report: &Report, names: &Names, all: bool, out: &mut dyn Write) -> io::Result<()> {
    if report.devices.iter().any(|device| device.vhost == Some(true)) {
        devices(report, names, all, out)?;
    }
    queues(report, names, all, out)
}

/// ```text
/// Devices served by vhost:
///   yes, zero-copy off: tap0 tap1 tap2 and 9 more
///   no: tap12
/// ```
fn devices(report: &Report, names: &Names, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut groups: BTreeMap<_, Vec<&DeviceReport>> = BTreeMap::new();
    for device in &report.devices {
        let group = match (device.vhost, device.zerocopy) {
            (Some(true), Some(true)) => (0, "yes, zero-copy on"),
            (Some(true), Some(false)) => (1, "yes, zero-copy off"),
            (Some(true), None) => (2, "yes, zero-copy not known"),
            (Some(false), _) => (3, "no"),
            (None, _) => (4, "not known"),
        };
        groups.entry(group).or_default().push(device);
    }
    writeln!(out, "\nDevices served by vhost:")?;
    for ((_, group), devices) in groups {
        let shown = if all { devices.len() } else { NAMED.min(devices.len()) };
        let listed: Vec<_> =
            devices[..shown].iter().map(|device| names.long(device.key(), &device.name)).collect();
        let more = match devices.len() - shown {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(out, "  {group}: {}{more}", listed.join(", "))?;
    }
    Ok(())
}

/// What vhost does for a queue is known in some part.
fn served(queue: &QueueReport) -> bool {
    let (tx, rx) = (&queue.tx, &queue.rx);
    let rings = [tx.used, tx.kicks, tx.calls, rx.buffers, rx.kicks, rx.calls];
    queue.worker.is_some() || tx.copies.is_some() || rings.iter().any(Option::is_some)
}

fn queues(report: &Report, names: &Names, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let wanted = |queue: &QueueReport| served(queue) && (all || activity(queue) == Activity::Active);
    let mut shown: Vec<_> = report.queues.iter().filter(|queue| wanted(queue)).enumerate().collect();
    if shown.is_empty() {
        return Ok(());
    }
    let mut left_out = 0;
    if !all {
        // The busiest stay, in the order of the report.
        shown.sort_by_key(|(index, queue)| (std::cmp::Reverse(packets(queue)), *index));
        left_out = shown.len().saturating_sub(LINES_SHOWN);
        shown.truncate(LINES_SHOWN);
        shown.sort_by_key(|(index, _)| *index);
    }
    let rows: Vec<_> = shown
        .into_iter()
        .map(|(_, queue)| table::Row { device: names.short(queue.device_key(), &queue.device), queue })
        .collect();
    writeln!(out)?;
    table::write(table::VHOST, &rows, names.namespaces, out)?;
    match left_out {
        0 => Ok(()),
        more => writeln!(out, "  … {} less busy (--all shows them)", plural(more, "queue")),
    }
}

/// Differences between independent counts: what was missed, or was under way.
pub(super) fn unexplained(report: &Report, names: &Names) -> Vec<String> {
    let of = |device: &DeviceReport| {
        let residuals = device.residuals.iter().filter(|(_, n)| **n != 0);
        let listed: Vec<_> = residuals.map(|(name, n)| format!("{} {n:+}", clean(name))).collect();
        let device = names.long(device.key(), &device.name);
        (!listed.is_empty()).then(|| format!("{device}: {}", listed.join(", ")))
    };
    report.devices.iter().filter_map(of).collect()
}
