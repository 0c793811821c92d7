//! What a report must say when the truth is known.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;
use vnet_driver::{
    truth::{Counts, Ledger, Queue},
    vhost::{
        Config, Guest,
        truth::{Pair, Truth, Tx},
    },
    vnet::Report,
};

/// A guest whose truth is known.
pub(crate) struct Known {
    pub(crate) config: Config,
    /// Keys of its pairs.
    pub(crate) keys: Vec<Queue>,
    pub(crate) truth: Truth,
    /// It still runs: its workers are there.
    pub(crate) runs: bool,
}

impl Known {
    /// A guest that runs, so far.
    pub(crate) fn of(guest: &Guest) -> Result<Self> {
        let keys = (0..guest.config().pairs).map(|pair| guest.key(pair)).collect();
        Ok(Self { config: guest.config().clone(), keys, truth: guest.truth()?, runs: true })
    }

    /// The key of a pair.
    pub(crate) fn key(&self, pair: usize) -> Queue {
        self.keys[pair]
    }

    /// What its first pair sent.
    pub(crate) fn tx(&self) -> &Tx {
        &self.truth.pairs[0].tx
    }

    fn pairs(&self) -> impl Iterator<Item = (Queue, &Pair)> {
        self.keys.iter().copied().zip(&self.truth.pairs)
    }
}

/// Every difference, one line each. All guests of the namespaces must be there: what is counted beside them is counted out
/// of nothing.
pub(crate) fn differences(guests: &[Known], report: &Report) -> String {
    let mut ledger = Ledger::default();
    for (key, pair) in guests.iter().flat_map(Known::pairs) {
        let mut counts = Counts { tx: pair.tx.flow.clone(), rx: pair.rx.flow.clone() };
        counts.rx.add_drops("FULL_RING", pair.rx.dropped);
        ledger.0.insert(key, counts);
    }
    let mut lines = report.differences(&ledger);
    for guest in guests {
        for (key, pair) in guest.pairs() {
            lines.push_str(&of_pair(key, pair, guest.runs, report));
        }
        lines.push_str(&residuals(guest, report));
    }
    lines
}

/// Independent counts agree, where both were taken, but for frames that no tap takes and no counter of the kernel sees.
fn residuals(guest: &Known, report: &Report) -> String {
    let mut lines = String::new();
    let runts: u64 = guest.pairs().map(|(_, pair)| pair.tx.runts.packets()).sum();
    let device = guest.keys.first().and_then(|key| report.device(key.netns, key.ifindex, key.generation));
    for (what, expected) in [("tx", runts), ("rx", 0), ("tx_used", 0)] {
        let seen = device.map_or(&Value::Null, |device| &device["residuals"][what]);
        if guest.runs && !seen.is_null() && *seen != expected {
            let _infallible = writeln!(lines, "residual {what}: vnet {seen}, expected {expected}");
        }
    }
    lines
}

/// What the report says of one pair beyond its packets.
fn of_pair(key: Queue, pair: &Pair, runs: bool, report: &Report) -> String {
    let mut lines = String::new();
    let idle = pair.tx.ring.used + pair.rx.ring.used + pair.tx.ring.kicks + pair.rx.ring.kicks == 0;
    let Some(row) = report.queue(key).filter(|_| !idle) else { return lines };
    let (tx, rx) = (&row["tx"], &row["rx"]);
    let mut same = |what: &str, seen: &Value, real: u64| {
        if *seen != real {
            let _infallible = writeln!(lines, "{key:?} {what}: vnet {seen}, truth {real}");
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
    let last = pair.workers.last().map(|tid| u64::from(*tid));
    // That of a guest that is gone is gone, unless vnet has not looked since.
    if worker.as_u64() != last && (runs || !worker.is_null()) {
        let _infallible = writeln!(lines, "{key:?} worker: vnet {worker}, truth {:?}", pair.workers);
    }
    lines
}
