//! What both sides of the coding know: the tables that numbers in a block stand for, and the picture of everything told.

use std::{collections::BTreeMap, sync::Arc};

use super::{Malformed, fields};
use crate::{
    record::{Lost, Nanos, Paths, QueueCounts, Record, Sample, Source, VcpuPlace, Worker},
    topology::{Device, DeviceKey, QueueKey, QueuePair, Topology},
};

/// Most queue pairs, told or only claimed by a topology.
pub(super) const QUEUES: usize = 1 << 17;
/// Most devices.
const DEVICES: usize = 1 << 16;
/// Most threads of vCPUs.
const VCPUS: usize = 1 << 18;
/// Most names, and the longest.
pub(super) const NAMES: usize = 1 << 14;
pub(super) const NAME_LONGEST: usize = 256;
/// Most sets of places that change together, and the places of all of them.
pub(super) const SHAPES: usize = 1 << 12;
pub(super) const SHAPE_PLACES: usize = 1 << 18;
/// Most counts of drops, of all queues.
const DROPS: usize = 1 << 20;

/// One queue pair as last told.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: QueueKey,
    pub(super) counts: Box<[u64; fields::QUEUE]>,
    pub(super) drops: BTreeMap<u32, u64>,
    /// A sample listed its counts.
    pub(super) listed: bool,
    pub(super) worker: Option<[u64; fields::WORKER]>,
    pub(super) ended: bool,
}

impl Pair {
    pub(super) fn new(key: QueueKey) -> Self {
        let counts = Box::new([0; fields::QUEUE]);
        Self { key, counts, drops: BTreeMap::new(), listed: false, worker: None, ended: false }
    }

    /// Its counts as a sample has them.
    pub(super) fn counts(&self, names: &[Arc<str>]) -> QueueCounts {
        let mut counts = QueueCounts::default();
        fields::queue(&mut counts, &mut |place, value| *value = self.counts[place]);
        for (place, listed) in &self.drops {
            let (name, rx, count) = fields::of_drop_place(*place);
            let flow = if rx { &mut counts.rx } else { &mut counts.tx };
            if let (false, 1, Some(flow), Some(name)) = (count, listed, flow, names.get(name as usize)) {
                flow.drops.insert(Arc::clone(name), self.drops.get(&(place + 1)).copied().unwrap_or(0));
            }
        }
        counts
    }

    /// Its worker as a sample has it.
    pub(super) fn worker(&self, names: &[Arc<str>]) -> Option<Worker> {
        let numbers = self.worker.as_ref()?;
        let name = usize::try_from(numbers[fields::COMM]).ok().and_then(|name| names.get(name));
        let comm = name.map_or_else(String::new, |name| String::from(&**name));
        let mut worker = Worker {
            queue: self.key,
            tid: 0,
            tgid: 0,
            comm,
            cpu: None,
            node: None,
            run_ns: None,
            wait_ns: None,
            migrations: None,
            busy_poll_ns: None,
        };
        fields::worker(&mut worker, &mut |place, value| *value = numbers[place]);
        Some(worker)
    }
}

/// What numbers stand for since the last picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) at: u64,
    pub(super) pairs: Vec<Pair>,
    pub(super) names: Vec<Arc<str>>,
    pub(super) shapes: Vec<Arc<[u32]>>,
    /// Places of all shapes.
    pub(super) places: usize,
    /// Counts of drops, of all pairs.
    pub(super) drops: usize,
}

impl Tables {
    /// A place of a pair takes a new value.
    pub(super) fn drop(&mut self, pair: usize, place: u32) -> Result<&mut u64, Malformed> {
        let drops = &mut self.pairs[pair].drops;
        if !drops.contains_key(&place) {
            self.drops += 1;
        }
        if self.drops > DROPS {
            Err(Malformed("it has too many drops"))
        } else {
            Ok(drops.entry(place).or_default())
        }
    }
}

/// Everything that records have told which is not in the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    source: Option<Source>,
    /// Of all topologies; one that the latest does not list is not present.
    devices: BTreeMap<DeviceKey, Device>,
    /// Most pairs that a topology said each device has.
    pairs: BTreeMap<DeviceKey, u32>,
    rows: usize,
    /// What the latest topology says beside its devices; `None` before the first.
    beside: Option<Topology>,
    paths: BTreeMap<QueueKey, Paths>,
    vcpus: BTreeMap<u32, VcpuPlace>,
    lost: Option<Lost>,
    at: Option<Nanos>,
    residuals: BTreeMap<DeviceKey, BTreeMap<String, i64>>,
}

impl Known {
    /// Takes a record in.
    ///
    /// # Errors
    /// It claims more devices or queues than a host can have.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), Malformed> {
        match record {
            Record::Source(source) => self.source = Some(source.clone()),
            Record::Topology(topology) => self.topology(topology)?,
            Record::Sample(sample) => {
                self.at = Some(sample.at);
                self.residuals.extend(sample.residuals.iter().cloned());
                if self.residuals.len() > DEVICES {
                    return Err(Malformed("it has too many devices"));
                }
                self.paths.extend(sample.paths.iter().cloned());
                self.vcpus.extend(sample.vcpus.iter().map(|place| (place.tid, *place)));
                if self.paths.len() > QUEUES || self.vcpus.len() > VCPUS {
                    return Err(Malformed("it has too many queues or vCPUs"));
                }
            }
            Record::Lost(lost) => self.lost = Some(*lost),
            Record::End(_) => {}
        }
        Ok(())
    }

    fn topology(&mut self, topology: &Topology) -> Result<(), Malformed> {
        let Topology { devices: _, invisible, vms, cpus } = topology.clone();
        self.beside = Some(Topology { devices: Vec::new(), invisible, vms, cpus });
        for device in self.devices.values_mut() {
            device.present = false;
        }
        for device in &topology.devices {
            let now = device.queues_enabled.unwrap_or(0);
            let pairs = self.pairs.entry(device.key).or_default();
            self.rows += now.saturating_sub(*pairs) as usize;
            *pairs = now.max(*pairs);
            self.devices.insert(device.key, device.clone());
            if self.rows > QUEUES || self.devices.len() > DEVICES {
                return Err(Malformed("it has more devices or queues than a host can have"));
            }
        }
        Ok(())
    }

    /// Records that say all of it again; counts are those of `tables`.
    pub(super) fn picture(&self, tables: &Tables) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.source.clone().map(Record::Source));
        records.extend(self.beside.clone().map(|beside| {
            Record::Topology(Topology { devices: self.devices.values().cloned().collect(), ..beside })
        }));
        records.extend(self.lost.map(Record::Lost));
        records.extend(self.at.map(|at| Record::Sample(self.sample(at, tables))));
        records
    }

    fn sample(&self, at: Nanos, tables: &Tables) -> Sample {
        let mut queues: BTreeMap<QueueKey, QueueCounts> = BTreeMap::new();
        // Pairs that a device had once and no longer has are known of, too.
        for (device, pairs) in &self.pairs {
            let now = self.devices.get(device).and_then(|device| device.queues_enabled).unwrap_or(0);
            let gone = (now..*pairs).filter_map(|pair| u16::try_from(pair).ok());
            queues.extend(
                gone.map(|pair| {
                    (QueueKey { device: *device, queue: QueuePair(pair) }, QueueCounts::default())
                }),
            );
        }
        let listed = tables.pairs.iter().filter(|pair| pair.listed);
        queues.extend(listed.map(|pair| (pair.key, pair.counts(&tables.names))));
        let mut workers: Vec<_> = tables.pairs.iter().filter_map(|pair| pair.worker(&tables.names)).collect();
        workers.sort_by_key(|worker| worker.queue);
        let mut ended: Vec<_> = tables.pairs.iter().filter(|pair| pair.ended).map(|pair| pair.key).collect();
        ended.sort();
        let residuals = self.residuals.iter().map(|(key, residuals)| (*key, residuals.clone())).collect();
        let paths = self.paths.iter().map(|(key, paths)| (*key, paths.clone())).collect();
        let vcpus = self.vcpus.values().copied().collect();
        Sample { at, queues: queues.into_iter().collect(), workers, ended, residuals, paths, vcpus }
    }
}
