//! The report of a state.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    DeviceState, State,
    coverage::{Coverage, Direction, What},
    queue::{KnownCounts, Queue, Side, Totals},
};
use crate::{
    record::{Nanos, Probe},
    report::{
        Average, DeviceReport, LostReport, ProbeReport, QueueReport, Report, SCHEMA, SourceReport, Tool,
    },
    topology::{Device, DeviceKey, QueuePair},
};

/// Both directions of a queue, a device or all devices; `None` where not known.
#[derive(Clone, Copy, Debug, Default)]
struct Both {
    tx: Option<Totals>,
    rx: Option<Totals>,
}

impl Both {
    fn add(&mut self, other: Self) {
        let plus = |a: Option<Totals>, b: Option<Totals>| match (a, b) {
            (Some(a), Some(b)) => Some(a.plus(b)),
            (a, b) => a.or(b),
        };
        *self = Self { tx: plus(self.tx, other.tx), rx: plus(self.rx, other.rx) };
    }

    /// Packets of both directions; `None` where neither is known.
    fn packets(self) -> Option<u64> {
        let packets = |totals: Option<Totals>| totals.map(|totals| totals.packets);
        match (packets(self.tx), packets(self.rx)) {
            (Some(tx), Some(rx)) => Some(tx.saturating_add(rx)),
            (tx, rx) => tx.or(rx),
        }
    }

    fn share_of(self, whole: Self) -> Option<f64> {
        let whole = whole.packets().filter(|packets| *packets > 0)?;
        Some(self.packets()? as f64 / whole as f64)
    }

    fn average(self, whole: Self, duration: Nanos) -> Average {
        Average {
            tx: self.tx.and_then(|totals| totals.over(duration)),
            rx: self.rx.and_then(|totals| totals.over(duration)),
            share: self.share_of(whole),
        }
    }
}

/// What of a queue is known, and how much that is, in the last interval and as a whole.
struct Counted<'a> {
    pair: QueuePair,
    queue: &'a Queue,
    tx: KnownCounts,
    rx: KnownCounts,
    grown: Both,
    whole: Both,
}

impl State {
    /// What is known now.
    pub fn report(&self) -> Report {
        let duration = self.duration();
        let counted: Vec<_> =
            self.devices.iter().map(|(key, device)| (*key, device, self.counted(device))).collect();
        let mut all = Both::default();
        for queue in counted.iter().flat_map(|(_, _, queues)| queues) {
            all.add(queue.whole);
        }
        let mut report = Report {
            schema: SCHEMA,
            tool: Tool { version: env!("CARGO_PKG_VERSION").into() },
            source: self.source_report(duration),
            probes: self.probes().iter().map(probe_report).collect(),
            lost: LostReport { events: self.lost.events, records: self.lost.records },
            vms: Vec::new(),
            devices: Vec::with_capacity(counted.len()),
            queues: Vec::with_capacity(counted.iter().map(|(_, _, queues)| queues.len()).sum()),
            findings: Vec::new(),
            average: all.average(all, duration),
        };
        for (key, device, queues) in counted {
            self.report_device(&mut report, key, device.device.as_ref(), &queues, all);
        }
        report
    }

    fn report_device(
        &self,
        report: &mut Report,
        key: DeviceKey,
        device: Option<&Device>,
        queues: &[Counted<'_>],
        all: Both,
    ) {
        let (mut grown, mut whole) = (Both::default(), Both::default());
        for queue in queues {
            grown.add(queue.grown);
            whole.add(queue.whole);
        }
        let duration = self.duration();
        let rate = |totals: Option<Totals>| totals?.over(self.interval?);
        if let Some(device) = device {
            report.devices.push(DeviceReport {
                tx_rate: rate(grown.tx),
                rx_rate: rate(grown.rx),
                average: whole.average(all, duration),
                ..device_report(device)
            });
        }
        let name = device.map_or_else(|| format!("if{}", key.ifindex.0), |device| device.name.clone());
        let mut quiet = Arc::default();
        report.queues.extend(queues.iter().map(|counted| QueueReport {
            device: name.clone(),
            ifindex: key.ifindex.0,
            netns: key.netns.0,
            generation: key.generation,
            queue: counted.pair.0,
            worker: None,
            tx: counted.queue.tx.tx_report(counted.tx),
            rx: counted.queue.rx.rx_report(counted.rx),
            interrupts: None,
            tx_rate: rate(counted.grown.tx),
            rx_rate: rate(counted.grown.rx),
            average: counted.whole.average(whole, duration),
            share: self.interval.and_then(|_| counted.grown.share_of(grown)),
            history: if counted.tx.packets || counted.rx.packets {
                counted.queue.history(&mut quiet)
            } else {
                [].into()
            },
        }));
    }

    fn counted<'a>(&self, device: &'a DeviceState) -> Vec<Counted<'a>> {
        // Before the first sample nothing is known to have been counted, not even nothing.
        let coverage = self.at.map(|_| &self.coverage);
        let facts = device.device.as_ref();
        let counted = |(pair, queue): (&QueuePair, &'a Queue)| {
            let tx = known(coverage, facts, Direction::Tx, &queue.tx);
            let rx = known(coverage, facts, Direction::Rx, &queue.rx);
            Counted {
                pair: *pair,
                queue,
                tx,
                rx,
                grown: Both { tx: queue.tx.grown(tx), rx: queue.rx.grown(rx) },
                whole: Both { tx: queue.tx.whole(tx), rx: queue.rx.whole(rx) },
            }
        };
        device.queues.iter().map(counted).collect()
    }

    fn duration(&self) -> Nanos {
        self.at.max(self.end).unwrap_or_default()
    }

    fn probes(&self) -> &[Probe] {
        self.source.as_ref().map_or(&[], |source| &source.probes)
    }

    fn source_report(&self, duration: Nanos) -> SourceReport {
        let source = self.source.as_ref();
        SourceReport {
            kind: source.map(|source| source.kind),
            host: source.map(|source| source.host.clone()),
            kernel: source.map(|source| source.kernel.clone()),
            started: source.map(|source| source.started.clone()),
            duration_s: duration.seconds(),
            complete: self.end.is_some(),
        }
    }
}

/// A count is known when it is not 0, or when a 0 is one: the probe is there and misses nothing of this device.
fn known(
    coverage: Option<&Coverage>,
    device: Option<&Device>,
    direction: Direction,
    side: &Side,
) -> KnownCounts {
    let covered = |what| match (coverage, device) {
        (Some(coverage), Some(device)) => {
            device.uncovered.is_empty() && coverage.covers(device.kind, direction, what)
        }
        _ => false,
    };
    let counted = side.counted();
    KnownCounts {
        packets: counted.packets || covered(What::Packets),
        drops: counted.drops || covered(What::Drops),
    }
}

fn probe_report(probe: &Probe) -> ProbeReport {
    ProbeReport {
        signal: probe.signal.clone(),
        via: probe.via.clone(),
        state: probe.state,
        reason: probe.reason.clone(),
        runs: probe.runs,
        run_seconds: probe.run_ns.map(|ns| Nanos(ns).seconds()),
    }
}

/// The facts of a device; what is not observed yet is not known.
fn device_report(device: &Device) -> DeviceReport {
    DeviceReport {
        name: device.name.clone(),
        ifindex: device.key.ifindex.0,
        netns: device.key.netns.0,
        generation: device.key.generation,
        kind: device.kind.to_string(),
        present: device.present,
        vhost: None,
        vm_pid: device.owner.as_ref().map(|owner| owner.pid),
        queues_max: device.queues_max,
        queues_enabled: device.queues_enabled,
        queues_disabled: device.queues_disabled,
        zerocopy: None,
        residuals: BTreeMap::new(),
        uncovered: device.uncovered.clone(),
        ..DeviceReport::default()
    }
}
