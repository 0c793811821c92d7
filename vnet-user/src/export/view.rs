//! A report as metrics are read off it: devices that are there, each under one name, with their queue pairs.

use std::collections::{BTreeMap, HashMap};

use super::{own::Own, seen::Seen};
use crate::report::{DeviceKey, DeviceReport, QueueReport, Report, WorkerReport};

/// What one scrape tells of.
pub struct View<'a> {
    /// The report.
    pub report: &'a Report,
    /// What is remembered beside it.
    pub seen: &'a Seen,
    /// What vnet itself is and did.
    pub own: &'a Own,
    /// Devices that are there.
    pub devices: Vec<Shown<'a>>,
    /// Workers, each once, with the VM that they serve.
    pub workers: BTreeMap<u32, (String, &'a WorkerReport)>,
}

/// A device that is there.
pub struct Shown<'a> {
    /// Itself.
    pub device: &'a DeviceReport,
    /// Its queue pairs.
    pub queues: &'a [QueueReport],
    /// They have series of their own.
    pub apart: bool,
    /// The VM that holds it: its name, or the process id of its monitor; empty where not known.
    pub vm: String,
}

impl Shown<'_> {
    /// Its workers by thread id, each once.
    pub fn workers(&self) -> BTreeMap<u32, &WorkerReport> {
        self.queues
            .iter()
            .filter_map(|queue| queue.worker.as_deref())
            .map(|worker| (worker.tid, worker))
            .collect()
    }
}

impl<'a> View<'a> {
    /// Of this report.
    pub fn new(report: &'a Report, seen: &'a Seen, own: &'a Own) -> Self {
        let queues: HashMap<DeviceKey, &[QueueReport]> = report
            .queues
            .chunk_by(|a, b| a.device_key() == b.device_key())
            .map(|queues| (queues[0].device_key(), queues))
            .collect();
        let names: HashMap<u32, &str> =
            report.vms.iter().filter_map(|vm| Some((vm.pid, vm.name.as_deref()?))).collect();
        // While devices change places two may have one name for a moment: the later one has it.
        let holders: HashMap<(u64, &str), DeviceKey> = report
            .devices
            .iter()
            .filter(|device| device.present)
            .map(|device| ((device.netns, device.name.as_str()), device.key()))
            .collect();
        let vm = |device: &DeviceReport| {
            let pid = device.vm_pid.map(|pid| names.get(&pid).map_or(pid.to_string(), ToString::to_string));
            pid.unwrap_or_default()
        };
        let devices: Vec<_> = report
            .devices
            .iter()
            .filter(|device| holders.get(&(device.netns, &device.name)) == Some(&device.key()))
            .filter(|device| device.present)
            .map(|device| {
                let queues = queues.get(&device.key()).copied().unwrap_or_default();
                let apart = queues.first().is_some_and(|queue| seen.apart(queue));
                Shown { device, queues, apart, vm: vm(device) }
            })
            .collect();
        let workers = devices
            .iter()
            .flat_map(|shown| shown.queues.iter().map(|queue| (&shown.vm, queue)))
            .filter_map(|(vm, queue)| {
                queue.worker.as_deref().map(|worker| (worker.tid, (vm.clone(), worker)))
            })
            .collect();
        Self { report, seen, own, devices, workers }
    }

    /// Queue pairs of devices that are there.
    pub fn queue_pairs(&self) -> usize {
        self.devices.iter().map(|shown| shown.queues.len()).sum()
    }

    /// Queue pairs without series of their own.
    pub fn summed(&self) -> usize {
        self.devices.iter().filter(|shown| !shown.apart).map(|shown| shown.queues.len()).sum()
    }
}
