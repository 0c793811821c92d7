//! A device hands a packet to the stack: a tap's guest sent it, or it came to this machine's virtio NIC.

use aya_ebpf::programs::BtfTracePointContext;
use vnet_ebpf::{counter::RECV, device::NO_SLOT, hist};

use super::{Kernel, count, direct, extra_segments, row, slots};

/// `ETH_HLEN`: the header is pulled off before the stack sees the packet.
const ETHERNET_HEADER: u32 = 14;

/// Queue index that the driver recorded, plus one (`skb_record_rx_queue`); 0: it did not.
#[inline(always)]
pub(crate) fn recorded_queue(skb: Kernel) -> u32 {
    u32::from(direct!(skb, skb_queue_mapping: u16))
}

/// A packet that a watched device's guest sent, or that came to this machine's virtio NIC.
pub(crate) struct Received {
    pub(crate) slot: u32,
    /// Frame bytes.
    pub(crate) len: u32,
    pub(crate) extra_segments: u32,
}

/// Counts it.
#[inline(always)]
pub(crate) fn packet(ctx: &BtfTracePointContext, skb: Kernel) -> Option<Received> {
    let dev: Kernel = direct!(skb, skb_dev: Kernel);
    let slot = slots::find(ctx, dev, recorded_queue(skb));
    // A packet that another device received before was redirected here, not sent by this guest.
    if slot == NO_SLOT || direct!(skb, skb_iif: u32) != 0 {
        return None;
    }
    let len = direct!(skb, skb_len: u32) + ETHERNET_HEADER;
    let extra_segments = extra_segments(skb, len);
    count(row(slot)?, RECV, hist::class(len), len, extra_segments);
    Some(Received { slot, len, extra_segments })
}
