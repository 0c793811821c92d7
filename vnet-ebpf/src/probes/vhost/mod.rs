//! What the worker of a vhost device does, in the order in which it does it. A worker serves one queue pair, alone: what is
//! seen on its thread between two of its steps belongs to that pair.

pub(crate) mod learned;
pub(crate) mod pair;
pub(crate) mod poll;
pub(crate) mod rx;
pub(crate) mod signal;
pub(crate) mod tx;
pub(crate) mod zerocopy;

use aya_ebpf::{helpers::bpf_probe_read_user, macros::map, maps::Array};
use vnet_ebpf::{
    counter::{Direction, lost},
    hist,
    vhost::{BEGUN, ENDED, Pair, Ring, VHOST_ROW, VhostRow, end},
};

use super::{Kernel, MMAPABLE, lose, offset, probe};

/// A row per slot; user space sets the size.
#[map]
static VHOST: Array<VhostRow> = Array::with_max_entries(1, MMAPABLE);

/// `VRING_USED_F_NO_NOTIFY`.
const NO_NOTIFY: u16 = 1;

/// `VHOST_NET_PKT_WEIGHT`.
const PACKET_WEIGHT: u64 = 256;

/// `VHOST_NET_WEIGHT`.
const BYTE_WEIGHT: u64 = 0x8_0000;

/// The row of a slot.
struct Row(*mut VhostRow);

impl Row {
    /// The row of a slot, for what belongs to no packet.
    #[inline(always)]
    fn of(slot: u32) -> Option<Self> {
        VHOST.get_ptr_mut(slot).map(Self)
    }

    /// Begins to change the row of a slot.
    #[inline(always)]
    fn begin(slot: u32) -> Option<Self> {
        let row = Self::of(slot)?;
        row.add(BEGUN, 1);
        Some(row)
    }

    /// Adds to a cell.
    #[inline(always)]
    fn add(&self, cell: usize, n: u64) {
        // SAFETY: `cell` is a constant below the row's length, or was masked to be; the add is atomic.
        unsafe {
            let cell = (self.0).cast::<u64>().add(cell);
            core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(cell, n);
        }
    }

    /// Counts a packet.
    #[inline(always)]
    fn count(&self, direction: Direction, len: u32, extra_segments: u32) {
        self.add(within(direction.size(hist::class(len))), 1);
        self.add(direction.bytes(), u64::from(len));
        if extra_segments != 0 {
            self.add(direction.extra_segments(), u64::from(extra_segments));
        }
    }

    /// Ends the change.
    #[inline(always)]
    fn end(&self) {
        self.add(ENDED, 1);
    }
}

/// A cell that is not a constant, in a way that the verifier sees its bound too: the compiler knows it, and would leave
/// the mask out.
#[inline(always)]
fn within(mut cell: usize) -> usize {
    const { assert!(VHOST_ROW == 64, "the mask is that of the row") };
    // SAFETY: arithmetic only.
    unsafe {
        core::arch::asm!("{cell} &= 63", cell = inout(reg) cell, options(pure, nomem, nostack, preserves_flags));
    }
    cell
}

/// The kernel leaves out a run of a program that is running on the same CPU already, as for a worker that takes the CPU of
/// another one just then. Where tasks can be taken off the CPU within the kernel, each program is therefore attached twice,
/// and the second finds nothing left to do unless the first was left out.
///
/// Whether this is the second one.
#[inline(always)]
pub(crate) fn again() -> bool {
    offset!(again) == 1
}

/// Counts what the second program did for the first.
#[inline(always)]
pub(crate) fn seen(did: bool) {
    if again() && did {
        lose(lost::MADE_GOOD);
    }
}

/// Counts something that belongs to no packet.
#[inline(always)]
pub(crate) fn tally(slot: u32, cell: usize, n: u64) {
    if let Some(row) = Row::of(slot) {
        row.add(within(cell), n);
    }
}

/// The receive virtqueue of a vhost device; the transmit one follows it.
#[inline(always)]
pub(crate) fn virtqueue(dev: u64, transmit: bool) -> Kernel {
    let first = dev.wrapping_add(u64::from(offset!(net_vqs)));
    let queue = if transmit { first.wrapping_add(u64::from(offset!(nvq_size))) } else { first };
    queue as Kernel
}

/// Whether vhost waits for the socket of a direction to be ready.
#[inline(always)]
fn armed(dev: u64, transmit: bool) -> bool {
    let poll = dev.wrapping_add(u64::from(offset!(net_poll)));
    let poll = if transmit { poll.wrapping_add(u64::from(offset!(poll_size))) } else { poll };
    probe!(poll as Kernel, poll_wqh: u64).unwrap_or(0) != 0
}

/// Counts a run and why it ended.
#[inline(always)]
fn ended(pair: &Pair, slot: u32, ring: Ring, transmit: bool) {
    let queue = virtqueue(pair.dev, transmit);
    let quiet = probe!(queue, vq_used_flags: u16).unwrap_or(0) & NO_NOTIFY != 0;
    let why = match (quiet, transmit) {
        // Kicks are wanted again: there was nothing to take from the ring.
        (false, true) => end::EMPTY,
        (false, false) => end::NO_BUFFERS,
        (true, _) if armed(pair.dev, transmit) => {
            if transmit {
                end::NO_BUFFERS
            } else {
                end::EMPTY
            }
        }
        _ if pair.run_packets >= PACKET_WEIGHT || pair.run_bytes >= BYTE_WEIGHT => end::WEIGHT,
        _ if probe!(queue, vq_busyloop: u32).unwrap_or(0) != 0 => end::BUSY_POLL,
        // Retries count towards the weight too.
        _ => end::WEIGHT,
    };
    tally(slot, ring.runs() + why, 1);
}

/// What the vnet header at the start of the packet that the worker has in hand says of its segments.
#[derive(Clone, Copy)]
struct GsoHeader(u64);

impl GsoHeader {
    /// `VIRTIO_NET_HDR_GSO_NONE`, without `VIRTIO_NET_HDR_GSO_ECN`.
    #[inline(always)]
    fn kind(self) -> u8 {
        (self.0 >> 8) as u8 & 0x7f
    }

    #[inline(always)]
    fn header_len(self) -> u32 {
        u32::from((self.0 >> 16) as u16)
    }

    #[inline(always)]
    fn size(self) -> u32 {
        u32::from((self.0 >> 32) as u16)
    }

    #[inline(always)]
    fn transport(self) -> u32 {
        u32::from((self.0 >> 48) as u16)
    }

    /// Segments beyond the first of a frame of `len` bytes, as the kernel will compute them (net/core/dev.c:
    /// `qdisc_pkt_len_init`); `data_offset` reads the byte of the TCP header at an offset of the frame that says its size.
    #[inline(always)]
    fn extra_segments(self, len: u32, data_offset: impl FnOnce(u32) -> Option<u8>) -> u32 {
        const TCPV4: u8 = 1;
        const TCPV6: u8 = 4;
        const UDP_L4: u8 = 5;
        if self.kind() == 0 || self.size() == 0 {
            return 0;
        }
        let header = match self.kind() {
            TCPV4 | TCPV6 => u32::from(data_offset(self.transport() + 12).unwrap_or(0x50) >> 4) * 4,
            UDP_L4 => 8,
            _ => 0,
        };
        let payload = len.saturating_sub(self.transport() + header);
        payload.div_ceil(self.size()).saturating_sub(1)
    }
}

/// Guest memory that a virtqueue's descriptor chain points to: the first four pieces.
struct Pieces([u64; 8]);

impl Pieces {
    #[inline(always)]
    fn of(queue: Kernel) -> Option<Self> {
        Some(Self(probe!(queue, vq_iov: [u64; 8])?))
    }

    /// Reads what lies `offset` bytes into it, if it is in one piece.
    #[inline(always)]
    fn read<T: Copy>(&self, mut offset: u64) -> Option<T> {
        let mut piece = 0;
        while piece < 4 {
            let (base, len) = (self.0[piece * 2], self.0[piece * 2 + 1]);
            if offset < len {
                let address = base.wrapping_add(offset) as *const T;
                // SAFETY: bpf_probe_read_user checks the address; the worker runs with the guest's memory.
                return unsafe { bpf_probe_read_user(address) }.ok();
            }
            offset -= len;
            piece += 1;
        }
        None
    }
}
