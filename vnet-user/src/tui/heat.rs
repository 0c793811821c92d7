//! Which vCPU the calls of each queue of a VM interrupt: a matrix of queues and vCPUs.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use crate::report::{Called, QueueReport};

/// Queues of one VM by vCPUs of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heat {
    /// The vCPUs, by number: those of the VM, and those that were interrupted.
    pub vcpus: Vec<u32>,
    /// The queues, in the report's order.
    pub rows: Vec<HeatRow>,
}

/// One queue of a [`Heat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeatRow {
    /// Place of the queue in the report.
    pub queue: usize,
    /// Interrupts of each vCPU that had any, by number; `None` where its calls are not followed.
    pub interrupts: Option<BTreeMap<u32, u64>>,
}

impl HeatRow {
    /// Share of the queue's interrupts that go to `vcpu`, 0 to 1; `None` where it is not known, or there was none.
    pub fn share(&self, vcpu: u32) -> Option<f64> {
        let counts = self.interrupts.as_ref()?;
        let all = counts.values().fold(0u64, |sum, n| sum.saturating_add(*n));
        (all > 0).then(|| counts.get(&vcpu).map_or(0.0, |n| *n as f64 / all as f64))
    }
}

impl Heat {
    /// So many vCPUs from which on to show, that the one which this queue interrupts most is among them.
    pub fn first(&self, queue: usize, shown: usize) -> usize {
        let counts = self.rows.iter().find(|row| row.queue == queue).and_then(|row| row.interrupts.as_ref());
        let most =
            counts.and_then(|counts| counts.iter().max_by_key(|(vcpu, n)| (**n, std::cmp::Reverse(**vcpu))));
        let place = most.and_then(|(most, _)| self.vcpus.iter().position(|vcpu| vcpu == most)).unwrap_or(0);
        // As few are left out in front as can be.
        (place + 1).saturating_sub(shown)
    }

    /// Of the VM that the queue at this place in the report belongs to; of its device alone where no VM is known.
    pub fn around(facts: &Facts, queue: usize) -> Self {
        let report = &facts.report;
        let vm = |place: usize| facts.queue(place).device().and_then(|device| device.vm_pid);
        let pid = vm(queue);
        let key = report.queues[queue].device_key();
        let same = |(place, of): &(usize, &QueueReport)| match pid {
            Some(_) => vm(*place) == pid,
            None => of.device_key() == key,
        };
        let rows: Vec<_> = report.queues.iter().enumerate().filter(same).map(row).collect();
        let known =
            report.vms.iter().filter(|vm| Some(vm.pid) == pid).flat_map(|vm| vm.vcpus.iter().flatten());
        let mut vcpus: BTreeSet<u32> = known.map(|vcpu| vcpu.id).collect();
        vcpus.extend(rows.iter().flat_map(|row| row.interrupts.iter().flat_map(BTreeMap::keys)));
        Self { vcpus: vcpus.into_iter().collect(), rows }
    }
}

fn row((queue, of): (usize, &QueueReport)) -> HeatRow {
    let counts = || Called::of(of).vcpus.into_iter().filter(|(_, n)| *n > 0).collect();
    HeatRow { queue, interrupts: of.interrupts.as_ref().map(|_| counts()) }
}
