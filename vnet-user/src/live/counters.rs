//! Reads the probes' counters: sums rows over CPUs, without system calls while nothing is dropped.

mod forget;
mod rows;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vnet_ebpf::{
    counter::{RECV, RECV_DROPS, ROW, Row, STACK_DROPS, XMIT, XMIT_DROPS, XMIT_FULL_RING, lost},
    device::{META_READY, Meta, NO_SLOT, kind},
    vhost::VhostRow,
};

pub(crate) use self::rows::{flow, forget_last, lost};
use self::rows::{rows, sum};
use super::{
    maps::Maps,
    vhost::{self, Served, VhostSlot},
};
use crate::{
    record::{Flow, QueueCounts},
    topology::QueueKey,
};

/// Which directions of a kind of device the attached probes cover.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Covered {
    pub(crate) tx: bool,
    pub(crate) rx: bool,
}

/// What the attached probes cover.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) tap: Covered,
    pub(crate) virtio_net: Covered,
    pub(crate) stack_drops: bool,
    pub(crate) vhost: vhost::Known,
}

/// Drops of one slot and cell, by reason.
type Reasons = BTreeMap<u16, u64>;

/// A slot in use.
struct Slot {
    index: usize,
    meta: Meta,
    key: QueueKey,
    /// Counts that were there before counting began, if any, and so are not ours to tell.
    base: Option<Box<Row>>,
    /// As last read.
    told: Row,
    /// Whether `told` is still to be told.
    fresh: bool,
    /// How often each CPU had handed over a packet when the row was last read.
    handed_over: Vec<u64>,
    /// Reads since the device was found to be gone.
    gone: Option<u8>,
    /// What vhost did.
    vhost: VhostSlot,
}

/// All slots in use, and what released ones had counted.
#[derive(Default)]
pub(crate) struct Counters {
    slots: Vec<Slot>,
    /// Whose each slot is; `None` for those that `slots` has not.
    owners: Vec<Option<QueueKey>>,
    reasons: HashMap<(u32, u16), Reasons>,
    /// Counts of released slots, which a later slot of the same queue goes on from.
    released: HashMap<QueueKey, Counted>,
    names: BTreeMap<u32, Arc<str>>,
    coverage: Coverage,
    served: Served,
}

impl Counters {
    /// `names`: drop reasons by number.
    pub(crate) fn new(coverage: Coverage, names: &BTreeMap<u32, String>) -> Self {
        let names = names.iter().map(|(number, name)| (*number, Arc::from(name.as_str()))).collect();
        Self { names, coverage, ..Self::default() }
    }

    /// What the probes cover now; all queues are told again.
    pub(crate) fn cover(&mut self, coverage: Coverage) {
        self.coverage = coverage;
        for slot in &mut self.slots {
            slot.fresh = true;
        }
    }

    /// Whose a slot is.
    pub(crate) fn queue(&self, index: u32) -> Option<QueueKey> {
        self.owners.get(index as usize).copied().flatten()
    }

    /// Looks which queues vhost serves; true when they are not those of before.
    pub(crate) fn look_served(&mut self, maps: &Maps) -> bool {
        let owners = &self.owners;
        self.served.look(maps, |slot| owners.get(slot as usize).copied().flatten())
    }

    /// Which queues vhost serves, as last looked at.
    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    /// Slots that probes claimed since the last call, in the order in which their devices were made.
    pub(crate) fn claimed(&mut self, maps: &Maps) -> Vec<(usize, Meta)> {
        self.owners.resize(maps.meta.len(), None);
        let free = self.owners.iter().enumerate().filter(|(_, owner)| owner.is_none());
        let claimed = free.map(|(index, _)| index).filter(|index| maps.meta.word(*index, META_READY) == 1);
        // Only what is read after `ready` was seen is whole.
        let mut claimed: Vec<_> = claimed.map(|index| (index, maps.meta.read(index))).collect();
        claimed.sort_by_key(|(_, meta)| meta.instance);
        claimed
    }

    /// Says whose a claimed slot is. `counting` is false for one that was claimed before counting began.
    pub(crate) fn bind(&mut self, maps: &Maps, index: usize, meta: Meta, key: QueueKey, counting: bool) {
        self.owners[index] = Some(key);
        let (base, vhost_base) = if counting {
            ([0; ROW], vhost::EMPTY)
        } else {
            (sum(maps, index, None), vhost::whole(&maps.vhost, index).unwrap_or(vhost::EMPTY))
        };
        let base = base.iter().any(|cell| *cell != 0).then(|| Box::new(base));
        let (told, handed_over, vhost) = ([0; ROW], Vec::new(), VhostSlot::new(&vhost_base));
        self.slots.push(Slot { index, meta, key, base, told, fresh: true, handed_over, gone: None, vhost });
    }

    /// Counts of queues that changed since they were last told, sorted by key. Those that `wanted` refuses are told once it
    /// does not, with all that they had counted by then.
    ///
    /// Call it at least 20 ms after the one before: a packet that was the last of its CPU and queue then and still is was
    /// accepted.
    pub(crate) fn read(
        &mut self,
        maps: &Maps,
        wanted: impl Fn(&QueueKey) -> bool,
    ) -> Vec<(QueueKey, QueueCounts)> {
        let read = |slot: &mut Slot| sum(maps, slot.index, Some(&mut slot.handed_over));
        let mut rows: Vec<Row> = self.slots.iter_mut().map(read).collect();
        let mut dropping = false;
        for (slot, row) in self.slots.iter().zip(&mut rows) {
            for (cell, base) in row.iter_mut().zip(slot.base.iter().flat_map(|base| **base)) {
                *cell -= base.min(*cell);
            }
            dropping |= row[RECV_DROPS] != slot.told[RECV_DROPS] || row[XMIT_DROPS] != slot.told[XMIT_DROPS];
        }
        if dropping {
            self.read_reasons(maps);
        }
        let unlisted = lost(maps)[lost::DROP_REASON] > 0;
        let vhost: Vec<_> = self.slots.iter().map(|slot| slot.vhost.read(&maps.vhost, slot.index)).collect();
        // A queue that is not served now was not when its rows were read: what vhost had sent is in them.
        self.look_served(maps);
        let mut changed: BTreeMap<QueueKey, Counted> = BTreeMap::new();
        for ((slot, row), vhost) in self.slots.iter_mut().zip(rows).zip(vhost) {
            let served = self.served.has(slot.index);
            let moved = slot.vhost.take(vhost, &slot.told, &row, served);
            if row != slot.told || moved || slot.fresh {
                (slot.told, slot.fresh) = (row, !wanted(&slot.key));
                if slot.fresh {
                    continue;
                }
                changed.insert(slot.key, self.released.get(&slot.key).cloned().unwrap_or_default());
            }
        }
        for slot in &self.slots {
            if let Some(counts) = changed.get_mut(&slot.key) {
                counts.add(&self.of_slot(slot, unlisted));
            }
        }
        let known = self.coverage.vhost;
        changed.into_iter().map(|(key, counted)| (key, counted.told(known))).collect()
    }

    fn read_reasons(&mut self, maps: &Maps) {
        self.reasons.clear();
        for (key, count) in maps.drops.iter().flatten() {
            self.reasons.entry((key.slot, key.cell)).or_default().insert(key.reason, count);
        }
    }

    fn of_slot(&self, slot: &Slot, unlisted: bool) -> Counted {
        let mut recv = flow(&slot.told, RECV);
        let mut xmit = flow(&slot.told, XMIT);
        recv.drops = self.drops(slot, RECV_DROPS, unlisted);
        xmit.drops = self.drops(slot, XMIT_DROPS, unlisted);
        if slot.told[XMIT_FULL_RING] > 0 {
            *xmit.drops.entry(Arc::from("FULL_RING")).or_default() += slot.told[XMIT_FULL_RING];
        }
        if slot.meta.kind == kind::VIRTIO_NET {
            let Covered { tx, rx } = self.coverage.virtio_net;
            return Counted { tx: tx.then_some(xmit), rx: rx.then_some(recv), vhost: None };
        }
        recv.stack_drops = self.coverage.stack_drops.then_some(slot.told[STACK_DROPS]);
        let Covered { tx, rx } = self.coverage.tap;
        let mut counted = Counted { tx: tx.then_some(recv), rx: rx.then_some(xmit), vhost: None };
        counted.vhost = slot.vhost.replace(self.coverage.vhost, &mut counted.tx, &mut counted.rx);
        counted
    }

    fn drops(&self, slot: &Slot, cell: usize, unlisted: bool) -> BTreeMap<Arc<str>, u64> {
        let key = (u32::try_from(slot.index).unwrap_or(NO_SLOT), u16::try_from(cell).unwrap_or(u16::MAX));
        let mut drops = BTreeMap::new();
        for (reason, count) in self.reasons.get(&key).into_iter().flatten() {
            let name = self.names.get(&u32::from(*reason)).cloned();
            *drops.entry(name.unwrap_or_else(|| Arc::from(format!("REASON_{reason}")))).or_default() += count;
        }
        let listed: u64 = drops.values().sum();
        if unlisted && slot.told[cell] > listed {
            drops.insert(Arc::from("UNLISTED"), slot.told[cell] - listed);
        }
        drops
    }

    /// Gives back the slots of devices that are gone, so that a host where devices come and go never runs out.
    ///
    /// A slot is first cut off from the probes, then read once more, then emptied: three calls apart.
    pub(crate) fn release(&mut self, maps: &mut Maps, present: impl Fn(&QueueKey) -> bool) {
        let (mut index, mut cache) = (0, None);
        while index < self.slots.len() {
            let slot = &mut self.slots[index];
            match slot.gone {
                None if present(&slot.key) => {}
                None => {
                    if cache.is_none() {
                        cache = maps.cache.open().ok();
                    }
                    if let Some(cache) = &cache {
                        let _ = maps.slots.remove(&slot.meta.slot_key()); // absent is as good
                        cache.forget(&maps.meta.read(slot.index)); // as it is now: a probe may have added to it
                        slot.gone = Some(0);
                    } // else there is no memory for it just now
                }
                Some(reads) if reads < 2 => slot.gone = Some(reads + 1),
                Some(_) => {
                    self.retire(maps, index);
                    continue;
                }
            }
            index += 1;
        }
    }

    fn retire(&mut self, maps: &mut Maps, index: usize) {
        let slot = self.slots.swap_remove(index);
        let counts = self.of_slot(&slot, lost(maps)[lost::DROP_REASON] > 0);
        self.released.entry(slot.key).or_default().add(&counts);
        let Ok(number) = u32::try_from(slot.index) else { return };
        for cell in [RECV_DROPS, XMIT_DROPS] {
            let cell = u16::try_from(cell).unwrap_or(u16::MAX);
            for reason in self.reasons.remove(&(number, cell)).into_iter().flatten().map(|(reason, _)| reason)
            {
                let _ = maps.drops.remove(&vnet_ebpf::counter::DropKey { slot: number, cell, reason });
            }
        }
        for row in rows(maps, slot.index) {
            maps.banks.write(row, [0; ROW]);
        }
        maps.vhost.write(slot.index, vhost::EMPTY);
        maps.meta.write(slot.index, Meta::default());
        self.owners[slot.index] = None;
        let _ = maps.free.push(number, 0); // there is room: it came from there
    }
}

/// What the slots of one queue have counted together.
#[derive(Clone, Default)]
struct Counted {
    tx: Option<Flow>,
    rx: Option<Flow>,
    vhost: Option<VhostRow>,
}

impl Counted {
    fn add(&mut self, more: &Self) {
        add_flow(&mut self.tx, more.tx.as_ref());
        add_flow(&mut self.rx, more.rx.as_ref());
        if let Some(more) = more.vhost {
            let row = self.vhost.get_or_insert(vhost::EMPTY);
            for (cell, n) in row.iter_mut().zip(more) {
                *cell = cell.wrapping_add(n);
            }
        }
    }

    fn told(self, known: vhost::Known) -> QueueCounts {
        QueueCounts { tx: self.tx, rx: self.rx, vhost: self.vhost.map(|row| known.vhost(&row)) }
    }
}

fn add_flow(into: &mut Option<Flow>, more: Option<&Flow>) {
    let Some(more) = more else { return };
    let Some(into) = into else {
        *into = Some(more.clone());
        return;
    };
    into.add_packets(more);
    for (reason, n) in &more.drops {
        *into.drops.entry(Arc::clone(reason)).or_default() += n;
    }
    into.stack_drops = match (into.stack_drops, more.stack_drops) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
}
