//! A report with its cross-references, looked up once per report, and the rows that tables are made of.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use super::host::Host;
use crate::report::{DeviceKey, DeviceReport, Finding, QueuePair, QueueReport, Rate, Report};

/// What a row shows: a device, or one queue of it. Selections hold on to this, not to a row number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The device.
    pub device: DeviceKey,
    /// The queue pair; `None` for the device as a whole.
    pub queue: Option<QueuePair>,
}

/// A direction as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The guest transmits.
    Tx,
    /// The guest receives.
    Rx,
}

/// A sum of which not every part may be known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// The known parts together.
    pub value: f64,
    /// No part is missing.
    pub whole: bool,
}

impl Sum {
    /// `None` when no part is known.
    pub fn of(parts: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let mut sum = None;
        let mut whole = true;
        for part in parts {
            match part {
                Some(part) => *sum.get_or_insert(0.0) += part,
                None => whole = false,
            }
        }
        sum.map(|value| Self { value, whole })
    }
}

/// A report and who belongs to whom in it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The report.
    pub report: Arc<Report>,
    device_of: Vec<Option<usize>>,
    queues_of: Vec<Vec<usize>>,
    vm_of: Vec<Option<usize>>,
    /// Findings about each device or its VM, the worst first.
    findings_of: Vec<Vec<usize>>,
    vhost: bool,
    /// Made when it is looked at.
    host: OnceLock<Host>,
}

impl Facts {
    /// Looks the references up.
    pub fn new(report: Arc<Report>) -> Self {
        let devices: HashMap<DeviceKey, usize> =
            report.devices.iter().enumerate().map(|(i, device)| (device.key(), i)).collect();
        let mut last = None;
        let mut device_of = Vec::with_capacity(report.queues.len());
        for key in report.queues.iter().map(QueueReport::device_key) {
            // The queues of a device follow each other.
            let (_, device) =
                last.filter(|(of, _)| *of == key).unwrap_or_else(|| (key, devices.get(&key).copied()));
            last = Some((key, device));
            device_of.push(device);
        }
        let mut queues_of = vec![Vec::new(); report.devices.len()];
        for (queue, device) in device_of.iter().enumerate() {
            if let Some(device) = *device {
                queues_of[device].push(queue);
            }
        }
        let vms: HashMap<u32, usize> = report.vms.iter().enumerate().map(|(i, vm)| (vm.pid, i)).collect();
        let vm_of = report.devices.iter().map(|d| d.vm_pid.and_then(|pid| vms.get(&pid).copied())).collect();
        let known = |queue: &QueueReport| {
            queue.worker.is_some() || queue.tx.copies.is_some() || queue.rx.calls.is_some()
        };
        let vhost = report.queues.iter().any(known);
        let mut of_vm: HashMap<u32, Vec<usize>> = HashMap::new();
        for (device, pid) in report.devices.iter().enumerate().filter_map(|(i, d)| Some((i, d.vm_pid?))) {
            of_vm.entry(pid).or_default().push(device);
        }
        let mut findings_of = vec![Vec::new(); report.devices.len()];
        for (finding, subject) in report.findings.iter().map(|finding| &finding.subject).enumerate() {
            // A finding about a VM, and about no device of it, is about all of them.
            let about = match subject.device_key() {
                Some(key) => devices.get(&key).map(std::slice::from_ref),
                None => subject.vm_pid.and_then(|pid| of_vm.get(&pid)).map(Vec::as_slice),
            };
            for device in about.unwrap_or_default() {
                findings_of[*device].push(finding);
            }
        }
        Self { report, device_of, queues_of, vm_of, findings_of, vhost, host: OnceLock::new() }
    }

    /// The host, and what runs where.
    pub fn host(&self) -> &Host {
        self.host.get_or_init(|| Host::of(&self.report))
    }

    /// Place in the report of the queue that a finding is about, or of its device's first; `None` where it is about no queue.
    pub fn queue_of(&self, finding: &Finding) -> Option<usize> {
        let device = finding.subject.device_key()?;
        let of_device = |queue: &QueueReport| queue.device_key() == device;
        let first = finding.subject.queues.first();
        let queues = || self.report.queues.iter();
        first
            .and_then(|pair| queues().position(|queue| of_device(queue) && queue.queue == *pair))
            .or_else(|| queues().position(of_device))
    }

    /// Something is known of what vhost does for some queue.
    pub fn vhost(&self) -> bool {
        self.vhost
    }

    /// All devices, in the report's order.
    pub fn devices(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.report.devices.len()).map(|i| self.device(i))
    }

    /// All queues, in the report's order.
    pub fn queues(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.report.queues.len()).map(|i| self.queue(i))
    }

    /// The row of the device at this place in the report.
    pub fn device(&self, index: usize) -> Row<'_> {
        Row { facts: self, device: Some(index), queue: None }
    }

    /// The row of the queue at this place in the report.
    pub fn queue(&self, index: usize) -> Row<'_> {
        Row { facts: self, device: self.device_of[index], queue: Some(index) }
    }
}

/// One row: a device, or a queue of a device.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    facts: &'a Facts,
    device: Option<usize>,
    queue: Option<usize>,
}

impl<'a> Row<'a> {
    /// The device; `None` for a queue whose device is not in the report.
    pub fn device(self) -> Option<&'a DeviceReport> {
        self.device.map(|i| &self.facts.report.devices[i])
    }

    /// The queue; `None` for a device as a whole.
    pub fn queue(self) -> Option<&'a QueueReport> {
        self.queue.map(|i| &self.facts.report.queues[i])
    }

    /// The same device as a whole.
    pub fn whole_device(self) -> Option<Self> {
        self.device.map(|i| self.facts.device(i))
    }

    /// Place of the queue in the report; `None` for a device as a whole.
    pub fn place(self) -> Option<usize> {
        self.queue
    }

    /// Findings about it, the worst first; of a queue, those about its device as a whole too.
    pub fn findings(self) -> impl Iterator<Item = &'a Finding> {
        let of_device = self.device.map_or(&[][..], |i| &self.facts.findings_of[i]);
        let pair = self.queue().map(|queue| queue.queue);
        of_device.iter().map(|i| &self.facts.report.findings[*i]).filter(move |finding| {
            let queues = &finding.subject.queues;
            pair.is_none_or(|pair| queues.is_empty() || queues.contains(&pair))
        })
    }

    /// What the row shows.
    pub fn key(self) -> Option<RowKey> {
        match self.queue() {
            Some(queue) => Some(RowKey { device: queue.device_key(), queue: Some(QueuePair(queue.queue)) }),
            None => self.device().map(|device| RowKey { device: device.key(), queue: None }),
        }
    }

    /// Name of the device.
    pub fn name(self) -> &'a str {
        let of_queue = || self.queue().map_or("", |queue| &queue.device);
        self.device().map_or_else(of_queue, |device| &device.name)
    }

    /// Kind of the device.
    pub fn kind(self) -> Option<&'a str> {
        self.device().map(|device| device.kind.as_str())
    }

    /// Place of its VM in the report.
    pub fn vm(self) -> Option<usize> {
        self.facts.vm_of[self.device?]
    }

    /// Name of the VM.
    pub fn vm_name(self) -> Option<&'a str> {
        self.facts.report.vms[self.vm()?].name.as_deref()
    }

    /// The device is gone.
    pub fn gone(self) -> bool {
        self.device().is_some_and(|device| !device.present)
    }

    /// Counts do not cover all of the device's traffic.
    pub fn uncovered(self) -> bool {
        self.device().is_some_and(|device| !device.uncovered.is_empty())
    }

    /// Rates over the last interval.
    pub fn rate(self, direction: Direction) -> Option<Rate> {
        match (self.queue(), self.device(), direction) {
            (Some(queue), _, Direction::Tx) => queue.tx_rate,
            (Some(queue), _, Direction::Rx) => queue.rx_rate,
            (None, Some(device), Direction::Tx) => device.tx_rate,
            (None, Some(device), Direction::Rx) => device.rx_rate,
            (None, None, _) => None,
        }
    }

    /// Packets per second, both directions.
    pub fn pps(self) -> Option<Sum> {
        Sum::of([Direction::Tx, Direction::Rx].map(|d| self.rate(d).map(|rate| rate.pps)))
    }

    /// Drops per second, both directions.
    pub fn drop_rate(self) -> Option<Sum> {
        Sum::of([Direction::Tx, Direction::Rx].map(|d| self.rate(d).and_then(|rate| rate.drops)))
    }

    /// The queues behind the row: itself, or all of the device.
    pub fn queues(self) -> impl Iterator<Item = &'a QueueReport> {
        let of_device = self.device.map_or(&[][..], |i| &self.facts.queues_of[i]);
        let indices = self.queue.as_ref().map_or(of_device, |_| &[]);
        self.queue.into_iter().chain(indices.iter().copied()).map(|i| &self.facts.report.queues[i])
    }

    /// Packets since counting began.
    pub fn packets(self, direction: Direction) -> Option<Sum> {
        Sum::of(self.queues().map(|queue| counts(queue, direction).0.map(|n| n as f64)))
    }

    /// Frame bytes since counting began.
    pub fn bytes(self, direction: Direction) -> Option<Sum> {
        Sum::of(self.queues().map(|queue| counts(queue, direction).1.map(|n| n as f64)))
    }

    /// Packets that the device dropped since counting began.
    pub fn drops(self, direction: Direction) -> Option<Sum> {
        Sum::of(
            self.queues().map(|queue| {
                counts(queue, direction).2.map(|reasons| reasons.values().map(|n| *n as f64).sum())
            }),
        )
    }

    /// The same, both directions.
    pub fn all_drops(self) -> Option<Sum> {
        let [tx, rx] = [Direction::Tx, Direction::Rx].map(|direction| self.drops(direction));
        let sum = Sum::of([tx, rx].map(|sum| sum.map(|sum| sum.value)))?;
        Some(Sum { whole: sum.whole && [tx, rx].iter().flatten().all(|sum| sum.whole), ..sum })
    }

    /// The same by reason, most frequent first.
    pub fn drop_reasons(self, direction: Direction) -> Vec<(&'a str, u64)> {
        let mut reasons = BTreeMap::<&str, u64>::new();
        for (reason, n) in self.queues().filter_map(|queue| counts(queue, direction).2).flatten() {
            let sum = reasons.entry(reason).or_default();
            *sum = sum.saturating_add(*n);
        }
        let mut reasons: Vec<_> = reasons.into_iter().filter(|(_, n)| *n > 0).collect();
        reasons.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        reasons
    }

    /// Packets per second of the last `columns` intervals, oldest first; of a device, all its queues together.
    pub fn history(self, columns: usize) -> Vec<f32> {
        let mut sum: Vec<f32> = Vec::new();
        for queue in self.queues() {
            let past = &queue.history[queue.history.len().saturating_sub(columns)..];
            if past.len() > sum.len() {
                let missing = past.len() - sum.len();
                sum.splice(0..0, std::iter::repeat_n(0.0, missing));
            }
            let skip = sum.len() - past.len();
            for (sum, value) in sum[skip..].iter_mut().zip(past) {
                *sum += value;
            }
        }
        sum
    }
}

type Counts<'a> = (Option<u64>, Option<u64>, Option<&'a BTreeMap<Arc<str>, u64>>);

fn counts(queue: &QueueReport, direction: Direction) -> Counts<'_> {
    match direction {
        Direction::Tx => (queue.tx.packets, queue.tx.bytes, queue.tx.drops.as_ref()),
        Direction::Rx => (queue.rx.packets, queue.rx.bytes, queue.rx.drops.as_ref()),
    }
}
