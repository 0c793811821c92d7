//! The driver's half of a split virtqueue (virtio 1.3, section 2.7).

use std::sync::{
    Arc,
    atomic::{Ordering, fence},
};

use anyhow::{Result, ensure};

use super::memory::Memory;

/// Descriptors of an indirect table at most.
pub const TABLE: u16 = 64;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Whether the step of an index from `old` to `new` passes the one that the other side waits for (`vring_need_event`).
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Where the parts of a ring are; offsets in the guest's RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Descriptors, a power of two.
    pub num: u16,
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring: flags, idx, `num` heads, `used_event`.
    pub available: u64,
    /// Used ring: flags, idx, `num` elements, `avail_event`.
    pub used: u64,
    /// Behind the end.
    pub end: u64,
}

impl Layout {
    /// A ring of `num` descriptors from `start`, which is page-aligned.
    pub const fn at(start: u64, num: u16) -> Self {
        let available = start + 16 * num as u64;
        let used = (available + 6 + 2 * num as u64).next_multiple_of(4096);
        Self { num, descriptors: start, available, used, end: used + 6 + 8 * num as u64 }
    }

    const fn used_event(&self) -> u64 {
        self.available + 4 + 2 * self.num as u64
    }

    const fn avail_event(&self) -> u64 {
        self.used + 4 + 8 * self.num as u64
    }
}

/// A piece of the guest's RAM that a descriptor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Offset in the guest's RAM.
    pub at: u64,
    /// Bytes.
    pub len: u32,
}

/// A chain that the device is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its first descriptor.
    pub head: u16,
    /// Bytes that the device wrote.
    pub len: u32,
}

/// A ring as its driver sees it.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
    layout: Layout,
    tables: Option<u64>,
    event_idx: bool,
    free: Vec<u16>,
    /// Per head in flight, the ring's descriptors it occupies.
    chains: Vec<Option<Vec<u16>>>,
    /// The available index, with what is not yet published.
    next: u16,
    /// The same when a kick was last considered.
    considered: u16,
    seen: u16,
}

impl Ring {
    /// An empty ring of `num` descriptors; with `indirect`, chains of several parts take one descriptor.
    pub fn new(memory: &Arc<Memory>, num: u16, event_idx: bool, indirect: bool) -> Result<Self> {
        ensure!(num.is_power_of_two(), "a ring has a power of two of descriptors, not {num}");
        let size = usize::try_from(Layout::at(0, num).end)?;
        let layout = Layout::at(memory.take(size)?, num);
        let tables =
            if indirect { Some(memory.take(usize::from(num) * usize::from(TABLE) * 16)?) } else { None };
        Ok(Self {
            memory: memory.clone(),
            layout,
            tables,
            event_idx,
            free: (0..num).rev().collect(),
            chains: vec![None; usize::from(num)],
            next: 0,
            considered: 0,
            seen: 0,
        })
    }

    /// As new: for a device that was reset.
    pub fn reset(&mut self) {
        let num = self.layout.num;
        for place in (self.layout.available..self.layout.end).step_by(2) {
            self.memory.store_u16(place, 0);
        }
        self.free = (0..num).rev().collect();
        self.chains = vec![None; usize::from(num)];
        (self.next, self.considered, self.seen) = (0, 0, 0);
    }

    /// Where it is.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Descriptors that are free.
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// Descriptors of the ring that a chain of `parts` takes.
    pub fn cost(&self, parts: usize) -> usize {
        if self.tables.is_some() { 1 } else { parts }
    }

    /// Chains that the device has.
    pub fn in_flight(&self) -> u16 {
        self.next.wrapping_sub(self.seen)
    }

    /// The head that [`Ring::add`] will take next.
    pub fn next_head(&self) -> Option<u16> {
        self.free.last().copied()
    }

    /// Adds a chain, unseen by the device until [`Ring::publish`]; its head, or `None` without room.
    ///
    /// # Panics
    /// With no parts, or with more than [`TABLE`] for an indirect table.
    pub fn add(&mut self, parts: &[Part], device_writes: bool) -> Option<u16> {
        assert!(!parts.is_empty(), "a chain has at least one descriptor");
        if self.free.len() < self.cost(parts.len()) {
            return None;
        }
        let flags = if device_writes { WRITE } else { 0 };
        let taken = self.free.split_off(self.free.len() - self.cost(parts.len()));
        let head = *taken.last()?;
        match self.tables {
            Some(tables) if parts.len() > 1 => {
                assert!(parts.len() <= usize::from(TABLE), "{} parts in one table", parts.len());
                let table = tables + u64::from(head) * u64::from(TABLE) * 16;
                let ids: Vec<u16> = (0..TABLE).take(parts.len()).collect();
                self.chain(table, &ids, parts, flags);
                let whole = Part { at: table, len: u32::try_from(parts.len() * 16).ok()? };
                self.descriptor(self.layout.descriptors, head, whole, INDIRECT, 0);
            }
            _ => {
                let ids: Vec<u16> = taken.iter().rev().copied().collect();
                self.chain(self.layout.descriptors, &ids, parts, flags);
            }
        }
        self.chains[usize::from(head)] = Some(taken);
        let slot = u64::from(self.next % self.layout.num);
        self.memory.write(self.layout.available + 4 + 2 * slot, &head.to_le_bytes());
        self.next = self.next.wrapping_add(1);
        Some(head)
    }

    /// Lets the device see what was added.
    pub fn publish(&self) {
        self.memory.store_u16(self.layout.available + 2, self.next);
    }

    /// Whether the device wants a kick for what was published since this was last asked.
    pub fn kick_needed(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let old = std::mem::replace(&mut self.considered, self.next);
        if self.event_idx {
            need_event(self.memory.load_u16(self.layout.avail_event()), self.next, old)
        } else {
            self.memory.load_u16(self.layout.used) & 1 == 0
        }
    }

    /// Takes back the next chain that the device is done with.
    pub fn pop(&mut self) -> Result<Option<Used>> {
        if self.used_idx() == self.seen {
            return Ok(None);
        }
        let at = self.layout.used + 4 + 8 * u64::from(self.seen % self.layout.num);
        let (id, len) = (self.memory.read_u32(at), self.memory.read_u32(at + 4));
        let chain = usize::try_from(id).ok().and_then(|id| self.chains.get_mut(id)).and_then(Option::take);
        ensure!(chain.is_some(), "the device returned descriptor {id}, which it was not given as a head");
        self.free.extend(chain.into_iter().flatten());
        self.seen = self.seen.wrapping_add(1);
        Ok(Some(Used { head: u16::try_from(id)?, len }))
    }

    /// The available index that the device can see or will at the next [`Ring::publish`].
    pub fn next(&self) -> u16 {
        self.next
    }

    /// The used index as the device has it.
    pub fn used_idx(&self) -> u16 {
        self.memory.load_u16(self.layout.used + 2)
    }

    /// The used index up to which chains were taken back.
    pub fn seen(&self) -> u16 {
        self.seen
    }

    /// With `EVENT_IDX`: the device is to call when its used index passes `index`.
    pub fn set_used_event(&self, index: u16) {
        self.memory.store_u16(self.layout.used_event(), index);
        fence(Ordering::SeqCst);
    }

    /// Without `EVENT_IDX`: whether the device may call (`VRING_AVAIL_F_NO_INTERRUPT`).
    pub fn set_interrupts(&self, wanted: bool) {
        self.memory.store_u16(self.layout.available, u16::from(!wanted));
        fence(Ordering::SeqCst);
    }

    fn chain(&self, table: u64, ids: &[u16], parts: &[Part], flags: u16) {
        for (at, (id, part)) in ids.iter().zip(parts).enumerate() {
            let next = ids.get(at + 1);
            let flags = flags | if next.is_some() { NEXT } else { 0 };
            self.descriptor(table, *id, *part, flags, next.copied().unwrap_or(0));
        }
    }

    fn descriptor(&self, table: u64, id: u16, part: Part, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.memory.guest(part.at).to_le_bytes());
        bytes[8..12].copy_from_slice(&part.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write(table + u64::from(id) * 16, &bytes);
    }
}
