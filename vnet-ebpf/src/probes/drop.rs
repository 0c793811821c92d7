//! A packet is dropped: by a tap on the way to its guest, by a tap on the way from it, or later in the host's stack.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
    programs::BtfTracePointContext,
};
use vnet_ebpf::{
    counter::{DropKey, RECV_DROPS, STACK_DROPS, XMIT_DROPS, XMIT_FULL_RING, lost},
    device::NO_SLOT,
    offsets::{ABSENT, Code},
};

use super::{Kernel, add, direct, increment, lose, offset, probe, recv::recorded_queue, row, slots, xmit};

const NOEXIST: u64 = 1;

/// Where the tap driver is; user space fills it when it is known.
#[map]
static CODE: Array<Code> = Array::with_max_entries(1, 0);

/// Drops by reason, other than a full ring.
#[map]
static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(16_384, 0);

/// Counts it, if it belongs to a watched device.
#[inline(always)]
pub(crate) fn packet(ctx: &BtfTracePointContext, skb: Kernel, location: u64) {
    let Some(code) = CODE.get(0) else { return };
    let dev: Kernel = direct!(skb, skb_dev: Kernel);
    if inside(&code.xmit, location) {
        let slot = slots::find(ctx, dev, u32::from(direct!(skb, skb_queue_mapping: u16)) + 1);
        if slot != NO_SLOT {
            xmit::refuse(skb, slot);
            dropped::<XMIT_DROPS>(slot, reason(ctx));
        }
    } else if inside(&code.recv, location) {
        from_guest(ctx, skb, dev);
    } else if !dev.is_null() {
        in_stack(ctx, skb, dev);
    }
}

/// The tap drops what its guest sent. Early on only the socket that is charged for the packet says which tap it was.
#[inline(always)]
fn from_guest(ctx: &BtfTracePointContext, skb: Kernel, dev: Kernel) {
    let slot = if dev.is_null() {
        match sender(skb).and_then(|(dev, queue)| slots::find_probed(ctx, dev, queue)) {
            Some(slot) => slot,
            None => return,
        }
    } else {
        slots::find(ctx, dev, recorded_queue(skb))
    };
    if slot != NO_SLOT {
        dropped::<RECV_DROPS>(slot, reason(ctx));
    }
}

/// Device and queue of the tun file that made a packet (`struct tun_file` begins with its `struct sock`).
#[inline(always)]
fn sender(skb: Kernel) -> Option<(Kernel, u32)> {
    if offset!(tun_file_tun) == ABSENT || offset!(tun_file_sk) == ABSENT {
        return None;
    }
    let sk: Kernel = probe!(skb, skb_sk: Kernel)?; // an address, not an object: the file lies around it
    let file = sk.wrapping_sub(offset!(tun_file_sk) as usize);
    let tun: Kernel = probe!(file, tun_file_tun: Kernel)?;
    let queue = probe!(file, tun_file_queue_index: u16)?;
    let dev: Kernel = probe!(tun, tun_dev: Kernel)?;
    Some((dev, u32::from(queue)))
}

/// The stack drops a packet that came in through the device and still belongs to it.
#[inline(always)]
fn in_stack(ctx: &BtfTracePointContext, skb: Kernel, dev: Kernel) {
    if direct!(skb, skb_iif: u32) != direct!(dev, dev_ifindex: u32) {
        return;
    }
    let slot = slots::find(ctx, dev, recorded_queue(skb));
    if slot != NO_SLOT
        && let Some(row) = row(slot)
    {
        add(row, STACK_DROPS, 1);
    }
}

#[inline(always)]
fn dropped<const CELL: usize>(slot: u32, reason: u32) {
    let Some(row) = row(slot) else { return };
    if CELL == XMIT_DROPS && reason != 0 && reason == offset!(reason_full_ring) {
        add(row, XMIT_FULL_RING, 1);
        return;
    }
    add(row, CELL, 1);
    let key = DropKey { slot, cell: CELL as u16, reason: reason as u16 };
    if let Some(n) = DROPS.get_ptr_mut(key) {
        increment(n);
    } else if DROPS.insert(key, 1, NOEXIST).is_err() {
        match DROPS.get_ptr_mut(key) {
            Some(n) => increment(n),
            None => lose(lost::DROP_REASON),
        }
    }
}

/// The kernel's reason, 0 where it says none.
#[inline(always)]
fn reason(ctx: &BtfTracePointContext) -> u32 {
    if offset!(has_reason) == 1 { ctx.arg(2) } else { 0 }
}

#[inline(always)]
fn inside<const N: usize>(ranges: &[[u64; 2]; N], address: u64) -> bool {
    ranges.iter().any(|[start, end]| address >= *start && address < *end)
}
