//! One record per line as JSON, with the names of the report. Counts are cumulative, as recorded.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use crate::{
    record::{Flow, Lost, Nanos, Paths, QueueCounts, Record, Sample, Source, VcpuPlace, Vhost, Worker},
    topology::{Cpu, Device, DeviceKey, Invisible, QueueKey, Vm},
};

/// Which device.
#[derive(Serialize)]
struct Place {
    ifindex: u32,
    netns: u64,
    generation: u32,
}

impl From<DeviceKey> for Place {
    fn from(key: DeviceKey) -> Self {
        Self { ifindex: key.ifindex.0, netns: key.netns.0, generation: key.generation }
    }
}

/// Which queue pair.
#[derive(Serialize)]
struct PairPlace {
    #[serde(flatten)]
    device: Place,
    queue: u16,
}

impl From<QueueKey> for PairPlace {
    fn from(key: QueueKey) -> Self {
        Self { device: key.device.into(), queue: key.queue.0 }
    }
}

/// A thing and which one it is of.
#[derive(Serialize)]
struct At<P, T> {
    #[serde(flatten)]
    place: P,
    #[serde(flatten)]
    thing: T,
}

#[derive(Serialize)]
struct DeviceLine<'a> {
    name: &'a str,
    kind: String,
    present: bool,
    vhost: Option<bool>,
    vm_pid: Option<u32>,
    vm: Option<&'a str>,
    queues_max: Option<u32>,
    queues_enabled: Option<u32>,
    queues_disabled: Option<u32>,
    zerocopy: Option<bool>,
    uncovered: &'a [String],
}

/// A direction, with its packets told beside their sizes.
#[derive(Serialize)]
struct FlowLine<'a> {
    packets: u64,
    #[serde(flatten)]
    flow: &'a Flow,
}

#[derive(Serialize)]
struct Counts<'a> {
    tx: Option<FlowLine<'a>>,
    rx: Option<FlowLine<'a>>,
    vhost: Option<&'a Vhost>,
}

#[derive(Serialize)]
struct WorkerLine<'a> {
    tid: u32,
    tgid: u32,
    comm: &'a str,
    cpu: Option<u32>,
    node: Option<u32>,
    run_ns: Option<u64>,
    wait_ns: Option<u64>,
    migrations: Option<u64>,
    busy_poll_ns: Option<u64>,
}

#[derive(Serialize)]
struct Residuals<'a> {
    residuals: &'a BTreeMap<String, i64>,
}

#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    Source(&'a Source),
    Topology {
        devices: Vec<At<Place, DeviceLine<'a>>>,
        invisible: &'a [Invisible],
        vms: &'a [Vm],
        cpus: &'a [Cpu],
    },
    Sample {
        at_ns: Nanos,
        queues: Vec<At<PairPlace, Counts<'a>>>,
        workers: Vec<At<PairPlace, WorkerLine<'a>>>,
        ended: Vec<PairPlace>,
        residuals: Vec<At<Place, Residuals<'a>>>,
        paths: Vec<At<PairPlace, &'a Paths>>,
        vcpus: &'a [VcpuPlace],
    },
    Lost(&'a Lost),
    End {
        at_ns: Nanos,
    },
}

/// Writes one record and the end of its line.
///
/// # Errors
/// As `out`.
pub fn write(record: &Record, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
    let line = match record {
        Record::Source(source) => Line::Source(source),
        Record::Topology(topology) => {
            let devices = topology
                .devices
                .iter()
                .map(|device| At { place: device.key.into(), thing: device_line(device) });
            Line::Topology {
                devices: devices.collect(),
                invisible: &topology.invisible,
                vms: &topology.vms,
                cpus: &topology.cpus,
            }
        }
        Record::Sample(sample) => sample_line(sample),
        Record::Lost(lost) => Line::Lost(lost),
        Record::End(at) => Line::End { at_ns: *at },
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn device_line(device: &Device) -> DeviceLine<'_> {
    DeviceLine {
        name: &device.name,
        kind: device.kind.to_string(),
        present: device.present,
        vhost: device.vhost,
        vm_pid: device.owner.as_ref().map(|owner| owner.pid),
        vm: device.owner.as_ref().map(|owner| owner.comm.as_str()),
        queues_max: device.queues_max,
        queues_enabled: device.queues_enabled,
        queues_disabled: device.queues_disabled,
        zerocopy: device.zerocopy,
        uncovered: &device.uncovered,
    }
}

fn sample_line(sample: &Sample) -> Line<'_> {
    let Sample { at, queues, workers, ended, residuals, paths, vcpus } = sample;
    Line::Sample {
        at_ns: *at,
        queues: queues
            .iter()
            .map(|(key, counts)| At { place: (*key).into(), thing: counts_line(counts) })
            .collect(),
        workers: workers.iter().map(|w| At { place: w.queue.into(), thing: worker_line(w) }).collect(),
        ended: ended.iter().map(|key| (*key).into()).collect(),
        residuals: residuals
            .iter()
            .map(|(key, residuals)| At { place: (*key).into(), thing: Residuals { residuals } })
            .collect(),
        paths: paths.iter().map(|(key, paths)| At { place: (*key).into(), thing: paths }).collect(),
        vcpus,
    }
}

fn counts_line(counts: &QueueCounts) -> Counts<'_> {
    let QueueCounts { tx, rx, vhost } = counts;
    Counts { tx: tx.as_ref().map(flow_line), rx: rx.as_ref().map(flow_line), vhost: vhost.as_ref() }
}

fn flow_line(flow: &Flow) -> FlowLine<'_> {
    FlowLine { packets: flow.packets(), flow }
}

fn worker_line(worker: &Worker) -> WorkerLine<'_> {
    let Worker { queue: _, tid, tgid, comm, cpu, node, run_ns, wait_ns, migrations, busy_poll_ns } = worker;
    WorkerLine {
        tid: *tid,
        tgid: *tgid,
        comm,
        cpu: *cpu,
        node: *node,
        run_ns: *run_ns,
        wait_ns: *wait_ns,
        migrations: *migrations,
        busy_poll_ns: *busy_poll_ns,
    }
}
