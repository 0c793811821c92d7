//! Records from their short form.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use vnet::{
    record::{Flow, Known, Lost, Nanos, Paths, Probe, QueueCounts, Record, Sample, Source, SourceKind},
    topology::{
        Device, DeviceKey, DeviceKind, IfIndex, Invisible, Netns, Owner, QueueKey, QueuePair, Topology,
    },
};
use vnet_ebpf::hist;

mod locality;
mod vhost;

type Result<T> = std::result::Result<T, String>;

/// One record.
pub(crate) fn parse(line: &str) -> Result<Record> {
    let mut parts = line.split(';').map(str::trim);
    let head: Vec<&str> = parts.next().unwrap_or_default().split_whitespace().collect();
    Ok(match head[..] {
        ["source", ref signals @ ..] => Record::Source(source(signals)?),
        ["topology"] => Record::Topology(topology(parts)?),
        ["sample", at] => Record::Sample(sample(instant(at)?, parts)?),
        ["lost", events, records] => {
            Record::Lost(Lost { events: number(events)?, records: number(records)? })
        }
        ["end", at] => Record::End(instant(at)?),
        _ => return Err("no such record".into()),
    })
}

/// Devices, and among them `invisible PID COMM KIND DEVICE`, CPUs and VMs.
fn topology<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Topology> {
    let mut topology = Topology::default();
    for part in parts {
        match part.split_whitespace().collect::<Vec<_>>()[..] {
            ["invisible", pid, comm, kind, which] => topology.invisible.push(Invisible {
                pid: number(pid)?,
                comm: comm.into(),
                kind: serde_json::from_value(kind.into()).map_err(|error| format!("{kind:?}: {error}"))?,
                device: which.into(),
            }),
            ["cpu", ref words @ ..] => topology.cpus.push(locality::cpu(words)?),
            ["vm", ref words @ ..] => topology.vms.push(locality::vm(words)?),
            _ => topology.devices.push(device(part)?),
        }
    }
    Ok(topology)
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

fn instant(text: &str) -> Result<Nanos> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(Nanos(duration.as_nanos().try_into().map_err(|_| "too long")?))
}

fn source(signals: &[&str]) -> Result<Source> {
    let probe = |signal: &&str| {
        let (signal, state) = signal.split_once('=').unwrap_or((signal, "exact"));
        let state = match state {
            "exact" => Known::Exact,
            "derived" => Known::Derived,
            "unavailable" => Known::Unavailable,
            other => return Err(format!("{other:?} is no state of a probe")),
        };
        let reason = (state != Known::Exact).then(|| format!("{signal} is told to be so by the test"));
        Ok(Probe {
            signal: signal.into(),
            via: "tp_btf:test".into(),
            state,
            reason,
            runs: None,
            run_ns: None,
        })
    };
    Ok(Source {
        kind: SourceKind::Live,
        host: "host".into(),
        kernel: "6.12.0".into(),
        started: "2026-01-02T03:04:05Z".into(),
        probes: signals.iter().map(probe).collect::<Result<_>>()?,
    })
}

/// `1/7`, `1/7.2`.
pub(crate) fn device_key(text: &str) -> Result<DeviceKey> {
    let (netns, index) = text.split_once('/').ok_or_else(|| format!("{text:?} is not NETNS/IFINDEX"))?;
    let (ifindex, generation) = index.split_once('.').unwrap_or((index, "0"));
    Ok(DeviceKey {
        netns: Netns(number(netns)?),
        ifindex: IfIndex(number(ifindex)?),
        generation: number(generation)?,
    })
}

/// `1/7#0`.
pub(crate) fn queue_key(text: &str) -> Result<QueueKey> {
    let (device, queue) = text.split_once('#').ok_or_else(|| format!("{text:?} is not DEVICE#QUEUE"))?;
    Ok(QueueKey { device: device_key(device)?, queue: QueuePair(number(queue)?) })
}

fn device(text: &str) -> Result<Device> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [key, name, kind, ref rest @ ..] = words[..] else {
        return Err(format!("{text:?} is not KEY NAME KIND"));
    };
    let kind = match kind {
        "tap" => DeviceKind::Tap,
        "tun" => DeviceKind::Tun,
        "macvtap" => DeviceKind::Macvtap,
        "virtio_net" => DeviceKind::VirtioNet,
        other => return Err(format!("{other:?} is no kind of device")),
    };
    let mut device = Device {
        key: device_key(key)?,
        name: name.into(),
        kind,
        present: true,
        queues_max: None,
        queues_enabled: None,
        queues_disabled: None,
        owner: None,
        uncovered: Vec::new(),
        vhost: None,
        zerocopy: None,
    };
    for word in rest {
        match *word {
            "gone" => device.present = false,
            "uncovered" => device.uncovered.push("the test says so".into()),
            "vhost" => device.vhost = Some(true),
            "novhost" => device.vhost = Some(false),
            "zerocopy" => device.zerocopy = Some(true),
            "nozerocopy" => device.zerocopy = Some(false),
            "owned" => device.owner = Some(Owner { pid: 4711, start: 1, comm: "qemu".into() }),
            word => match word.split_once('=') {
                Some(("disabled", pairs)) => device.queues_disabled = Some(number(pairs)?),
                Some(("max", pairs)) => device.queues_max = Some(number(pairs)?),
                Some(("pid", pid)) => {
                    device.owner = Some(Owner { pid: number(pid)?, start: 1, comm: "qemu".into() });
                }
                _ => device.queues_enabled = Some(number(word)?),
            },
        }
    }
    Ok(device)
}

/// Parts of one queue become one entry, as a source tells them.
fn sample<'a>(at: Nanos, parts: impl Iterator<Item = &'a str>) -> Result<Sample> {
    let mut sample = Sample { at, ..Sample::default() };
    let mut queues: BTreeMap<QueueKey, QueueCounts> = BTreeMap::new();
    let mut paths: BTreeMap<QueueKey, Paths> = BTreeMap::new();
    for part in parts {
        let words: Vec<&str> = part.split_whitespace().collect();
        if let ["vcpu", ref words @ ..] = words[..] {
            sample.vcpus.push(locality::place(words)?);
            continue;
        }
        let [key, what, ref rest @ ..] = words[..] else {
            return Err(format!("{part:?} is not QUEUE WHAT …"));
        };
        if what == "residuals" {
            let residuals = rest.iter().map(|word| {
                let (name, n) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=COUNT"))?;
                Ok((name.to_owned(), number(n)?))
            });
            sample.residuals.push((device_key(key)?, residuals.collect::<Result<_>>()?));
            continue;
        }
        let key = queue_key(key)?;
        if (what, rest) == ("worker", &["ended"]) {
            sample.ended.push(key);
            continue;
        }
        if what == "worker" {
            sample.workers.push(vhost::worker(key, rest)?);
            continue;
        }
        match what {
            "call" => {
                locality::call(paths.entry(key).or_default(), rest)?;
                continue;
            }
            "kick" => {
                locality::kick(paths.entry(key).or_default(), rest)?;
                continue;
            }
            _ => {}
        }
        let counts = queues.entry(key).or_default();
        match what {
            "tx" => counts.tx = Some(flow(rest)?),
            "rx" => counts.rx = Some(flow(rest)?),
            _ => vhost::part(counts.vhost.get_or_insert_default(), what, rest)?,
        }
    }
    sample.queues = queues.into_iter().collect();
    sample.paths = paths.into_iter().collect();
    Ok(sample)
}

fn flow(words: &[&str]) -> Result<Flow> {
    let mut flow = Flow::default();
    let mut segments = None;
    for word in words {
        match word.split_once('=') {
            Some(("segments", count)) => segments = Some(number(count)?),
            Some(("stack", count)) => flow.stack_drops = Some(number(count)?),
            Some((reason, count)) => drop(flow.drops.insert(Arc::from(reason), number(count)?)),
            None => {
                let (count, size) =
                    word.split_once('x').ok_or_else(|| format!("{word:?} is not COUNTxBYTES"))?;
                let (count, size): (u64, u32) = (number(count)?, number(size)?);
                flow.sizes[hist::class(size)] += count;
                flow.bytes += count * u64::from(size);
            }
        }
    }
    flow.segments = segments.unwrap_or(flow.packets());
    Ok(flow)
}
