//! Says what is wrong, why, and which command mends it. Reads no clock, does no I/O, cannot fail.
//!
//! Each interval the [`Advisor`] is shown the report. It takes the growth of all counts since it last looked, asks every
//! rule of [`rules::RULES`] about every device, queue, VM and CPU, and remembers for how many looks in a row each said
//! that something is past its limit. A rule only compares; that evidence is steady, that a finding does not flicker, that
//! idle queues are left alone, and that one cause gives one finding is the same for all of them (`memory`, `findings`).

mod copies;
mod count;
mod findings;
mod fix;
mod interrupts;
pub mod limits;
mod memory;
mod queues;
mod rings;
pub mod rules;
mod scene;
mod steering;
mod workers;

use std::sync::Arc;

use crate::{
    record::Nanos,
    report::{Finding, Report, Unsure},
};
use limits::Thresholds;
use memory::{Key, Memory};
use rules::{Check, Subjects};
use scene::{AllSeen, Device};

/// Shortest time between two looks: what is steady is so in samples of a second, however often samples come. A timer
/// that fires a little early still makes a whole one.
const LOOK: Nanos = Nanos(950_000_000);

/// What is remembered from one report to the next, and what follows from it.
#[derive(Clone, Debug, Default)]
pub struct Advisor {
    thresholds: Arc<Thresholds>,
    at: Option<Nanos>,
    seen: AllSeen,
    memory: Memory,
    findings: Vec<Finding>,
    unsure: Vec<Unsure>,
}

impl Advisor {
    /// One that has seen nothing yet and judges by the same thresholds.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { thresholds: Arc::clone(&self.thresholds), ..Self::default() }
    }

    /// One that judges by these thresholds.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds: Arc::new(thresholds), ..Self::default() }
    }

    /// What is wrong, the worst first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What could not be judged, in the order of the rules.
    pub fn unsure(&self) -> &[Unsure] {
        &self.unsure
    }

    /// Whether a report of that instant would be looked at.
    pub fn wants(&self, at: Nanos) -> bool {
        self.at.is_none_or(|last| at.0.saturating_sub(last.0) >= LOOK.0)
    }

    /// Looks at what is known at `at`, nanoseconds since counting began.
    pub fn observe(&mut self, at: Nanos, report: &Report) {
        if !self.wants(at) {
            return;
        }
        let since = self.at.replace(at);
        let seconds = since.map_or(0.0, |since| Nanos(at.0 - since.0).seconds());
        let seen = scene::seen(report);
        if since.is_none() {
            self.seen = seen;
            return;
        }
        let devices = scene::scene(report, &self.seen, &seen, seconds);
        let vms = scene::vms(&devices);
        let cpus = scene::cpus(&devices);
        let mut look = self.memory.look(&self.thresholds, seconds);
        for device in &devices {
            for queue in &device.queues {
                let key = Key::Queue(device.report.key(), queue.report.queue);
                look.judge(key, queue.load(), |check, limits| match check {
                    Subjects::Queue(check) => Some(check(device, queue, limits)),
                    _ => None,
                });
            }
            look.judge(Key::Device(device.report.key()), load(device), |check, limits| match check {
                Subjects::Device(check) => Some(check(device, limits)),
                _ => None,
            });
        }
        for vm in &vms {
            let loads = vm.devices.iter().filter_map(|device| load(device));
            look.judge(Key::Vm(vm.pid), loads.reduce(f64::max), |check, limits| match check {
                Subjects::Vm(check) => Some(check(vm, limits)),
                _ => None,
            });
        }
        for cpu in &cpus {
            let loads = cpu.queues.iter().filter_map(|(_, queue)| queue.load());
            look.judge(Key::Cpu(cpu.cpu), loads.reduce(f64::max), |check, limits| match check {
                Subjects::Cpu(check) => Some(check(cpu, limits)),
                _ => None,
            });
        }
        self.unsure = look.end();
        self.findings = findings::findings(&self.memory, &devices, &vms, &cpus);
        self.seen = seen;
    }
}

/// Packets per second of a device's busiest queue.
fn load(device: &Device<'_>) -> Option<f64> {
    device.queues.iter().filter_map(scene::Queue::load).reduce(f64::max)
}

/// Whether one look is enough for a rule.
fn at_once(check: &Check) -> bool {
    matches!(check, Check::Set(_))
}
