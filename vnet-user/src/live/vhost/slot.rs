//! What vhost did for the queue of a slot, and how it takes the place of what the stack saw.

use vnet_ebpf::{
    counter::{RECV, Row},
    hist::CLASSES,
    vhost::{RX, TX, VhostRow},
};

use super::read::{EMPTY, Known, is_used};
use crate::{live::counters::flow, record::Flow};

/// What vhost did for the queue of a slot.
pub(crate) struct VhostSlot {
    /// Counts that were there before counting began.
    base: VhostRow,
    /// As last read.
    told: VhostRow,
    /// What the stack saw of the queue before vhost served it: from then on, vhost's own counts are added to this.
    before: Option<Row>,
    /// vhost had sent nothing when it was last read.
    quiet: bool,
    /// It did not serve the queue then.
    unserved: bool,
    /// It has been known to serve it: from then on it is known too when it does not.
    followed: bool,
}

/// What the stack saw of a queue before vhost served it, per direction of the guest.
pub(crate) struct Before {
    pub(crate) tx: Flow,
    pub(crate) rx: Flow,
}

impl VhostSlot {
    /// Nothing is told yet; `base` is what was counted before counting began.
    pub(crate) fn new(base: &VhostRow) -> Self {
        Self { base: *base, told: EMPTY, before: None, quiet: false, unserved: false, followed: false }
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
    pub(crate) fn take(&mut self, mut row: VhostRow, earlier: &Row, stack: &Row, served: bool) -> bool {
        for (cell, base) in row.iter_mut().zip(self.base) {
            *cell = cell.wrapping_sub(base);
        }
        if self.before.is_none() && is_used(&row) {
            self.before = Some(*earlier);
        }
        self.followed |= served;
        let sent = |row: &VhostRow| flow(row, TX);
        let quiet = sent(&row) == sent(&self.told);
        let unserved = self.followed && !served;
        let monitor = quiet && (self.quiet || unserved && self.unserved);
        if let Some(before) = self.before.as_mut().filter(|_| monitor) {
            for cell in RECV.bytes()..=RECV.size(CLASSES - 1) {
                before[cell] += stack[cell].saturating_sub(earlier[cell]);
            }
        }
        (self.quiet, self.unserved) = (quiet, unserved);
        std::mem::replace(&mut self.told, row) != row
    }

    /// What the stack saw before vhost served the queue; `None` when it never has.
    pub(crate) fn before(&self) -> Option<&Row> {
        self.before.as_ref()
    }

    /// As last read.
    pub(crate) fn row(&self) -> &VhostRow {
        &self.told
    }

    /// Packets of a queue that vhost serves: what vhost saw takes the place of what the stack saw since then.
    pub(crate) fn replace(
        &self,
        known: Known,
        before: &Before,
        tx: &mut Option<Flow>,
        rx: &mut Option<Flow>,
    ) {
        let replace = |seen: &mut Option<Flow>, direction, earlier| {
            let seen = seen.get_or_insert_default();
            let mut own = flow(&self.told, direction);
            own.add_packets(earlier);
            (seen.bytes, seen.segments, seen.sizes) = (own.bytes, own.segments, own.sizes);
        };
        if known.tx {
            replace(tx, TX, &before.tx);
        }
        if known.rx {
            replace(rx, RX, &before.rx);
        }
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
            slot.take(own, &earlier, &row, served);
            earlier = row;
            slot.before().map_or(row[RECV.size(1)], |before| before[RECV.size(1)] + own[TX.size(1)])
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
