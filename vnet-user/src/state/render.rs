//! The report of a state.

use std::sync::Arc;

use super::{
    DeviceState, State,
    coverage::{Direction, What},
    queue::{KnownCounts, Queue, Side, Totals},
    vhost::Served,
};
use crate::{
    record::{Copies, Nanos, Probe},
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
    copies: Option<Box<Copies>>,
    grown: Both,
    whole: Both,
}

impl State {
    /// What is known now.
    pub fn report(&mut self) -> Report {
        let mut report = self.judge().unwrap_or_else(|| self.measured());
        report.findings = self.advisor.findings().to_vec();
        report.unsure = self.advisor.unsure().to_vec();
        report
    }

    /// What is known now, without judging it.
    pub(super) fn measured(&self) -> Report {
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
            vms: self.host.vms(),
            devices: Vec::with_capacity(counted.len()),
            queues: Vec::with_capacity(counted.iter().map(|(_, _, queues)| queues.len()).sum()),
            invisible: self.invisible.iter().map(Into::into).collect(),
            findings: Vec::new(),
            unsure: Vec::new(),
            average: all.average(all, duration),
        };
        for (key, device, queues) in counted {
            self.report_device(&mut report, key, device, &queues, all);
        }
        report
    }

    fn report_device(
        &self,
        report: &mut Report,
        key: DeviceKey,
        state: &DeviceState,
        queues: &[Counted<'_>],
        all: Both,
    ) {
        let device = state.device.as_ref();
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
                residuals: state.residuals.clone(),
                ..device_report(device)
            });
        }
        let name: Arc<str> = device
            .map_or_else(|| format!("if{}", key.ifindex.0).into(), |device| device.name.as_str().into());
        let mut quiet = Arc::default();
        let covers = |direction, what| self.covers(device, direction, what);
        let nothing = Served::default();
        report.queues.extend(queues.iter().map(|counted| {
            let vhost = counted.queue.vhost.as_deref().unwrap_or(&nothing);
            let mut tx = counted.queue.tx.tx_report(counted.tx);
            vhost.tx_report(&mut tx, counted.copies.as_deref(), covers);
            let mut rx = counted.queue.rx.rx_report(counted.rx);
            vhost.rx_report(&mut rx, covers);
            let observed = covers(Direction::Tx, What::Interrupts) || !counted.queue.ways.is_empty();
            let kicks = covers(Direction::Tx, What::Kicks) || !counted.queue.ways.is_empty();
            QueueReport {
                device: Arc::clone(&name),
                ifindex: key.ifindex.0,
                netns: key.netns.0,
                generation: key.generation,
                queue: counted.pair.0,
                worker: vhost.worker(self.interval, duration).map(Box::new),
                tx,
                rx,
                interrupts: observed.then(|| vhost.interrupts(&counted.queue.ways, &self.host)),
                kickers: kicks.then(|| counted.queue.ways.kickers()),
                private: counted.queue.ways.private(),
                tx_rate: rate(counted.grown.tx),
                rx_rate: rate(counted.grown.rx),
                average: counted.whole.average(whole, duration),
                share: self.interval.and_then(|_| counted.grown.share_of(grown)),
                history: if counted.tx.packets || counted.rx.packets {
                    counted.queue.history(&mut quiet)
                } else {
                    [].into()
                },
            }
        }));
    }

    fn counted<'a>(&self, device: &'a DeviceState) -> Vec<Counted<'a>> {
        let facts = device.device.as_ref();
        let nothing = Served::default();
        let counted = |(pair, queue): (&QueuePair, &'a Queue)| {
            let vhost = queue.vhost.as_deref().unwrap_or(&nothing);
            let covered = self.covers(facts, Direction::Tx, What::Copies);
            let copies = vhost.copies(queue.tx.counts(), covered).map(Box::new);
            let mut tx = self.known(facts, Direction::Tx, &queue.tx);
            tx.packets |= copies.is_some();
            let rx = self.known(facts, Direction::Rx, &queue.rx);
            Counted {
                pair: *pair,
                queue,
                tx,
                rx,
                copies,
                grown: Both { tx: queue.tx.grown(tx), rx: queue.rx.grown(rx) },
                whole: Both { tx: queue.tx.whole(tx), rx: queue.rx.whole(rx) },
            }
        };
        device.queues.iter().map(counted).collect()
    }

    /// Whether a 0 of this is a count: the probe is there and misses nothing of this device.
    fn covers(&self, device: Option<&Device>, direction: Direction, what: What) -> bool {
        // Before the first sample nothing is known to have been counted, not even nothing.
        let covers = |device| self.coverage.covers(device, direction, what);
        self.at.is_some() && device.is_some_and(covers)
    }

    /// A count is known when it is not 0, or when a 0 is one.
    fn known(&self, device: Option<&Device>, direction: Direction, side: &Side) -> KnownCounts {
        let counted = side.counted();
        let covers = |what| self.covers(device, direction, what);
        KnownCounts {
            packets: counted.packets || covers(What::Packets),
            drops: counted.drops || covers(What::Drops),
        }
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

/// The facts of a device.
fn device_report(device: &Device) -> DeviceReport {
    DeviceReport {
        name: device.name.clone(),
        ifindex: device.key.ifindex.0,
        netns: device.key.netns.0,
        generation: device.key.generation,
        kind: device.kind.to_string(),
        present: device.present,
        vhost: device.vhost,
        vm_pid: device.owner.as_ref().map(|owner| owner.pid),
        queues_max: device.queues_max,
        queues_enabled: device.queues_enabled,
        queues_disabled: device.queues_disabled,
        zerocopy: device.zerocopy,
        uncovered: device.uncovered.clone(),
        ..DeviceReport::default()
    }
}
