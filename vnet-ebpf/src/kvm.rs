//! What is counted of notifications and KVM: calls by the vCPU that they interrupt, kicks by the thread that gives them.
//!
//! A row per [`Path`], counted once per call or kick, never per packet. A path holds both CPUs: a thread that wanders makes
//! several rows.

/// No vCPU, vector or CPU.
pub const NONE: u16 = u16::MAX;

/// The same where a number has 32 bits.
pub const NO_VCPU: u32 = u32::MAX;

/// What a row counts.
pub mod what {
    /// Calls for the transmit virtqueue.
    pub const TX_CALL: u16 = 0;
    /// Calls for the receive virtqueue.
    pub const RX_CALL: u16 = 1;
    /// Kicks of the transmit virtqueue.
    pub const TX_KICK: u16 = 2;
    /// Kicks of the receive virtqueue.
    pub const RX_KICK: u16 = 3;
}

/// What a vCPU was doing when it was interrupted: an index of [`PathRow::counts`].
pub mod state {
    /// Running guest code (`kvm_vcpu.mode` is `IN_GUEST_MODE`).
    pub const IN_GUEST: usize = 0;
    /// Halted, its thread asleep (`kvm_vcpu.wait` has a task).
    pub const BLOCKED: usize = 1;
    /// Ready, its thread without a CPU (`kvm_vcpu.preempted`).
    pub const PREEMPTED: usize = 2;
    /// Its thread in the host; what belongs to no vCPU too.
    pub const ROOT: usize = 3;
    /// Number of states.
    pub const COUNT: usize = 4;
}

/// The way that calls or kicks take. Of a kick `tid` and `from` are known, of a call that KVM hands to a kernel thread
/// (IOAPIC, `INTx`) the vCPU's part is not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Address of the `kvm`: route numbers mean something within it only.
    pub kvm: u64,
    /// Slot of the queue.
    pub slot: u32,
    /// Route in that VM (`kvm_kernel_irqfd.gsi`).
    pub gsi: u32,
    /// Number of the vCPU (`kvm_vcpu.vcpu_id`), or [`NO_VCPU`].
    pub vcpu: u32,
    /// Thread of the vCPU, or the one that kicked, in the host's pid namespace.
    pub tid: u32,
    /// CPU that called or kicked.
    pub from: u16,
    /// CPU that the vCPU ran on last, or [`NONE`].
    pub to: u16,
    /// Interrupt vector of the vCPU, or [`NONE`].
    pub vector: u16,
    /// One of [`what`].
    pub what: u16,
}

/// A path and how often it was taken. Whose counts are all 0 is nobody's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRow {
    /// Written before anything is counted, never changed.
    pub path: Path,
    /// By [`state`].
    pub counts: [u64; state::COUNT],
}

/// What a CPU is in the midst of: an `irqfd` is woken by a worker that calls a guest. Interrupts are off until it is done.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waking {
    /// Thread of the worker; 0: nothing of the sort.
    pub tid: u32,
    /// Number of its pair.
    pub pair: u32,
    /// Route of the `irqfd`.
    pub gsi: u32,
    /// Slot of the queue.
    pub slot: u32,
    /// Its VM.
    pub kvm: u64,
    /// One of [`what`].
    pub what: u32,
    /// vCPUs that have accepted it, as the first and as the second program on the function has seen.
    pub accepted: [u32; 2],
    /// Fills the cache line: another CPU writes the next one.
    pub reserved: [u32; 5],
}
