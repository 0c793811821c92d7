//! The worker takes packets for the guest from the tap.

use aya_ebpf::EbpfContext;
use vnet_ebpf::{
    device::NO_SLOT,
    hist,
    vhost::{Pair, RX, RX_COPIED, RX_RING, Received},
};

use super::{Row, ended, pair, virtqueue};
use crate::probes::{Kernel, gso_probed, probe};

/// `TUN_XDP_FLAG`: what is taken is an XDP frame, not a packet of the stack.
const XDP: u64 = 1;

/// A run begins (`handle_rx`).
#[inline(always)]
pub(crate) fn begin<C: EbpfContext>(ctx: &C, dev: u64) -> bool {
    pair::begin(ctx, dev, false).is_some()
}

/// It ends.
#[inline(always)]
pub(crate) fn end<C: EbpfContext>(ctx: &C, dev: u64) -> bool {
    let Some(pair) = pair::end(dev, false) else { return false };
    settle(pair);
    let slot = pair::slot(ctx, pair);
    ended(pair, slot, RX_RING, false);
    true
}

/// `tun_recvmsg(socket, message, length, flags)`.
#[inline(always)]
pub(crate) fn recvmsg<C: EbpfContext>(ctx: &C, socket: u64, message: Kernel, len: u32) -> bool {
    let Some(pair) = pair::current() else { return false };
    let packet = probe!(message, msg_control: u64).unwrap_or(0);
    let done = probe!(virtqueue(pair.dev, false), nvq_done_idx: u32).unwrap_or(0);
    if pair.received.len != 0 && pair.received.packet == packet && pair.received.done == done {
        return false; // known
    }
    settle(pair);
    let slot = pair::backend(ctx, pair, socket);
    // A packet that no chain of buffers could hold is thrown away by reading one byte of it.
    if slot == NO_SLOT || len <= pair.header {
        return false;
    }
    let frame = len - pair.header;
    let extra_segments = if frame <= hist::EDGES[0] { 0 } else { segments(packet, frame) };
    pair.received = Received { len, slot, extra_segments, done, packet };
    true
}

/// Segments beyond the first of the packet that is handed over.
#[inline(always)]
fn segments(packet: u64, frame: u32) -> u32 {
    if packet == 0 || packet & XDP != 0 { 0 } else { gso_probed(packet as Kernel, frame) }
}

/// Counts the packet that was taken last, if the guest was given it: its buffers are then done.
#[inline(always)]
pub(crate) fn settle(pair: &mut Pair) {
    let received = pair.received;
    if received.len == 0 {
        return;
    }
    pair.received.len = 0;
    let done = probe!(virtqueue(pair.dev, false), nvq_done_idx: u32).unwrap_or(received.done);
    if done == received.done {
        return;
    }
    pair.run_packets += 1;
    pair.run_bytes += u64::from(received.len);
    let Some(row) = Row::begin(received.slot) else { return };
    row.count(RX, received.len.saturating_sub(pair.header), received.extra_segments);
    row.add(RX_COPIED, u64::from(received.len));
    row.end();
}
