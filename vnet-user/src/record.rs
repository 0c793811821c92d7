//! The waist: what every source yields and everything else is folded from.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use vnet_ebpf::hist::CLASSES;

use crate::topology::{QueueKey, Topology};

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
    /// Why not exact: one sentence for an operator.
    pub reason: Option<String>,
    /// Runs of the program, only while run statistics are held.
    pub runs: Option<u64>,
    /// Nanoseconds spent in the program, likewise.
    pub run_ns: Option<u64>,
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
}

/// Cumulative facts at an instant. A queue that is not listed has not changed since it last was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Nanos,
    /// Queues, sorted by key.
    pub queues: Vec<(QueueKey, QueueCounts)>,
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
