//! The same records give the same report byte for byte, whatever the stream.

use proptest::{collection::vec, prelude::*};
use vnet::{
    record::Record,
    report::{CopiesReport, QueueReport, Rate, Report},
    state::State,
};

use crate::any::{record, settled};

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

/// Counts of vhost that never fall, but for those of a ledger, which may become unknown.
fn vhost_counts(queue: &QueueReport) -> [Option<u64>; 11] {
    let (tx, rx) = (&queue.tx, &queue.rx);
    let runs = tx.runs.map(|runs| runs.empty);
    [
        tx.used,
        tx.kicks,
        tx.calls,
        tx.calls_suppressed,
        runs,
        rx.buffers,
        rx.copied_bytes,
        rx.kicks,
        rx.calls,
        rx.calls_suppressed,
        rx.runs.map(|runs| runs.no_buffers),
    ]
}

/// Packets that a ledger in a report accounts for; wide, so that nothing is cut off.
fn accounted(copies: &CopiesReport) -> u128 {
    let CopiesReport { batched, single, zerocopy, zerocopy_failed, in_flight, .. } = *copies;
    [batched, single, zerocopy, zerocopy_failed, in_flight].map(u128::from).iter().sum()
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
        let mut whole = fold(&records);
        // Reports on the way, and going on from a copy, change nothing.
        let (head, tail) = records.split_at(cut.min(records.len()));
        let mut half = fold(head);
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
                Record::Sample(sample) => {
                    sample.queues.reverse();
                    sample.workers.reverse();
                    sample.residuals.reverse();
                }
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
            for worker in report.queues.iter().filter_map(|queue| queue.worker.as_ref()) {
                let shares = [worker.busy_ratio, worker.busy_poll_ratio, worker.average_busy];
                prop_assert!(shares.iter().flatten().all(|share| (0.0..=1.0).contains(share)), "{worker:?}");
            }
            for queue in &report.queues {
                prop_assert!(queue.share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
            for old in &before.queues {
                let same = |new: &&QueueReport| {
                    new.device_key() == old.device_key() && new.queue == old.queue
                };
                let new = report.queues.iter().find(same).expect("a row never goes");
                let [before, after] = [old, new].map(vhost_counts);
                for (before, after) in before.into_iter().zip(after) {
                    prop_assert!(after >= before.filter(|n| *n > 0), "{old:?} then {new:?}");
                }
                // What was unknown may become known; a count that is not 0 stays known.
                prop_assert!(new.tx.packets >= old.tx.packets.filter(|n| *n > 0));
                prop_assert!(new.rx.bytes >= old.rx.bytes.filter(|n| *n > 0 && new.rx.packets.is_some()));
            }
            before = report;
        }
    }

    #[test]
    fn a_ledger_accounts_for_every_packet_whatever_comes(records in vec(record(), 0..20)) {
        let mut state = State::default();
        for record in &records {
            state.apply(record);
            for queue in &state.report().queues {
                if let Some(copies) = &queue.tx.copies {
                    prop_assert_eq!(queue.tx.packets.map(u128::from), Some(accounted(copies)));
                }
            }
        }
    }

    #[test]
    fn the_ledger_of_a_sound_source_is_always_known(samples in settled()) {
        let mut state = State::default();
        for (sample, copies) in samples {
            state.apply(&Record::Sample(sample));
            let report = state.report();
            let seen = report.queues[0].tx.copies.clone().expect("a ledger");
            prop_assert_eq!(report.queues[0].tx.packets.map(u128::from), Some(accounted(&seen)));
            prop_assert_eq!(
                [seen.batched, seen.single, seen.zerocopy, seen.zerocopy_failed, seen.in_flight],
                [copies.batched, copies.single, copies.zerocopy, copies.zerocopy_rejected + copies.zerocopy_late, copies.in_flight]
            );
        }
        prop_assert_eq!(state.regressions(), 0);
    }
}
