//! Who interrupts whom: folds the ways that calls and kicks took, and tells how far apart their two ends are.

use std::collections::BTreeMap;

use super::vhost::raise;
use crate::{
    record::{CallPath, KickPath, Paths, Ring, Side, Target, VcpuKey, VcpuPlace, VcpuStates},
    report::{Distance, InterruptReport, KickReport, PrivateReport, VcpuReport, VcpuStateReport, VmReport},
    topology::{Cpu, Topology, Vm},
};

/// The host as the latest topology has it, and where vCPUs were last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    vms: Vec<Vm>,
    cpus: BTreeMap<u32, Cpu>,
    places: BTreeMap<u32, u32>,
}

impl Host {
    /// Takes a newer topology. A CPU that went is still where it was.
    pub(super) fn take(&mut self, topology: &Topology) {
        self.vms.clone_from(&topology.vms);
        self.cpus.extend(topology.cpus.iter().map(|cpu| (cpu.cpu, *cpu)));
        let threads = || self.vms.iter().flat_map(|vm| &vm.vcpus);
        self.places.retain(|tid, _| threads().any(|vcpu| vcpu.tid == *tid));
    }

    /// Takes newer places of vCPUs.
    pub(super) fn place(&mut self, places: &[VcpuPlace]) {
        self.places.extend(places.iter().map(|place| (place.tid, place.cpu)));
    }

    /// How far apart two CPUs are: the nearest thing that they are known to share. `None` where nothing is known of what one
    /// of them shares.
    pub(super) fn distance(&self, a: u32, b: u32) -> Option<Distance> {
        if a == b {
            return Some(Distance::SameCpu);
        }
        let (a, b) = (self.cpus.get(&a)?, self.cpus.get(&b)?);
        let same = |of: fn(&Cpu) -> Option<u32>| of(a).is_some() && of(a) == of(b);
        if same(|cpu| cpu.core) {
            return Some(Distance::Smt);
        }
        if same(|cpu| cpu.llc) {
            return Some(Distance::Llc);
        }
        match (a.node, b.node) {
            (Some(a), Some(b)) if a != b => Some(Distance::Remote),
            // A kernel without NUMA is one node.
            (a, b) => (a == b).then_some(Distance::Node),
        }
    }

    /// The VMs.
    pub(super) fn vms(&self) -> Vec<VmReport> {
        self.vms.iter().map(|vm| self.vm(vm)).collect()
    }

    fn vm(&self, vm: &Vm) -> VmReport {
        let vcpus = vm.vcpus.iter().map(|vcpu| {
            let cpu = self.places.get(&vcpu.tid).copied();
            let node = cpu.and_then(|cpu| self.cpus.get(&cpu)?.node);
            VcpuReport { id: vcpu.id, tid: vcpu.tid, cpu, node }
        });
        VmReport {
            pid: vm.pid,
            name: vm.name.clone(),
            uuid: vm.uuid.clone(),
            monitor: vm.monitor.clone(),
            vcpus: (!vm.vcpus.is_empty()).then(|| vcpus.collect()),
        }
    }
}

/// The ways of one queue pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    calls: BTreeMap<CallPath, VcpuStates>,
    kicks: BTreeMap<KickPath, u64>,
}

/// What is one row: direction, vCPU, vector, level.
type Row = (Side, Option<VcpuKey>, Option<u32>, Option<Distance>);

impl Ways {
    /// Takes newer counts; returns how many were smaller than what is known.
    pub(super) fn fold(&mut self, paths: &Paths) -> u64 {
        let mut smaller = 0;
        for (path, new) in &paths.calls {
            let known = self.calls.entry(*path).or_default();
            smaller += raise(&mut known.in_guest, new.in_guest)
                + raise(&mut known.blocked, new.blocked)
                + raise(&mut known.preempted, new.preempted)
                + raise(&mut known.root, new.root);
        }
        for (path, new) in &paths.kicks {
            smaller += raise(self.kicks.entry(*path).or_default(), *new);
        }
        smaller
    }

    /// Nothing has been seen.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.kicks.is_empty()
    }

    /// A row per direction, vCPU, vector and level, and one per direction for the calls that reached no `irqfd`. CPUs and route
    /// of a row are those of the way that was taken most.
    pub(super) fn interrupts(&self, host: &Host, tx: &Ring, rx: &Ring) -> Vec<InterruptReport> {
        let mut rows: BTreeMap<Row, (u64, InterruptReport)> = BTreeMap::new();
        for (path, states) in &self.calls {
            let target = path.target;
            let cpu = target.and_then(|target| target.cpu);
            let level = cpu.and_then(|cpu| host.distance(path.worker_cpu, cpu));
            let vector = target.map(|target: Target| target.vector);
            let key = (path.side, target.map(|target| target.vcpu), vector, level);
            let (most, row) = rows.entry(key).or_insert_with(|| {
                let vcpu = target.map(|target| target.vcpu.vcpu);
                (0, InterruptReport { vcpu, vector, level, ..named(path.side) })
            });
            let count = states.total();
            row.count = row.count.saturating_add(count);
            if target.is_some() {
                add(row.vcpu_state.get_or_insert_default(), states);
            }
            if count > *most {
                *most = count;
                (row.gsi, row.worker_cpu, row.cpu) = (Some(path.gsi), Some(path.worker_cpu), cpu);
            }
        }
        let mut rows: Vec<_> = rows.into_values().map(|(_, row)| row).filter(|row| row.count > 0).collect();
        for (side, ring) in [(Side::Tx, tx), (Side::Rx, rx)] {
            let unreached =
                ring.calls.zip(ring.woken).map_or(0, |(calls, woken)| calls.saturating_sub(woken));
            if unreached > 0 {
                rows.push(InterruptReport { count: unreached, ..named(side) });
            }
        }
        rows
    }

    /// Kicks by direction and vCPU; threads that run none are one.
    pub(super) fn kickers(&self) -> Vec<KickReport> {
        let mut rows: BTreeMap<(Side, Option<VcpuKey>), u64> = BTreeMap::new();
        for (path, n) in &self.kicks {
            let count = rows.entry((path.side, path.vcpu)).or_default();
            *count = count.saturating_add(*n);
        }
        let row = |((side, vcpu), count): ((Side, Option<VcpuKey>), u64)| KickReport {
            direction: direction(side).to_owned(),
            vcpu: vcpu.map(|vcpu| vcpu.vcpu),
            count,
        };
        rows.into_iter().filter(|(_, count)| *count > 0).map(row).collect()
    }

    /// How far the queue belongs to one vCPU; `None` while it has interrupted none.
    pub(super) fn private(&self) -> Option<PrivateReport> {
        let mut calls: BTreeMap<VcpuKey, u64> = BTreeMap::new();
        for (path, states) in &self.calls {
            let Some(target) = path.target else { continue };
            let count = calls.entry(target.vcpu).or_default();
            *count = count.saturating_add(states.total());
        }
        // The lowest of those that have as many.
        let main = calls.iter().max_by_key(|(vcpu, count)| (**count, std::cmp::Reverse(**vcpu)))?;
        let (main, all) = (*main.0, calls.values().fold(0u64, |sum, n| sum.saturating_add(*n)));
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        // Threads that run no vCPU kick for the monitor.
        let kicks = |of: &dyn Fn(VcpuKey) -> bool| {
            let kicks = self.kicks.iter().filter(|(path, _)| path.vcpu.is_some_and(of));
            kicks.fold(0u64, |sum, (_, n)| sum.saturating_add(*n))
        };
        Some(PrivateReport {
            vcpu: main.vcpu,
            calls: share(calls.get(&main).copied().unwrap_or(0), all)?,
            kicks: share(kicks(&|vcpu| vcpu == main), kicks(&|_| true)),
        })
    }
}

fn named(side: Side) -> InterruptReport {
    InterruptReport { direction: direction(side).to_owned(), ..InterruptReport::default() }
}

fn direction(side: Side) -> &'static str {
    match side {
        Side::Tx => "tx",
        Side::Rx => "rx",
    }
}

fn add(sum: &mut VcpuStateReport, states: &VcpuStates) {
    let VcpuStateReport { in_guest, blocked, preempted, root } = sum;
    *in_guest = in_guest.saturating_add(states.in_guest);
    *blocked = blocked.saturating_add(states.blocked);
    *preempted = preempted.saturating_add(states.preempted);
    *root = root.saturating_add(states.root);
}
