//! Folds records into what is known, and makes reports of it. Reads no clock, does no I/O, cannot fail.
//!
//! - Counts are cumulative and never fall: of two values of one count the larger is kept. A smaller one later is a bug
//!   of the source; it does not touch `lost`, which is about what was not seen, and is told by [`State::regressions`].
//! - An interval runs between two samples of different instants. A sample of the same or an earlier instant raises
//!   counts and leaves the rates of the last interval as they are; what it added belongs to the interval that follows.
//! - How packets were copied goes with the packets: a ledger and the packets that it accounts for are taken together, or
//!   not at all when a count in them fell. So at every instant TX packets = `batched` + `single` + `zerocopy` +
//!   `zerocopy_failed` + `in_flight`; a ledger that does not add up is not known.
//! - A queue that no sample has listed has counted nothing. That is 0 where a probe would have seen a packet, and not
//!   known elsewhere (`coverage`); what was counted is shown in any case.

mod coverage;
mod locality;
mod queue;
mod render;
mod vhost;

use std::collections::BTreeMap;

use crate::{
    advisor::{Advisor, limits::Thresholds},
    record::{Lost, Nanos, Record, Sample, Source},
    report::{Finding, Report},
    topology::{Device, DeviceKey, Invisible, QueueKey, QueuePair, Topology},
};
use coverage::Coverage;
use locality::Host;
use queue::Queue;

/// Queue pairs that virtio allows a device (`VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX`): a bound for what a recording may claim.
const QUEUE_PAIRS_MAX: u32 = 0x8000;

/// Everything folded so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    source: Option<Source>,
    coverage: Coverage,
    lost: Lost,
    /// Instant of the latest sample; `None` before the first.
    at: Option<Nanos>,
    /// Length of the last interval; `None` before the second instant.
    interval: Option<Nanos>,
    end: Option<Nanos>,
    devices: BTreeMap<DeviceKey, DeviceState>,
    /// As the latest topology has them.
    invisible: Vec<Invisible>,
    host: Host,
    regressions: u64,
    advisor: Advisor,
    /// The advisor is yet to look at the latest sample.
    unjudged: bool,
}

/// One device and its queues.
#[derive(Clone, Debug, Default)]
struct DeviceState {
    /// `None` while no topology has listed it.
    device: Option<Device>,
    queues: BTreeMap<QueuePair, Queue>,
    /// As the latest sample that names them has them.
    residuals: BTreeMap<String, i64>,
}

impl State {
    /// One whose findings go by these thresholds.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { advisor: Advisor::new(thresholds), ..Self::default() }
    }

    /// One that has taken nothing yet and goes by the same thresholds.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { advisor: self.advisor.anew(), ..Self::default() }
    }

    /// Takes one record.
    pub fn apply(&mut self, record: &Record) {
        self.judge(); // what it was shown is what was known then
        match record {
            Record::Source(source) => {
                self.coverage = Coverage::of(&source.probes);
                self.source = Some(source.clone());
            }
            Record::Topology(topology) => self.topology(topology),
            Record::Sample(sample) => self.sample(sample),
            Record::Lost(lost) => {
                self.lost.events = self.lost.events.max(lost.events);
                self.lost.records = self.lost.records.max(lost.records);
            }
            Record::End(at) => self.end = self.end.max(Some(*at)),
        }
    }

    /// How many counts fell from one sample to a later one: 0 unless the source is wrong. The larger value was kept.
    pub fn regressions(&self) -> u64 {
        self.regressions
    }

    /// What is wrong now, the worst first.
    pub fn findings(&mut self) -> &[Finding] {
        self.judge();
        self.advisor.findings()
    }

    /// Forgets devices that the source has forgotten: their keys may come to mean others.
    pub fn forget(&mut self, devices: &[DeviceKey]) {
        self.judge();
        for key in devices {
            self.devices.remove(key);
        }
    }

    fn topology(&mut self, topology: &Topology) {
        for device in self.devices.values_mut().filter_map(|known| known.device.as_mut()) {
            device.present = false;
        }
        self.invisible.clone_from(&topology.invisible);
        self.host.take(topology);
        for device in &topology.devices {
            let known = self.devices.entry(device.key).or_default();
            // Files are attached without holes (tun moves the last one into a gap), so these are the pairs that exist.
            let pairs = device.queues_enabled.unwrap_or(0).min(QUEUE_PAIRS_MAX);
            for pair in (0..=u16::MAX).take(pairs as usize) {
                known.queues.entry(QueuePair(pair)).or_default();
            }
            known.device = Some(device.clone());
        }
    }

    fn sample(&mut self, sample: &Sample) {
        for (key, counts) in &sample.queues {
            self.regressions += self.queue(*key).fold(counts);
        }
        for (key, paths) in &sample.paths {
            self.regressions += self.queue(*key).ways.fold(paths);
        }
        let late = self.at.is_some_and(|last| sample.at < last);
        for worker in &sample.workers {
            self.regressions += self.queue(worker.queue).serve(worker, late);
        }
        for queue in sample.ended.iter().filter(|_| !late) {
            self.queue(*queue).retire();
        }
        for (key, residuals) in sample.residuals.iter().filter(|_| !late) {
            self.devices.entry(*key).or_default().residuals.clone_from(residuals);
        }
        if !late {
            self.host.place(&sample.vcpus);
        }
        if self.at.is_some_and(|last| sample.at <= last) {
            return;
        }
        self.interval = self.at.map(|last| Nanos(sample.at.0 - last.0));
        self.at = Some(sample.at);
        for queue in self.devices.values_mut().flat_map(|device| device.queues.values_mut()) {
            queue.advance(self.interval);
        }
        self.unjudged = self.advisor.wants(sample.at);
    }

    /// Shows the latest sample to the advisor, unless it has seen it; what it was shown. It is put off until the next record
    /// or a report, so that who asks for a report of each sample does not have it made twice.
    fn judge(&mut self) -> Option<Report> {
        if !std::mem::take(&mut self.unjudged) {
            return None;
        }
        let report = self.measured();
        if let Some(at) = self.at {
            self.advisor.observe(at, &report);
        }
        Some(report)
    }

    fn queue(&mut self, key: QueueKey) -> &mut Queue {
        self.devices.entry(key.device).or_default().queues.entry(key.queue).or_default()
    }
}
