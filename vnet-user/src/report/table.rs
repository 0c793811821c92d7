//! Plain tables: a column is one row of a list, with its title, its width and how a cell is filled.

use std::io::{self, Write};

use super::{
    CopiesReport, QueueReport, Rate, WorkerReport,
    format::{count, maybe, pad, percent, si, width},
};

/// One line of a table of queues.
pub(super) struct Row<'a> {
    /// Name of the device as it is shown.
    pub(super) device: String,
    /// The queue.
    pub(super) queue: &'a QueueReport,
}

/// One column.
pub(super) struct Column {
    /// Heading above neighbours that share it; the first of them holds it.
    group: &'static str,
    title: &'static str,
    /// Least width; a wider cell widens the column.
    width: usize,
    /// Numbers stand at the right.
    right: bool,
    cell: fn(&Row<'_>) -> String,
}

const fn number(title: &'static str, width: usize, cell: fn(&Row<'_>) -> String) -> Column {
    Column { group: "", title, width, right: true, cell }
}

const DEVICE: Column =
    Column { group: "", title: "DEVICE", width: 8, right: false, cell: |row| row.device.clone() };
/// Left out where all devices are in one namespace.
const NETNS: Column = number("NETNS", 10, |row| row.queue.netns.to_string());
const QUEUE: Column = number("QUEUE", 5, |row| row.queue.queue.to_string());

/// What queues carry, left to right.
pub(super) const TRAFFIC: &[Column] = &[
    DEVICE,
    NETNS,
    QUEUE,
    Column { group: "TX, guest sends", ..number("pps", 5, |row| pps(row.queue.average.tx)) },
    number("bit/s", 5, |row| bps(row.queue.average.tx)),
    number("size", 5, |row| size(row.queue.average.tx)),
    number("drops", 6, |row| drops(row.queue.tx.drops.as_ref().map(|drops| drops.values()))),
    Column { group: "RX, guest receives", ..number("pps", 5, |row| pps(row.queue.average.rx)) },
    number("bit/s", 5, |row| bps(row.queue.average.rx)),
    number("size", 5, |row| size(row.queue.average.rx)),
    number("drops", 6, |row| drops(row.queue.rx.drops.as_ref().map(|drops| drops.values()))),
    number("share", 5, |row| maybe(row.queue.average.share, percent)),
];

/// What vhost does for them: shares of TX packets by how they were copied, notifications per packet, the worker.
pub(super) const VHOST: &[Column] = &[
    DEVICE,
    NETNS,
    QUEUE,
    Column { group: "TX, how copied", ..number("batch", 5, |row| copied(row, |copies| copies.batched)) },
    number("single", 6, |row| copied(row, |copies| copies.single)),
    number("zero", 5, |row| copied(row, |copies| copies.zerocopy)),
    number("failed", 6, |row| copied(row, |copies| copies.zerocopy_failed)),
    number("bytes", 5, |row| maybe(row.queue.tx.copies.as_ref(), |copies| si(copies.bytes as f64))),
    Column { group: "TX/packet", ..number("kicks", 5, |row| each(row.queue.tx.kicks, row.queue.tx.packets)) },
    number("calls", 5, |row| each(row.queue.tx.calls, row.queue.tx.packets)),
    Column { group: "RX/packet", ..number("kicks", 5, |row| each(row.queue.rx.kicks, row.queue.rx.packets)) },
    number("calls", 5, |row| each(row.queue.rx.calls, row.queue.rx.packets)),
    Column {
        group: "worker",
        ..number("tid", 6, |row| of_worker(row, |worker| Some(worker.tid.to_string())))
    },
    number("CPU", 3, |row| of_worker(row, |worker| worker.cpu.map(|cpu| cpu.to_string()))),
    number("busy", 4, |row| of_worker(row, |worker| worker.average_busy.map(percent))),
];

fn copied(row: &Row<'_>, part: fn(&CopiesReport) -> u64) -> String {
    let whole = row.queue.tx.packets.filter(|packets| *packets > 0);
    maybe(row.queue.tx.copies.as_ref().zip(whole), |(copies, whole)| {
        percent(part(copies) as f64 / whole as f64)
    })
}

/// A count for each packet; not known while there is none.
fn each(count: Option<u64>, packets: Option<u64>) -> String {
    let packets = packets.filter(|packets| *packets > 0);
    maybe(count.zip(packets), |(count, packets)| si(count as f64 / packets as f64))
}

fn of_worker(row: &Row<'_>, text: fn(&WorkerReport) -> Option<String>) -> String {
    maybe(row.queue.worker.as_deref().and_then(text), |text| text)
}

fn pps(rate: Option<Rate>) -> String {
    maybe(rate, |rate| si(rate.pps))
}

fn bps(rate: Option<Rate>) -> String {
    maybe(rate, |rate| si(rate.bps))
}

fn size(rate: Option<Rate>) -> String {
    maybe(rate.and_then(|rate| rate.mean_size), |size| si(size.round()))
}

fn drops<'a>(drops: Option<impl Iterator<Item = &'a u64>>) -> String {
    maybe(drops, |drops| count(drops.fold(0, |sum, n| sum.saturating_add(*n))))
}

/// Writes the queues under their headings; `with_netns` adds the namespace.
pub(super) fn write(
    columns: &[Column],
    rows: &[Row<'_>],
    with_netns: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns: Vec<_> = columns.iter().filter(|column| with_netns || column.title != NETNS.title).collect();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| (column.cell)(row)).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| cells.iter().map(|row| width(&row[i])).max().unwrap_or(0).max(column.width))
        .collect();

    let mut groups = String::new();
    let mut start = 0;
    for (column, width) in columns.iter().zip(&widths) {
        if !column.group.is_empty() {
            groups = pad(&groups, start, false) + column.group;
        }
        start += width + 1;
    }
    writeln!(out, "{groups}")?;
    let titles = columns.iter().map(|column| column.title.to_owned()).collect();
    for row in [titles].iter().chain(&cells) {
        let cells = row.iter().zip(&columns).zip(&widths);
        let line: Vec<_> = cells.map(|((cell, column), width)| pad(cell, *width, column.right)).collect();
        writeln!(out, "{}", line.join(" ").trim_end())?;
    }
    Ok(())
}
