//! The part of the report's schema that says who interrupts whom, and the table of it in the text.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    QueueReport, Report, VcpuReport, VmReport,
    format::{cut, maybe, plural},
    text::{LINES_SHOWN, Names},
};

/// Interrupts of one queue at one vCPU over one distance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InterruptReport {
    /// `tx` or `rx`.
    pub direction: String,
    /// Target vCPU.
    pub vcpu: Option<u32>,
    /// Its MSI-X vector.
    pub vector: Option<u32>,
    /// KVM's interrupt route.
    pub gsi: Option<u32>,
    /// Host interrupt line.
    pub irq: Option<u32>,
    /// How many.
    pub count: u64,
    /// Host CPU that the vCPU last ran on.
    pub cpu: Option<u32>,
    /// Host CPU that the worker called from.
    pub worker_cpu: Option<u32>,
    /// How far these two CPUs are apart.
    pub level: Option<Distance>,
    /// What the vCPU was doing, by number of interrupts.
    pub vcpu_state: Option<VcpuStateReport>,
}

/// How far two CPUs are apart: the nearest thing that they share. `SameCpu` is contention, not nearness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// The same logical CPU: one of the two has to wait.
    SameCpu,
    /// Threads of one core.
    Smt,
    /// The last-level cache.
    Llc,
    /// The NUMA node.
    Node,
    /// Nothing: they are on different nodes.
    Remote,
}

/// Interrupts by what their vCPU was doing; they add up to the interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VcpuStateReport {
    /// Running guest code.
    pub in_guest: u64,
    /// Halted, its thread asleep.
    pub blocked: u64,
    /// Ready to run, its thread without a CPU.
    pub preempted: u64,
    /// Its thread running host code.
    pub root: u64,
}

/// How far a queue pair belongs to one vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PrivateReport {
    /// The vCPU that most of its calls interrupt.
    pub vcpu: u32,
    /// Share of its interrupts on that vCPU, 0 to 1.
    pub calls: f64,
    /// Share of the kicks by vCPUs that come from it; `None` where no kick by a vCPU was seen.
    pub kicks: Option<f64>,
}

/// Kicks of one queue pair by one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KickReport {
    /// `tx` or `rx`.
    pub direction: String,
    /// The vCPU; `None` for threads that run none.
    pub vcpu: Option<u32>,
    /// How many.
    pub count: u64,
}

/// Calls of a queue pair, added up by where they went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// Interrupts of each vCPU, by its number.
    pub vcpus: Vec<(u32, u64)>,
    /// Interrupts at each level, in words, nearest first; those of which it is not known are left out.
    pub levels: Vec<(&'static str, u64)>,
    /// Calls that KVM left to a kernel thread.
    pub by_kernel_thread: u64,
    /// Calls that reached no `irqfd`.
    pub unreached: u64,
}

impl Called {
    /// Of a queue.
    pub fn of(queue: &QueueReport) -> Self {
        let rows = || queue.interrupts.iter().flatten();
        let sum = |of: &dyn Fn(&InterruptReport) -> bool| {
            rows().filter(|row| of(row)).fold(0u64, |sum, row| sum.saturating_add(row.count))
        };
        let vcpus: BTreeSet<_> = rows().filter_map(|row| row.vcpu).collect();
        let levels = LEVELS.iter().map(|(level, word)| (*word, sum(&|row| row.level == Some(*level))));
        Self {
            vcpus: vcpus.into_iter().map(|vcpu| (vcpu, sum(&|row| row.vcpu == Some(vcpu)))).collect(),
            levels: levels.filter(|(_, n)| *n > 0).collect(),
            by_kernel_thread: sum(&|row| row.vcpu.is_none() && row.gsi.is_some()),
            unreached: sum(&|row| row.vcpu.is_none() && row.gsi.is_none()),
        }
    }

    /// Interrupts of all vCPUs.
    pub fn interrupts(&self) -> u64 {
        self.vcpus.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

/// Levels in words.
const LEVELS: [(Distance, &str); 5] = [
    (Distance::SameCpu, "same CPU"),
    (Distance::Smt, "SMT"),
    (Distance::Llc, "LLC"),
    (Distance::Node, "node"),
    (Distance::Remote, "remote"),
];

/// Writes a matrix of calls per VM: a row per queue, a column per vCPU. Nothing where no call has been followed.
pub(super) fn write(report: &Report, names: &Names, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut left = if all { usize::MAX } else { LINES_SHOWN };
    let mut more = 0;
    for (pid, queues) in by_vm(report) {
        let shown = left.min(queues.len());
        (left, more) = (left - shown, more + queues.len() - shown);
        if shown == 0 {
            continue;
        }
        let vm = report.vms.iter().find(|vm| Some(vm.pid) == pid);
        writeln!(out, "\nCalls by vCPU of {}:", title(pid, vm))?;
        if let Some(vm) = vm {
            placement(vm, all, out)?;
        }
        for queue in &queues[..shown] {
            line(queue, names, out)?;
        }
    }
    if more > 0 {
        writeln!(out, "  … {} more (--all shows them)", plural(more, "queue"))?;
    }
    Ok(())
}

/// Queues with calls, by the process of their VM.
fn by_vm(report: &Report) -> BTreeMap<Option<u32>, Vec<&QueueReport>> {
    let owner: BTreeMap<_, _> = report.devices.iter().map(|device| (device.key(), device.vm_pid)).collect();
    let mut vms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for queue in
        report.queues.iter().filter(|queue| queue.interrupts.iter().flatten().any(|row| row.vcpu.is_some()))
    {
        vms.entry(owner.get(&queue.device_key()).copied().flatten()).or_default().push(queue);
    }
    vms
}

fn title(pid: Option<u32>, vm: Option<&VmReport>) -> String {
    let name = vm.and_then(|vm| vm.name.as_deref().or(vm.monitor.as_deref()));
    match (name, pid) {
        (Some(name), Some(pid)) => format!("{} (pid {pid})", cut(name, 64)),
        (_, Some(pid)) => format!("pid {pid}"),
        _ => "an unknown VM".to_owned(),
    }
}

fn placement(vm: &VmReport, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let place = |vcpu: &VcpuReport| {
        let cpu = maybe(vcpu.cpu, |cpu| cpu.to_string());
        let node = vcpu.node.map_or_else(String::new, |node| format!(" (node {node})"));
        format!("vCPU {} on CPU {cpu}{node}", vcpu.id)
    };
    let vcpus = vm.vcpus.as_deref().unwrap_or_default();
    let shown = if all { vcpus.len() } else { LINES_SHOWN.min(vcpus.len()) };
    let more = if shown < vcpus.len() { ", …" } else { "" };
    let places: Vec<_> = vcpus[..shown].iter().map(place).collect();
    if places.is_empty() { Ok(()) } else { writeln!(out, "  {}{more}", places.join(", ")) }
}

/// `tap0 queue 0: vCPU 0 97, vCPU 1 3; worker on CPU 2; LLC 97 %, remote 3 %; 97 % private`.
fn line(queue: &QueueReport, names: &Names, out: &mut dyn Write) -> io::Result<()> {
    let called = Called::of(queue);
    let mut parts: Vec<_> = called.vcpus.iter().map(|(vcpu, n)| format!("vCPU {vcpu} {n}")).collect();
    let others = [("by a kernel thread", called.by_kernel_thread), ("to no irqfd", called.unreached)];
    parts.extend(others.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")));
    let mut said = vec![parts.join(", ")];
    if let Some(worker) = &queue.worker {
        said.push(format!("worker on CPU {}", maybe(worker.cpu, |cpu| cpu.to_string())));
    }
    let all = called.interrupts().max(1) as f64;
    let percent = |(word, n): &(&str, u64)| format!("{word} {:.0} %", *n as f64 * 100.0 / all);
    if !called.levels.is_empty() {
        said.push(called.levels.iter().map(percent).collect::<Vec<_>>().join(", "));
    }
    said.extend(queue.private.map(|private| format!("{:.0} % private", private.calls * 100.0)));
    let device = names.long(queue.device_key(), &queue.device);
    writeln!(out, "  {device} queue {}: {}", queue.queue, said.join("; "))
}
