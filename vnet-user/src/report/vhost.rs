//! The part of the report's schema that says what vhost did for a queue pair.

use serde::Serialize;

/// The thread of vhost that serves a queue pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WorkerReport {
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// CPU it last ran on.
    pub cpu: Option<u32>,
    /// NUMA node of that CPU.
    pub node: Option<u32>,
    /// Share of time it ran, 0 to 1: over the last interval, or the whole observation where it served through none.
    pub busy_ratio: Option<f64>,
    /// Share of time it spent busy polling, likewise; part of `busy_ratio`.
    pub busy_poll_ratio: Option<f64>,
    /// Seconds since counting began that it was ready but did not run.
    pub wait_seconds: Option<f64>,
    /// Moves between CPUs since counting began.
    pub migrations: Option<u64>,
    /// It is a kernel thread, not a thread of the VM's monitor.
    pub kthread: bool,
    /// Share of time it ran over the whole observation.
    #[serde(skip)]
    pub average_busy: Option<f64>,
    /// Seconds since counting began that it ran.
    #[serde(skip)]
    pub run_seconds: Option<f64>,
}

/// How transmitted packets were copied: each is in one of the first five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopiesReport {
    /// Copied by vhost and handed over in a batch.
    pub batched: u64,
    /// Copied by the tap, packet by packet.
    pub single: u64,
    /// Not copied.
    pub zerocopy: u64,
    /// Meant to be zero-copy, and copied or refused after all.
    pub zerocopy_failed: u64,
    /// Handed over without a copy, not completed yet.
    pub in_flight: u64,
    /// Bytes copied.
    pub bytes: u64,
    /// Why packets were not zero-copy: `batched`, `single` and `zerocopy_failed` by reason.
    pub why: WhyReport,
}

/// Packets by why they were not zero-copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhyReport {
    /// Zero-copy is off, or the backend does not allow it.
    pub module_off: u64,
    /// Too short to be worth it.
    pub short: u64,
    /// Too many were in flight.
    pub pending: u64,
    /// Too many had been copied late.
    pub backoff: u64,
    /// The tap copied or refused it at once.
    pub rejected: u64,
    /// Copied after it had been handed over.
    pub late: u64,
}

/// Runs of the worker for one virtqueue, by why they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunsReport {
    /// Nothing more to do.
    pub empty: u64,
    /// Enough moved in one go; the worker comes back to it.
    pub weight: u64,
    /// Interrupted while busy polling.
    pub busy_poll: u64,
    /// No room at the receiver: no buffers of the guest, or a full socket buffer.
    pub no_buffers: u64,
}
