//! The maps that the probes and user space share.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, Queue, Stack},
};
use vnet_ebpf::{
    counter::{DropKey, Row, lost},
    device::{Meta, NO_SLOT, SlotKey},
    kvm::PathRow,
    offsets::Code,
    vhost::{Pair, VhostCode, VhostRow},
};

use super::{
    cache::{self, Cache},
    mmap::{Plain, Shared},
};

/// The maps that the probes and user space share.
pub(crate) struct Maps {
    /// Counters: of each slot a row per possible CPU.
    pub(crate) banks: Beginning<Row>,
    /// Possible CPUs.
    pub(crate) cpus: usize,
    /// Owners of slots.
    pub(crate) meta: Shared<Meta>,
    /// The probes' cache; entries of released slots are cleared here.
    pub(crate) cache: Cache,
    /// What the probes could not count.
    pub(crate) lost: Shared<[u64; lost::CELLS]>,
    /// Drops by reason.
    pub(crate) drops: HashMap<MapData, DropKey, u64>,
    /// What vhost did, a row per slot.
    pub(crate) vhost: Beginning<VhostRow>,
    /// vhost devices.
    pub(crate) pairs: Shared<Pair>,
    /// Numbers of vhost devices that none has.
    pub(crate) free_pairs: Queue<MapData, u32>,
    /// Ways that calls and kicks took.
    pub(crate) paths: Shared<PathRow>,
    /// Rows of these that none has.
    free_paths: Queue<MapData, u32>,
    /// Slots by device and queue.
    pub(crate) slots: HashMap<MapData, SlotKey, u32>,
    /// Slots that nobody has.
    pub(crate) free: Stack<MapData, u32>,
    /// Where the tap driver's code is.
    code: Array<MapData, Code>,
    /// Where the handlers of kicks are.
    handlers: Array<MapData, VhostCode>,
}

impl Maps {
    /// Takes them out of aya's hands, for that many slots and CPUs.
    pub(crate) fn take(ebpf: &mut Ebpf, slots: u32, cpus: u32, cache: Cache) -> Result<Self> {
        Ok(Self {
            banks: begin(ebpf, "BANKS", slots as usize * cpus as usize)?,
            cpus: cpus as usize,
            meta: share(ebpf, "META", slots as usize)?,
            cache,
            lost: share(ebpf, "LOST", cpus as usize)?,
            vhost: begin(ebpf, "VHOST", slots as usize)?,
            pairs: share(ebpf, "PAIRS", pairs_for(slots) as usize)?,
            free_pairs: Queue::try_from(map(ebpf, "FREE_PAIRS")?)?,
            paths: share(ebpf, "PATHS", paths_for(slots) as usize)?,
            free_paths: Queue::try_from(map(ebpf, "FREE_PATHS")?)?,
            drops: HashMap::try_from(map(ebpf, "DROPS")?)?,
            slots: HashMap::try_from(map(ebpf, "SLOTS")?)?,
            free: Stack::try_from(map(ebpf, "FREE")?)?,
            code: Array::try_from(map(ebpf, "CODE")?)?,
            handlers: Array::try_from(map(ebpf, "VHOST_CODE")?)?,
        })
    }

    /// Puts all numbers into the lists of free ones.
    pub(crate) fn reset(&mut self, slots: u32) -> Result<()> {
        for slot in (0..slots).rev() {
            self.free.push(slot, 0).context("the list of free slots cannot be filled")?;
        }
        for pair in 0..pairs_for(slots) {
            self.free_pairs.push(pair, 0).context("the list of free vhost devices cannot be filled")?;
        }
        for row in 0..paths_for(slots) {
            self.free_paths.push(row, 0).context("the list of free paths cannot be filled")?;
        }
        Ok(())
    }

    /// Maps the rows of a slot, if they are not.
    pub(crate) fn reach(&mut self, slot: usize) -> Result<()> {
        let reached = self.banks.reach((slot + 1) * self.cpus).and_then(|()| self.vhost.reach(slot + 1));
        reached.context("counters cannot be mapped")
    }

    /// Tells the probes where the tap driver and the handlers of kicks are. Where that is not known, what was said before
    /// holds.
    pub(crate) fn locate(&mut self, code: Option<&Code>, handlers: VhostCode) -> Result<()> {
        self.handlers.set(0, handlers, 0).context("map VHOST_CODE cannot be written")?;
        code.map_or(Ok(()), |code| self.code.set(0, code, 0)).context("map CODE cannot be written")
    }

    /// Bytes of kernel memory that the shared maps take.
    pub(crate) fn bytes(&self) -> usize {
        self.vhost.bytes()
            + self.pairs.bytes()
            + self.paths.bytes()
            + self.banks.bytes()
            + self.meta.bytes()
            + self.cache.bytes()
            + self.lost.bytes()
    }
}

/// Kernel memory of the shared maps for `slots` queues on `cpus` possible CPUs, in bytes.
pub fn map_bytes(slots: u32, cpus: u32) -> u64 {
    let per_cpu = u64::from(slots) * size_of::<Row>() as u64 + size_of::<[u64; lost::CELLS]>() as u64;
    let per_slot = size_of::<Meta>() + size_of::<VhostRow>();
    let pairs = u64::from(pairs_for(slots)) * size_of::<Pair>() as u64;
    let paths = u64::from(paths_for(slots)) * size_of::<PathRow>() as u64;
    u64::from(cpus) * per_cpu
        + u64::from(slots) * per_slot as u64
        + pairs
        + paths
        + cache::bytes(slots) as u64
}

/// vhost devices that there is room for beside that many slots: as many, but where most slots are spare a quarter of them,
/// because each is looked at whenever counts are read.
pub(crate) fn pairs_for(slots: u32) -> u32 {
    if slots > AFFORDABLE { slots } else { slots.min(AFFORDABLE / 4) }
}

/// Ways of calls and kicks that there is room for beside that many slots: four for each, which is enough where threads stay
/// where they are.
pub(crate) fn paths_for(slots: u32) -> u32 {
    slots.saturating_mul(4).clamp(1024, AFFORDABLE)
}

/// Slots that are kept spare at most.
const AFFORDABLE: u32 = 16_384;

/// Slots for a host that has `queues` now and `cpus` possible CPUs: a sixteenth and 224 more, and as many as 48 MB of
/// counters hold, up to 16384, so that guests that start later find room.
pub fn slots_for(queues: u32, cpus: u32) -> u32 {
    const BUDGET: u32 = 48_000_000;
    let row = u32::try_from(size_of::<Row>()).unwrap_or(u32::MAX);
    let affordable = (BUDGET / row / cpus.max(1)).min(AFFORDABLE);
    queues.saturating_add((queues / 16).max(224)).max(affordable).min(NO_SLOT)
}

/// CPUs that this kernel may ever have; a bank of counters is kept for each.
pub(crate) fn possible_cpus() -> Result<u32> {
    let cpus = aya::util::nr_cpus();
    let cpus =
        cpus.map_err(|(path, error)| anyhow::Error::new(error).context(format!("cannot read {path}")))?;
    Ok(u32::try_from(cpus)?)
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the object has no map {name}: it is of another version"))
}

/// An array map of which the beginning is mapped, as far as it is in use: what is mapped is resident.
pub(crate) struct Beginning<T> {
    fd: OwnedFd,
    mapped: Shared<T>,
    /// Elements of the map.
    whole: usize,
}

impl<T: Plain> Beginning<T> {
    /// Elements that are mapped at first.
    const FIRST: usize = 256;

    fn new(fd: OwnedFd, whole: usize) -> io::Result<Self> {
        let mapped = Shared::new(fd.as_fd(), whole.min(Self::FIRST))?;
        Ok(Self { fd, mapped, whole })
    }

    /// Maps at least `len` elements.
    fn reach(&mut self, len: usize) -> io::Result<()> {
        if len > self.mapped.len() {
            let more = len.next_power_of_two().min(self.whole);
            self.mapped = Shared::new(self.fd.as_fd(), more)?;
        }
        Ok(())
    }

    /// Bytes of kernel memory.
    fn bytes(&self) -> usize {
        self.whole * size_of::<T>()
    }
}

impl<T> Deref for Beginning<T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.mapped
    }
}

fn array(ebpf: &mut Ebpf, name: &str) -> Result<MapData> {
    let Map::Array(data) = map(ebpf, name)? else { bail!("map {name} is not an array") };
    Ok(data)
}

fn begin<T: Plain>(ebpf: &mut Ebpf, name: &str, len: usize) -> Result<Beginning<T>> {
    let data = array(ebpf, name)?;
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.and_then(|fd| Beginning::new(fd, len)).with_context(|| format!("map {name} cannot be mapped"))
}

fn share<T: Plain>(ebpf: &mut Ebpf, name: &str, len: usize) -> Result<Shared<T>> {
    let data = array(ebpf, name)?;
    Shared::new(data.fd().as_fd(), len).with_context(|| format!("map {name} cannot be mapped"))
}

/// Files of all maps. Those that were taken out of aya's hands are closed otherwise when they are no longer read.
pub(crate) fn files(ebpf: &Ebpf) -> Result<Vec<(String, OwnedFd)>> {
    let mut files = Vec::new();
    for (name, map) in ebpf.maps() {
        let (Map::Array(data) | Map::HashMap(data) | Map::Queue(data) | Map::Stack(data)) = map else {
            continue;
        };
        let fd = data.fd().as_fd().try_clone_to_owned();
        files.push((name.to_owned(), fd.with_context(|| format!("map {name} cannot be shared"))?));
    }
    Ok(files)
}

/// The same, borrowed.
pub(crate) fn borrow(files: &[(String, OwnedFd)]) -> Vec<(String, BorrowedFd<'_>)> {
    files.iter().map(|(name, fd)| (name.clone(), fd.as_fd())).collect()
}
