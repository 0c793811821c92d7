//! The probes' cache of slots, one value of an array map that the programs address without a look-up.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::{Context, Result};
use aya::maps::MapData;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use vnet_ebpf::device::{CACHE_HEAD, CACHE_MAX, CACHE_MIN, CacheEntry, Meta, NO_SLOT};

use super::mmap::Shared;

/// Entries for that many slots: a power of two, and room enough that two queues are seldom after the same ones.
fn entries(slots: u32) -> u32 {
    slots.saturating_mul(4).next_power_of_two().clamp(CACHE_MIN, CACHE_MAX)
}

/// Bytes of the cache for that many slots.
pub(crate) fn bytes(slots: u32) -> usize {
    (CACHE_HEAD + entries(slots)) as usize * size_of::<CacheEntry>()
}

/// The cache: its head, which begins with the epoch, and its entries.
pub(crate) struct Cache {
    map: MapData,
    /// Elements, with the head.
    len: usize,
}

/// It, mapped while something is to be changed: what is mapped is resident.
pub(crate) struct Opened(Shared<CacheEntry>);

impl Cache {
    /// Makes it, for that many slots. Nobody counts registrations yet.
    pub(crate) fn new(slots: u32) -> Result<Self> {
        let bytes = bytes(slots);
        let definition = aya_obj::Map::new_from_params(
            BPF_MAP_TYPE_ARRAY as u32,
            4,
            u32::try_from(bytes)?,
            1,
            BPF_F_MMAPABLE,
        );
        let map = MapData::create(definition, "CACHE", None).context("map CACHE cannot be made")?;
        Ok(Self { map, len: (CACHE_HEAD + entries(slots)) as usize })
    }

    /// The map.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    /// What a hash is masked with to be an index.
    pub(crate) fn mask(&self) -> u32 {
        mask(self.len)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.len * size_of::<CacheEntry>()
    }

    /// Maps it.
    pub(crate) fn open(&self) -> io::Result<Opened> {
        Shared::new(self.fd(), self.len).map(Opened)
    }
}

/// What a hash is masked with to be an index of a cache of that many elements.
fn mask(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX) - CACHE_HEAD - 1
}

impl Opened {
    /// From now on registrations are counted. Call it before a program looks for a slot.
    pub(crate) fn count_epochs(&self) {
        self.0.write(0, CacheEntry { who: 1, ..CacheEntry::default() });
    }

    /// Clears what it has of a slot: of queue 0 also what packets found that say no queue.
    pub(crate) fn forget(&self, meta: &Meta) {
        for mapping in [meta.queue + 1, 0] {
            if mapping == 0 && meta.queue != 0 {
                continue;
            }
            let mask = mask(self.0.len());
            let first = CacheEntry::index(meta.dev, mapping) & mask;
            for index in [first, CacheEntry::other(first, mask)] {
                let index = (CACHE_HEAD + index) as usize;
                if self.0.read(index).who ^ CacheEntry::tag(meta.dev) <= u64::from(NO_SLOT) {
                    self.0.write(index, CacheEntry::default());
                }
            }
        }
    }
}
