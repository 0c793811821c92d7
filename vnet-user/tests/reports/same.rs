//! The same records give the same report byte for byte, whatever the stream.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use vnet::{
    record::{Flow, Known, Lost, Nanos, Probe, QueueCounts, Record, Sample, Source, SourceKind},
    report::{Rate, Report},
    state::State,
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

fn sample() -> impl Strategy<Value = Sample> {
    let counts =
        (option::of(flow()), option::of(flow())).prop_map(|(tx, rx)| QueueCounts { tx, rx, vhost: None });
    let key =
        (device_key(), 0..3u16).prop_map(|(device, queue)| QueueKey { device, queue: QueuePair(queue) });
    (prop_oneof![9 => 0..5_000_000_000u64, 1 => any::<u64>()], prop::collection::btree_map(key, counts, 0..6))
        .prop_map(|(at, queues)| Sample {
            at: Nanos(at),
            queues: queues.into_iter().collect(),
            ..Sample::default()
        })
}

fn topology() -> impl Strategy<Value = Topology> {
    let kind = select(vec![DeviceKind::Tap, DeviceKind::Tun, DeviceKind::Macvtap, DeviceKind::VirtioNet]);
    let device =
        ("\\PC{0,5}", kind, any::<bool>(), option::of(0..4u32), option::of(".{0,6}"), option::of("."));
    prop::collection::btree_map(device_key(), device, 0..5).prop_map(|devices| Topology {
        devices: devices
            .into_iter()
            .map(|(key, (name, kind, present, pairs, comm, uncovered))| Device {
                key,
                name,
                kind,
                present,
                queues_max: pairs,
                queues_enabled: pairs,
                queues_disabled: None,
                owner: comm.map(|comm| Owner { pid: 1, start: 2, comm }),
                uncovered: uncovered.into_iter().collect(),
                vhost: None,
                zerocopy: None,
            })
            .collect(),
    })
}

fn source() -> impl Strategy<Value = Source> {
    let names = vec!["tap.tx", "tap.rx", "tap.tx.drops", "tap.rx.drops", "virtio_net.tx", "macvtap", "other"];
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

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        1 => source().prop_map(Record::Source),
        2 => topology().prop_map(Record::Topology),
        6 => sample().prop_map(Record::Sample),
        1 => (count(), count()).prop_map(|(events, records)| Record::Lost(Lost { events, records })),
        1 => any::<u64>().prop_map(|at| Record::End(Nanos(at))),
    ]
}

fn fold(records: &[Record]) -> State {
    let mut state = State::default();
    for record in records {
        state.apply(record);
    }
    state
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report is JSON")
}

/// Every rate of a report.
fn rates(report: &Report) -> impl Iterator<Item = Rate> {
    let queues = report.queues.iter().flat_map(|q| [q.tx_rate, q.rx_rate, q.average.tx, q.average.rx]);
    let devices = report.devices.iter().flat_map(|d| [d.tx_rate, d.rx_rate, d.average.tx, d.average.rx]);
    queues.chain(devices).chain([report.average.tx, report.average.rx]).flatten()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn same_records_same_report(records in vec(record(), 0..20), cut in 0..20usize) {
        let whole = fold(&records);
        // Reports on the way, and going on from a copy, change nothing.
        let (head, tail) = records.split_at(cut.min(records.len()));
        let half = fold(head);
        let _ = half.report();
        let mut copy = half.clone();
        for record in tail {
            copy.apply(record);
        }
        prop_assert_eq!(json(&whole.report()), json(&copy.report()));
        prop_assert_eq!(whole.report(), copy.report());
    }

    #[test]
    fn records_survive_serialisation(records in vec(record(), 0..20)) {
        let text = serde_json::to_string(&records).unwrap();
        let back: Vec<Record> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&back, &records);
        prop_assert_eq!(fold(&back).report(), fold(&records).report());
    }

    #[test]
    fn order_within_a_record_does_not_matter(records in vec(record(), 0..20)) {
        let mut turned = records.clone();
        for record in &mut turned {
            match record {
                Record::Topology(topology) => topology.devices.reverse(),
                Record::Sample(sample) => sample.queues.reverse(),
                Record::Source(source) => source.probes.sort_by(|a, b| a.signal.cmp(&b.signal)),
                _ => {}
            }
        }
        let mut report = fold(&turned).report();
        report.probes = fold(&records).report().probes;
        prop_assert_eq!(report, fold(&records).report());
    }

    #[test]
    fn repeating_a_record_changes_no_count(records in vec(record(), 0..20)) {
        let twice: Vec<_> = records.iter().flat_map(|record| [record.clone(), record.clone()]).collect();
        prop_assert_eq!(json(&fold(&twice).report()), json(&fold(&records).report()));
    }

    #[test]
    fn counts_never_fall_and_rates_are_never_negative(records in vec(record(), 0..20)) {
        let mut state = State::default();
        let mut before = state.report();
        for record in &records {
            state.apply(record);
            let report = state.report();
            for rate in rates(&report) {
                let numbers = [Some(rate.pps), Some(rate.bps), rate.drops, rate.mean_size];
                prop_assert!(numbers.iter().flatten().all(|n| *n >= 0.0 && n.is_finite()), "{rate:?}");
            }
            for queue in &report.queues {
                prop_assert!(queue.share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
            for old in &before.queues {
                let same = |new: &&vnet::report::QueueReport| {
                    new.device_key() == old.device_key() && new.queue == old.queue
                };
                let new = report.queues.iter().find(same).expect("a row never goes");
                // What was unknown may become known; a count that is not 0 stays known.
                prop_assert!(new.tx.packets >= old.tx.packets.filter(|n| *n > 0));
                prop_assert!(new.rx.bytes >= old.rx.bytes.filter(|n| *n > 0 && new.rx.packets.is_some()));
            }
            before = report;
        }
    }
}
