//! What a report must say when the truth is known.

use std::fmt::Write as _;

use serde_json::Value;
use vnet_driver::{
    truth::{Counts, Ledger, Queue},
    vhost::truth::Truth,
    vnet::Report,
};

/// Every difference, one line each; `keys` are those of the pairs.
pub(crate) fn differences(keys: &[Queue], truth: &Truth, report: &Report) -> String {
    let mut ledger = Ledger::default();
    for (key, pair) in keys.iter().zip(&truth.pairs) {
        let mut counts = Counts { tx: pair.tx.flow.clone(), rx: pair.rx.flow.clone() };
        counts.rx.add_drops("FULL_RING", pair.rx.dropped);
        ledger.0.insert(*key, counts);
    }
    let mut lines = report.differences(&ledger);
    for (index, (key, pair)) in keys.iter().zip(&truth.pairs).enumerate() {
        let idle = pair.tx.ring.used + pair.rx.ring.used + pair.tx.ring.kicks + pair.rx.ring.kicks == 0;
        let Some(row) = report.queue(*key).filter(|_| !idle) else { continue };
        let (tx, rx) = (&row["tx"], &row["rx"]);
        let mut same = |what: &str, seen: &Value, real: u64| {
            if *seen != real {
                let _infallible = writeln!(lines, "pair {index} {what}: vnet {seen}, truth {real}");
            }
        };
        same("tx.kicks", &tx["kicks"], pair.tx.ring.kicks);
        same("tx.calls", &tx["calls"], pair.tx.ring.calls);
        same("tx.used", &tx["used"], pair.tx.ring.used);
        same("rx.kicks", &rx["kicks"], pair.rx.ring.kicks);
        same("rx.calls", &rx["calls"], pair.rx.ring.calls);
        same("rx.buffers", &rx["buffers"], pair.rx.ring.used);
        same("rx.copied_bytes", &rx["copied_bytes"], pair.rx.copied);
        let copies = &tx["copies"];
        let count = |what: &str| copies[what].as_u64().unwrap_or(u64::MAX / 16);
        let all = ["batched", "single", "zerocopy", "zerocopy_failed", "in_flight"].map(count);
        same(
            "tx.packets, which is the sum of the ledger",
            &Value::from(all.iter().sum::<u64>()),
            pair.tx.flow.packets(),
        );
        let why = |what: &str| copies["why"][what].as_u64().unwrap_or(u64::MAX / 16);
        let reasons = ["module_off", "short", "pending", "backoff"].map(why);
        same("reasons of copies", &Value::from(reasons.iter().sum::<u64>()), all[0] + all[1]);
        let failed = why("rejected") + why("late");
        same("reasons of zero-copy that failed", &Value::from(failed), all[3]);
        let sizes = tx["batch_sizes"].as_array().into_iter().flatten();
        let batches = sizes.map(|class| class["count"].as_u64().unwrap_or(u64::MAX / 16)).sum::<u64>();
        same("batches by size", &Value::from(batches), tx["batches"].as_u64().unwrap_or(u64::MAX));
        let worker = &row["worker"]["tid"];
        if worker.as_u64() != pair.workers.last().map(|tid| u64::from(*tid)) {
            let _infallible = writeln!(lines, "pair {index} worker: vnet {worker}, truth {:?}", pair.workers);
        }
    }
    lines
}
