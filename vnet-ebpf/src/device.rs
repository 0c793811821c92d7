//! Slots: which row belongs to which queue of which device.

/// No row: the device is not watched, or nothing is pending.
pub const NO_SLOT: u32 = 0xf_ffff;

/// Largest queue index that is told apart.
pub const MAX_QUEUE: u32 = 0xfff;

/// Kinds of device, as the probes tell them apart. Not an enum: user space reads it from shared memory.
pub mod kind {
    /// A tun device in tap mode.
    pub const TAP: u32 = 1;
    /// A virtio NIC of this machine.
    pub const VIRTIO_NET: u32 = 2;
}

/// Who a slot belongs to. Written once by the probe that claims the slot, `ready` last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Identity of the device for its whole life: `kernfs_node.id` of its sysfs directory. Grows with creation.
    pub instance: u64,
    /// Inode number of the network namespace (`ns_common.inum`).
    pub netns: u32,
    /// Interface index in it.
    pub ifindex: u32,
    /// Queue index that the packets carried.
    pub queue: u32,
    /// One of [`kind`].
    pub kind: u32,
    /// The number that stands for the device in the cache, once it is there.
    pub dev: u64,
    /// Name at the time of the first packet, NUL-terminated.
    pub name: [u8; 16],
    /// 0: free; 1: the fields above hold.
    pub ready: u64,
}

/// The word of a [`Meta`] that is `ready`.
pub const META_READY: usize = core::mem::offset_of!(Meta, ready) / 8;

/// Key of the `SLOTS` map: what makes two packets belong to the same row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotKey {
    /// As in [`Meta`].
    pub instance: u64,
    /// As in [`Meta`].
    pub netns: u32,
    /// As in [`Meta`].
    pub ifindex: u32,
    /// As in [`Meta`].
    pub queue: u32,
    /// Zero.
    pub reserved: u32,
}

impl Meta {
    /// The key under which the slot was claimed.
    pub const fn slot_key(&self) -> SlotKey {
        SlotKey {
            instance: self.instance,
            netns: self.netns,
            ifindex: self.ifindex,
            queue: self.queue,
            reserved: 0,
        }
    }
}

/// One entry of the cache before `SLOTS`: where the packets of one queue of one device are counted.
///
/// The cache is one value of an array map, so that the programs address it without a look-up. It begins with the epoch,
/// which takes the room of [`CACHE_HEAD`] entries: devices registered or moved since the probes were attached, plus one; 0:
/// nobody counts.
///
/// It is found by the address of the device, so the common path touches no memory of the device that the stack has not
/// just used. What an address does not say is in the other words: that no device was registered since (`epoch`), so it is
/// still the same one, and that it has not moved (`net`, or the epoch where it notices that too). Index and address
/// together say the queue.
///
/// Each word is read and written whole. A mix of two writers' words is never taken for a match that is wrong: the row is
/// in the same word as the device, and a device that is gone was written under an epoch that is over.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheEntry {
    /// Number of the device (44 bits), slot (20 bits).
    pub who: u64,
    /// Address of the namespace. A device that moves gets a new slot.
    pub net: u64,
    /// The epoch when the entry was made; [`CacheEntry::NO_EPOCH`] where nobody counts them.
    pub epoch: u64,
    /// As in [`Meta`]; decides where there is no epoch.
    pub instance: u64,
}

impl CacheEntry {
    /// The epoch of entries that were made while nobody counted; never current.
    pub const NO_EPOCH: u64 = u64::MAX;

    /// The word that names a device, with slot 0. `dev` is what the probes take for its address: a number that differs
    /// for all devices at one time (`net_device` is aligned to 32 bytes).
    #[inline]
    pub const fn tag(dev: u64) -> u64 {
        (dev >> 5) << 20
    }

    /// Index of the first of the two entries where a queue can be, before it is masked. `mapping` is the queue + 1, as a
    /// received packet has it; 0, that none was recorded, stands for queue 0 too and has an entry of its own.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low half spreads devices well enough")]
    pub const fn index(dev: u64, mapping: u32) -> u32 {
        (((dev >> 6) as u32).wrapping_mul(0x9e37_79b9) >> 12).wrapping_add(mapping)
    }

    /// Index of the other: so far away that no other queue of the device has it.
    #[inline]
    pub const fn other(index: u32, mask: u32) -> u32 {
        index ^ (mask / 2 + 1)
    }
}

/// Entries of the cache at least: twice as far between the two places of a queue as there are queues.
pub const CACHE_MIN: u32 = 4 * (MAX_QUEUE + 1);

/// Entries of the cache at most: the value of a map is limited to 4 MiB in older kernels.
pub const CACHE_MAX: u32 = 0x1_0000;

/// Entries that lie before the first one.
pub const CACHE_HEAD: u32 = 1;

/// Where the cache is: the loader puts the map in the place of this constant.
pub const CACHE_ADDRESS: u64 = 0x7601_0000_7601_0000;

#[cfg(feature = "user")]
mod user {
    #![expect(unsafe_code, reason = "aya::Pod promises that any bytes are a valid value")]
    // SAFETY: integers only, no padding.
    unsafe impl aya::Pod for super::SlotKey {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_leaves_the_slot_bits_free() {
        assert_eq!(CacheEntry::tag(u64::MAX) & u64::from(NO_SLOT), 0);
        assert_ne!(CacheEntry::tag(0xffff_8881_0000_1000), CacheEntry::tag(0xffff_8881_0000_2000));
        assert_ne!(CacheEntry::tag(0xffff_8881_0000_1000), CacheEntry::tag(0xffff_8882_0000_1000));
    }

    #[test]
    fn index_and_device_say_the_queue() {
        let mask = CACHE_MIN - 1;
        let mut seen = [false; CACHE_MIN as usize];
        for mapping in 0..=MAX_QUEUE + 1 {
            let first = CacheEntry::index(0xffff_8881_2345_6000, mapping) & mask;
            for index in [first, CacheEntry::other(first, mask)] {
                assert!(!core::mem::replace(&mut seen[index as usize], true), "two queues at {index}");
            }
        }
    }
}
