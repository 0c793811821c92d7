//! The stack hands a packet to a device: to a tap's guest, or out through this machine's virtio NIC.

use aya_ebpf::{macros::map, maps::Array, programs::BtfTracePointContext};
use vnet_ebpf::{
    counter::{Pending, XMIT},
    device::NO_SLOT,
    hist,
    offsets::ABSENT,
};

use super::{Kernel, MMAPABLE, add, count, cpu, direct, extra_segments, offset, row, slots, store};

/// `VLAN_HLEN`: a tag beside the packet is written into the frame that the guest is given.
const VLAN_HEADER: u32 = 4;

/// The packet that each CPU handed over last; user space sets the size.
#[map]
static PENDING: Array<Pending> = Array::with_max_entries(1, MMAPABLE);

/// Counts it, and remembers it in case the device refuses it.
#[inline(always)]
pub(crate) fn packet(ctx: &BtfTracePointContext, skb: Kernel, dev: Kernel) {
    let slot = slots::find(ctx, dev, u32::from(direct!(skb, skb_queue_mapping: u16)));
    if slot == NO_SLOT {
        return;
    }
    let len = direct!(skb, skb_len: u32) + vlan(skb);
    let (class, extra) = (hist::class(len), extra_segments(skb, len));
    let Some(pending) = PENDING.get_ptr_mut(cpu()) else { return };
    let Some(row) = row(slot) else { return };
    // SAFETY: this CPU alone writes it.
    let pending = unsafe { &mut *pending };
    let seq = pending.seq;
    store!(pending.seq, seq + 1);
    count(row, XMIT, class, len, extra);
    store!(pending.skb, skb as u64);
    store!(pending.slot, slot);
    store!(pending.class, class as u32);
    store!(pending.len, len);
    store!(pending.extra_segments, extra);
    store!(pending.seq, seq + 2);
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

/// Takes the packet that was handed over last out of its row, if it is this one of this slot: the device refused it.
#[inline(always)]
pub(crate) fn refuse(skb: Kernel, slot: u32) {
    let Some(pending) = PENDING.get_ptr_mut(cpu()) else { return };
    // SAFETY: this CPU alone writes it.
    let pending = unsafe { &mut *pending };
    if pending.skb != skb as u64 || pending.slot != slot {
        return;
    }
    let seq = pending.seq;
    store!(pending.seq, seq + 1);
    if let Some(row) = row(slot) {
        let class = pending.class as usize & (hist::CLASSES - 1);
        add(row, XMIT.size(class), 1_u64.wrapping_neg());
        add(row, XMIT.bytes(), u64::from(pending.len).wrapping_neg());
        add(row, XMIT.extra_segments(), u64::from(pending.extra_segments).wrapping_neg());
    }
    store!(pending.skb, 0);
    store!(pending.seq, seq + 2);
}
