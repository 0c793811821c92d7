//! From slots that probes claimed to the queues they count for.

use anyhow::Result;
use vnet_ebpf::device::kind;

use super::{counters::Counters, inventory::Inventory, maps::Maps};
use crate::topology::{DeviceKind, IfIndex, Netns, QueueKey, QueuePair};

/// Finds out whose the slots are that probes claimed. The inventory is brought up to date in between, so that a device
/// whose packets were counted is known by then.
pub(super) fn bind(
    counters: &mut Counters,
    inventory: &mut Inventory,
    maps: &mut Maps,
    counting: bool,
) -> Result<()> {
    let claimed = counters.claimed(maps);
    inventory.drain()?;
    for (slot, meta) in claimed {
        let device_kind = if meta.kind == kind::VIRTIO_NET { DeviceKind::VirtioNet } else { DeviceKind::Tap };
        let end = meta.name.iter().position(|byte| *byte == 0).unwrap_or(meta.name.len());
        let name = String::from_utf8_lossy(&meta.name[..end]);
        let (netns, ifindex) = (Netns(u64::from(meta.netns)), IfIndex(meta.ifindex));
        if !inventory.knows(netns) {
            inventory.rescan();
        }
        let device = inventory.bind(netns, ifindex, meta.instance, &name, device_kind);
        let queue = QueuePair(u16::try_from(meta.queue).unwrap_or(u16::MAX));
        maps.reach(slot)?;
        counters.bind(maps, slot, meta, QueueKey { device, queue }, counting);
    }
    Ok(())
}
