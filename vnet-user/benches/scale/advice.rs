//! What advice costs: 400 guests with 8 queues each, all busy, in order or with everything wrong.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use vnet::{
    advisor::Advisor,
    record::{Copies, Flow, Nanos, QueueCounts, Record, Ring, RunEnds, Sample, Vhost, Worker},
    state::State,
    topology::{Device, DeviceKey, DeviceKind, IfIndex, Netns, Owner, QueueKey, QueuePair, Topology},
};

use crate::table::{Figure, Table, Unit};

const DEVICES: u32 = 400;
const QUEUES: u16 = 8;
/// Seconds of data; findings are there after five.
const SECONDS: u64 = 20;

/// Per second of data: the look itself, and with the report that it looks at.
pub(crate) fn advice(table: &mut Table) {
    for (name, wrong) in
        [("advice, 3200 queues in order", false), ("advice, 3200 queues, all with findings", true)]
    {
        let mut look = Figure::new(name, Unit::Millis).limit(20.0);
        let mut whole = Figure::new("  with the report that it looks at", Unit::Millis);
        let mut state = State::default();
        state.apply(&topology(wrong));
        let mut advisor = Advisor::default();
        for second in 0..SECONDS {
            state.apply(&Record::Sample(sample(second, wrong)));
            let began = cpu();
            let report = state.report();
            let reported = cpu();
            advisor.observe(Nanos(second * 1_000_000_000), &report);
            if second > 5 {
                look.add(cpu() - reported);
                whole.add(cpu() - began);
            }
        }
        assert_eq!(advisor.findings().is_empty(), !wrong, "{:?}", advisor.findings().first());
        table.print([look, whole]);
    }
}

/// CPU time of this thread in milliseconds: others on the machine do not count.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn device(i: u32) -> DeviceKey {
    DeviceKey { netns: Netns(4_026_531_840), ifindex: IfIndex(i + 1), generation: 0 }
}

fn topology(wrong: bool) -> Record {
    let device = |i: u32| Device {
        key: device(i),
        name: format!("vnet{i}"),
        kind: DeviceKind::Tap,
        present: true,
        queues_max: Some(256),
        queues_enabled: Some(QUEUES.into()),
        queues_disabled: Some(if wrong { 8 } else { 0 }),
        owner: Some(Owner { pid: 1000 + i, start: 1, comm: "qemu".into() }),
        uncovered: Vec::new(),
        vhost: Some(true),
        zerocopy: Some(false),
    };
    Record::Topology(Topology { devices: (0..DEVICES).map(device).collect(), ..Topology::default() })
}

fn sample(second: u64, wrong: bool) -> Sample {
    let mut sample = Sample { at: Nanos(second * 1_000_000_000), ..Sample::default() };
    for i in 0..DEVICES {
        for pair in 0..QUEUES {
            let key = QueueKey { device: device(i), queue: QueuePair(pair) };
            sample.queues.push((key, counts(second, wrong)));
            sample.workers.push(worker(key, i * u32::from(QUEUES) + u32::from(pair), second, wrong));
        }
    }
    sample
}

fn counts(second: u64, wrong: bool) -> QueueCounts {
    let packets = second * 10_000;
    let mut flow = Flow { bytes: packets * 1500, segments: packets, ..Flow::default() };
    flow.sizes[5] = packets;
    let mut rx = flow.clone();
    let bad = if wrong { packets / 2 } else { 0 };
    rx.drops.insert(Arc::from("FULL_RING"), bad);
    let runs = RunEnds { empty: packets / 10, weight: bad, busy_poll: 0, no_buffers: bad };
    let ring = Ring {
        used: Some(packets),
        kicks: Some(packets / 100),
        calls: Some(packets / 100),
        calls_suppressed: Some(0),
        runs: Some(runs),
        woken: None,
    };
    let mut copies = Copies { batched: packets, batches: packets / 10, ..Copies::default() };
    copies.why.module_off = packets;
    let vhost = Vhost { copies: Some(copies), tx: ring, rx: ring, rx_copied_bytes: Some(packets * 1500) };
    QueueCounts { tx: Some(flow), rx: Some(rx), vhost: Some(vhost) }
}

fn worker(queue: QueueKey, n: u32, second: u64, wrong: bool) -> Worker {
    let share = if wrong { 900_000_000 } else { 200_000_000 };
    Worker {
        queue,
        tid: 100_000 + n,
        tgid: 100_000 + n,
        comm: "vhost".into(),
        // Nobody shares a CPU where all is in order.
        cpu: Some(if wrong { n % 64 } else { n }),
        node: Some(0),
        run_ns: Some(second * share),
        wait_ns: Some(if wrong { second * 500_000_000 } else { 0 }),
        migrations: Some(if wrong { second * 500 } else { 0 }),
        busy_poll_ns: None,
    }
}
