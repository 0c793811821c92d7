//! The stack hands a packet to a device: to a tap's guest, or out through this machine's virtio NIC.

use aya_ebpf::programs::BtfTracePointContext;
use vnet_ebpf::{
    counter::{Last, XMIT, XMIT_LAST, XMIT_SEQ, XMIT_SKB},
    device::NO_SLOT,
    hist,
    offsets::ABSENT,
};

use super::{Kernel, add, count, direct, extra_segments, offset, row, slots, store};

/// `VLAN_HLEN`: a tag beside the packet is written into the frame that the guest is given.
const VLAN_HEADER: u32 = 4;

/// Counts it, and remembers it in case the device refuses it.
#[inline(always)]
pub(crate) fn packet(ctx: &BtfTracePointContext, skb: Kernel, dev: Kernel) {
    let slot = slots::find(ctx, dev, u32::from(direct!(skb, skb_queue_mapping: u16)) + 1);
    if slot == NO_SLOT {
        return;
    }
    let len = direct!(skb, skb_len: u32) + vlan(skb);
    let (class, extra) = (hist::class(len), extra_segments(skb, len));
    let Some(row) = row(slot) else { return };
    // SAFETY: this CPU alone writes it.
    let seq = unsafe { (*row)[XMIT_SEQ] };
    store!((*row)[XMIT_SEQ], seq + 1);
    store!((*row)[XMIT_SKB], skb as u64);
    store!((*row)[XMIT_LAST], Last::word(len, extra));
    count(row, XMIT, class, len, extra);
    store!((*row)[XMIT_SEQ], seq + 2);
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

/// Takes the packet that was handed over last out of its row, if it is this one: the device refused it.
#[inline(always)]
pub(crate) fn refuse(skb: Kernel, slot: u32) {
    let Some(row) = row(slot) else { return };
    // SAFETY: this CPU alone writes it.
    let last = Last::of(unsafe { &*row });
    if last.skb != skb as u64 {
        return;
    }
    store!((*row)[XMIT_SEQ], last.seq + 1);
    add(row, XMIT.size(hist::class(last.len) & (hist::CLASSES - 1)), 1_u64.wrapping_neg());
    add(row, XMIT.bytes(), u64::from(last.len).wrapping_neg());
    add(row, XMIT.extra_segments(), u64::from(last.extra_segments).wrapping_neg());
    store!((*row)[XMIT_SKB], 0);
    store!((*row)[XMIT_SEQ], last.seq + 2);
}
