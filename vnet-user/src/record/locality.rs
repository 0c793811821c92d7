//! Who interrupts whom: the ways that calls and kicks of a queue pair took, and where the threads of both sides were.

use serde::{Deserialize, Serialize};

/// A virtqueue of a pair, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The transmit virtqueue.
    Tx,
    /// The receive virtqueue.
    Rx,
}

/// A vCPU of a VM, by the process of its monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VcpuKey {
    /// Process of the VM's monitor; `None` when it was gone before it could be asked for.
    pub vm: Option<u32>,
    /// Number of the vCPU (KVM's `vcpu_id`, which is its APIC id).
    pub vcpu: u32,
}

/// Calls of one virtqueue that took the same way. Of those that KVM left to a kernel thread of its own (IOAPIC, `INTx`) the
/// target is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallPath {
    /// Which virtqueue's.
    pub side: Side,
    /// KVM's route in that VM (`gsi` of the `irqfd`).
    pub gsi: u32,
    /// CPU that called.
    pub worker_cpu: u32,
    /// What was interrupted; `None` where a kernel thread did it.
    pub target: Option<Target>,
}

/// What a call interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The vCPU.
    pub vcpu: VcpuKey,
    /// Its interrupt vector.
    pub vector: u32,
    /// CPU that it ran on last; `None` before it has run.
    pub cpu: Option<u32>,
}

/// What vCPUs were doing when they were interrupted, by number of interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuStates {
    /// Running guest code.
    pub in_guest: u64,
    /// Halted, the thread asleep.
    pub blocked: u64,
    /// Ready to run, the thread without a CPU.
    pub preempted: u64,
    /// The thread running host code; where no vCPU is known, all.
    pub root: u64,
}

impl VcpuStates {
    /// All of them. Saturates, because a recording may hold any number.
    pub fn total(&self) -> u64 {
        [self.in_guest, self.blocked, self.preempted, self.root]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// Kicks of one virtqueue by one thread on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KickPath {
    /// Which virtqueue's.
    pub side: Side,
    /// Thread that kicked, in the host's pid namespace.
    pub tid: u32,
    /// The vCPU that the thread runs; `None` when it runs none.
    pub vcpu: Option<VcpuKey>,
    /// CPU that it kicked from.
    pub cpu: u32,
}

/// All ways that calls and kicks of a queue pair took since counting began, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// Calls.
    pub calls: Vec<(CallPath, VcpuStates)>,
    /// Kicks.
    pub kicks: Vec<(KickPath, u64)>,
}

/// Where a vCPU was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuPlace {
    /// Its thread, in the host's pid namespace.
    pub tid: u32,
    /// CPU that it ran on last.
    pub cpu: u32,
}
