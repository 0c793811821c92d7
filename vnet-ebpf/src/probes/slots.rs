//! From a packet's device and queue to its slot: a cache, a hash behind it, and the claim of a free slot when a queue
//! of a watched device is seen for the first time. The device is recognised here, so its first packet is counted.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_probe_read_kernel,
    macros::map,
    maps::{Array, HashMap, Stack},
    programs::BtfTracePointContext,
};
use vnet_ebpf::{
    counter::lost,
    device::{CACHE_ADDRESS, CACHE_HEAD, CacheEntry, MAX_QUEUE, Meta, NO_SLOT, SlotKey, kind},
};

use super::{Kernel, MMAPABLE, direct, increment, lose, offset, probe, store};

const NOEXIST: u64 = 1;

/// `ARPHRD_ETHER`.
pub(crate) const ETHER: u16 = 1;

/// Slots by device and queue; user space sets the size.
#[map]
static SLOTS: HashMap<SlotKey, u32> = HashMap::with_max_entries(1, 0);

/// Slots that nobody has; user space fills it. Last in, first out, so that the numbers in use stay low.
#[map]
static FREE: Stack<u32> = Stack::with_max_entries(1, 0);

/// Who has a slot; user space sets the size.
#[map]
static META: Array<Meta> = Array::with_max_entries(1, MMAPABLE);

/// A device as it can be told from every other for ever.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) instance: u64,
    pub(crate) netns: u32,
    pub(crate) ifindex: u32,
}

impl Identity {
    /// Of a device whose type the verifier knows.
    #[inline(always)]
    pub(crate) fn of(dev: Kernel) -> Self {
        let node: Kernel = direct!(dev, dev_kobj_sd: Kernel);
        let net: Kernel = direct!(dev, dev_net: Kernel);
        Self {
            instance: direct!(node, kernfs_id: u64),
            netns: direct!(net, net_inum: u32),
            ifindex: direct!(dev, dev_ifindex: u32),
        }
    }

    /// Of a device reached through plain addresses.
    #[inline(always)]
    pub(crate) fn probed(dev: Kernel) -> Option<Self> {
        let node: Kernel = probe!(dev, dev_kobj_sd: Kernel)?;
        let net: Kernel = probe!(dev, dev_net: Kernel)?;
        Some(Self {
            instance: probe!(node, kernfs_id: u64)?,
            netns: probe!(net, net_inum: u32)?,
            ifindex: probe!(dev, dev_ifindex: u32)?,
        })
    }

    #[inline(always)]
    fn key(&self, queue: u32) -> SlotKey {
        SlotKey { instance: self.instance, netns: self.netns, ifindex: self.ifindex, queue, reserved: 0 }
    }
}

/// The cache: direct-mapped, two ways. User space makes it and puts its address here, see [`CACHE_ADDRESS`].
#[inline(always)]
fn cache() -> *mut CacheEntry {
    let cache: u64;
    // SAFETY: sets a register.
    unsafe {
        core::arch::asm!(
            "{cache} = {address} ll",
            cache = out(reg) cache,
            address = const CACHE_ADDRESS,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    cache as *mut CacheEntry
}

/// The entry at a masked index.
#[inline(always)]
fn entry(cache: *mut CacheEntry, index: u32) -> *mut CacheEntry {
    cache.wrapping_add(CACHE_HEAD as usize).wrapping_add(index as usize)
}

/// A device is about to be registered: from now on an address in the cache may be another device's.
#[inline(always)]
pub(crate) fn registered() {
    increment(cache().cast());
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    epoch(cache())
}

#[inline(always)]
fn epoch(cache: *mut CacheEntry) -> u64 {
    // SAFETY: the head of the cache; a word that only grows.
    unsafe { core::ptr::read_volatile(cache.cast()) }
}

/// A number that stands for an address. The verifier forbids arithmetic on a pointer, but the distance of two is a
/// number to it.
#[inline(always)]
fn number(dev: Kernel, cache: *mut CacheEntry) -> u64 {
    let distance: u64;
    // SAFETY: arithmetic only.
    unsafe {
        core::arch::asm!(
            "{distance} = {dev}",
            "{distance} -= {origin}",
            distance = out(reg) distance,
            dev = in(reg) dev as usize,
            origin = in(reg) cache as usize,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    distance
}

/// The slot of a queue, [`NO_SLOT`] when nobody watches the device. `mapping` is the queue + 1, or 0 for queue 0.
#[inline(always)]
pub(crate) fn find(ctx: &BtfTracePointContext, dev: Kernel, mapping: u32) -> u32 {
    let cache = cache();
    let number = number(dev, cache);
    let index = CacheEntry::index(number, mapping) & offset!(cache_mask);
    // SAFETY: a masked index lies within the map; each word is read whole.
    let entry = unsafe { &*entry(cache, index) };
    let slot = entry.who ^ CacheEntry::tag(number);
    if slot <= u64::from(NO_SLOT)
        && entry.epoch == epoch(cache)
        && (offset!(moves_unnoticed) == 0 || entry.net == direct!(dev, dev_net: u64))
    {
        return slot as u32;
    }
    find_slowly(ctx, dev, mapping)
}

/// Looks in both entries with the device's identity in hand, then in the hash, then claims a slot; and remembers it.
#[inline(never)]
fn find_slowly(ctx: &BtfTracePointContext, dev: Kernel, mapping: u32) -> u32 {
    let cache = cache();
    let epoch = match epoch(cache) {
        0 => CacheEntry::NO_EPOCH,
        epoch => epoch,
    };
    let (id, number) = (Identity::of(dev), number(dev, cache));
    let net: u64 = direct!(dev, dev_net: u64);
    let first = CacheEntry::index(number, mapping) & offset!(cache_mask);
    let other = CacheEntry::other(first, offset!(cache_mask)) & offset!(cache_mask);
    let mut place = first;
    for index in [other, first] {
        // SAFETY: as in `find`.
        let entry = unsafe { &*entry(cache, index) };
        let slot = entry.who ^ CacheEntry::tag(number);
        let same = entry.net == net && entry.epoch == epoch && entry.instance == id.instance;
        if slot <= u64::from(NO_SLOT) && same {
            return slot as u32;
        }
        if entry.epoch != epoch {
            place = index;
        }
    }
    let queue = mapping.saturating_sub(1);
    // SAFETY: the value is an integer that is never changed after it was inserted.
    let slot = match unsafe { SLOTS.get(id.key(queue)) } {
        Some(slot) => *slot,
        None => match watched(dev) {
            0 => NO_SLOT,
            kind => match claim(ctx, dev, id, queue, kind) {
                Some(slot) => slot,
                None => return NO_SLOT, // not remembered: a slot may become free
            },
        },
    };
    if let Some(meta) = META.get_ptr_mut(slot) {
        // SAFETY: a map value; all writers write the same.
        let meta = unsafe { &mut *meta };
        store!(meta.dev, number);
    }
    let place = place & offset!(cache_mask);
    // SAFETY: as in `find`; each word is written whole, see `CacheEntry`.
    let entry = unsafe { &mut *entry(cache, place) };
    store!(entry.who, 0);
    store!(entry.net, net);
    store!(entry.epoch, epoch);
    store!(entry.instance, id.instance);
    store!(entry.who, CacheEntry::tag(number) | u64::from(slot));
    slot
}

/// Kind of a device that is counted, else 0.
#[inline(always)]
fn watched(dev: Kernel) -> u32 {
    let ops: Kernel = direct!(dev, dev_rtnl_link_ops: Kernel);
    if !ops.is_null() {
        let name: *const [u8; 4] = direct!(ops, link_ops_kind: *const [u8; 4]);
        // SAFETY: bpf_probe_read_kernel checks the address.
        let is_tun = unsafe { bpf_probe_read_kernel(name) } == Ok(*b"tun\0");
        let is_tap = is_tun && direct!(dev, dev_type: u16) == ETHER;
        return if is_tap { kind::TAP } else { 0 };
    }
    let parent: Kernel = direct!(dev, dev_parent: Kernel);
    if parent.is_null() {
        return 0;
    }
    let driver: Kernel = direct!(parent, device_driver: Kernel);
    if driver.is_null() {
        return 0;
    }
    let name: *const [u8; 11] = direct!(driver, driver_name: *const [u8; 11]);
    // SAFETY: as above.
    let is_virtio = unsafe { bpf_probe_read_kernel(name) } == Ok(*b"virtio_net\0");
    if is_virtio { kind::VIRTIO_NET } else { 0 }
}

/// Takes a free slot for a queue; another CPU that does so at the same time gets the same one.
#[inline(always)]
fn claim<C: EbpfContext>(ctx: &C, dev: Kernel, id: Identity, queue: u32, kind: u32) -> Option<u32> {
    if queue > MAX_QUEUE {
        lose(lost::QUEUE_RANGE);
        return None;
    }
    let Ok(Some(slot)) = FREE.pop() else {
        lose(lost::NO_SLOT);
        return None;
    };
    let key = id.key(queue);
    if SLOTS.insert(key, slot, NOEXIST).is_err() {
        let _ = FREE.push(slot, 0);
        // SAFETY: as in `find_slowly`.
        return unsafe { SLOTS.get(key) }.copied();
    }
    let meta = META.get_ptr_mut(slot)?;
    // SAFETY: the slot is ours until user space gives it back; `ready` is written last.
    let meta = unsafe { &mut *meta };
    store!(meta.instance, id.instance);
    store!(meta.netns, id.netns);
    store!(meta.ifindex, id.ifindex);
    store!(meta.queue, queue);
    store!(meta.kind, kind);
    store!(meta.name, probe!(dev, dev_name: [u8; 16]).unwrap_or_default());
    store!(meta.ready, 1);
    #[cfg(feature = "probe-log")]
    aya_log_ebpf::info!(
        ctx,
        "slot {} is queue {} of ifindex {} in netns {}",
        slot,
        queue,
        id.ifindex,
        id.netns
    );
    #[cfg(not(feature = "probe-log"))]
    let _ = ctx;
    Some(slot)
}

/// The slot of a queue reached through plain addresses; claimed when it is new. The device is known to be a tap.
#[inline(always)]
pub(crate) fn find_probed<C: EbpfContext>(ctx: &C, dev: Kernel, queue: u32) -> Option<u32> {
    let id = Identity::probed(dev)?;
    // SAFETY: as in `find_slowly`.
    if let Some(slot) = unsafe { SLOTS.get(id.key(queue)) } {
        return Some(*slot);
    }
    if probe!(dev, dev_type: u16)? != ETHER {
        return None;
    }
    claim(ctx, dev, id, queue, kind::TAP)
}
