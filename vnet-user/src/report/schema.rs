//! The report: what all outputs show. Its serialised form is JSON schema 1 (additive changes only).
//!
//! Fields marked `#[serde(skip)]` are for screens: rates and history, which a consumer of JSON derives for itself.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use vnet_ebpf::hist::CLASSES;

use super::{
    CopiesReport, Finding, InterruptReport, InvisibleReport, KickReport, PrivateReport, RunsReport, Unsure,
    WorkerReport,
};
use crate::{
    record::{BATCH_CLASSES, Known, SourceKind},
    topology::DeviceKey,
};

/// Version of the JSON schema.
pub const SCHEMA: u32 = 1;

/// Everything known at an instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program that made the report.
    pub tool: Tool,
    /// Where the facts come from.
    pub source: SourceReport,
    /// What is measured, how, and what is not.
    pub probes: Vec<ProbeReport>,
    /// What was missed.
    pub lost: LostReport,
    /// Virtual machines; empty until their vCPUs are observed.
    pub vms: Vec<VmReport>,
    /// Devices, sorted by namespace, index, generation.
    pub devices: Vec<DeviceReport>,
    /// Queue pairs, sorted by device and index. A queue is listed once it is known to exist.
    pub queues: Vec<QueueReport>,
    /// Devices of guests whose queues no probe sees, by process.
    pub invisible: Vec<InvisibleReport>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Rules that cannot be judged, and why.
    pub unsure: Vec<Unsure>,
    /// All devices together over the whole observation; `None` in a direction where no device is known.
    #[serde(skip)]
    pub average: Average,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Its version.
    pub version: String,
}

/// Where the facts come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceReport {
    /// Live, trace or model; `None` before the source has said so.
    pub kind: Option<SourceKind>,
    /// Host name.
    pub host: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// When counting began, RFC 3339.
    pub started: Option<String>,
    /// Seconds from there to the last sample, or to the end where that is later.
    pub duration_s: f64,
    /// False for a recording without its end.
    pub complete: bool,
}

/// One signal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// What is measured.
    pub signal: String,
    /// Through what.
    pub via: String,
    /// How well.
    pub state: Known,
    /// Why not exact.
    pub reason: Option<String>,
    /// Runs of the program, while run statistics are held.
    pub runs: Option<u64>,
    /// Seconds spent in it.
    pub run_seconds: Option<f64>,
}

/// What was missed, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LostReport {
    /// Kernel events.
    pub events: u64,
    /// Records.
    pub records: u64,
}

/// One virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VmReport {
    /// Process of its monitor.
    pub pid: u32,
    /// Its name, where known.
    pub name: Option<String>,
    /// Its UUID, where its monitor was told one.
    pub uuid: Option<String>,
    /// Program of the monitor.
    pub monitor: Option<String>,
    /// Its vCPUs; `None` while they are not observed.
    pub vcpus: Option<Vec<VcpuReport>>,
}

/// One vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VcpuReport {
    /// Number in the VM.
    pub id: u32,
    /// Thread.
    pub tid: u32,
    /// Host CPU it last ran on.
    pub cpu: Option<u32>,
    /// NUMA node of that CPU.
    pub node: Option<u32>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceReport {
    /// Name now, or the last one.
    pub name: String,
    /// Interface index in its namespace.
    pub ifindex: u32,
    /// Inode number of the namespace.
    pub netns: u64,
    /// 0 for the first device under this namespace and index in this observation, then 1, …
    pub generation: u32,
    /// `tap`, `tun`, `macvtap` or `virtio_net`.
    pub kind: String,
    /// False once gone.
    pub present: bool,
    /// Driven by `vhost_net`; `None` while not known.
    pub vhost: Option<bool>,
    /// Process that holds its queues.
    pub vm_pid: Option<u32>,
    /// Queue pairs it can have.
    pub queues_max: Option<u32>,
    /// Queue pairs in use.
    pub queues_enabled: Option<u32>,
    /// Queue files attached but disabled.
    pub queues_disabled: Option<u32>,
    /// Zero-copy transmit is on.
    pub zerocopy: Option<bool>,
    /// Differences between independent counts by name, 0 unless something was missed or is under way; empty where none
    /// is checked.
    pub residuals: BTreeMap<String, i64>,
    /// Why counts do not cover all of its traffic; empty when they do.
    pub uncovered: Vec<String>,
    /// Rates of all its queues together, guest's TX.
    #[serde(skip)]
    pub tx_rate: Option<Rate>,
    /// Likewise, guest's RX.
    #[serde(skip)]
    pub rx_rate: Option<Rate>,
    /// Rates of all its queues together over the whole observation.
    #[serde(skip)]
    pub average: Average,
}

impl DeviceReport {
    /// The key that its queues carry too.
    pub fn key(&self) -> DeviceKey {
        key(self.netns, self.ifindex, self.generation)
    }
}

/// One queue pair of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueReport {
    /// Name of its device; `if` and its index while no topology has named it.
    pub device: Arc<str>,
    /// Index of its device.
    pub ifindex: u32,
    /// Namespace of its device.
    pub netns: u64,
    /// Generation of its device.
    pub generation: u32,
    /// Index of the pair, from 0.
    pub queue: u16,
    /// The vhost worker that serves it; `None` while not known.
    pub worker: Option<Box<WorkerReport>>,
    /// What the guest sent.
    pub tx: TxReport,
    /// What the guest was given.
    pub rx: RxReport,
    /// Interrupts it caused, and calls that interrupted no vCPU at once: with a `gsi` by a kernel thread (IOAPIC, `INTx`), without
    /// one they reached no `irqfd`. `None` while not observed.
    pub interrupts: Option<Vec<InterruptReport>>,
    /// Which vCPUs kicked it; `None` while not observed.
    pub kickers: Option<Vec<KickReport>>,
    /// How far it belongs to one vCPU; `None` while it has interrupted none.
    pub private: Option<PrivateReport>,
    /// Rates over the last interval.
    #[serde(skip)]
    pub tx_rate: Option<Rate>,
    /// Likewise.
    #[serde(skip)]
    pub rx_rate: Option<Rate>,
    /// Rates over the whole observation.
    #[serde(skip)]
    pub average: Average,
    /// Share of the device's packets (both directions) over the last interval, 0 to 1; `None` when it carried none.
    #[serde(skip)]
    pub share: Option<f64>,
    /// Packets per second (both directions) of past intervals, oldest first; at most [`HISTORY`].
    #[serde(skip)]
    pub history: Arc<[f32]>,
}

/// Intervals kept in [`QueueReport::history`].
pub const HISTORY: usize = 120;

impl QueueReport {
    /// The key of its device.
    pub fn device_key(&self) -> DeviceKey {
        key(self.netns, self.ifindex, self.generation)
    }
}

fn key(netns: u64, ifindex: u32, generation: u32) -> DeviceKey {
    use crate::topology::{IfIndex, Netns};
    DeviceKey { netns: Netns(netns), ifindex: IfIndex(ifindex), generation }
}

/// A rate over one interval, derived in `State` and nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Packets per second.
    pub pps: f64,
    /// Bits per second of frame bytes.
    pub bps: f64,
    /// Drops by the device per second; `None` where its drops are not known.
    pub drops: Option<f64>,
    /// Mean frame size in bytes over the interval; `None` when there was no packet.
    pub mean_size: Option<f64>,
}

/// Rates over the whole observation: counts since counting began by the seconds since then.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Average {
    /// Guest's TX; `None` where it is not known or no time has passed.
    pub tx: Option<Rate>,
    /// Guest's RX, likewise.
    pub rx: Option<Rate>,
    /// Share of the packets (both directions) of what it is part of, 0 to 1: a queue's of its device, a device's of
    /// all devices; `None` when there was none.
    pub share: Option<f64>,
}

/// The guest's transmit side. `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TxReport {
    /// Packets; a GSO packet counts once.
    pub packets: Option<u64>,
    /// Frame bytes.
    pub bytes: Option<u64>,
    /// Packets once GSO is cut up.
    pub segments: Option<u64>,
    /// Dropped by the device, by reason.
    pub drops: Option<BTreeMap<Arc<str>, u64>>,
    /// Entries that vhost put into the used ring: buffers given back to the guest.
    pub used: Option<u64>,
    /// Batches handed to the tap by vhost.
    pub batches: Option<u64>,
    /// Batches by packets in them.
    pub batch_sizes: Option<Box<[SizeReport; BATCH_CLASSES]>>,
    /// Ledger of copies; `None` where it is not known for every packet.
    pub copies: Option<Box<CopiesReport>>,
    /// Dropped later in the host's stack.
    pub stack_drops: Option<u64>,
    /// Notifications by the guest.
    pub kicks: Option<u64>,
    /// Notifications to the guest.
    pub calls: Option<u64>,
    /// Notifications to the guest that it did not want.
    pub calls_suppressed: Option<u64>,
    /// Runs of the worker for it, by why they ended.
    pub runs: Option<RunsReport>,
    /// Packets by size; idle queues share theirs.
    pub sizes: Option<Arc<[SizeReport; CLASSES]>>,
}

/// The guest's receive side. `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RxReport {
    /// Packets accepted into the tap ring; a GSO packet counts once.
    pub packets: Option<u64>,
    /// Frame bytes.
    pub bytes: Option<u64>,
    /// Packets once GSO is cut up.
    pub segments: Option<u64>,
    /// Dropped by the device, by reason.
    pub drops: Option<BTreeMap<Arc<str>, u64>>,
    /// Guest buffers used.
    pub buffers: Option<u64>,
    /// Bytes copied into them.
    pub copied_bytes: Option<u64>,
    /// Notifications by the guest.
    pub kicks: Option<u64>,
    /// Notifications to the guest.
    pub calls: Option<u64>,
    /// Notifications to the guest that it did not want.
    pub calls_suppressed: Option<u64>,
    /// Runs of the worker for it, by why they ended.
    pub runs: Option<RunsReport>,
    /// Packets by size; idle queues share theirs.
    pub sizes: Option<Arc<[SizeReport; CLASSES]>>,
}

/// One size class, of packets by bytes or of batches by packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeReport {
    /// Largest size of the class; `None` for an open last class.
    pub le: Option<u32>,
    /// How many are in this class alone (not cumulative).
    pub count: u64,
}
