//! Packets that are sent without a copy: from their sending to their completion.

use aya_ebpf::{macros::map, maps::HashMap};
use vnet_ebpf::{
    counter::lost,
    vhost::{InFlight, Pair, Sent, TX, TX_COPIED, ZEROCOPY, ZEROCOPY_LATE, ZEROCOPY_OK, ZEROCOPY_REJECTED},
};

use super::{Row, tally, tx, within};
use crate::probes::{Kernel, lose, probe};

const NOEXIST: u64 = 1;

/// `VHOST_DMA_CLEAR_LEN`, `VHOST_DMA_IN_PROGRESS`, `VHOST_DMA_DONE_LEN`: states of a packet in `vhost_virtqueue.heads`.
const CLEAR: u32 = 0;
const IN_PROGRESS: u32 = 1;
const DONE: u32 = 2;

/// Bytes of `struct vring_used_elem`, and its length in there.
const HEAD: u64 = 8;
const HEAD_LEN: u64 = 4;

/// `GOODCOPY_LEN` of tun: what is always copied of a packet that does not say how long its headers are.
const LINEAR: u32 = 128;

/// Packets in flight by the address of their `ubuf_info`.
#[map]
static IN_FLIGHT: HashMap<u64, InFlight> = HashMap::with_max_entries(16_384, 0);

/// A packet is about to be sent with this completion. An earlier one that still has it was never completed: the tap had
/// refused it with an error, upon which vhost gives it up (`handle_tx_zerocopy`).
#[inline(always)]
pub(crate) fn attempt(ubuf: u64) {
    // SAFETY: copied out at once; nobody writes to an entry.
    if let Some(earlier) = unsafe { IN_FLIGHT.get(ubuf) }.copied() {
        if earlier.cell == 0 {
            tally(earlier.slot, ZEROCOPY_REJECTED, 1);
        }
        let _ = IN_FLIGHT.remove(ubuf);
    }
}

/// Bytes that are copied even of a zero-copy frame (drivers/net/tun.c: `tun_get_user`).
#[inline(always)]
pub(crate) fn linear(header_len: u32, frame: u32) -> u32 {
    let linear = if header_len == 0 { LINEAR } else { header_len };
    linear.min(frame)
}

/// How vhost sees the packet of a completion; `None` if it is not vhost's.
#[inline(always)]
fn head(queue: Kernel, ubuf: u64) -> Option<u32> {
    let heads = probe!(queue, vq_heads: u64)?;
    let index = probe!(ubuf as Kernel, ubuf_desc: u64)?;
    let head = heads.wrapping_add(index.wrapping_mul(HEAD)).wrapping_add(HEAD_LEN);
    // SAFETY: bpf_probe_read_kernel checks the address.
    unsafe { aya_ebpf::helpers::bpf_probe_read_kernel(head as *const u32) }.ok()
}

/// A packet was sent.
#[inline(always)]
pub(crate) fn sent(pair: &Pair, sent: &Sent) {
    let Some(row) = Row::begin(sent.slot) else { return };
    row.count(TX, sent.len, sent.extra_segments);
    row.add(ZEROCOPY, 1);
    row.add(TX_COPIED, u64::from(sent.copied));
    let whole = (tx::vnet_header(pair) + sent.len).saturating_sub(sent.copied);
    let flying = InFlight { slot: sent.slot, cell: 0, late: 0, whole };
    if IN_FLIGHT.insert(sent.ubuf, flying, NOEXIST).is_err() {
        // SAFETY: as above.
        match unsafe { IN_FLIGHT.get(sent.ubuf) }.copied() {
            Some(completed) => {
                row.completed(&completed, whole);
                let _ = IN_FLIGHT.remove(sent.ubuf);
            }
            None => lose(lost::IN_FLIGHT),
        }
    }
    row.end();
}

impl Row {
    /// Counts a completion; `whole` is what a rejection copies beyond what was counted when the packet was sent.
    #[inline(always)]
    fn completed(&self, completed: &InFlight, whole: u32) {
        self.add(within(completed.cell as usize), 1);
        let more = if completed.cell as usize == ZEROCOPY_REJECTED { whole } else { completed.late };
        if more != 0 {
            self.add(TX_COPIED, u64::from(more));
        }
    }
}

/// vhost was told of a completion (`vhost_zerocopy_callback`, later `vhost_zerocopy_complete`). Some kernels are told once
/// for each clone of the packet; what vhost has noted tells whether this was the last.
#[inline(always)]
pub(crate) fn completed(skb: Kernel, ubuf: u64, success: bool) {
    let Some(context) = probe!(ubuf as Kernel, ubuf_ctx: Kernel) else { return };
    let Some(queue) = probe!(context, ubufs_vq: Kernel) else { return };
    let copied = match head(queue, ubuf) {
        None | Some(IN_PROGRESS) => return,
        Some(CLEAR) => !success, // its worker has collected it since
        Some(state) => state != DONE,
    };
    let (cell, late) = if !copied {
        (ZEROCOPY_OK, 0)
    } else if skb.is_null() {
        (ZEROCOPY_REJECTED, 0)
    } else {
        (ZEROCOPY_LATE, probe!(skb, skb_data_len: u32).unwrap_or(0))
    };
    let completed = InFlight { slot: 0, cell: cell as u32, late, whole: 0 };
    if IN_FLIGHT.insert(ubuf, completed, NOEXIST).is_ok() {
        return; // it is told before the sending is
    }
    // SAFETY: as above.
    let Some(flying) = (unsafe { IN_FLIGHT.get(ubuf) }).copied() else {
        lose(lost::IN_FLIGHT);
        return;
    };
    if flying.cell != 0 {
        return; // told twice
    }
    let _ = IN_FLIGHT.remove(ubuf);
    if let Some(row) = Row::of(flying.slot) {
        row.completed(&completed, flying.whole);
    }
}
