//! A host that does the same every second.

use std::collections::BTreeMap;

use serde::Deserialize;
use vnet::{
    advisor::{Advisor, limits::Thresholds},
    record::{Copies, Flow, Nanos, QueueCounts, Record, Ring, RunEnds, Sample, Worker},
    report::{Distance, InterruptReport, Report, VcpuReport, VcpuStateReport, VmReport},
    state::State,
    topology::QueueKey,
};

use crate::records::{self, queue_key};

/// Everything that can be measured, unless a world says otherwise.
const SOURCE: &str = "tap.tx tap.rx tap.tx.drops tap.rx.drops vhost.tx vhost.rx vhost.copies vhost.kicks vhost.calls vhost.runs vhost.worker virtio_net.tx virtio_net.rx";

/// What a host is and does in each second; what is `None` is as in the world that it is laid over.
#[derive(Clone, Default, Deserialize)]
pub(super) struct World {
    /// Signals, as in a record.
    source: Option<String>,
    /// Devices, as in a record.
    topology: Option<String>,
    /// What is counted in a second, as in a sample.
    second: Option<String>,
    /// `PID NAME VCPU@CPU/NODE …`
    vms: Option<Vec<String>>,
    /// Which of these keys are not known here, whatever the world below says.
    unknown: Option<Vec<String>>,
    /// `QUEUE DIRECTION vcpu=0 vector=40 level=llc count=100 blocked=50 …`, in a second.
    interrupts: Option<Vec<String>>,
}

impl World {
    /// This one, laid over another.
    pub(super) fn or(&self, below: &Self) -> Self {
        let Self { source, topology, second, vms, unknown, interrupts } = self.clone();
        let known = |key: &str| unknown.iter().flatten().all(|unknown| unknown != key);
        Self {
            source: source.or_else(|| below.source.clone()),
            topology: topology.or_else(|| below.topology.clone()),
            second: second.or_else(|| below.second.clone()),
            vms: vms.or_else(|| below.vms.clone()).filter(|_| known("vms")),
            interrupts: interrupts.or_else(|| below.interrupts.clone()).filter(|_| known("interrupts")),
            unknown: None,
        }
    }

    /// The same one when nothing happens.
    pub(super) fn quiet(&self) -> Self {
        let second = self.second.iter().flat_map(|second| second.split(';'));
        // Workers stay where they are, and do nothing.
        let kept =
            second.map(str::trim).filter(|part| part.split(' ').nth(1) == Some("worker")).map(|part| {
                let still = |word: &&str| {
                    !["run", "wait", "migrations", "polling"]
                        .iter()
                        .any(|name| word.starts_with(&format!("{name}=")))
                };
                part.split(' ').filter(still).chain(["run=0s"]).collect::<Vec<_>>().join(" ")
            });
        let second = kept.collect::<Vec<_>>().join("; ");
        let interrupts = self.interrupts.as_ref().map(|_| Vec::new());
        Self { second: Some(second), interrupts, ..self.clone() }
    }
}

/// A host that goes on from one world to the next.
pub(super) struct Host {
    state: State,
    advisor: Advisor,
    seconds: u64,
    queues: BTreeMap<QueueKey, QueueCounts>,
    workers: BTreeMap<QueueKey, Worker>,
    interrupts: BTreeMap<QueueKey, Vec<InterruptReport>>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new(Thresholds::default())
    }
}

impl Host {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            state: State::default(),
            advisor: Advisor::new(thresholds),
            seconds: 0,
            queues: BTreeMap::new(),
            workers: BTreeMap::new(),
            interrupts: BTreeMap::new(),
        }
    }

    /// Lives on in this world, and says what is known then.
    pub(super) fn run(&mut self, world: &World, seconds: u32) -> Report {
        let parse =
            |line: String| records::parse(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.state.apply(&parse(format!("source {}", world.source.as_deref().unwrap_or(SOURCE))));
        self.state.apply(&parse(format!("topology; {}", world.topology.as_deref().expect("a topology"))));
        let second = world.second.as_deref().filter(|second| !second.is_empty());
        let Record::Sample(second) =
            parse(second.map_or("sample 1s".into(), |second| format!("sample 1s; {second}")))
        else {
            unreachable!()
        };
        let calls: Vec<_> = world.interrupts.iter().flatten().map(|line| interrupt(line)).collect();
        if self.seconds == 0 {
            // Its workers are there, and have done nothing yet.
            let zero = |count: Option<u64>| count.map(|_| 0);
            let still = second.workers.iter().map(|worker| Worker {
                run_ns: zero(worker.run_ns),
                wait_ns: zero(worker.wait_ns),
                migrations: zero(worker.migrations),
                busy_poll_ns: zero(worker.busy_poll_ns),
                ..worker.clone()
            });
            self.state.apply(&Record::Sample(Sample { workers: still.collect(), ..Sample::default() }));
            self.look(world);
        }
        for _ in 0..seconds {
            self.seconds += 1;
            self.count(&second, &calls);
            self.look(world);
        }
        self.report(world)
    }

    fn count(&mut self, second: &Sample, calls: &[(QueueKey, InterruptReport)]) {
        for (key, counts) in &second.queues {
            add_counts(self.queues.entry(*key).or_default(), counts);
        }
        for worker in &second.workers {
            let old = self.workers.get(&worker.queue).filter(|old| old.tid == worker.tid).cloned();
            let mut new = worker.clone();
            if let Some(old) = old {
                add(&mut new.run_ns, old.run_ns);
                add(&mut new.wait_ns, old.wait_ns);
                add(&mut new.migrations, old.migrations);
                add(&mut new.busy_poll_ns, old.busy_poll_ns);
            }
            self.workers.insert(worker.queue, new);
        }
        for (key, row) in calls {
            let rows = self.interrupts.entry(*key).or_default();
            let same = |old: &&mut InterruptReport| {
                (&old.direction, old.vcpu, old.vector, old.level)
                    == (&row.direction, row.vcpu, row.vector, row.level)
            };
            match rows.iter_mut().find(same) {
                Some(old) => {
                    old.count += row.count;
                    if let (Some(old), Some(new)) = (&mut old.vcpu_state, row.vcpu_state) {
                        old.in_guest += new.in_guest;
                        old.blocked += new.blocked;
                        old.preempted += new.preempted;
                        old.root += new.root;
                    }
                }
                None => rows.push(row.clone()),
            }
        }
        self.state.apply(&Record::Sample(Sample {
            at: Nanos(self.seconds * 1_000_000_000),
            queues: self.queues.iter().map(|(key, counts)| (*key, counts.clone())).collect(),
            workers: self.workers.values().cloned().collect(),
            ..Sample::default()
        }));
    }

    fn look(&mut self, world: &World) {
        let report = self.report(world);
        self.advisor.observe(Nanos(self.seconds * 1_000_000_000), &report);
    }

    /// What the state says, with VMs and interrupts, which records do not have yet.
    fn report(&mut self, world: &World) -> Report {
        let mut report = self.state.report();
        report.vms = world.vms.iter().flatten().map(|line| vm(line)).collect();
        for queue in &mut report.queues {
            let key = QueueKey { device: queue.device_key(), queue: vnet::topology::QueuePair(queue.queue) };
            queue.interrupts =
                world.interrupts.as_ref().map(|_| self.interrupts.get(&key).cloned().unwrap_or_default());
        }
        report.findings = self.advisor.findings().to_vec();
        report.unsure = self.advisor.unsure().to_vec();
        report
    }
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum.get_or_insert(0) += more;
    }
}

fn add_counts(sum: &mut QueueCounts, more: &QueueCounts) {
    for (sum, more) in [(&mut sum.tx, &more.tx), (&mut sum.rx, &more.rx)] {
        if let Some(more) = more {
            add_flow(sum.get_or_insert_default(), more);
        }
    }
    if let Some(more) = &more.vhost {
        let sum = sum.vhost.get_or_insert_default();
        if let Some(more) = &more.copies {
            add_copies(sum.copies.get_or_insert_default(), more);
        }
        add_ring(&mut sum.tx, &more.tx);
        add_ring(&mut sum.rx, &more.rx);
        add(&mut sum.rx_copied_bytes, more.rx_copied_bytes);
    }
}

fn add_flow(sum: &mut Flow, more: &Flow) {
    sum.add_packets(more);
    for (reason, n) in &more.drops {
        *sum.drops.entry(reason.clone()).or_default() += n;
    }
    add(&mut sum.stack_drops, more.stack_drops);
}

fn add_copies(sum: &mut Copies, more: &Copies) {
    sum.batched += more.batched;
    sum.single += more.single;
    sum.zerocopy += more.zerocopy;
    sum.zerocopy_rejected += more.zerocopy_rejected;
    sum.zerocopy_late += more.zerocopy_late;
    sum.bytes += more.bytes;
    sum.batches += more.batches;
    sum.why.module_off += more.why.module_off;
    sum.why.short += more.why.short;
    sum.why.pending += more.why.pending;
    sum.why.backoff += more.why.backoff;
}

fn add_ring(sum: &mut Ring, more: &Ring) {
    add(&mut sum.used, more.used);
    add(&mut sum.kicks, more.kicks);
    add(&mut sum.calls, more.calls);
    add(&mut sum.calls_suppressed, more.calls_suppressed);
    if let Some(RunEnds { empty, weight, busy_poll, no_buffers }) = more.runs {
        let sum = sum.runs.get_or_insert_default();
        sum.empty += empty;
        sum.weight += weight;
        sum.busy_poll += busy_poll;
        sum.no_buffers += no_buffers;
    }
}

/// `4711 web 0@2/0 1@3/1`
fn vm(line: &str) -> VmReport {
    let mut words = line.split_whitespace();
    let pid: u32 = words.next().and_then(|pid| pid.parse().ok()).expect(line);
    let name = words.next().filter(|name| *name != "-").map(str::to_owned);
    let vcpu = |word: &str| {
        let (id, place) = word.split_once('@').expect(line);
        let (cpu, node) = place.split_once('/').expect(line);
        let id: u32 = id.parse().expect(line);
        VcpuReport { id, tid: pid + 1 + id, cpu: cpu.parse().ok(), node: node.parse().ok() }
    };
    VmReport { pid, name, vcpus: Some(words.map(vcpu).collect()), ..VmReport::default() }
}

/// `1/7#0 rx vcpu=0 vector=40 level=llc count=100 blocked=50`
fn interrupt(line: &str) -> (QueueKey, InterruptReport) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [key, direction, rest @ ..] = &words[..] else { panic!("{line:?} is no interrupt") };
    let mut row = InterruptReport { direction: (*direction).into(), ..InterruptReport::default() };
    let mut state = VcpuStateReport::default();
    for word in rest {
        let (name, value) = word.split_once('=').expect(line);
        let number = || value.parse::<u64>().expect(line);
        match name {
            "vcpu" => row.vcpu = value.parse().ok(),
            "vector" => row.vector = value.parse().ok(),
            "count" => row.count = number(),
            "blocked" => state.blocked = number(),
            "preempted" => state.preempted = number(),
            "root" => state.root = number(),
            "level" => {
                let levels = [
                    ("same_cpu", Distance::SameCpu),
                    ("smt", Distance::Smt),
                    ("llc", Distance::Llc),
                    ("node", Distance::Node),
                    ("remote", Distance::Remote),
                ];
                row.level = levels.iter().find(|(name, _)| *name == value).map(|(_, level)| *level);
            }
            other => panic!("{other:?} is nothing of an interrupt"),
        }
    }
    state.in_guest = row.count.saturating_sub(state.blocked + state.preempted + state.root);
    row.vcpu_state = Some(state);
    (queue_key(key).expect(line), row)
}
