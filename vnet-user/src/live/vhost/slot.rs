//! What vhost did for the queue of a slot, and how it takes the place of what the stack saw.

use vnet_ebpf::{
    counter::{RECV, Row, XMIT},
    hist::CLASSES,
    vhost::{RX, TX, VHOST_ROW, VhostRow},
};

use super::read::{EMPTY, Known, is_used, whole};
use crate::{
    live::{counters::flow, mmap::Shared},
    record::Flow,
};

/// What vhost did for the queue of a slot.
pub(crate) struct VhostSlot {
    /// `None` while it has done nothing: on most hosts it serves every queue or none.
    counts: Option<Box<Counts>>,
    /// vhost had sent nothing when it was last read.
    quiet: bool,
    /// It did not serve the queue then.
    unserved: bool,
    /// It has been known to serve it: from then on it is known too when it does not.
    followed: bool,
}

struct Counts {
    /// Counts that were there before counting began.
    base: VhostRow,
    /// As last read.
    told: VhostRow,
    /// What the stack saw of the queue before vhost served it: from then on, vhost's own counts are added to this.
    before: Option<Row>,
}

/// A reading of what vhost did.
pub(crate) enum Reading {
    /// Nothing yet.
    Unused,
    /// All of one instant.
    Whole(Box<VhostRow>),
    /// What was read before still holds.
    Torn,
}

impl VhostSlot {
    /// Nothing is told yet; `base` is what was counted before counting began.
    pub(crate) fn new(base: &VhostRow) -> Self {
        let counts = is_used(base).then(|| Box::new(Counts { base: *base, told: EMPTY, before: None }));
        Self { counts, quiet: false, unserved: false, followed: false }
    }

    /// What vhost has done by now.
    pub(crate) fn read(&self, rows: &Shared<VhostRow>, slot: usize) -> Reading {
        let used = || (0..VHOST_ROW).any(|cell| rows.word(slot, cell) != 0);
        if self.counts.is_none() && !used() {
            return Reading::Unused;
        }
        whole(rows, slot).map_or(Reading::Torn, |row| Reading::Whole(Box::new(row)))
    }

    /// Takes newer counts; `earlier` is what was told of the stack's before, `stack` what they are now. True when something
    /// has changed.
    ///
    /// A packet that vhost sends is seen by the stack in the same breath. So what the stack sees of the guest's TX while vhost
    /// sends nothing, and sent nothing in the interval before either, came in another way: the monitor has taken the
    /// queue back (a guest that boots). It is counted as what was before vhost; at once where vhost is known not to have
    /// served the queue at either end of the interval (`served` says so of its end).
    ///
    /// The guest's RX is not: what the stack hands to the tap then may wait there until vhost gives it to the guest.
    pub(crate) fn take(&mut self, reading: Reading, earlier: &Row, stack: &Row, served: bool) -> bool {
        let row = match reading {
            Reading::Torn => return false,
            Reading::Unused => None,
            Reading::Whole(row) => Some(row),
        };
        self.followed |= served;
        let unserved = self.followed && !served;
        let Some(mut row) = row else {
            (self.quiet, self.unserved) = (true, unserved);
            return false;
        };
        let counts =
            self.counts.get_or_insert_with(|| Box::new(Counts { base: EMPTY, told: EMPTY, before: None }));
        for (cell, base) in row.iter_mut().zip(counts.base) {
            *cell = cell.wrapping_sub(base);
        }
        if counts.before.is_none() && is_used(&row) {
            counts.before = Some(*earlier);
        }
        let sent = |row: &VhostRow| flow(row, TX);
        let quiet = sent(&row) == sent(&counts.told);
        let monitor = quiet && (self.quiet || unserved && self.unserved);
        if let Some(before) = counts.before.as_mut().filter(|_| monitor) {
            for cell in RECV.bytes()..=RECV.size(CLASSES - 1) {
                before[cell] += stack[cell].saturating_sub(earlier[cell]);
            }
        }
        (self.quiet, self.unserved) = (quiet, unserved);
        std::mem::replace(&mut counts.told, *row) != *row
    }

    /// What vhost did, once it has served the queue: what it saw then takes the place of what the stack saw since.
    pub(crate) fn replace(
        &self,
        known: Known,
        tx: &mut Option<Flow>,
        rx: &mut Option<Flow>,
    ) -> Option<VhostRow> {
        let Counts { told, before, .. } = &**self.counts.as_ref()?;
        let before = before.as_ref()?;
        let replace = |seen: &mut Option<Flow>, direction, earlier| {
            let seen = seen.get_or_insert_default();
            let mut own = flow(told, direction);
            own.add_packets(&flow(before, earlier));
            (seen.bytes, seen.segments, seen.sizes) = (own.bytes, own.segments, own.sizes);
        };
        if known.tx {
            replace(tx, TX, RECV);
        }
        if known.rx {
            replace(rx, RX, XMIT);
        }
        Some(*told)
    }
}

#[cfg(test)]
mod tests {
    use vnet_ebpf::counter::ROW;

    use super::*;

    /// Packets that the stack saw, and vhost sent; each of 100 bytes.
    fn counts(stack: u64, vhost: u64) -> (VhostRow, Row) {
        let (mut own, mut row) = (EMPTY, [0; ROW]);
        (own[TX.bytes()], own[TX.size(1)]) = (vhost * 100, vhost);
        (row[RECV.bytes()], row[RECV.size(1)]) = (stack * 100, stack);
        (own, row)
    }

    /// Packets told of a queue after each reading.
    fn told(readings: &[(u64, u64)]) -> Vec<u64> {
        told_of(readings.iter().map(|(stack, vhost)| (*stack, *vhost, true)))
    }

    /// Likewise, where it is known at each reading whether vhost serves the queue.
    fn told_of(readings: impl IntoIterator<Item = (u64, u64, bool)>) -> Vec<u64> {
        let (mut slot, mut earlier) = (VhostSlot::new(&EMPTY), [0; ROW]);
        let tell = |(stack, vhost, served)| {
            let (own, row) = counts(stack, vhost);
            let reading = if is_used(&own) { Reading::Whole(Box::new(own)) } else { Reading::Unused };
            slot.take(reading, &earlier, &row, served);
            earlier = row;
            let before = slot.counts.as_ref().and_then(|counts| counts.before);
            before.map_or(row[RECV.size(1)], |before| before[RECV.size(1)] + own[TX.size(1)])
        };
        readings.into_iter().map(tell).collect()
    }

    #[test]
    fn vhost_counts_from_where_it_begins() {
        assert_eq!(told(&[(5, 0), (15, 10), (40, 35)]), [5, 15, 40]);
    }

    #[test]
    fn what_the_stack_sees_late_is_not_counted_again() {
        assert_eq!(told(&[(0, 0), (3, 64), (64, 64), (64, 64)]), [0, 64, 64, 64]);
    }

    #[test]
    fn what_comes_between_two_readings_without_vhost_is_counted() {
        let readings = [(0, 0, false), (9, 9, true), (12, 9, false), (20, 9, false), (21, 18, true)];
        // The interval in which it changed hands is not.
        assert_eq!(told_of(readings), [0, 9, 9, 17, 26]);
        assert_eq!(told_of([(9, 9, false), (12, 9, false)]), [9, 9], "nobody knew that vhost served it");
    }

    #[test]
    fn a_queue_that_its_monitor_took_back_is_counted_on() {
        // The interval in which that is noticed is not counted: what came in it may have been vhost's.
        assert_eq!(
            told(&[(10, 10), (10, 10), (10, 10), (17, 10), (30, 10), (31, 11)]),
            [10, 10, 10, 17, 30, 31]
        );
        assert_eq!(told(&[(10, 10), (17, 10), (30, 10)]), [10, 10, 23]);
    }
}
