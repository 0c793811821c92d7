//! The waist: what every source yields and everything else is folded from.

mod locality;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use vnet_ebpf::hist::CLASSES;

pub use self::locality::{CallPath, KickPath, Paths, Side, Target, VcpuKey, VcpuPlace, VcpuStates};
use crate::topology::{DeviceKey, QueueKey, Topology};

/// Nanoseconds since counting began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// As seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Where records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// This host, now.
    Live,
    /// A recording.
    Trace,
    /// The model of vhost.
    Model,
}

/// How a signal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Counted one by one.
    Exact,
    /// Computed from something else that is exact.
    Derived,
    /// Not known; the reason says why.
    Unavailable,
}

/// One signal: what it is measured through and how well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is measured, e.g. `tap.tx`.
    pub signal: String,
    /// Through what, e.g. `tp_btf:netif_receive_skb_entry`; what would have been used when unavailable.
    pub via: String,
    /// How well.
    pub state: Known,
    /// Why not exact, or what else there is to know of it: one sentence for an operator.
    pub reason: Option<String>,
    /// Runs of the program, only while run statistics are held.
    pub runs: Option<u64>,
    /// Nanoseconds spent in the program, likewise.
    pub run_ns: Option<u64>,
}

impl Probe {
    /// A signal whose program nobody times.
    pub fn new(signal: &str, via: &str, state: Known, reason: Option<String>) -> Self {
        let (signal, via) = (signal.to_owned(), via.to_owned());
        Self { signal, via, state, reason, runs: None, run_ns: None }
    }

    /// One that is exact, unless there is a reason why it is not available.
    pub fn exact_unless(signal: &str, via: &str, reason: Option<String>) -> Self {
        let state = if reason.is_some() { Known::Unavailable } else { Known::Exact };
        Self::new(signal, via, state, reason)
    }
}

/// First record of a source, and again whenever the probes change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Kind of the source.
    pub kind: SourceKind,
    /// Host name where the records were made.
    pub host: String,
    /// Its kernel release.
    pub kernel: String,
    /// When counting began, RFC 3339 in UTC.
    pub started: String,
    /// The signals.
    pub probes: Vec<Probe>,
}

/// Cumulative counts of one direction of a queue since counting began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Frame bytes, Ethernet header included, vnet header not; a GSO packet as handed over.
    pub bytes: u64,
    /// Packets on the wire once GSO is cut up; a plain packet is one.
    pub segments: u64,
    /// Packets per size class (`vnet_ebpf::hist::EDGES`); their sum is the packet count.
    pub sizes: [u64; CLASSES],
    /// Packets that the device itself dropped, by the kernel's reason name; not part of `sizes`.
    pub drops: BTreeMap<Arc<str>, u64>,
    /// Packets dropped later in the host's stack; part of `sizes`.
    pub stack_drops: Option<u64>,
}

impl Flow {
    /// Packets: a GSO packet counts once. Saturates, because a recording may hold any number.
    pub fn packets(&self) -> u64 {
        self.sizes.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Adds packets, with their bytes, segments and sizes; drops are left as they are.
    pub fn add_packets(&mut self, more: &Self) {
        self.bytes += more.bytes;
        self.segments += more.segments;
        for (size, n) in self.sizes.iter_mut().zip(more.sizes) {
            *size += n;
        }
    }

    /// Packets the device dropped, all reasons. Saturates likewise.
    pub fn dropped(&self) -> u64 {
        self.drops.values().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// Counts of one queue pair. `None` where no probe covers the direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// What the guest sent.
    pub tx: Option<Flow>,
    /// What the guest was given.
    pub rx: Option<Flow>,
    /// What vhost did for it; `None` while no vhost worker has served it, or no probe sees that.
    #[serde(default)]
    pub vhost: Option<Vhost>,
}

/// What `vhost_net` did for one queue pair since counting began. `None` where no probe tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vhost {
    /// How packets that the guest sent were copied.
    pub copies: Option<Copies>,
    /// The guest's transmit virtqueue.
    pub tx: Ring,
    /// The guest's receive virtqueue.
    pub rx: Ring,
    /// Bytes copied into the guest's buffers, vnet header included.
    pub rx_copied_bytes: Option<u64>,
}

/// The ledger of transmit copies. Every packet of the pair is in exactly one of `batched`, `single`, `zerocopy`,
/// `zerocopy_rejected`, `zerocopy_late` and `in_flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Copied by vhost and handed over in a batch (drivers/vhost/net.c: `vhost_net_build_xdp`).
    pub batched: u64,
    /// Copied by the tap, packet by packet.
    pub single: u64,
    /// Zero-copy, completed without a copy: delivered, or dropped by the host.
    pub zerocopy: u64,
    /// Meant to be zero-copy, and copied or refused by the tap at once.
    pub zerocopy_rejected: u64,
    /// Handed over without a copy, and copied later (net/core/skbuff.c: `skb_copy_ubufs`).
    pub zerocopy_late: u64,
    /// Handed over without a copy, not completed yet. May fall.
    pub in_flight: u64,
    /// Bytes copied from guest memory: vnet header and frame, or as much as was copied of it.
    pub bytes: u64,
    /// Batches handed to the tap.
    pub batches: u64,
    /// Batches by packets in them: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31, 32 to 63, 64.
    pub batch_sizes: [u64; BATCH_CLASSES],
    /// Why the packets of `batched` and `single` were not meant to be zero-copy.
    pub why: WhyCopied,
}

/// Why packets were copied though zero-copy exists; their sum is `batched + single`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyCopied {
    /// `vhost_net` was loaded without `experimental_zcopytx`, or the backend does not allow zero-copy.
    pub module_off: u64,
    /// Shorter than `VHOST_GOODCOPY_LEN` (256 bytes, vnet header included).
    pub short: u64,
    /// Too many packets were in flight (`vhost_exceeds_maxpend`).
    pub pending: u64,
    /// Too many zero-copy packets were copied after all of late (`vhost_net_tx_select_zcopy`).
    pub backoff: u64,
}

/// One virtqueue as vhost serves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Entries put into the used ring: buffers given back to the guest.
    pub used: Option<u64>,
    /// Notifications by the guest (kick eventfd).
    pub kicks: Option<u64>,
    /// Notifications to the guest (call eventfd).
    pub calls: Option<u64>,
    /// Updates of the used ring that the guest did not want to be notified of.
    pub calls_suppressed: Option<u64>,
    /// Calls that reached an `irqfd` of KVM; the others nobody took, or a program did.
    #[serde(default)]
    pub woken: Option<u64>,
    /// Runs of the worker for this virtqueue, by why they ended.
    pub runs: Option<RunEnds>,
}

/// Why runs of the worker ended (drivers/vhost/net.c: `handle_tx`, `handle_rx`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnds {
    /// Nothing more to do: the transmit ring, or the tap's queue on the receive side, was empty.
    pub empty: u64,
    /// 256 packets or 512 KiB moved in one go (`vhost_exceeds_weight`); the worker comes back to it.
    pub weight: u64,
    /// Interrupted while busy polling.
    pub busy_poll: u64,
    /// No room: no receive buffers were left, or the socket's send buffer was full.
    pub no_buffers: u64,
}

/// Classes of [`Copies::batch_sizes`].
pub const BATCH_CLASSES: usize = 7;

/// The thread that serves a queue pair of a `vhost_net` device, as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// The queue pair that it serves.
    pub queue: QueueKey,
    /// Thread id in the host's pid namespace.
    pub tid: u32,
    /// Process that the thread belongs to: the VM monitor's where vhost runs as its thread, its own for a kernel thread.
    pub tgid: u32,
    /// Its name; all pairs of a VM share it.
    pub comm: String,
    /// CPU that it ran on last.
    pub cpu: Option<u32>,
    /// NUMA node of that CPU.
    pub node: Option<u32>,
    /// Nanoseconds that it ran since counting began (`/proc/PID/schedstat`).
    pub run_ns: Option<u64>,
    /// Nanoseconds that it was ready and waited for a CPU, likewise.
    pub wait_ns: Option<u64>,
    /// Moves between CPUs since counting began.
    pub migrations: Option<u64>,
    /// Nanoseconds of `run_ns` that it spent busy polling.
    pub busy_poll_ns: Option<u64>,
}

/// Cumulative facts at an instant. A queue that is not listed has not changed since it last was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Nanos,
    /// Queues, sorted by key.
    pub queues: Vec<(QueueKey, QueueCounts)>,
    /// Workers of vhost, sorted by queue. One that is not listed has not changed since it last was.
    #[serde(default)]
    pub workers: Vec<Worker>,
    /// Queue pairs whose worker has ended, sorted, and no other has been seen since.
    #[serde(default)]
    pub ended: Vec<QueueKey>,
    /// Differences between independent counts of a device, by name, where they were taken: 0 unless something was
    /// missed, or is on its way between the two.
    #[serde(default)]
    pub residuals: Vec<(DeviceKey, BTreeMap<String, i64>)>,
    /// Ways that calls and kicks took, sorted by queue. A queue that is not listed has not changed since it last was.
    #[serde(default)]
    pub paths: Vec<(QueueKey, Paths)>,
    /// Where vCPUs are, sorted by thread. One that is not listed has not moved since it last was.
    #[serde(default)]
    pub vcpus: Vec<VcpuPlace>,
}

/// What was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Kernel events that found no room, cumulative.
    pub events: u64,
    /// Records that could not be passed on, cumulative.
    pub records: u64,
}

/// One thing that a source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Where what follows comes from.
    Source(Source),
    /// What there is now.
    Topology(Topology),
    /// What was counted so far.
    Sample(Sample),
    /// What was missed so far.
    Lost(Lost),
    /// The source ended in order; without it a recording is incomplete.
    End(Nanos),
}
