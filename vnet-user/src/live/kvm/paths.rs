//! The ways that calls and kicks took, read without system calls.

use std::collections::{BTreeMap, BTreeSet};

use vnet_ebpf::kvm::{NO_VCPU, NONE, Path, PathRow, state, what};

use super::Vms;
use crate::{
    live::{maps::Maps, mmap::Shared},
    record::{CallPath, KickPath, Paths, Side, Target, VcpuKey, VcpuStates},
    topology::QueueKey,
};

/// Counts of a row.
type Counts = [u64; state::COUNT];

/// Rows are given out one after the other, but two CPUs may be about to fill neighbours: where so many in a row are empty
/// none follows.
const GAP: usize = 64;

/// What was counted so far.
#[derive(Debug, Default)]
pub(crate) struct PathCounts {
    /// Per row, what it had counted when it was last read.
    seen: Vec<Counts>,
    queues: BTreeMap<QueueKey, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    calls: BTreeMap<CallPath, VcpuStates>,
    kicks: BTreeMap<KickPath, u64>,
}

impl PathCounts {
    /// What was counted before counting began is not told.
    pub(crate) fn begin(&mut self, maps: &Maps) {
        self.grown(&maps.paths, |_, _| {});
    }

    /// All paths of the queues of which one was taken since they were last told, sorted by queue. `queue` says whose a slot
    /// is, if that is to be told.
    pub(crate) fn read(
        &mut self,
        maps: &Maps,
        vms: &mut Vms,
        queue: impl Fn(u32) -> Option<QueueKey>,
    ) -> Vec<(QueueKey, Paths)> {
        let mut grown = Vec::new();
        self.grown(&maps.paths, |path, counts| grown.push((*path, counts)));
        let mut changed = BTreeSet::new();
        for (path, counts) in grown {
            let Some(key) = queue(path.slot) else { continue };
            self.queues.entry(key).or_default().add(&path, counts, vms);
            changed.insert(key);
        }
        let told = |key: QueueKey| Some((key, self.queues.get(&key)?.told()));
        changed.into_iter().filter_map(told).collect()
    }

    /// Tells of each row that has grown by how much.
    fn grown(&mut self, rows: &Shared<PathRow>, mut tell: impl FnMut(&Path, Counts)) {
        let mut empty = 0;
        for index in 0..rows.len() {
            let row = rows.read(index);
            if row.counts == Counts::default() {
                empty += 1;
                if index >= self.seen.len() && empty > GAP {
                    break;
                }
                continue;
            }
            empty = 0;
            if self.seen.len() <= index {
                self.seen.resize(index + 1, Counts::default());
            }
            if self.seen[index] != row.counts {
                let mut grown = row.counts;
                for (count, seen) in grown.iter_mut().zip(self.seen[index]) {
                    *count = count.wrapping_sub(seen);
                }
                self.seen[index] = row.counts;
                tell(&row.path, grown);
            }
        }
    }
}

impl Queue {
    fn add(&mut self, path: &Path, counts: Counts, vms: &mut Vms) {
        let side = if matches!(path.what, what::TX_CALL | what::TX_KICK) { Side::Tx } else { Side::Rx };
        if matches!(path.what, what::TX_KICK | what::RX_KICK) {
            let vcpu = vms.vcpu_of(path.tid);
            let kick = KickPath { side, tid: path.tid, vcpu, cpu: u32::from(path.from) };
            *self.kicks.entry(kick).or_default() += counts.iter().sum::<u64>();
            return;
        }
        let target = (path.vcpu != NO_VCPU).then(|| Target {
            vcpu: VcpuKey { vm: vms.learn(path.tid, path.vcpu), vcpu: path.vcpu },
            vector: u32::from(path.vector),
            cpu: (path.to != NONE).then(|| u32::from(path.to)),
        });
        let call = CallPath { side, gsi: path.gsi, worker_cpu: u32::from(path.from), target };
        let states = self.calls.entry(call).or_default();
        states.in_guest += counts[state::IN_GUEST];
        states.blocked += counts[state::BLOCKED];
        states.preempted += counts[state::PREEMPTED];
        states.root += counts[state::ROOT];
    }

    fn told(&self) -> Paths {
        let calls = self.calls.iter().map(|(path, states)| (*path, *states));
        Paths { calls: calls.collect(), kicks: self.kicks.iter().map(|(path, n)| (*path, *n)).collect() }
    }
}
