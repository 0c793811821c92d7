//! Plain tables: a column is one row of a list, with its title, its width and how a cell is filled.

use std::io::{self, Write};

use super::{
    QueueReport, Rate,
    format::{count, maybe, pad, percent, si, width},
};

/// One line of the queue table.
pub(super) struct Row<'a> {
    /// Name of the device as it is shown.
    pub(super) device: String,
    /// The queue.
    pub(super) queue: &'a QueueReport,
}

/// One column.
struct Column {
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

/// The columns of the queue table, left to right. `NETNS` is left out where all devices are in one namespace.
const COLUMNS: [Column; 12] = [
    Column { group: "", title: "DEVICE", width: 8, right: false, cell: |row| row.device.clone() },
    number(NETNS, 10, |row| row.queue.netns.to_string()),
    number("QUEUE", 5, |row| row.queue.queue.to_string()),
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

const NETNS: &str = "NETNS";

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
pub(super) fn write(rows: &[Row<'_>], with_netns: bool, out: &mut dyn Write) -> io::Result<()> {
    let columns: Vec<_> = COLUMNS.iter().filter(|column| with_netns || column.title != NETNS).collect();
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
