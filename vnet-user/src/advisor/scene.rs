//! What rules look at: devices with their queues and VMs, and how much was counted since the last look.

use std::collections::BTreeMap;

use super::count::{Count, Seen};
use crate::{
    report::{DeviceReport, Evidence, InterruptReport, QueueReport, Report, VmReport},
    topology::DeviceKey,
};

/// What is known of all queues at an instant, sorted.
pub(super) type AllSeen = Vec<((DeviceKey, u16), Seen)>;

/// One queue pair and what it did.
pub struct Queue<'a> {
    /// What is known of it.
    pub(super) report: &'a QueueReport,
    now: &'a Seen,
    /// At the last look, if it was there.
    then: Option<&'a Seen>,
    /// Interrupts since then; `None` where they are not observed.
    interrupts: Option<Vec<InterruptReport>>,
    seconds: f64,
}

/// A device and its queues.
pub struct Device<'a> {
    /// What is known of it.
    pub(super) report: &'a DeviceReport,
    /// The VM that holds it, where its vCPUs are known.
    pub(super) vm: Option<&'a VmReport>,
    pub(super) queues: Vec<Queue<'a>>,
    /// VMs whose devices are here.
    pub(super) vms: usize,
}

/// A VM and its devices.
pub struct Vm<'a> {
    pub(super) pid: u32,
    pub(super) report: Option<&'a VmReport>,
    pub(super) devices: Vec<&'a Device<'a>>,
}

/// A CPU of the host and the queues whose workers ran on it last.
pub struct Cpu<'a> {
    pub(super) cpu: u32,
    pub(super) queues: Vec<(&'a Device<'a>, &'a Queue<'a>)>,
}

/// Where a rule found something.
pub struct Place<'a> {
    /// The devices that it is about.
    pub(super) devices: Vec<&'a Device<'a>>,
    /// Queues that show it; empty when it is about the devices.
    pub(super) queues: Vec<&'a Queue<'a>>,
}

impl Queue<'_> {
    /// How much a count grew; `None` where that is not known.
    pub(super) fn grew(&self, count: Count) -> Option<f64> {
        self.now.since(self.then?, count)
    }

    /// The same per second.
    pub(super) fn rate(&self, count: Count) -> Option<f64> {
        self.grew(count).map(|grown| grown / self.seconds)
    }

    /// Share of one count's growth in another's; `None` where either is not known or the whole is 0.
    pub(super) fn share(&self, part: Count, whole: Count) -> Option<f64> {
        Some(self.grew(part)? / self.grew(whole).filter(|whole| *whole > 0.0)?)
    }

    /// Packets per second of both directions, as far as they are known.
    pub(super) fn pps(&self) -> Option<f64> {
        match (self.rate(Count::TxPackets), self.rate(Count::RxPackets)) {
            (Some(tx), Some(rx)) => Some(tx + rx),
            (tx, rx) => tx.or(rx),
        }
    }

    /// Packets per second, dropped ones too: what tells an idle queue.
    pub(super) fn load(&self) -> Option<f64> {
        self.pps().map(|pps| pps + self.rate(Count::Drops).unwrap_or(0.0))
    }

    /// Share of time that its worker worked: busy polling is no work.
    pub(super) fn busy(&self) -> Option<f64> {
        let worker = self.report.worker.as_ref()?;
        worker.busy_ratio.map(|busy| (busy - worker.busy_poll_ratio.unwrap_or(0.0)).max(0.0))
    }

    /// Thread of its worker.
    pub(super) fn tid(&self) -> Option<u32> {
        self.report.worker.as_ref().map(|worker| worker.tid)
    }

    /// Interrupts since the last look; `None` where they are not observed.
    pub(super) fn interrupts(&self) -> Option<&[InterruptReport]> {
        self.interrupts.as_deref()
    }

    /// Interrupts per second.
    pub(super) fn interrupt_rate(&self) -> Option<f64> {
        self.interrupt_rate_of(&["tx", "rx"])
    }

    /// Interrupts per second in these directions.
    pub(super) fn interrupt_rate_of(&self, directions: &[&str]) -> Option<f64> {
        let rows = self.interrupts()?.iter().filter(|row| directions.contains(&row.direction.as_str()));
        Some(rows.map(|row| row.count as f64).sum::<f64>() / self.seconds)
    }

    /// Share of its interrupts in the rows for which `part` says how many there are; `None` without interrupts.
    pub(super) fn of_interrupts(&self, part: impl Fn(&InterruptReport) -> u64) -> Option<f64> {
        let rows = self.interrupts()?;
        let whole: f64 = rows.iter().map(|row| row.count as f64).sum();
        let part: f64 = rows.iter().map(|row| part(row) as f64).sum();
        (whole > 0.0).then_some(part / whole)
    }

    /// The vCPU that takes more than half of its interrupts in these directions.
    pub(super) fn main_vcpu(&self, directions: &[&str]) -> Option<u32> {
        let mut vcpus: BTreeMap<u32, f64> = BTreeMap::new();
        let mut whole = 0.0;
        for row in self.interrupts()?.iter().filter(|row| directions.contains(&row.direction.as_str())) {
            whole += row.count as f64;
            if let Some(vcpu) = row.vcpu {
                *vcpus.entry(vcpu).or_default() += row.count as f64;
            }
        }
        vcpus.into_iter().find(|(_, count)| *count * 2.0 > whole).map(|(vcpu, _)| vcpu)
    }
}

impl<'a> Device<'a> {
    /// Queue pairs that the guest may use: those that it enabled and those that it did not.
    pub(super) fn offered(&self) -> Option<u32> {
        let report = self.report;
        match report.kind.as_str() {
            "virtio_net" => report.queues_max,
            _ => report.queues_enabled.zip(report.queues_disabled).map(|(on, off)| on.saturating_add(off)),
        }
    }

    /// How many vCPUs its VM has.
    pub(super) fn vcpus(&self) -> Option<u32> {
        self.vm?.vcpus.as_ref().and_then(|vcpus| u32::try_from(vcpus.len()).ok())
    }

    /// It is a tap, the host's end of a guest's NIC.
    pub(super) fn is_tap(&self) -> bool {
        self.report.kind == "tap"
    }

    /// Sum over its queues; `None` where it is not known for all of them.
    pub(super) fn sum(&self, of: impl Fn(&Queue<'a>) -> Option<f64>) -> Option<f64> {
        self.queues.iter().map(of).sum()
    }

    /// Its busiest queue and that one's share of the packets; `None` without packets.
    pub(super) fn busiest(&self) -> Option<(&Queue<'a>, f64)> {
        let whole = self.sum(Queue::pps).filter(|pps| *pps > 0.0)?;
        let pps = |queue: &&Queue<'a>| queue.pps().unwrap_or(0.0);
        let busiest = self.queues.iter().max_by(|a, b| pps(a).total_cmp(&pps(b)))?;
        Some((busiest, busiest.pps()? / whole))
    }
}

/// A number that is stated for the reader, without a limit.
pub(super) fn fact(name: &'static str, value: impl Into<f64>, unit: &'static str) -> Evidence {
    Evidence { name: name.into(), value: value.into(), unit: unit.into(), threshold: None }
}

/// What is known of all queues now.
pub(super) fn seen(report: &Report) -> AllSeen {
    let seen = report.queues.iter().map(|queue| ((queue.device_key(), queue.queue), Seen::of(queue)));
    let mut seen: AllSeen = seen.collect();
    seen.sort_by_key(|(key, _)| *key); // as they come from a state already
    seen
}

/// Devices that are present and can be judged, in the order of the report.
pub(super) fn scene<'a>(
    report: &'a Report,
    earlier: &'a AllSeen,
    now: &'a AllSeen,
    seconds: f64,
) -> Vec<Device<'a>> {
    let vms: BTreeMap<u32, &VmReport> = report.vms.iter().map(|vm| (vm.pid, vm)).collect();
    let wanted = |device: &&DeviceReport| device.present && device.kind != "tun";
    let mut holders: Vec<_> =
        report.devices.iter().filter(wanted).filter_map(|device| device.vm_pid).collect();
    holders.sort_unstable();
    holders.dedup();
    let device = |report: &'a DeviceReport| {
        let vm = report.vm_pid.and_then(|pid| vms.get(&pid).copied());
        Device { report, vm, queues: Vec::new(), vms: holders.len() }
    };
    let mut devices: Vec<_> = report.devices.iter().filter(wanted).map(device).collect();
    let places: BTreeMap<DeviceKey, usize> =
        devices.iter().enumerate().map(|(place, device)| (device.report.key(), place)).collect();
    for (at, queue) in report.queues.iter().enumerate() {
        let Some(place) = places.get(&queue.device_key()) else { continue };
        let device = &mut devices[*place];
        // A queue that the guest gave up stays listed with what it carried.
        if device.report.queues_enabled.is_some_and(|enabled| u32::from(queue.queue) >= enabled) {
            continue;
        }
        let key = (queue.device_key(), queue.queue);
        let Some(now) = find(now, at, &key) else { continue };
        let then = find(earlier, at, &key);
        let interrupts = then.and_then(|then| now.interrupts_since(then));
        device.queues.push(Queue { report: queue, now, then, interrupts, seconds });
    }
    devices
}

/// What was seen of a queue; it is likely at this place.
fn find<'a>(seen: &'a AllSeen, place: usize, key: &(DeviceKey, u16)) -> Option<&'a Seen> {
    let there = seen.get(place).filter(|(there, _)| there == key);
    let search = || seen.get(seen.binary_search_by_key(key, |(key, _)| *key).ok()?);
    there.or_else(search).map(|(_, seen)| seen)
}

/// VMs by the process that holds their devices.
pub(super) fn vms<'a>(devices: &'a [Device<'a>]) -> Vec<Vm<'a>> {
    let mut vms: BTreeMap<u32, Vm<'a>> = BTreeMap::new();
    for device in devices {
        let Some(pid) = device.report.vm_pid else { continue };
        let vm = vms.entry(pid).or_insert_with(|| Vm { pid, report: device.vm, devices: Vec::new() });
        vm.devices.push(device);
    }
    vms.into_values().collect()
}

/// CPUs by the workers that ran on them last.
pub(super) fn cpus<'a>(devices: &'a [Device<'a>]) -> Vec<Cpu<'a>> {
    let mut cpus: BTreeMap<u32, Cpu<'a>> = BTreeMap::new();
    for (device, queue) in
        devices.iter().flat_map(|device| device.queues.iter().map(move |queue| (device, queue)))
    {
        let Some(cpu) = queue.report.worker.as_ref().and_then(|worker| worker.cpu) else { continue };
        cpus.entry(cpu).or_insert_with(|| Cpu { cpu, queues: Vec::new() }).queues.push((device, queue));
    }
    cpus.into_values().collect()
}
