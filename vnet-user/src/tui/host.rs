//! The host as its report tells it: which CPUs share what, and what runs on them.
//!
//! A report has no list of CPUs. Nodes are told with workers and vCPUs. Shared caches follow from calls: two CPUs that a call crossed no
//! further than the last-level cache share it, and whatever shares a cache is on one node. A CPU that nothing in the report runs on is
//! not here.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::facts::Row;
use crate::report::{Called, Distance, Report};

/// Nodes with their CPUs, and what has no place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// NUMA nodes by number, then the CPUs of which none is known.
    pub nodes: Vec<Node>,
    /// Workers and vCPUs of which no CPU is known.
    pub unplaced: Cpu,
}

/// One NUMA node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its number; `None` where it is not known.
    pub node: Option<u32>,
    /// CPUs that are known to share a last-level cache, by the lowest; those that share it with none that is known come last.
    pub caches: Vec<Cache>,
}

/// CPUs that share a last-level cache. Two of them may be one: only calls between CPUs tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// That they share it is known; otherwise nothing is known of what they share.
    pub known: bool,
    /// The CPUs, by number.
    pub cpus: Vec<Cpu>,
}

/// One CPU and what runs on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Its number.
    pub cpu: u32,
    /// Workers of vhost that ran here last, by thread.
    pub workers: Vec<Worker>,
    /// vCPUs that ran here last, by VM and number.
    pub vcpus: Vec<Vcpu>,
}

/// A thread of vhost and what it serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Thread.
    pub tid: u32,
    /// Share of time that it ran, 0 to 1.
    pub busy: Option<f64>,
    /// Places in the report of the queue pairs that it serves.
    pub queues: Vec<usize>,
}

/// A vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// Place of its VM in the report.
    pub vm: usize,
    /// Number in the VM.
    pub id: u32,
    /// Interrupts that the VM's queues sent it; `None` where none of their calls is followed.
    pub interrupts: Option<u64>,
}

impl Host {
    /// Of a report.
    pub fn of(report: &Report) -> Self {
        let mut cpus: BTreeMap<u32, (Cpu, Option<u32>)> = BTreeMap::new();
        let mut unplaced = Cpu::default();
        for (worker, cpu, node) in workers(report) {
            place(&mut cpus, &mut unplaced, cpu, node).workers.push(worker);
        }
        for (vcpu, cpu, node) in vcpus(report) {
            place(&mut cpus, &mut unplaced, cpu, node).vcpus.push(vcpu);
        }
        let mut shared = Shared::of(report);
        for (cpu, (_, node)) in &cpus {
            shared.node(*cpu, *node);
        }
        let mut nodes: BTreeMap<_, BTreeMap<_, Vec<Cpu>>> = BTreeMap::new();
        for (number, (cpu, _)) in cpus {
            let (node, cache) = (shared.node_of(number), shared.cache_of(number));
            // What is not known comes last.
            let caches = nodes.entry((node.is_none(), node)).or_default();
            caches.entry((cache.is_none(), cache)).or_default().push(cpu);
        }
        let mut host = Self { nodes: Vec::new(), unplaced };
        for ((_, node), caches) in nodes {
            let caches = caches.into_iter().map(|((unknown, _), cpus)| Cache { known: !unknown, cpus });
            host.nodes.push(Node { node, caches: caches.collect() });
        }
        host
    }

    /// CPUs that something runs on.
    pub fn cpus(&self) -> impl Iterator<Item = &Cpu> {
        self.nodes.iter().flat_map(|node| &node.caches).flat_map(|cache| &cache.cpus)
    }

    /// Nothing is known of where anything runs.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.unplaced.workers.is_empty() && self.unplaced.vcpus.is_empty()
    }
}

/// The way of a queue pair's calls: from its worker to the vCPUs that it interrupts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Thread of the worker.
    pub worker: Option<u32>,
    /// Place of the VM in the report.
    pub vm: Option<usize>,
    /// The vCPUs.
    pub vcpus: Vec<u32>,
}

impl Path {
    /// Of a queue pair.
    pub fn of(row: Row<'_>) -> Self {
        let Some(queue) = row.queue() else { return Self::default() };
        let vcpus = Called::of(queue).vcpus.into_iter().filter(|(_, n)| *n > 0);
        Self {
            worker: queue.worker.as_ref().map(|worker| worker.tid),
            vm: row.vm(),
            vcpus: vcpus.map(|(vcpu, _)| vcpu).collect(),
        }
    }

    /// It begins at this worker.
    pub fn begins(&self, worker: &Worker) -> bool {
        self.worker == Some(worker.tid)
    }

    /// It leads to this vCPU.
    pub fn leads_to(&self, vcpu: &Vcpu) -> bool {
        self.vm == Some(vcpu.vm) && self.vcpus.contains(&vcpu.id)
    }
}

fn place<'a>(
    cpus: &'a mut BTreeMap<u32, (Cpu, Option<u32>)>,
    unplaced: &'a mut Cpu,
    cpu: Option<u32>,
    node: Option<u32>,
) -> &'a mut Cpu {
    let Some(number) = cpu else { return unplaced };
    let (cpu, known) = cpus.entry(number).or_insert_with(|| (Cpu { cpu: number, ..Cpu::default() }, None));
    *known = known.or(node);
    cpu
}

/// Workers by thread, with their CPU and node.
fn workers(report: &Report) -> impl Iterator<Item = (Worker, Option<u32>, Option<u32>)> {
    let mut workers: BTreeMap<u32, (Worker, Option<u32>, Option<u32>)> = BTreeMap::new();
    for (place, queue) in report.queues.iter().enumerate() {
        let Some(worker) = &queue.worker else { continue };
        let new = || Worker { tid: worker.tid, busy: worker.busy_ratio, queues: Vec::new() };
        let (known, ..) = workers.entry(worker.tid).or_insert_with(|| (new(), worker.cpu, worker.node));
        known.queues.push(place);
    }
    workers.into_values()
}

/// vCPUs of all VMs, with their CPU and node.
fn vcpus(report: &Report) -> Vec<(Vcpu, Option<u32>, Option<u32>)> {
    let owner: BTreeMap<_, _> =
        report.devices.iter().filter_map(|device| Some((device.key(), device.vm_pid?))).collect();
    let mut followed: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
    for queue in &report.queues {
        let (Some(rows), Some(pid)) = (&queue.interrupts, owner.get(&queue.device_key())) else { continue };
        let counts = followed.entry(*pid).or_default();
        for (vcpu, n) in rows.iter().filter_map(|row| Some((row.vcpu?, row.count))) {
            let count = counts.entry(vcpu).or_default();
            *count = count.saturating_add(n);
        }
    }
    let of_vm = |(vm, of): (usize, &crate::report::VmReport)| {
        let counts = followed.get(&of.pid);
        let vcpu = move |vcpu: &crate::report::VcpuReport| {
            let interrupts = counts.map(|counts| counts.get(&vcpu.id).copied().unwrap_or(0));
            (Vcpu { vm, id: vcpu.id, interrupts }, vcpu.cpu, vcpu.node)
        };
        of.vcpus.iter().flatten().map(vcpu).collect::<Vec<_>>()
    };
    report.vms.iter().enumerate().flat_map(of_vm).collect()
}

/// What CPUs are known to share: sets that were joined, each told by its lowest CPU.
#[derive(Debug, Default)]
struct Shared {
    caches: Sets,
    nodes: Sets,
    number: BTreeMap<u32, u32>,
}

impl Shared {
    fn of(report: &Report) -> Self {
        let mut shared = Self::default();
        for row in report.queues.iter().filter_map(|queue| queue.interrupts.as_ref()).flatten() {
            let (Some(a), Some(b), Some(level)) = (row.worker_cpu, row.cpu, row.level) else { continue };
            if level <= Distance::Llc {
                shared.caches.join(a, b);
            }
            if level <= Distance::Node {
                shared.nodes.join(a, b);
            }
        }
        shared
    }

    /// A CPU is on this node, and with it whatever is known to share one with it.
    fn node(&mut self, cpu: u32, node: Option<u32>) {
        if let (Some(node), Entry::Vacant(entry)) = (node, self.number.entry(self.nodes.root(cpu))) {
            entry.insert(node);
        }
    }

    fn node_of(&self, cpu: u32) -> Option<u32> {
        self.number.get(&self.nodes.root(cpu)).copied()
    }

    /// The lowest CPU that is known to share its cache; `None` where no other is.
    fn cache_of(&self, cpu: u32) -> Option<u32> {
        self.caches.joined.contains(&cpu).then(|| self.caches.root(cpu))
    }
}

/// Disjoint sets of CPUs.
#[derive(Debug, Default)]
struct Sets {
    parents: BTreeMap<u32, u32>,
    joined: BTreeSet<u32>,
}

impl Sets {
    fn root(&self, mut cpu: u32) -> u32 {
        while let Some(parent) = self.parents.get(&cpu) {
            cpu = *parent;
        }
        cpu
    }

    /// The lower of two roots becomes the root of both, so that a set is told by its lowest CPU.
    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.parents.insert(a.max(b), a.min(b));
            self.joined.extend([a, b]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_by_its_lowest_cpu() {
        let mut sets = Sets::default();
        for (a, b) in [(7, 3), (9, 8), (3, 9), (8, 7), (1, 2)] {
            sets.join(a, b);
        }
        assert_eq!([3, 7, 8, 9].map(|cpu| sets.root(cpu)), [3; 4]);
        assert_eq!([1, 2, 4].map(|cpu| sets.root(cpu)), [1, 1, 4]);
    }
}
