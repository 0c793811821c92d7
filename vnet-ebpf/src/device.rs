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
    /// Stands for the address of the `net_device`: says where its cache entries are, if it has any.
    pub dev: u64,
    /// Name at the time of the first packet, NUL-terminated.
    pub name: [u8; 16],
    /// 0: free; 1: the fields above hold.
    pub ready: u64,
}

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

/// One entry of the cache before `SLOTS`. Each word is read and written whole; a mix of two writers' words matches no
/// device but one that owns both, so a torn entry is a miss, never a wrong row.
///
/// It is found by the address of the device, which costs no load, and holds what an address does not say: which device
/// lives there now, and in which namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheEntry {
    /// `instance` low 32 bits, queue (12 bits), slot (20 bits).
    pub who: u64,
    /// Address of the namespace. A device that moves gets a new slot.
    pub net: u64,
}

impl CacheEntry {
    /// The word that names device and queue, with slot 0.
    #[inline]
    pub const fn tag(instance: u64, queue: u32) -> u64 {
        (instance << 32) | ((queue & MAX_QUEUE) as u64) << 20
    }

    /// Index of the first of the two entries where a queue can be, before it is masked.
    ///
    /// `dev`: a number that stands for the address of the `net_device`.
    #[inline]
    pub const fn index(dev: u32, queue: u32) -> u32 {
        ((dev >> 6).wrapping_mul(0x9e37_79b9) >> 12).wrapping_add(queue)
    }

    /// Index of the other.
    #[inline]
    pub const fn other(index: u32, mask: u32) -> u32 {
        index ^ (mask / 2 + 1)
    }
}

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
        assert_eq!(CacheEntry::tag(u64::MAX, u32::MAX) & u64::from(NO_SLOT), 0);
        assert_ne!(CacheEntry::tag(7, 1), CacheEntry::tag(7, 2));
        assert_ne!(CacheEntry::tag(7, 1), CacheEntry::tag(8, 1));
    }
}
