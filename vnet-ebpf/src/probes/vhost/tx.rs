//! The worker hands the guest's packets to the tap: in batches that it has copied, or one by one.

use aya_ebpf::{EbpfContext, helpers::bpf_probe_read_kernel};
use vnet_ebpf::{
    device::NO_SLOT,
    offsets::ABSENT,
    vhost::{
        BATCH_MAX, BATCH_SEEN, BATCH_SIZES, BATCHED, BATCHES, Pair, SINGLE, Sent, TX, TX_COPIED, TX_RING,
        WHY_BACKOFF, WHY_OFF, WHY_PENDING, WHY_SHORT, batch_class, mode,
    },
};

use super::{GsoHeader, Pieces, Row, ended, pair, virtqueue, within, zerocopy};
use crate::probes::{Kernel, offset, probe};

/// `TUN_MSG_UBUF`: zero-copy.
const UBUF: u16 = 1;

/// `TUN_MSG_PTR`: a batch.
const BATCH: u16 = 2;

/// `VHOST_GOODCOPY_LEN`.
const GOODCOPY: u32 = 256;

/// `VHOST_MAX_PEND`.
const MAX_PENDING: u32 = 128;

/// `UIO_MAXIOV`: zero-copy packets that can be told apart.
const MAX_IOV: u32 = 1024;

/// `sizeof(struct virtio_net_hdr)`, what the tap copies of a longer header too.
const SMALL_HEADER: u32 = 10;

/// The header of tunnels, which is copied whole.
const TUNNEL_HEADER: u32 = 24;

/// A run begins (`handle_tx_copy`, `handle_tx_zerocopy`).
#[inline(always)]
pub(crate) fn begin<C: EbpfContext>(ctx: &C, dev: u64, mode: u32) -> bool {
    let Some(pair) = pair::begin(ctx, dev, true) else { return false };
    pair.mode = mode;
    true
}

/// It ends.
#[inline(always)]
pub(crate) fn end<C: EbpfContext>(ctx: &C, dev: u64) -> bool {
    let Some(pair) = pair::end(dev, true) else { return false };
    settle_or_drop(pair);
    let slot = pair::slot(ctx, pair);
    ended(pair, slot, TX_RING, true);
    true
}

/// `tun_sendmsg(socket, message, length)`.
#[inline(always)]
pub(crate) fn sendmsg<C: EbpfContext>(ctx: &C, socket: u64, message: Kernel, len: u32) -> bool {
    let Some(pair) = pair::current() else { return false };
    let Some(control) = probe!(message, msg_control: Kernel) else { return false };
    let kind = if control.is_null() { 0 } else { probe!(control, ctl_type: u16).unwrap_or(0) };
    let avail = u32::from(probe!(virtqueue(pair.dev, true), vq_last_avail: u16).unwrap_or(0));
    // Each packet, and each batch, is handed over at another place of the ring.
    let known = if kind == BATCH {
        pair.batch == avail | BATCH_SEEN
    } else {
        pair.sent.len != 0 && pair.sent.avail == avail
    };
    if known {
        return false;
    }
    settle(pair);
    let slot = pair::backend(ctx, pair, socket);
    if slot == NO_SLOT {
        return false;
    }
    if kind == BATCH {
        pair.batch = avail | BATCH_SEEN;
        batch(pair, slot, control);
    } else {
        let ubuf = if kind == UBUF { probe!(control, ctl_ptr: u64).unwrap_or(0) } else { 0 };
        single(pair, slot, ubuf, len, avail);
    }
    true
}

/// A batch of packets that vhost has copied. It can only fail when the tap is gone.
#[inline(always)]
fn batch(pair: &mut Pair, slot: u32, control: Kernel) {
    let (Some(packets), Some(first)) = (probe!(control, ctl_num: u16), probe!(control, ctl_ptr: Kernel))
    else {
        return;
    };
    let packets = u32::from(packets);
    let Some(row) = Row::begin(slot) else { return };
    let mut bytes = 0;
    let mut index = 0;
    let mut buffer = first;
    while index < BATCH_MAX {
        if index >= packets {
            break;
        }
        let start = probe!(buffer, xdp_data: u64).unwrap_or(0);
        let end = probe!(buffer, xdp_data_end: u64).unwrap_or(0);
        let len = end.wrapping_sub(start) as u32;
        let head: Kernel = probe!(buffer, xdp_hard_start: Kernel).unwrap_or(start as Kernel);
        row.count(TX, len, segments(head, start, len));
        bytes += u64::from(len + pair.header);
        buffer = buffer.wrapping_add(offset!(xdp_size) as usize);
        index += 1;
    }
    row.add(BATCHES, 1);
    row.add(BATCHED, u64::from(packets));
    row.add(WHY_OFF, u64::from(packets));
    row.add(TX_COPIED, bytes);
    row.add(within(BATCH_SIZES + batch_class(packets)), 1);
    row.end();
    pair.run_packets += u64::from(packets);
    pair.run_bytes += bytes;
}

/// Segments beyond the first of a packet that vhost has copied behind its vnet header.
#[inline(always)]
fn segments(head: Kernel, data: u64, len: u32) -> u32 {
    let header =
        if offset!(tun_xdp_gso) == ABSENT { head } else { head.wrapping_add(offset!(tun_xdp_gso) as usize) };
    // SAFETY: bpf_probe_read_kernel checks the address.
    let Ok(header) = (unsafe { bpf_probe_read_kernel(header.cast::<u64>()) }) else { return 0 };
    GsoHeader(header).extra_segments(len, |at| {
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel(data.wrapping_add(u64::from(at)) as Kernel) }.ok()
    })
}

/// A packet of `len` bytes with its vnet header, which the tap copies unless `ubuf` is there to tell of its completion.
#[inline(always)]
fn single(pair: &mut Pair, slot: u32, ubuf: u64, len: u32, avail: u32) {
    let queue = virtqueue(pair.dev, true);
    let frame = len.saturating_sub(pair.header);
    let pieces = Pieces::of(queue);
    let header = GsoHeader(pieces.as_ref().and_then(|pieces| pieces.read(0)).unwrap_or(0));
    let header_len = u64::from(pair.header);
    let extra_segments = header.extra_segments(frame, |at| pieces?.read(header_len + u64::from(at)));
    let vnet = vnet_header(pair);
    let (why, copied) = if ubuf == 0 {
        (why(pair, queue, len), vnet + frame)
    } else {
        zerocopy::attempt(ubuf);
        (0, vnet + zerocopy::linear(header.header_len(), frame))
    };
    pair.sent = Sent { len: frame.max(1), slot, extra_segments, avail, why: why as u32, copied, ubuf };
}

/// Bytes that the tap copies of the vnet header.
#[inline(always)]
pub(crate) fn vnet_header(pair: &Pair) -> u32 {
    if pair.header == TUNNEL_HEADER { TUNNEL_HEADER } else { pair.header.min(SMALL_HEADER) }
}

/// Why the tap is to copy a packet (drivers/vhost/net.c: `handle_tx_zerocopy`).
#[inline(always)]
fn why(pair: &Pair, queue: Kernel, len: u32) -> usize {
    if pair.mode != mode::ZEROCOPY {
        return WHY_OFF;
    }
    if len < GOODCOPY {
        return WHY_SHORT;
    }
    let begun = probe!(queue, nvq_upend_idx: u32).unwrap_or(0);
    let done = probe!(queue, nvq_done_idx: u32).unwrap_or(0);
    let limit = (probe!(queue, vq_num: u32).unwrap_or(0) >> 2).min(MAX_PENDING);
    let pending = begun.wrapping_add(MAX_IOV).wrapping_sub(done) % MAX_IOV;
    if pending > limit { WHY_PENDING } else { WHY_BACKOFF }
}

/// Counts the packet that was sent last, unless it was put back to be tried again, because the tap had no room for it.
#[inline(always)]
pub(crate) fn settle_or_drop(pair: &mut Pair) {
    if pair.sent.len == 0 {
        return;
    }
    let avail = probe!(virtqueue(pair.dev, true), vq_last_avail: u16);
    if avail == Some((pair.sent.avail as u16).wrapping_sub(1)) {
        pair.sent.len = 0;
    } else {
        settle(pair);
    }
}

/// Counts the packet that was sent last: nothing put it back.
#[inline(always)]
pub(crate) fn settle(pair: &mut Pair) {
    let sent = pair.sent;
    if sent.len == 0 {
        return;
    }
    pair.sent.len = 0;
    pair.run_packets += 1;
    pair.run_bytes += u64::from(sent.len + pair.header);
    if sent.ubuf != 0 {
        zerocopy::sent(pair, &sent);
        return;
    }
    let Some(row) = Row::begin(sent.slot) else { return };
    row.count(TX, sent.len, sent.extra_segments);
    row.add(SINGLE, 1);
    row.add(within(sent.why as usize), 1);
    row.add(TX_COPIED, u64::from(sent.copied));
    row.end();
}
