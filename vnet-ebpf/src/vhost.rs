//! What is counted of `vhost_net`: the cells of a row per queue pair, and what is known of each vhost device.
//!
//! Other than in [`crate::counter`] there is one row per slot, not one per CPU: a worker serves a pair alone, so its row is
//! rarely shared, and every add is atomic. Directions are the guest's.

use crate::{counter::Direction, hist::CLASSES};

/// Cells per row.
pub const VHOST_ROW: usize = 64;

/// One row.
pub type VhostRow = [u64; VHOST_ROW];

/// Changes of the row begun; see [`ENDED`].
pub const BEGUN: usize = 0;

/// Changes of the row ended. A reader that finds as many ended before as begun after has read a whole row, however many
/// write it.
pub const ENDED: usize = 1;

/// Cells of a direction, as in [`Direction`].
const FLOW: usize = 2 + CLASSES;

/// Packets that the guest sent.
pub const TX: Direction = Direction(2);

/// Packets that the guest was given.
pub const RX: Direction = Direction(2 + FLOW);

/// Where the cells of the ledger begin.
const LEDGER: usize = 2 + 2 * FLOW;

/// Batches handed to the tap.
pub const BATCHES: usize = LEDGER;
/// Packets in them.
pub const BATCHED: usize = LEDGER + 1;
/// Packets copied by the tap one by one, of which zero-copy was never meant.
pub const SINGLE: usize = LEDGER + 2;
/// Packets that were meant to be zero-copy.
pub const ZEROCOPY: usize = LEDGER + 3;
/// Of these: completed without a copy.
pub const ZEROCOPY_OK: usize = LEDGER + 4;
/// Of these: copied or refused by the tap.
pub const ZEROCOPY_REJECTED: usize = LEDGER + 5;
/// Of these: copied later.
pub const ZEROCOPY_LATE: usize = LEDGER + 6;
/// Bytes copied from the guest.
pub const TX_COPIED: usize = LEDGER + 7;
/// Why a packet was copied: there is no zero-copy on this device.
pub const WHY_OFF: usize = LEDGER + 8;
/// It was short.
pub const WHY_SHORT: usize = LEDGER + 9;
/// Too many were in flight.
pub const WHY_PENDING: usize = LEDGER + 10;
/// Too many had been copied late.
pub const WHY_BACKOFF: usize = LEDGER + 11;
/// Bytes copied to the guest.
pub const RX_COPIED: usize = LEDGER + 12;
/// Batches by size: [`batch_class`].
pub const BATCH_SIZES: usize = LEDGER + 13;

/// Classes of batches.
pub const BATCH_CLASSES: usize = 7;

/// Largest batch (drivers/vhost/net.c: `VHOST_NET_BATCH`).
pub const BATCH_MAX: u32 = 64;

/// Cells of a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring(pub usize);

/// The transmit virtqueue.
pub const TX_RING: Ring = Ring(BATCH_SIZES + BATCH_CLASSES);

/// The receive virtqueue.
pub const RX_RING: Ring = Ring(TX_RING.0 + RING);

const RING: usize = 9;

impl Ring {
    /// Entries put into the used ring.
    pub const fn used(self) -> usize {
        self.0
    }
    /// Kicks by the guest.
    pub const fn kicks(self) -> usize {
        self.0 + 1
    }
    /// Calls to the guest.
    pub const fn calls(self) -> usize {
        self.0 + 2
    }
    /// Updates of the used ring without a call.
    pub const fn suppressed(self) -> usize {
        self.0 + 3
    }
    /// Runs of the worker, by [`end`].
    pub const fn runs(self) -> usize {
        self.0 + 4
    }
    /// Calls that woke an `irqfd` of KVM.
    pub const fn woken(self) -> usize {
        self.0 + 8
    }
}

const _: () = assert!(RX_RING.0 + RING <= VHOST_ROW, "the row has no room for its cells");

/// Why a run ended, from [`Ring::runs`] on.
pub mod end {
    /// Nothing more to do.
    pub const EMPTY: usize = 0;
    /// `vhost_exceeds_weight`.
    pub const WEIGHT: usize = 1;
    /// Interrupted while busy polling.
    pub const BUSY_POLL: usize = 2;
    /// No receive buffers, or no room in the send buffer.
    pub const NO_BUFFERS: usize = 3;
}

/// Class of a batch of `packets`: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, 64 and more.
#[inline]
pub const fn batch_class(packets: u32) -> usize {
    let mut class = 0;
    while class < BATCH_CLASSES - 1 {
        if packets < 2 << class {
            return class;
        }
        class += 1;
    }
    BATCH_CLASSES - 1
}

/// See [`Pair::updating`].
pub const TX_UPDATE: u32 = 1;

/// See [`Pair::updating`].
pub const RX_UPDATE: u32 = 2;

/// See [`Pair::batch`].
pub const BATCH_SEEN: u32 = 1 << 16;

/// States of a [`Pair`].
pub mod state {
    /// Nobody's.
    pub const FREE: u64 = 0;
    /// A vhost device's.
    pub const OPEN: u64 = 1;
    /// Of a device that is gone; user space gives it back.
    pub const CLOSED: u64 = 2;
}

/// How the packets of a transmit run are sent.
pub mod mode {
    /// Copied (`handle_tx_copy`).
    pub const COPY: u32 = 1;
    /// Zero-copy where it pays (`handle_tx_zerocopy`).
    pub const ZEROCOPY: u32 = 2;
}

/// One vhost device: the worker of one queue pair. Written by the probes in that worker, but for `state`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// One of [`state`].
    pub state: u64,
    /// Address of its `vhost_dev`.
    pub dev: u64,
    /// Thread id of the worker in the host's pid namespace; 0 while it has not run.
    pub tid: u32,
    /// Process of that thread.
    pub tgid: u32,
    /// Slot of the tap queue that is its backend.
    pub slot: u32,
    /// Index of that queue when it was last looked at.
    pub queue: u32,
    /// Address of the tap queue's `tun_file`.
    pub file: u64,
    /// Address of its `tun_struct`.
    pub tun: u64,
    /// Address of the socket that is the backend of each virtqueue, receive first; 0: it has none, or was not seen to have
    /// one since counting began. The two are the same while vhost serves the pair, and nobody else then reads or writes it.
    pub backends: [u64; 2],
    /// Devices registered when that was so, as in the cache of slots.
    pub epoch: u64,
    /// Bytes of vnet header that the guest and the tap exchange.
    pub header: u32,
    /// One of [`mode`]; 0 before the first transmit run.
    pub mode: u32,
    /// Call eventfd of the virtqueue whose used ring is being updated; 0: none is.
    pub context: u64,
    /// Whether it was signalled.
    pub signalled: u32,
    /// `last_used_idx` before.
    pub used: u32,
    /// A transmit run is under way (1), or a receive run (2).
    pub running: u32,
    /// Whose used ring is being updated: [`TX_UPDATE`], [`RX_UPDATE`] or none.
    pub updating: u32,
    /// `last_avail_idx` at the last batch of this run, plus [`BATCH_SEEN`]; 0: there was none.
    pub batch: u32,
    /// Zero.
    pub reserved: u32,
    /// Rows of the paths that calls took last, by [`crate::kvm::what`].
    pub paths: [u32; 2],
    /// Packets of the run so far.
    pub run_packets: u64,
    /// Bytes likewise.
    pub run_bytes: u64,
    /// When the worker began to poll (nanoseconds of the monotonic clock); 0: it does not.
    pub polls_since: u64,
    /// Nanoseconds that it has polled.
    pub polled: u64,
    /// Where structures are not described: bytes of the batch that is being made, vnet headers included; `batch` is then
    /// its packets, and `file` the backend's socket.
    pub batch_bytes: u64,
    /// Likewise: the stack of the worker where it began to update the used ring.
    pub stack: u64,
    /// The packet sent last, while it is not settled.
    pub sent: Sent,
    /// The packet received last, while it is not settled.
    pub received: Received,
}

/// A packet that the worker handed to the tap on its own. Only what comes next tells whether it was sent or will be tried
/// again.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frame bytes; 0: nothing is pending.
    pub len: u32,
    /// Slot that it counts for.
    pub slot: u32,
    /// Segments beyond the first.
    pub extra_segments: u32,
    /// `last_avail_idx` of the virtqueue, which falls when the packet is tried again.
    pub avail: u32,
    /// Cell that says why it is copied; 0: it is not.
    pub why: u32,
    /// Bytes copied at once.
    pub copied: u32,
    /// Address of its `ubuf_info`, for zero-copy.
    pub ubuf: u64,
}

/// A packet that the worker takes from the tap. Only what comes next tells whether it was delivered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes, vnet header included; 0: nothing is pending.
    pub len: u32,
    /// Slot that it counts for.
    pub slot: u32,
    /// Segments beyond the first.
    pub extra_segments: u32,
    /// `done_idx` before it.
    pub done: u32,
    /// What is handed over.
    pub packet: u64,
}

/// A zero-copy packet between its sending and its completion: whichever of the two is seen first makes the entry, the
/// other one counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Slot that it counts for, if it was sent first.
    pub slot: u32,
    /// Cell that its completion counts in, if that came first; else 0.
    pub cell: u32,
    /// Bytes copied late.
    pub late: u32,
    /// Bytes that a rejection copies.
    pub whole: u32,
}

/// Code and symbols of vhost that the probes compare with; 0 where not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostCode {
    /// Address of `handle_tx_kick`.
    pub tx_kick: u64,
    /// Address of `handle_rx_kick`.
    pub rx_kick: u64,
}

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "aya::Pod promises that any bytes are a valid value")]
    // SAFETY: integers only, no padding.
    unsafe impl aya::Pod for super::VhostCode {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_classes_by_powers_of_two() {
        for (packets, class) in
            [(1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (31, 4), (32, 5), (63, 5), (64, 6)]
        {
            assert_eq!(batch_class(packets), class, "{packets}");
        }
    }
}
