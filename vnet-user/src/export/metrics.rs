//! The metrics: one table. Names, help and labels are a promise to dashboards and alerts; a new one is a new row.

use super::{
    values::{Histogram, Reasons, batches, copies, flag, interrupts, reasons, residual, runs, total, why},
    view::View,
};
use crate::report::{DeviceReport, Known, ProbeReport, QueueReport, WorkerReport};

/// One metric.
pub struct Metric {
    /// Name as it is exposed; counters end in `_total`.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// One sentence for who meets it in a query editor.
    pub help: &'static str,
    /// What it is told of, and where it is read.
    pub of: Of,
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Since counting began, or since what it tells of appeared; never falls.
    Counter,
    /// Now.
    Gauge,
    /// Cumulative, by size.
    Histogram,
}

/// What a metric is told of. `None` makes no series.
pub enum Of {
    /// The host.
    Host(fn(&View<'_>) -> Option<f64>),
    /// The program, with its version.
    Build,
    /// Each signal.
    Probe(fn(&ProbeReport) -> Option<f64>),
    /// Each rule and level that has found something.
    Findings,
    /// Each device, with the VM that holds it.
    DeviceInfo,
    /// Each device and worker that serves it.
    WorkerInfo,
    /// Each device.
    Device(fn(&DeviceReport) -> Option<f64>),
    /// Each queue pair; a device without series per queue has their sum.
    Queue(fn(&QueueReport) -> Option<u64>),
    /// Each device: the sum of its queue pairs, known when all of them are.
    Sum(fn(&QueueReport) -> Option<u64>),
    /// The same by reason.
    Reason(fn(&QueueReport) -> Option<Reasons>),
    /// The same by distance.
    Level(fn(&QueueReport) -> Option<Reasons>),
    /// The same by size.
    Sizes(fn(&QueueReport) -> Option<Histogram>),
    /// Each worker of vhost once, however many queue pairs it serves.
    Worker(fn(&WorkerReport) -> Option<f64>),
    /// Refused connections and requests, by reason.
    Refused,
}

impl Of {
    /// Names of the labels, in order.
    pub fn labels(&self) -> &'static [&'static str] {
        match self {
            Self::Host(_) => &[],
            Self::Build => &["version"],
            Self::Probe(_) => &["probe"],
            Self::Findings => &["rule", "level"],
            Self::DeviceInfo => &["netns", "device", "vm"],
            Self::WorkerInfo => &["netns", "device", "vm", "worker"],
            Self::Device(_) | Self::Sum(_) | Self::Sizes(_) => &["netns", "device"],
            Self::Queue(_) => &["netns", "device", "queue"],
            Self::Reason(_) => &["netns", "device", "reason"],
            Self::Level(_) => &["netns", "device", "level"],
            Self::Worker(_) => &["vm", "worker"],
            Self::Refused => &["reason"],
        }
    }
}

const fn counter(name: &'static str, help: &'static str, of: Of) -> Metric {
    Metric { name, kind: Kind::Counter, help, of }
}

const fn gauge(name: &'static str, help: &'static str, of: Of) -> Metric {
    Metric { name, kind: Kind::Gauge, help, of }
}

/// All metrics. TX is what the guest sends, RX what it receives.
pub const METRICS: &[Metric] = &[
    // Per queue pair: six at most, because a host may have thousands of queues.
    counter(
        "vnet_tx_packets_total",
        "Packets that the guest sent; a GSO packet counts once.",
        Of::Queue(|q| q.tx.packets),
    ),
    counter(
        "vnet_rx_packets_total",
        "Packets that the guest was given; a GSO packet counts once.",
        Of::Queue(|q| q.rx.packets),
    ),
    counter(
        "vnet_tx_bytes_total",
        "Frame bytes that the guest sent: Ethernet header included, vnet header not.",
        Of::Queue(|q| q.tx.bytes),
    ),
    counter(
        "vnet_rx_bytes_total",
        "Frame bytes that the guest was given: Ethernet header included, vnet header not.",
        Of::Queue(|q| q.rx.bytes),
    ),
    counter(
        "vnet_tx_drops_total",
        "Packets from the guest that the device dropped; not part of its packets, except under vhost.",
        Of::Queue(|q| total(q.tx.drops.as_ref())),
    ),
    counter(
        "vnet_rx_drops_total",
        "Packets to the guest that the device dropped, mostly because its ring was full; not part of its packets.",
        Of::Queue(|q| total(q.rx.drops.as_ref())),
    ),
    // Per device: traffic.
    counter(
        "vnet_tx_segments_total",
        "Packets that the guest sent, once GSO is cut up.",
        Of::Sum(|q| q.tx.segments),
    ),
    counter(
        "vnet_rx_segments_total",
        "Packets that the guest was given, once GSO is cut up.",
        Of::Sum(|q| q.rx.segments),
    ),
    counter(
        "vnet_tx_drop_causes_total",
        "Packets of vnet_tx_drops_total by the kernel's reason.",
        Of::Reason(|q| reasons(q.tx.drops.as_ref())),
    ),
    counter(
        "vnet_rx_drop_causes_total",
        "Packets of vnet_rx_drops_total by the kernel's reason.",
        Of::Reason(|q| reasons(q.rx.drops.as_ref())),
    ),
    counter(
        "vnet_tx_stack_drops_total",
        "Packets from the guest that the host dropped after the device had taken them.",
        Of::Sum(|q| q.tx.stack_drops),
    ),
    // Per device: notifications.
    counter("vnet_tx_kicks_total", "Notifications by the guest of packets to send.", Of::Sum(|q| q.tx.kicks)),
    counter(
        "vnet_rx_kicks_total",
        "Notifications by the guest of buffers to receive into.",
        Of::Sum(|q| q.rx.kicks),
    ),
    counter(
        "vnet_tx_calls_total",
        "Notifications to the guest of packets that were sent.",
        Of::Sum(|q| q.tx.calls),
    ),
    counter(
        "vnet_rx_calls_total",
        "Notifications to the guest of packets that it was given.",
        Of::Sum(|q| q.rx.calls),
    ),
    counter(
        "vnet_tx_calls_suppressed_total",
        "Notifications of sent packets that the guest did not want.",
        Of::Sum(|q| q.tx.calls_suppressed),
    ),
    counter(
        "vnet_rx_calls_suppressed_total",
        "Notifications of given packets that the guest did not want.",
        Of::Sum(|q| q.rx.calls_suppressed),
    ),
    counter(
        "vnet_tx_interrupts_total",
        "Interrupts of the guest for sent packets, by the distance from the worker to the CPU of the vCPU.",
        Of::Level(|q| interrupts(q, "tx")),
    ),
    counter(
        "vnet_rx_interrupts_total",
        "Interrupts of the guest for given packets, by the distance from the worker to the CPU of the vCPU.",
        Of::Level(|q| interrupts(q, "rx")),
    ),
    // Per device: what vhost did.
    counter(
        "vnet_tx_batched_packets_total",
        "Sent packets that vhost copied and handed over in a batch.",
        Of::Sum(|q| copies(q, |c| c.batched)),
    ),
    counter(
        "vnet_tx_single_packets_total",
        "Sent packets that were copied one by one.",
        Of::Sum(|q| copies(q, |c| c.single)),
    ),
    counter(
        "vnet_tx_zerocopy_packets_total",
        "Sent packets that were not copied.",
        Of::Sum(|q| copies(q, |c| c.zerocopy)),
    ),
    counter(
        "vnet_tx_zerocopy_failed_packets_total",
        "Sent packets that were meant to be zero-copy, and copied or refused after all.",
        Of::Sum(|q| copies(q, |c| c.zerocopy_failed)),
    ),
    counter("vnet_tx_copied_packets_total", "Sent packets that were not zero-copy, by why.", Of::Reason(why)),
    counter(
        "vnet_tx_copied_bytes_total",
        "Bytes copied out of guest memory.",
        Of::Sum(|q| copies(q, |c| c.bytes)),
    ),
    counter(
        "vnet_rx_copied_bytes_total",
        "Bytes copied into guest memory, vnet header included.",
        Of::Sum(|q| q.rx.copied_bytes),
    ),
    counter(
        "vnet_rx_buffers_total",
        "Guest buffers that were used for given packets.",
        Of::Sum(|q| q.rx.buffers),
    ),
    counter(
        "vnet_tx_worker_runs_total",
        "Runs of the worker for sent packets, by why they ended.",
        Of::Reason(|q| runs(q.tx.runs.as_ref())),
    ),
    counter(
        "vnet_rx_worker_runs_total",
        "Runs of the worker for given packets, by why they ended.",
        Of::Reason(|q| runs(q.rx.runs.as_ref())),
    ),
    Metric {
        name: "vnet_tx_batch_packets",
        kind: Kind::Histogram,
        help: "Packets per batch that vhost handed to the tap.",
        of: Of::Sizes(batches),
    },
    gauge(
        "vnet_tx_in_flight_packets",
        "Sent packets that were handed over without a copy and are not completed yet.",
        Of::Sum(|q| copies(q, |c| c.in_flight)),
    ),
    // Per device: what it is.
    gauge(
        "vnet_device_info",
        "1; joins a device with the VM that holds it: its name, or the process id of its monitor.",
        Of::DeviceInfo,
    ),
    gauge(
        "vnet_device_worker_info",
        "1; joins a device with the workers of vhost that serve it, by thread id.",
        Of::WorkerInfo,
    ),
    gauge("vnet_device_queues", "Queue pairs in use.", Of::Device(|d| d.queues_enabled.map(f64::from))),
    gauge(
        "vnet_device_queues_max",
        "Queue pairs that the device can have.",
        Of::Device(|d| d.queues_max.map(f64::from)),
    ),
    gauge(
        "vnet_device_vhost",
        "1 if vhost serves the device, 0 if it does not.",
        Of::Device(|d| d.vhost.map(flag)),
    ),
    gauge(
        "vnet_device_zerocopy",
        "1 if zero-copy transmit is on, 0 if it is off.",
        Of::Device(|d| d.zerocopy.map(flag)),
    ),
    gauge(
        "vnet_device_uncovered",
        "1 if the counts do not cover all traffic of the device; /report.json says why.",
        Of::Device(|d| Some(flag(!d.uncovered.is_empty()))),
    ),
    gauge(
        "vnet_device_residual_packets",
        "Difference between independent counts of the device, all together: 0 unless packets were missed or are under way.",
        Of::Device(residual),
    ),
    // Workers of vhost.
    counter("vnet_worker_cpu_seconds_total", "Time that the worker ran.", Of::Worker(|w| w.run_seconds)),
    counter(
        "vnet_worker_wait_seconds_total",
        "Time that the worker was ready and waited for a CPU.",
        Of::Worker(|w| w.wait_seconds),
    ),
    counter(
        "vnet_worker_migrations_total",
        "Moves of the worker between CPUs.",
        Of::Worker(|w| w.migrations.map(|n| n as f64)),
    ),
    gauge(
        "vnet_worker_last_cpu",
        "Number of the CPU that the worker ran on last.",
        Of::Worker(|w| w.cpu.map(f64::from)),
    ),
    // What is wrong, and what is not seen.
    gauge(
        "vnet_findings",
        "Findings of a rule at a level; without findings there is no series.",
        Of::Findings,
    ),
    gauge(
        "vnet_probe_available",
        "1 if the signal is measured, 0 if it cannot be on this kernel; vnet doctor says why.",
        Of::Probe(|p| Some(flag(p.state != Known::Unavailable))),
    ),
    counter(
        "vnet_probe_runs_total",
        "Runs of the program behind the signal, under --probe-stats.",
        Of::Probe(|p| p.runs.map(|n| n as f64)),
    ),
    counter(
        "vnet_probe_run_seconds_total",
        "Time spent in the program behind the signal, under --probe-stats.",
        Of::Probe(|p| p.run_seconds),
    ),
    counter(
        "vnet_lost_events_total",
        "Events that the kernel could not hand over: counts may be short of them.",
        Of::Host(|v| Some(v.report.lost.events as f64)),
    ),
    counter(
        "vnet_lost_records_total",
        "Records that could not be passed on.",
        Of::Host(|v| Some(v.report.lost.records as f64)),
    ),
    // The host.
    gauge("vnet_devices", "Devices that are there.", Of::Host(|v| Some(v.devices.len() as f64))),
    gauge(
        "vnet_queues",
        "Queue pairs of devices that are there.",
        Of::Host(|v| Some(v.queue_pairs() as f64)),
    ),
    gauge(
        "vnet_queues_summed",
        "Queue pairs without series of their own, because the host has many: they are in the series of their device.",
        Of::Host(|v| Some(v.summed() as f64)),
    ),
    gauge(
        "vnet_counting_start_time_seconds",
        "When counting began, in seconds since 1970.",
        Of::Host(|v| v.seen.started()),
    ),
    gauge(
        "vnet_last_sample_timestamp_seconds",
        "When the numbers were read from the kernel, in seconds since 1970.",
        Of::Host(|v| v.seen.read()),
    ),
    // vnet itself.
    gauge("vnet_build_info", "1; which vnet this is.", Of::Build),
    gauge(
        "vnet_scrape_duration_seconds",
        "How long the scrape before this one took to make.",
        Of::Host(|v| v.own.scrape),
    ),
    counter("vnet_http_refused_total", "Connections and requests that were refused, by reason.", Of::Refused),
    counter("process_cpu_seconds_total", "CPU time of vnet.", Of::Host(|v| v.own.cpu)),
    gauge("process_resident_memory_bytes", "Resident memory of vnet.", Of::Host(|v| v.own.resident)),
    gauge("process_open_fds", "File descriptors that vnet holds.", Of::Host(|v| v.own.descriptors)),
    gauge(
        "process_start_time_seconds",
        "When vnet was started, in seconds since 1970.",
        Of::Host(|v| v.own.started),
    ),
];
