//! What a worker does, where the structures of vhost and tun are not described (no kernel before 5.11 describes those of
//! modules): told by arguments of functions, and by what happens within them.
//!
//! Which tap queue a worker serves is learned from packets: those that reach the stack while it sends, and those that it is
//! about to give to the guest. A packet that the tap refuses reaches nobody, and is not counted here.

use aya_ebpf::EbpfContext;
use vnet_ebpf::{
    counter::lost,
    device::NO_SLOT,
    hist,
    offsets::ABSENT,
    vhost::{
        BATCH_SIZES, BATCHED, BATCHES, Pair, RX, RX_COPIED, RX_RING, Received, SINGLE, TX, TX_COPIED,
        TX_RING, WHY_OFF, batch_class, mode,
    },
};

use super::{
    Row,
    pair::{self, RECEIVE, TRANSMIT},
    tally, tx, within,
};
use crate::probes::{Kernel, gso_probed, lose, offset, probe, recv, slots, store};

/// `TUN_XDP_FLAG`: what is taken is an XDP frame, not a packet of the stack.
const XDP: u64 = 1;

/// `VLAN_HLEN`.
const VLAN_HEADER: u32 = 4;

/// How much deeper the stack may be when the guest is called than where the used ring began to be updated. An interrupt
/// has a stack of its own on x86-64, so an eventfd that it signals is never taken for the guest's.
const NEAR: u64 = 1024;

/// A run begins: `handle_tx_copy(net, …)`, `handle_tx_zerocopy(net, …)` with their [`mode`], or `handle_rx(net)`.
#[inline(always)]
pub(crate) fn begin(dev: u64, how: Option<u32>) {
    let Some(pair) = pair::served(dev) else { return };
    if let Some(mode) = how {
        pair.mode = mode;
    }
    pair.running = if how.is_some() { TRANSMIT } else { RECEIVE };
    (pair.batch, pair.batch_bytes, pair.run_bytes) = (0, 0, 0);
    (pair.sent.len, pair.received.len) = (0, 0);
}

/// The current thread's pair, if it is a worker in a run of that kind.
#[inline(always)]
fn running(kind: u32) -> Option<&'static mut Pair> {
    pair::current().filter(|pair| pair.running == kind)
}

/// With another backend, its queue is to be learned anew.
#[inline(always)]
fn backend(pair: &mut Pair, socket: u64) {
    if pair.file != socket {
        pair.file = socket;
        store!(pair.slot, NO_SLOT);
    }
}

/// `tun_sendmsg(socket, message, length)`: one packet, or a batch, which says no length.
#[inline(always)]
pub(crate) fn sendmsg(socket: u64, len: u32) {
    let Some(pair) = running(TRANSMIT) else { return };
    backend(pair, socket);
    pair.sent.len = len;
}

/// A tap hands a packet of its guest to the stack. When the current thread is a worker that sends, it is that guest's:
/// nothing else is handed over within an interrupt that is a tap's and fresh.
#[inline(always)]
pub(crate) fn accepted(packet: &recv::Received) {
    if offset!(learning) == 0 {
        return;
    }
    let Some(pair) = running(TRANSMIT) else { return };
    store!(pair.slot, packet.slot);
    let Some(row) = Row::begin(packet.slot) else { return };
    row.count(TX, packet.len, packet.extra_segments);
    if pair.mode == mode::COPY {
        row.add(WHY_OFF, 1);
        if pair.sent.len == 0 {
            row.add(BATCHED, 1);
        } else {
            pair.header = pair.sent.len.saturating_sub(packet.len);
            row.add(SINGLE, 1);
            row.add(TX_COPIED, u64::from(tx::vnet_header(pair) + packet.len));
        }
    }
    row.end();
}

/// `tun_recvmsg(socket, message, length, …)`: the message holds the packet, and the length is its own with the vnet header.
#[inline(always)]
pub(crate) fn recvmsg<C: EbpfContext>(ctx: &C, socket: u64, message: Kernel, len: u32) {
    let Some(pair) = running(RECEIVE) else { return };
    backend(pair, socket);
    pair.received.len = 0;
    let packet = probe!(message, msg_control: u64).unwrap_or(0);
    // A packet that no chain of buffers could hold is thrown away by reading one byte of it.
    if packet == 0 || len <= 1 {
        return;
    }
    if packet & XDP == 0 {
        let Some(frame) = frame(packet as Kernel) else { return };
        pair.header = len.saturating_sub(frame);
        let (device, queue) =
            (probe!(packet as Kernel, skb_dev: Kernel), probe!(packet as Kernel, skb_queue_mapping: u16));
        if let (Some(device), Some(queue)) = (device, queue) {
            store!(pair.slot, slots::find_probed(ctx, device, u32::from(queue)).unwrap_or(NO_SLOT));
        }
    }
    let frame = len.saturating_sub(pair.header);
    let small = packet & XDP != 0 || frame <= hist::EDGES[0];
    let extra_segments = if small { 0 } else { gso_probed(packet as Kernel, frame) };
    pair.received = Received { len, slot: pair.slot, extra_segments, done: frame, packet };
}

/// Frame bytes of a packet that waits in a tap.
#[inline(always)]
fn frame(skb: Kernel) -> Option<u32> {
    let tagged = if offset!(skb_vlan_all) != ABSENT {
        probe!(skb, skb_vlan_all: u32)? != 0
    } else if offset!(skb_vlan_present) != ABSENT {
        u32::from(probe!(skb, skb_vlan_present: u8)?) & offset!(skb_vlan_present_mask) != 0
    } else {
        false
    };
    Some(probe!(skb, skb_len: u32)? + if tagged { VLAN_HEADER } else { 0 })
}

/// `vhost_exceeds_weight(virtqueue, packets, bytes)`, after each turn of a worker's loop: bytes of the run so far, vnet
/// headers included. They grow when a packet was moved.
#[inline(always)]
pub(crate) fn moved(bytes: u32) {
    let Some(pair) = pair::current() else { return };
    let len = u64::from(bytes).saturating_sub(pair.run_bytes);
    pair.run_bytes = u64::from(bytes);
    if pair.running == TRANSMIT {
        // What was not sent by itself is in the batch.
        if pair.sent.len == 0 && len != 0 {
            pair.batch += 1;
            pair.batch_bytes += len;
        }
        pair.sent.len = 0;
    } else if pair.running == RECEIVE {
        let received = pair.received;
        pair.received.len = 0;
        if received.len != 0 && len != 0 {
            given(&received);
        }
    }
}

/// Counts a packet that the guest was given.
#[inline(always)]
fn given(received: &Received) {
    if received.slot == NO_SLOT {
        lose(lost::UNPLACED);
        return;
    }
    let Some(row) = Row::begin(received.slot) else { return };
    row.count(RX, received.done, received.extra_segments);
    row.add(RX_COPIED, u64::from(received.len));
    row.end();
}

/// `vhost_add_used_and_signal*` begins, in a worker: `used` entries are given back. All that was in the batch was sent.
#[inline(always)]
pub(crate) fn used_begins(used: u32, stack: u64) {
    let Some(pair) = pair::current() else { return };
    if pair.updating != 0 {
        update(pair); // its end was not seen
    }
    let (packets, bytes) = (pair.batch, pair.batch_bytes);
    if packets != 0 {
        (pair.batch, pair.batch_bytes) = (0, 0);
        match Row::of(pair.slot) {
            Some(row) => {
                row.add(BATCHES, 1);
                row.add(within(BATCH_SIZES + batch_class(packets)), 1);
                row.add(TX_COPIED, bytes);
            }
            None => lose(lost::UNPLACED),
        }
    }
    (pair.used, pair.updating, pair.signalled) = (used, 1, 0);
    pair.stack = stack;
}

/// It ends.
#[inline(always)]
pub(crate) fn used_ends() {
    if let Some(pair) = pair::current()
        && pair.updating != 0
    {
        update(pair);
    }
}

/// Counts an update of the used ring of the run's virtqueue.
#[inline(always)]
fn update(pair: &mut Pair) {
    pair.updating = 0;
    let ring = if pair.running == TRANSMIT { TX_RING } else { RX_RING };
    let slot = pair.slot;
    if slot == NO_SLOT {
        lose(lost::UNPLACED);
        return;
    }
    tally(slot, ring.used(), u64::from(pair.used));
    tally(slot, if pair.signalled != 0 { ring.calls() } else { ring.suppressed() }, 1);
}

/// Some eventfd is signalled.
#[inline(always)]
pub(crate) fn eventfd(stack: u64) {
    if let Some(pair) = pair::current()
        && pair.updating != 0
        && pair.stack.wrapping_sub(stack) < NEAR
    {
        pair.signalled = 1;
    }
}
