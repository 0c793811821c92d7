//! The cells of a row: what is counted for one queue pair on one CPU.
//!
//! A row is an array of `u64`. Directions are the host's here (`recv`: the device handed a packet to the stack,
//! `xmit`: the stack handed one to the device), because that is what the kernel can tell in one load; which of them is
//! the guest's TX follows from the device's kind, in user space.

use crate::hist::CLASSES;

/// Cells per row: four cache lines. What a packet changes lies in one of them, or two when it is large.
pub const ROW: usize = 32;

/// One row.
pub type Row = [u64; ROW];

/// Where a direction's cells begin in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction(pub usize);

/// Packets that the device handed to the stack.
pub const RECV: Direction = Direction(0);

/// Packets that the stack handed to the device.
pub const XMIT: Direction = Direction(XMIT_LAST + 1);

/// Cells of one direction: bytes, one per size class, extra segments.
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
        self.0 + 1 + CLASSES
    }

    /// Packets of a size class.
    #[inline]
    pub const fn size(self, class: usize) -> usize {
        self.0 + 1 + class
    }
}

/// Packets from the guest that the device dropped; by reason in the `DROPS` map.
pub const RECV_DROPS: usize = FLOW;

/// Packets from the guest that the host's stack dropped while they still belonged to the device.
pub const STACK_DROPS: usize = FLOW + 1;

/// Odd while what lies behind the packet handed over last changes; two more for each change.
pub const XMIT_SEQ: usize = 16;

/// Address of that packet, to recognise it when the device refuses it; 0: it was refused.
pub const XMIT_SKB: usize = XMIT_SEQ + 1;

/// Its frame bytes (32 bits), segments beyond the first (32 bits).
pub const XMIT_LAST: usize = XMIT_SEQ + 2;

/// Packets refused by a tap because its ring was full (`FULL_RING`); the common case has a cell of its own.
pub const XMIT_FULL_RING: usize = XMIT_LAST + 1 + FLOW;

/// Packets refused by the device for another reason; by reason in the `DROPS` map.
pub const XMIT_DROPS: usize = XMIT_FULL_RING + 1;

const _: () = assert!(STACK_DROPS < XMIT_SEQ && XMIT_DROPS < ROW, "the row has no room for its cells");

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

/// The packet that a CPU handed to a queue last, which the device may yet refuse.
///
/// It is counted already. A refusal comes on the same CPU before that CPU hands another packet to the queue, and takes it
/// out of the row again. A reader therefore leaves it out as long as it is fresh, so that no count ever goes back, and
/// reads a row between two equal, even values of `seq`, so that row and packet belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// See [`XMIT_SEQ`].
    pub seq: u64,
    /// See [`XMIT_SKB`].
    pub skb: u64,
    /// Frame bytes.
    pub len: u32,
    /// Segments beyond the first.
    pub extra_segments: u32,
}

impl Last {
    /// That of a row.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each half is meant")]
    pub const fn of(row: &Row) -> Self {
        let last = row[XMIT_LAST];
        Self { seq: row[XMIT_SEQ], skb: row[XMIT_SKB], len: last as u32, extra_segments: (last >> 32) as u32 }
    }

    /// Its word in a row.
    #[inline]
    pub const fn word(len: u32, extra_segments: u32) -> u64 {
        len as u64 | (extra_segments as u64) << 32
    }
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
    /// Not lost: a run that the kernel left out, and a second program made good.
    pub const MADE_GOOD: usize = 5;
    /// Something that a worker did before any packet had told which tap queue it serves.
    pub const UNPLACED: usize = 6;
    /// A call or kick took a path for which there was no room.
    pub const NO_PATH: usize = 7;
    /// Number of cells.
    pub const CELLS: usize = 8;
}

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "aya::Pod promises that any bytes are a valid value")]
    // SAFETY: integers only, no padding.
    unsafe impl aya::Pod for super::DropKey {}
}
