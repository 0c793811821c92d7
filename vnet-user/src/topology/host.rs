//! The host's CPUs, and the VMs on them.

use serde::{Deserialize, Serialize};

/// One host CPU. What it shares is told by the lowest number of the CPUs that share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Its number.
    pub cpu: u32,
    /// The core whose thread it is; `None` where the kernel does not say.
    pub core: Option<u32>,
    /// Its last-level cache.
    pub llc: Option<u32>,
    /// Its NUMA node.
    pub node: Option<u32>,
}

/// A virtual machine as the inventory last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Process of its monitor.
    pub pid: u32,
    /// Start time of that process in clock ticks since boot: tells a reused pid apart.
    pub start: u64,
    /// Program of the monitor (`/proc/PID/exe`), without its folder.
    pub monitor: Option<String>,
    /// Its name, as the monitor was told it.
    pub name: Option<String>,
    /// Its UUID likewise.
    pub uuid: Option<String>,
    /// Its vCPUs whose threads are known, sorted by number.
    pub vcpus: Vec<Vcpu>,
}

/// A vCPU and its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vcpu {
    /// Number in the VM (KVM's `vcpu_id`).
    pub id: u32,
    /// Thread id in the host's pid namespace.
    pub tid: u32,
}
