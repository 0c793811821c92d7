//! This host, now: probes that count in the kernel, and an inventory of the devices they count for.
//!
//! Everything that touches the kernel is below this module; it yields records and knows nothing of what becomes of them.

mod attached;
mod bpf;
pub mod btf;
mod cache;
mod claims;
mod counters;
mod demand;
mod files;
mod forget;
pub mod inventory;
mod ioctl;
mod kernel;
mod kvm;
mod load;
mod maps;
mod mmap;
mod modules;
mod object;
pub mod prereq;
#[cfg(feature = "probe-log")]
mod probe_log;
mod registrations;
mod relocate;
mod signals;
mod skipped;
mod stats;
mod symbols;
mod vhost;

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use vnet_ebpf::counter::lost;

pub use self::{
    attached::Attached,
    maps::{map_bytes, slots_for},
    object::object,
};
use self::{
    claims::bind,
    counters::Counters,
    demand::Demand,
    files::Files,
    inventory::Inventory,
    kernel::Kernel,
    load::Loaded,
    maps::possible_cpus,
    modules::Modules,
    signals::{coverage, napi, probes},
    vhost::{Residuals, Workers},
};
use crate::{
    filter::Filter,
    record::{Lost, Nanos, Record, Sample, Source, SourceKind},
    topology::{Device, DeviceKey, DeviceKind, QueueKey, Topology},
};

/// A packet that was handed to a device this long ago and is not refused was accepted.
const SETTLED: Duration = Duration::from_millis(20);

/// Changes that come in a burst are told together. No shorter than [`SETTLED`]: a reading may lie on either side.
const BURST: Duration = Duration::from_millis(20);

/// How often queue counts are read again; tun tells nobody when a queue comes or goes.
const REFRESH: Duration = Duration::from_secs(2);

/// The longest that queue counts may be old, however long reading them takes.
const REFRESH_LONGEST: Duration = Duration::from_secs(5);

/// Times as long as it took is waited before they are read again, so that it is cheap on a host with many devices too.
const REFRESH_REST: u32 = 1000;

/// Why something is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Tick,
    Devices,
    Watch,
}

/// What to observe and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two samples.
    pub interval: Duration,
    /// Which devices are told of.
    pub filter: Filter,
    /// Have the kernel time each run of the probes from the start, which costs some 40 ns a run; see [`Live::time`].
    pub probe_stats: bool,
    /// Names of fields, tracepoints and symbols of the kernel that are treated as absent. For tests.
    pub without: Vec<String>,
}

/// The live source. Dropping it detaches everything.
pub struct Live {
    options: Options,
    loaded: Loaded,
    inventory: Inventory,
    counters: Counters,
    workers: Workers,
    files: Files,
    residuals: Residuals,
    /// For the programs that every packet of the host pays for.
    demand: Demand,
    host: kvm::Host,
    /// Devices that were there when counting began.
    old: HashSet<DeviceKey>,
    /// Per device that is gone, samples since.
    gone: HashMap<DeviceKey, u32>,
    modules: Modules,
    source: Source,
    /// What is not counted of taps that go through NAPI.
    napi: Vec<String>,
    began: Instant,
    tick: tokio::time::Interval,
    /// When queue counts are read again.
    refresh: Instant,
    /// Last topology told, before the filter.
    told: Option<Topology>,
    lost: Lost,
    /// The kernel times programs as long as this is open.
    stats: Option<OwnedFd>,
}

impl Live {
    /// Loads and attaches the probes; counting has begun when this returns.
    ///
    /// # Errors
    /// What is missing and what to do about it, in one sentence: see [`prereq::check`].
    pub fn start(options: Options) -> Result<Self> {
        let problems = prereq::check();
        if let Some(problem) = problems.iter().find(|problem| problem.fatal) {
            bail!("{}", problem.sentence);
        }
        let stats = options.probe_stats.then(stats::enable).transpose()?;
        let modules = Modules::look();
        let mut kernel = Kernel::read(&options.without)?;
        let mut inventory = Inventory::start()?;
        let topology = inventory.topology();
        let devices = &topology.devices;
        let mut loaded = Loaded::new(
            &mut kernel,
            slots_for(devices.iter().map(queues).sum(), possible_cpus()?),
            &options.without,
        )?;
        let began = Instant::now();
        let mut counters = Counters::new(coverage(&loaded.probes), &kernel.reasons);
        bind(&mut counters, &mut inventory, &mut loaded.maps, false)?;
        if let Some(whom) = demand::whom(devices, |_| 0) {
            loaded.host_wide_for(&whom);
        }
        let host = kvm::Host::new(&loaded.maps);
        let probes = probes(&loaded);
        let napi = napi(&probes);
        let mut workers = Workers::default();
        workers.cover(&probes);
        let source = Source {
            kind: SourceKind::Live,
            host: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            started: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            probes,
        };
        mmap::trim();
        let mut tick = tokio::time::interval(options.interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.reset();
        Ok(Self {
            options,
            loaded,
            inventory,
            counters,
            workers,
            files: Files::default(),
            residuals: Residuals::default(),
            demand: Demand::default(),
            host,
            old: devices.iter().map(|device| device.key).collect(),
            gone: HashMap::new(),
            modules,
            source,
            napi,
            began,
            tick,
            refresh: began + REFRESH,
            told: None,
            lost: Lost::default(),
            stats,
        })
    }

    /// What can't be seen of this host though it should be: one sentence each.
    pub fn problems(&self) -> &[String] {
        self.inventory.problems()
    }

    /// Bytes of kernel memory that the counters take.
    pub fn map_bytes(&self) -> usize {
        self.loaded.maps.bytes()
    }

    /// The next records: at once where the source begins; then a sample per interval, and a topology as it changes.
    ///
    /// # Errors
    /// When the inventory can no longer be followed.
    pub async fn next(&mut self) -> Result<Vec<Record>> {
        if self.told.is_none() {
            let mut records = vec![Record::Source(self.source.clone())];
            self.host.refresh(&self.inventory);
            self.observe(&mut records)?;
            return Ok(records);
        }
        loop {
            let spared = !self.loaded.is_host_wide();
            let why = tokio::select! {
                _ = self.tick.tick() => Why::Tick,
                () = self.inventory.changed() => Why::Devices,
                () = tokio::time::sleep(demand::WATCH), if spared => Why::Watch,
            };
            let mut records = Vec::new();
            if why == Why::Tick {
                self.observe(&mut records)?;
                self.follow_modules(&mut records);
            } else if why == Why::Devices || self.counters.look_served(&self.loaded.maps) {
                self.inventory.drain()?;
                let attached = self.follow_demand();
                tokio::time::sleep(BURST).await;
                if attached {
                    // What is counted from now on is told from what was before.
                    self.observe(&mut records)?;
                } else {
                    self.inventory.drain()?;
                    self.tell_topology(&mut records);
                }
            }
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// A last sample in which every packet is settled, and the end.
    ///
    /// # Errors
    /// As [`Live::next`].
    pub async fn finish(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for wait in [Duration::ZERO, SETTLED] {
            tokio::time::sleep(wait).await;
            self.refresh = Instant::now();
            self.files.expire();
            self.observe(&mut records)?;
        }
        records.push(Record::End(self.now()));
        Ok(records)
    }

    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Attaches to modules that have come. Call it after a sample: it takes a while, and nothing of it is then left for the
    /// next one to say which was there before.
    fn follow_modules(&mut self, records: &mut Vec<Record>) {
        if !self.modules.changed(self.loaded.is_complete()) {
            return;
        }
        self.loaded.follow(&self.options.without);
        self.tell_signals();
        self.napi = napi(&self.source.probes);
        self.counters.cover(coverage(&self.source.probes));
        self.workers.cover(&self.source.probes);
        self.tell_source(records);
        mmap::trim();
    }

    /// Reads everything once.
    fn observe(&mut self, records: &mut Vec<Record>) -> Result<()> {
        let begin = Instant::now();
        let refreshed = begin >= self.refresh;
        if refreshed {
            self.inventory.refresh()?;
            self.host.refresh(&self.inventory);
            self.refresh = begin + (begin.elapsed() * REFRESH_REST).clamp(REFRESH, REFRESH_LONGEST);
        }
        bind(&mut self.counters, &mut self.inventory, &mut self.loaded.maps, true)?;
        self.files.follow(&self.loaded.walker, &mut self.inventory, self.workers.known())?;
        self.tell_topology(records);
        let filter = &self.options.filter;
        let queues = self.counters.read(&self.loaded.maps, |key| filter.admits_key(key.device));
        let at = self.now();
        let devices = self.told.iter().flat_map(|topology| &topology.devices);
        let present: HashSet<DeviceKey> =
            devices.filter(|device| device.present).map(|device| device.key).collect();
        self.counters.release(&mut self.loaded.maps, |key| present.contains(&key.device));
        self.note_gone(&present);
        let queues: Vec<_> =
            queues.into_iter().filter(|(key, _)| self.options.filter.admits_key(key.device)).collect();
        let counters = &self.counters;
        let wanted = |key: &QueueKey| self.options.filter.admits_key(key.device);
        let maps = &mut self.loaded.maps;
        let (workers, ended) =
            self.workers.read(maps, self.files.served(), |slot| counters.queue(slot), wanted);
        let paths = self.host.paths(&self.loaded.maps, |slot| counters.queue(slot).filter(wanted));
        self.residuals.take(&queues);
        let mut residuals = Vec::new();
        if refreshed {
            let (inventory, old) = (&self.inventory, &self.old);
            residuals = self.residuals.tell(|key| inventory.stats(key), |key| !old.contains(&key));
            residuals.retain(|(key, _)| self.options.filter.admits_key(*key));
            if self.note_missed() {
                self.tell_topology(records);
            }
        }
        if !workers.is_empty() {
            self.inventory.want_stats();
        }
        let vcpus = if refreshed { self.host.moved() } else { Vec::new() };
        records.push(Record::Sample(Sample { at, queues, workers, ended, residuals, paths, vcpus }));
        self.follow_demand();
        if self.stats.is_some() {
            self.loaded.time(&mut self.source.probes);
            self.demand.news = true;
        }
        self.tell_source(records);
        let cells = counters::lost(&self.loaded.maps);
        let kernel: u64 = cells.iter().sum::<u64>() - cells[lost::MADE_GOOD];
        let events = kernel + self.loaded.skipped() + self.inventory.lost_events();
        let lost = Lost { events, records: 0 };
        if lost != self.lost {
            self.lost = lost;
            records.push(Record::Lost(lost));
        }
        #[cfg(feature = "probe-log")]
        self.loaded.log.tell();
        Ok(())
    }

    /// The source, if its signals are others than those last told.
    fn tell_source(&mut self, records: &mut Vec<Record>) {
        if std::mem::take(&mut self.demand.news) {
            records.push(Record::Source(self.source.clone()));
        }
    }

    fn tell_topology(&mut self, records: &mut Vec<Record>) {
        let mut topology = Topology::clone(&self.inventory.topology());
        self.host.tell(&mut topology);
        for device in &mut topology.devices {
            if let Some(zerocopy) = self.workers.zerocopy(device.key) {
                (device.vhost, device.zerocopy) = (Some(true), Some(zerocopy));
            }
        }
        self.files.tell(&mut topology);
        if !self.napi.is_empty() {
            let taps = topology.devices.iter_mut().filter(|device| device.kind == DeviceKind::Tap);
            for device in taps.filter(|device| self.inventory.napi(device.key) == Some(true)) {
                device.uncovered.extend_from_slice(&self.napi);
            }
        }
        for device in &mut topology.devices {
            device.uncovered.extend(self.missing(device));
        }
        if self.told.as_ref() != Some(&topology) {
            records.push(Record::Topology(self.options.filter.apply(&topology)));
            self.told = Some(topology);
        }
    }
}

/// Queues that a device has or may soon have.
fn queues(device: &Device) -> u32 {
    (device.queues_enabled.unwrap_or(1) + device.queues_disabled.unwrap_or(0)).max(1)
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
