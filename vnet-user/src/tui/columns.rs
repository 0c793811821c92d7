//! All columns of all tables: a new column is one row of [`COLUMNS`].

use Value::{Drops, History, Name, Number, Pair, Sum, Text, Verdict};

use super::{
    facts::{self, Direction, Row},
    units,
};
use crate::report::{CopiesReport, HISTORY};

/// One column.
#[derive(Debug)]
pub struct Column {
    /// Heading over neighbouring columns; empty for none.
    pub group: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Narrowest width.
    pub min: usize,
    /// Width that it should have before less important columns are shown.
    pub good: usize,
    /// Width that it may grow to.
    pub max: usize,
    /// Place in the device table: 0 is always shown, larger ones go first when it is narrow; `None` is not in it.
    pub devices: Option<u8>,
    /// Likewise in the queue table.
    pub queues: Option<u8>,
    /// What it says; decides how it is sorted and aligned too.
    pub value: Value,
}

/// How a number is written.
pub type Unit = fn(f64) -> Option<String>;

/// What a column says of a row.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// The device's name, with `gone` and `*` (not covered) behind it.
    Name,
    /// The worst finding and how many more; sorted by how bad it is.
    Verdict,
    /// A text.
    Text(fn(Row<'_>) -> Option<String>),
    /// A number.
    Number(fn(Row<'_>) -> Option<f64>, Unit),
    /// This many of that many.
    Pair(fn(Row<'_>) -> [Option<u32>; 2]),
    /// A sum; `+` behind it says that a part is not known.
    Sum(fn(Row<'_>) -> Option<facts::Sum>, Unit),
    /// Likewise; anything above zero is a warning.
    Drops(fn(Row<'_>) -> Option<facts::Sum>, Unit),
    /// Bars of past packets per second; sorted by those of the last interval.
    History,
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// One row per device.
    Devices,
    /// One row per queue.
    Queues,
}

/// All columns, from left to right.
#[rustfmt::skip] // a table reads by column
pub const COLUMNS: &[Column] = &[
    Column { group: "", title: "device", min: 12, good: 12, max: 20, devices: Some(0), queues: Some(0), value: Name },
    Column { group: "", title: "q", min: 3, good: 3, max: 3, devices: None, queues: Some(0), value: Number(queue, units::count) },
    Column { group: "", title: "verdict", min: 8, good: 8, max: 8, devices: Some(1), queues: Some(6), value: Verdict },
    Column { group: "", title: "kind", min: 10, good: 10, max: 10, devices: Some(4), queues: Some(5), value: Text(kind) },
    Column { group: "", title: "VM", min: 12, good: 12, max: 24, devices: Some(4), queues: Some(6), value: Text(vm) },
    Column { group: "", title: "netns", min: 10, good: 10, max: 10, devices: Some(6), queues: Some(7), value: Text(netns) },
    Column { group: "", title: "queues", min: 7, good: 7, max: 7, devices: Some(2), queues: None, value: Pair(queues) },
    Column { group: "TX", title: "pps", min: 6, good: 6, max: 6, devices: Some(1), queues: Some(1), value: Number(tx_pps, units::si) },
    Column { group: "TX", title: "bit/s", min: 6, good: 6, max: 6, devices: Some(1), queues: Some(1), value: Number(tx_bps, units::si) },
    Column { group: "TX", title: "size", min: 5, good: 5, max: 5, devices: Some(4), queues: Some(2), value: Number(tx_size, units::size) },
    Column { group: "RX", title: "pps", min: 6, good: 6, max: 6, devices: Some(1), queues: Some(1), value: Number(rx_pps, units::si) },
    Column { group: "RX", title: "bit/s", min: 6, good: 6, max: 6, devices: Some(1), queues: Some(1), value: Number(rx_bps, units::si) },
    Column { group: "RX", title: "size", min: 5, good: 5, max: 5, devices: Some(4), queues: Some(2), value: Number(rx_size, units::size) },
    Column { group: "drops", title: "/s", min: 7, good: 7, max: 7, devices: Some(2), queues: Some(2), value: Drops(drop_rate, units::si) },
    Column { group: "drops", title: "total", min: 7, good: 7, max: 7, devices: Some(5), queues: Some(5), value: Drops(all_drops, units::count) },
    Column { group: "", title: "share", min: 6, good: 6, max: 6, devices: None, queues: Some(3), value: Number(share, units::share) },
    Column { group: "packets", title: "TX", min: 7, good: 7, max: 7, devices: Some(7), queues: Some(8), value: Sum(tx_packets, units::count) },
    Column { group: "packets", title: "RX", min: 7, good: 7, max: 7, devices: Some(7), queues: Some(8), value: Sum(rx_packets, units::count) },
    Column { group: VHOST, title: "CPU", min: 4, good: 4, max: 4, devices: None, queues: Some(4), value: Number(worker_cpu, units::count) },
    Column { group: VHOST, title: "busy", min: 5, good: 5, max: 5, devices: None, queues: Some(4), value: Number(worker_busy, units::share) },
    Column { group: VHOST, title: "copied", min: 7, good: 7, max: 7, devices: None, queues: Some(4), value: Number(copied, units::share) },
    Column { group: VHOST, title: "calls", min: 6, good: 6, max: 6, devices: None, queues: Some(4), value: Number(calls, units::si) },
    Column { group: "", title: LOAD, min: 6, good: 20, max: HISTORY, devices: Some(3), queues: Some(3), value: History },
];

/// The column with the history of packets per second in both directions; tables start sorted by it.
const LOAD: &str = "load";

/// The group of what vhost does; shown where something of that is known.
const VHOST: &str = "vhost";

fn queue(row: Row<'_>) -> Option<f64> {
    row.queue().map(|queue| f64::from(queue.queue))
}

fn kind(row: Row<'_>) -> Option<String> {
    row.kind().map(str::to_owned)
}

/// Name of the VM, or the process that holds the queues.
pub(super) fn vm(row: Row<'_>) -> Option<String> {
    let pid = || row.device()?.vm_pid.map(|pid| format!("pid {pid}"));
    row.vm_name().map(str::to_owned).or_else(pid)
}

fn netns(row: Row<'_>) -> Option<String> {
    row.key().map(|key| key.device.netns.0.to_string())
}

fn queues(row: Row<'_>) -> [Option<u32>; 2] {
    row.device().map_or([None; 2], |device| [device.queues_enabled, device.queues_max])
}

fn tx_pps(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Tx).map(|rate| rate.pps)
}

fn rx_pps(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Rx).map(|rate| rate.pps)
}

fn tx_bps(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Tx).map(|rate| rate.bps)
}

fn rx_bps(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Rx).map(|rate| rate.bps)
}

fn tx_size(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Tx)?.mean_size
}

fn rx_size(row: Row<'_>) -> Option<f64> {
    row.rate(Direction::Rx)?.mean_size
}

fn share(row: Row<'_>) -> Option<f64> {
    row.queue()?.share
}

fn tx_packets(row: Row<'_>) -> Option<facts::Sum> {
    row.packets(Direction::Tx)
}

fn rx_packets(row: Row<'_>) -> Option<facts::Sum> {
    row.packets(Direction::Rx)
}

fn worker_cpu(row: Row<'_>) -> Option<f64> {
    row.queue()?.worker.as_ref()?.cpu.map(f64::from)
}

fn worker_busy(row: Row<'_>) -> Option<f64> {
    row.queue()?.worker.as_ref()?.busy_ratio
}

/// Share of TX packets that were copied, sooner or later.
fn copied(row: Row<'_>) -> Option<f64> {
    let tx = &row.queue()?.tx;
    let CopiesReport { batched, single, zerocopy_failed, .. } = **tx.copies.as_ref()?;
    let sum: f64 = [batched, single, zerocopy_failed].map(|n| n as f64).iter().sum();
    Some(sum / tx.packets.filter(|packets| *packets > 0)? as f64)
}

/// Notifications to the guest for each packet, both directions.
fn calls(row: Row<'_>) -> Option<f64> {
    let queue = row.queue()?;
    let both = |tx: Option<u64>, rx: Option<u64>| Some(tx? as f64 + rx? as f64);
    let packets = both(queue.tx.packets, queue.rx.packets).filter(|packets| *packets > 0.0)?;
    Some(both(queue.tx.calls, queue.rx.calls)? / packets)
}

fn drop_rate(row: Row<'_>) -> Option<facts::Sum> {
    row.drop_rate()
}

fn all_drops(row: Row<'_>) -> Option<facts::Sum> {
    row.all_drops()
}

impl Column {
    /// How soon it is dropped from a narrow table; `None` is not in it at all.
    pub fn priority(&self, table: Table) -> Option<u8> {
        match table {
            Table::Devices => self.devices,
            Table::Queues => self.queues,
        }
    }

    /// Text starts at the left, numbers end at the right.
    pub fn left(&self) -> bool {
        matches!(self.value, Name | Verdict | Text(_) | History)
    }

    /// Sorting starts with the largest: numbers do, texts and queue numbers do not.
    pub fn descending(&self) -> bool {
        !matches!(self.value, Name | Text(_)) && self.title != "q"
    }

    /// Heading with its group: `TX pps`.
    pub fn full_title(&self) -> String {
        match (self.group, self.title) {
            ("", title) => title.to_owned(),
            ("drops", "/s") => "drops/s".to_owned(),
            (group, title) => format!("{group} {title}"),
        }
    }
}

/// Place in [`COLUMNS`] of the column that tables start sorted by.
pub fn busiest() -> usize {
    COLUMNS.iter().position(|column| column.title == LOAD).unwrap_or(0)
}

/// Columns between two columns.
pub const GAP: usize = 1;

/// The columns of a table that fit `width`, as places in [`COLUMNS`] with the width each gets, from left to right.
///
/// Those about vhost are left out unless `vhost`. The more important ones come first; what is left over lets all of them grow to their good width, then the left ones
/// before the right ones.
pub fn fit(table: Table, width: usize, vhost: bool) -> Vec<(usize, usize)> {
    let wanted = (0..COLUMNS.len()).filter(|i| vhost || COLUMNS[*i].group != VHOST);
    let mut ranked: Vec<_> = wanted.filter_map(|i| Some((COLUMNS[i].priority(table)?, i))).collect();
    ranked.sort_unstable();
    let mut used = 0;
    let mut shown = Vec::new();
    let mut reserved = 0;
    for (priority, i) in ranked {
        let column = &COLUMNS[i];
        let needed = column.min + if shown.is_empty() { 0 } else { GAP };
        if priority == 0 || used + needed + reserved <= width {
            used += needed;
            reserved += column.good - column.min;
            shown.push((i, column.min));
        }
    }
    shown.sort_unstable();
    let mut spare = width.saturating_sub(used);
    for enough in [|column: &Column| column.good, |column: &Column| column.max] {
        for (i, width) in &mut shown {
            let more = spare.min(enough(&COLUMNS[*i]) - *width);
            *width += more;
            spare -= more;
        }
    }
    shown
}

/// A column where it stands in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Place in [`COLUMNS`].
    pub column: usize,
    /// Its first column on the screen.
    pub x: u16,
    /// How wide it is.
    pub width: u16,
}

/// [`fit`], from `x` on.
pub fn place(table: Table, x: u16, width: usize, vhost: bool) -> Vec<Placed> {
    let mut x = usize::from(x);
    let narrow = |columns: usize| u16::try_from(columns).unwrap_or(u16::MAX);
    let placed = |(column, width)| {
        let placed = Placed { column, x: narrow(x), width: narrow(width) };
        x += width + GAP;
        placed
    };
    fit(table, width, vhost).into_iter().map(placed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(table: Table, width: usize) -> String {
        fit(table, width, true).iter().map(|(i, _)| COLUMNS[*i].full_title()).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn eighty_columns_show_what_matters() {
        assert_eq!(
            titles(Table::Queues, 78),
            "device, q, TX pps, TX bit/s, TX size, RX pps, RX bit/s, RX size, drops/s, share, load"
        );
        assert_eq!(
            titles(Table::Devices, 78),
            "device, verdict, queues, TX pps, TX bit/s, RX pps, RX bit/s, drops/s, load"
        );
    }

    #[test]
    fn wide_tables_show_everything() {
        for table in [Table::Devices, Table::Queues] {
            let all = COLUMNS.iter().filter(|column| column.priority(table).is_some()).count();
            assert_eq!(fit(table, 200, true).len(), all);
        }
    }

    #[test]
    fn columns_about_vhost_come_and_go_together_with_it() {
        let vhost = |width, vhost| {
            fit(Table::Queues, width, vhost).iter().filter(|(i, _)| COLUMNS[*i].group == VHOST).count()
        };
        assert_eq!([vhost(118, true), vhost(198, true)], [4, 4]);
        assert_eq!([vhost(78, true), vhost(198, false)], [0, 0]);
    }

    #[test]
    fn columns_never_overflow_and_use_what_there_is() {
        for table in [Table::Devices, Table::Queues] {
            for width in 16..400 {
                let columns = fit(table, width, width % 2 == 0);
                let used: usize = columns.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP;
                assert!(used <= width, "{used} of {width}");
                assert!(columns.iter().all(|&(i, w)| (COLUMNS[i].min..=COLUMNS[i].max).contains(&w)));
                assert!(columns.is_sorted());
            }
        }
    }

    #[test]
    fn headings_leave_room_for_the_arrow() {
        for column in COLUMNS {
            assert!(column.title.len() < column.min || column.title.len() <= 2, "{}", column.title);
            assert!(column.min <= column.good && column.good <= column.max);
        }
    }

    #[test]
    fn tables_start_sorted_by_load() {
        assert_eq!(COLUMNS[busiest()].title, LOAD);
    }
}
