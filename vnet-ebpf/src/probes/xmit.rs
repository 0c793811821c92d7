//! The stack hands a packet to a device: to a tap's guest, or out through this machine's virtio NIC.

use aya_ebpf::{macros::map, maps::Array, programs::BtfTracePointContext};
use vnet_ebpf::{
    counter::{Pending, XMIT},
    device::NO_SLOT,
    hist,
    offsets::ABSENT,
};

use super::{Kernel, MMAPABLE, count, cpu, direct, extra_segments, offset, row, slots, store};

/// `VLAN_HLEN`: a tag beside the packet is written into the frame that the guest is given.
const VLAN_HEADER: u32 = 4;

/// The packet that each CPU handed over last; user space sets the size.
#[map]
static PENDING: Array<Pending> = Array::with_max_entries(1, MMAPABLE);

/// Counts the packet before this one, which was not refused, and remembers this one.
#[inline(always)]
pub(crate) fn packet(ctx: &BtfTracePointContext, skb: Kernel, dev: Kernel) {
    let slot = slots::find(ctx, dev, u32::from(direct!(skb, skb_queue_mapping: u16)));
    if slot == NO_SLOT {
        return;
    }
    let len = direct!(skb, skb_len: u32) + vlan(skb);
    let extra = extra_segments(skb, len);
    let Some(pending) = PENDING.get_ptr_mut(cpu()) else { return };
    // SAFETY: this CPU alone writes it. `slot` is empty while the row changes, so that a reader never adds a packet to
    // a row that has it already.
    let pending = unsafe { &mut *pending };
    let before = pending.slot;
    if before != NO_SLOT {
        store!(pending.slot, NO_SLOT);
        if let Some(row) = row(before) {
            count(row, XMIT, pending.class as usize, pending.len, pending.extra_segments);
        }
    }
    store!(pending.skb, skb as u64);
    store!(pending.class, hist::class(len) as u32);
    store!(pending.len, len);
    store!(pending.extra_segments, extra);
    store!(pending.seq, pending.seq + 1);
    store!(pending.slot, slot);
}

/// Bytes of a VLAN tag that travels beside the packet.
#[inline(always)]
fn vlan(skb: Kernel) -> u32 {
    let tagged = if offset!(skb_vlan_all) != ABSENT {
        direct!(skb, skb_vlan_all: u32) != 0
    } else if offset!(skb_vlan_present) != ABSENT {
        u32::from(direct!(skb, skb_vlan_present: u8)) & offset!(skb_vlan_present_mask) != 0
    } else {
        false
    };
    if tagged { VLAN_HEADER } else { 0 }
}

/// Forgets the packet that was handed over last, if it is this one: the device refused it.
#[inline(always)]
pub(crate) fn refuse(skb: Kernel) {
    if let Some(pending) = PENDING.get_ptr_mut(cpu()) {
        // SAFETY: as above.
        let pending = unsafe { &mut *pending };
        if pending.skb == skb as u64 {
            store!(pending.slot, NO_SLOT);
        }
    }
}
