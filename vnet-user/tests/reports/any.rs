//! Any records there can be, and some that only a sound source makes.

mod host;

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use vnet::{
    record::{
        Copies, Flow, Known, Lost, Nanos, Probe, QueueCounts, Record, Ring, RunEnds, Sample, Source,
        SourceKind, Vhost, WhyCopied, Worker,
    },
    topology::{Device, DeviceKey, DeviceKind, IfIndex, Netns, Owner, QueueKey, QueuePair, Topology},
};

/// Few values each, so that streams meet the same device, queue and instant again.
fn device_key() -> impl Strategy<Value = DeviceKey> {
    (1..3u64, 1..3u32, 0..2u32).prop_map(|(netns, ifindex, generation)| DeviceKey {
        netns: Netns(netns),
        ifindex: IfIndex(ifindex),
        generation,
    })
}

/// Mostly small, sometimes what only a broken recording holds.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..1000u64, 1 => any::<u64>()]
}

fn flow() -> impl Strategy<Value = Flow> {
    let drops = prop::collection::btree_map(
        select(vec!["FULL_RING", "TAP_FILTER"]).prop_map(Arc::from),
        count(),
        0..3,
    );
    (count(), count(), prop::array::uniform8(count()), drops, option::of(count())).prop_map(
        |(bytes, segments, sizes, drops, stack_drops)| Flow { bytes, segments, sizes, drops, stack_drops },
    )
}

fn queue_key() -> impl Strategy<Value = QueueKey> {
    (device_key(), 0..3u16).prop_map(|(device, queue)| QueueKey { device, queue: QueuePair(queue) })
}

fn copies() -> impl Strategy<Value = Copies> {
    let why = prop::array::uniform4(count()).prop_map(|[module_off, short, pending, backoff]| WhyCopied {
        module_off,
        short,
        pending,
        backoff,
    });
    (prop::array::uniform8(count()), prop::array::uniform7(count()), why).prop_map(
        |([batched, single, zerocopy, rejected, late, in_flight, bytes, batches], batch_sizes, why)| Copies {
            batched,
            single,
            zerocopy,
            zerocopy_rejected: rejected,
            zerocopy_late: late,
            in_flight,
            bytes,
            batches,
            batch_sizes,
            why,
        },
    )
}

fn known() -> BoxedStrategy<Option<u64>> {
    option::of(count()).boxed()
}

fn ring() -> impl Strategy<Value = Ring> {
    let runs =
        option::of(prop::array::uniform4(count()).prop_map(|[empty, weight, busy_poll, no_buffers]| {
            RunEnds { empty, weight, busy_poll, no_buffers }
        }));
    (known(), known(), known(), known(), known(), runs).prop_map(
        |(used, kicks, calls, calls_suppressed, woken, runs)| Ring {
            used,
            kicks,
            calls,
            calls_suppressed,
            woken,
            runs,
        },
    )
}

fn vhost() -> impl Strategy<Value = Vhost> {
    (option::of(copies()), ring().boxed(), ring().boxed(), known())
        .prop_map(|(copies, tx, rx, rx_copied_bytes)| Vhost { copies, tx, rx, rx_copied_bytes })
}

/// Packets that a ledger accounts for, all of one size.
fn accounted(copies: &Copies) -> Flow {
    let Copies { batched, single, zerocopy, zerocopy_rejected, zerocopy_late, in_flight, .. } = *copies;
    let parts = [batched, single, zerocopy, zerocopy_rejected, zerocopy_late, in_flight];
    let packets = parts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    let mut flow = Flow { segments: packets, ..Flow::default() };
    flow.sizes[0] = packets;
    flow
}

fn counts() -> impl Strategy<Value = QueueCounts> {
    (option::of(flow()), option::of(flow()), option::of(vhost().boxed()), any::<bool>()).prop_map(
        |(mut tx, rx, vhost, sound)| {
            if let Some(copies) = vhost.as_ref().and_then(|vhost| vhost.copies.as_ref()).filter(|_| sound) {
                tx = Some(accounted(copies));
            }
            QueueCounts { tx, rx, vhost }
        },
    )
}

fn worker() -> impl Strategy<Value = (QueueKey, Worker)> {
    let times = (known(), known(), known(), known());
    (queue_key(), 1..3u32, 1..3u32, ".{0,3}", option::of(0..4u32), times).prop_map(
        |(queue, tid, tgid, comm, cpu, (run_ns, wait_ns, migrations, busy_poll_ns))| {
            let node = cpu.map(|cpu| cpu / 2);
            (queue, Worker { queue, tid, tgid, comm, cpu, node, run_ns, wait_ns, migrations, busy_poll_ns })
        },
    )
}

fn sample() -> impl Strategy<Value = Sample> {
    let residuals = prop::collection::btree_map("[a-c]", any::<i64>(), 0..3);
    (
        prop_oneof![9 => 0..5_000_000_000u64, 1 => any::<u64>()],
        prop::collection::btree_map(queue_key(), counts().boxed(), 0..6),
        vec(worker().boxed(), 0..4),
        prop::collection::btree_set(queue_key(), 0..2),
        prop::collection::btree_map(device_key(), residuals, 0..3),
        prop::collection::btree_map(queue_key(), host::paths().boxed(), 0..3),
        host::places(),
    )
        .prop_map(|(at, queues, workers, ended, residuals, paths, vcpus)| Sample {
            at: Nanos(at),
            queues: queues.into_iter().collect(),
            workers: workers.into_iter().collect::<BTreeMap<_, _>>().into_values().collect(),
            ended: ended.into_iter().collect(),
            residuals: residuals.into_iter().collect(),
            paths: paths.into_iter().collect(),
            vcpus,
        })
}

/// What happens to packets of a queue between two samples: how many are copied, start without a copy, and how many of
/// those end in each way.
type Step = ([u64; 2], u64, [u64; 3]);

/// Samples of one queue by a source that keeps its promises, with the ledger that each must lead to.
pub(crate) fn settled() -> impl Strategy<Value = Vec<(Sample, Copies)>> {
    let step = (prop::array::uniform2(0..50u64), 0..50u64, prop::array::uniform3(0..40u64));
    vec(step, 1..20).prop_map(|steps: Vec<Step>| {
        let mut copies = Copies::default();
        let device = DeviceKey { netns: Netns(1), ifindex: IfIndex(1), generation: 0 };
        (1..)
            .zip(steps)
            .map(|(at, ([batched, single], started, ended))| {
                copies.batched += batched;
                copies.single += single;
                copies.in_flight += started;
                for (place, ended) in
                    [&mut copies.zerocopy, &mut copies.zerocopy_rejected, &mut copies.zerocopy_late]
                        .into_iter()
                        .zip(ended)
                {
                    let ended = ended.min(copies.in_flight);
                    copies.in_flight -= ended;
                    *place += ended;
                }
                let vhost = Some(Vhost { copies: Some(copies), ..Vhost::default() });
                let counts = QueueCounts { tx: Some(accounted(&copies)), rx: None, vhost };
                let queues = vec![(QueueKey { device, queue: QueuePair(0) }, counts)];
                (Sample { at: Nanos(at), queues, ..Sample::default() }, copies)
            })
            .collect()
    })
}

fn topology() -> impl Strategy<Value = Topology> {
    let kind = select(vec![DeviceKind::Tap, DeviceKind::Tun, DeviceKind::Macvtap, DeviceKind::VirtioNet]);
    let vhost = (any::<Option<bool>>(), any::<Option<bool>>());
    let device =
        ("\\PC{0,5}", kind, any::<bool>(), option::of(0..4u32), option::of(".{0,6}"), option::of("."), vhost);
    let devices = prop::collection::btree_map(device_key(), device, 0..5);
    (devices, host::vms().boxed(), host::cpus().boxed()).prop_map(|(devices, vms, cpus)| Topology {
        vms,
        cpus,
        devices: devices
            .into_iter()
            .map(|(key, (name, kind, present, pairs, comm, uncovered, (vhost, zerocopy)))| Device {
                key,
                name,
                kind,
                present,
                queues_max: pairs,
                queues_enabled: pairs,
                queues_disabled: None,
                owner: comm.map(|comm| Owner { pid: 1, start: 2, comm }),
                uncovered: uncovered.into_iter().collect(),
                vhost,
                zerocopy,
            })
            .collect(),
        invisible: Vec::new(),
    })
}

fn source() -> impl Strategy<Value = Source> {
    let mut names =
        vec!["tap.tx", "tap.rx", "tap.tx.drops", "tap.rx.drops", "virtio_net.tx", "macvtap", "other"];
    names.extend(["vhost.tx", "vhost.rx", "vhost.copies", "vhost.kicks", "vhost.calls", "vhost.runs"]);
    let state = select(vec![Known::Exact, Known::Derived, Known::Unavailable]);
    let probe = (select(names), state, option::of(any::<u64>())).prop_map(|(signal, state, run_ns)| Probe {
        signal: signal.into(),
        via: "x".into(),
        state,
        reason: None,
        runs: run_ns,
        run_ns,
    });
    (vec(probe, 0..6), ".{0,6}").prop_map(|(probes, host)| Source {
        kind: SourceKind::Trace,
        host,
        kernel: "k".into(),
        started: "s".into(),
        probes,
    })
}

/// Any record.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        1 => source().prop_map(Record::Source),
        2 => topology().prop_map(Record::Topology),
        6 => sample().prop_map(Record::Sample),
        1 => (count(), count()).prop_map(|(events, records)| Record::Lost(Lost { events, records })),
        1 => any::<u64>().prop_map(|at| Record::End(Nanos(at))),
    ]
}
