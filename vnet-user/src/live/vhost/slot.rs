//! What vhost did for the queue of a slot, and how it takes the place of what the stack saw.

use vnet_ebpf::{counter::Row, vhost::VhostRow};

use super::read::{EMPTY, Known, flow, is_used};
use crate::record::{Flow, QueueCounts};

/// What vhost did for the queue of a slot.
pub(crate) struct VhostSlot {
    /// Counts that were there before counting began.
    base: VhostRow,
    /// As last read.
    told: VhostRow,
    /// What the stack saw of the queue before vhost served it: from then on, vhost's own counts are added to this.
    before: Option<Row>,
}

/// What the stack saw of a queue before vhost served it, per direction of the guest.
pub(crate) struct Before {
    pub(crate) tx: Flow,
    pub(crate) rx: Flow,
}

impl VhostSlot {
    /// Nothing is told yet; `base` is what was counted before counting began.
    pub(crate) fn new(base: &VhostRow) -> Self {
        Self { base: *base, told: EMPTY, before: None }
    }

    /// Takes newer counts; `stack` is what was told of the stack's before.
    pub(crate) fn take(&mut self, mut row: VhostRow, stack: &Row) -> bool {
        for (cell, base) in row.iter_mut().zip(self.base) {
            *cell = cell.wrapping_sub(base);
        }
        if self.before.is_none() && is_used(&row) {
            self.before = Some(*stack);
        }
        std::mem::replace(&mut self.told, row) != row
    }

    /// What the stack saw before vhost served the queue; `None` when it never has.
    pub(crate) fn before(&self) -> Option<&Row> {
        self.before.as_ref()
    }

    /// Counts of a queue that vhost serves: what vhost saw takes the place of what the stack saw since then.
    pub(crate) fn served(&self, known: Known, before: &Before, counts: &mut QueueCounts) {
        let replace = |seen: &mut Option<Flow>, earlier: &Flow, transmit| {
            let seen = seen.get_or_insert_default();
            let mut own = flow(&self.told, transmit);
            own.bytes += earlier.bytes;
            own.segments += earlier.segments;
            for (size, n) in own.sizes.iter_mut().zip(earlier.sizes) {
                *size += n;
            }
            (seen.bytes, seen.segments, seen.sizes) = (own.bytes, own.segments, own.sizes);
        };
        if known.tx {
            replace(&mut counts.tx, &before.tx, true);
        }
        if known.rx {
            replace(&mut counts.rx, &before.rx, false);
        }
        counts.vhost = Some(known.vhost(&self.told));
    }
}
