//! Notifications: kicks by the guest, and calls to it for the used ring.

use aya_ebpf::{EbpfContext, macros::map, maps::Array};
use vnet_ebpf::{
    device::NO_SLOT,
    vhost::{RX_RING, RX_UPDATE, Ring, TX_RING, TX_UPDATE, VhostCode},
};

use super::{again, pair, rx, tally, tx, virtqueue};
use crate::probes::{Kernel, kvm, offset, probe, store};

/// Where the handlers of kicks are; user space fills it when it is known.
#[map]
static VHOST_CODE: Array<VhostCode> = Array::with_max_entries(1, 0);

/// `vhost_add_used_and_signal*(dev, virtqueue, …)` begins, in a worker.
#[inline(always)]
pub(crate) fn used_begins(queue: u64) -> bool {
    let Some(pair) = pair::current() else { return false };
    let Some(ring) = ring(pair.dev, queue) else { return false };
    if again() && pair.updating != 0 {
        return false;
    }
    if ring == TX_RING {
        tx::settle_or_drop(pair);
    } else {
        rx::settle(pair);
    }
    pair.used = u32::from(probe!(queue as Kernel, vq_last_used: u16).unwrap_or(0));
    (pair.updating, pair.signalled) = (if ring == TX_RING { TX_UPDATE } else { RX_UPDATE }, 0);
    store!(pair.context, probe!(queue as Kernel, vq_call: u64).unwrap_or(0));
    true
}

/// It ends: the difference is what the guest was given back, and whether the eventfd was signalled meanwhile is whether
/// the guest was called.
#[inline(always)]
pub(crate) fn used_ends<C: EbpfContext>(ctx: &C, queue: u64) -> bool {
    let Some(pair) = pair::current() else { return false };
    let Some(ring) = ring(pair.dev, queue) else { return false };
    if pair.updating == 0 {
        return false;
    }
    pair.updating = 0;
    let context = pair.context;
    store!(pair.context, 0);
    let slot = pair::slot(ctx, pair);
    if slot == NO_SLOT {
        return false;
    }
    let used = u32::from(probe!(queue as Kernel, vq_last_used: u16).unwrap_or(0));
    tally(slot, ring.used(), u64::from(used.wrapping_sub(pair.used) as u16));
    if pair.signalled != 0 {
        tally(slot, ring.calls(), 1);
    } else if context != 0 {
        tally(slot, ring.suppressed(), 1);
    }
    true
}

#[inline(always)]
fn ring(dev: u64, queue: u64) -> Option<Ring> {
    if queue == virtqueue(dev, true) as u64 {
        Some(TX_RING)
    } else if queue == virtqueue(dev, false) as u64 {
        Some(RX_RING)
    } else {
        None
    }
}

/// Whether a handler of kicks is the one of transmit virtqueues of `vhost_net`; `None` if it is no such handler at all.
#[inline(always)]
pub(crate) fn direction(handler: u64) -> Option<bool> {
    let code = VHOST_CODE.get(0)?;
    if handler == 0 || handler != code.tx_kick && handler != code.rx_kick {
        return None;
    }
    Some(handler == code.tx_kick)
}

/// Some eventfd is signalled.
#[inline(always)]
pub(crate) fn eventfd(context: u64) -> bool {
    if let Some(pair) = pair::current()
        && pair.context == context
        && context != 0
        && pair.signalled == 0
    {
        pair.signalled = 1;
        return true;
    }
    false
}

/// `vhost_poll_wakeup(wait, …)`: something that vhost waits for is ready; a kick, if its handler is that of kicks.
#[inline(always)]
pub(crate) fn wakeup<C: EbpfContext>(ctx: &C, wait: u64) {
    let poll = wait.wrapping_sub(u64::from(offset!(poll_wait))) as Kernel;
    let Some(transmit) = probe!(poll, poll_fn: u64).and_then(direction) else { return };
    let Some(dev) = probe!(poll, poll_dev: u64) else { return };
    let socket = probe!(virtqueue(dev, transmit), vq_private_data: u64).unwrap_or(0);
    let Some((_, pair)) = pair::of(dev) else { return };
    let slot = pair::slot_elsewhere(ctx, pair, socket);
    if slot != NO_SLOT {
        tally(slot, if transmit { TX_RING } else { RX_RING }.kicks(), 1);
        kvm::kicked(slot, transmit);
    }
}
