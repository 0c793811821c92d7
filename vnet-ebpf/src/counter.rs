//! The cells of a row: what is counted for one queue pair on one CPU.
//!
//! A row is an array of `u64`. Directions are the host's here (`recv`: the device handed a packet to the stack,
//! `xmit`: the stack handed one to the device), because that is what the kernel can tell in one load; which of them is
//! the guest's TX follows from the device's kind, in user space.

use crate::hist::CLASSES;

/// Cells per row: three cache lines.
pub const ROW: usize = 24;

/// One row.
pub type Row = [u64; ROW];

/// Where a direction's cells begin in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction(pub usize);

/// Packets that the device handed to the stack.
pub const RECV: Direction = Direction(0);

/// Packets that the stack handed to the device.
pub const XMIT: Direction = Direction(FLOW);

/// Cells of one direction: bytes, extra segments, one per size class.
const FLOW: usize = 2 + CLASSES;

impl Direction {
    /// Frame bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        self.0
    }

    /// Segments beyond the first of each GSO packet: segments = packets + this.
    #[inline]
    pub const fn extra_segments(self) -> usize {
        self.0 + 1
    }

    /// Packets of a size class.
    #[inline]
    pub const fn size(self, class: usize) -> usize {
        self.0 + 2 + class
    }
}

/// Packets refused by a tap because its ring was full (`FULL_RING`); the common case has a cell of its own.
pub const XMIT_FULL_RING: usize = 2 * FLOW;

/// Packets refused by the device for another reason; by reason in the `DROPS` map.
pub const XMIT_DROPS: usize = XMIT_FULL_RING + 1;

/// Packets from the guest that the device dropped; by reason in the `DROPS` map.
pub const RECV_DROPS: usize = XMIT_FULL_RING + 2;

/// Packets from the guest that the host's stack dropped while they still belonged to the device.
pub const STACK_DROPS: usize = XMIT_FULL_RING + 3;

const _: () = assert!(STACK_DROPS < ROW, "the row has no room for its cells");

/// Key of the `DROPS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropKey {
    /// Slot of the queue.
    pub slot: u32,
    /// The cell that counts all of them: [`XMIT_DROPS`] or [`RECV_DROPS`].
    pub cell: u16,
    /// `enum skb_drop_reason` of the running kernel, low 16 bits.
    pub reason: u16,
}

/// The packet that a CPU handed to a device last, which the device may yet refuse.
///
/// It is counted already. A refusal comes on the same CPU before that CPU hands over another packet, and takes it out of
/// its row again. A reader therefore leaves it out as long as it is fresh, so that no count ever goes back, and reads a
/// row between two equal, even values of `seq`, so that row and packet belong together.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Odd while this and the row change; two more for each change.
    pub seq: u64,
    /// Address of the packet, to recognise it when it is refused; 0: it was.
    pub skb: u64,
    /// Slot of its queue.
    pub slot: u32,
    /// Its size class.
    pub class: u32,
    /// Frame bytes.
    pub len: u32,
    /// Segments beyond the first.
    pub extra_segments: u32,
    /// Fills the cache line, so that CPUs do not share one.
    pub reserved: [u64; 4],
}

/// What the probes could not count, one cell each, summed over CPUs.
pub mod lost {
    /// No slot was free for a queue.
    pub const NO_SLOT: usize = 0;
    /// A queue index above [`crate::device::MAX_QUEUE`].
    pub const QUEUE_RANGE: usize = 1;
    /// A drop whose reason found no room in `DROPS` (it is in the row's total).
    pub const DROP_REASON: usize = 2;
    /// No number was free for a vhost device.
    pub const NO_PAIR: usize = 3;
    /// A zero-copy packet in flight found no room.
    pub const IN_FLIGHT: usize = 4;
    /// Number of cells.
    pub const CELLS: usize = 8;
}

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "aya::Pod promises that any bytes are a valid value")]
    // SAFETY: integers only, no padding.
    unsafe impl aya::Pod for super::DropKey {}
}
