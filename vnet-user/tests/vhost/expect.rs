//! What a report must say when the truth is known.

use std::{fmt::Write as _, fs, sync::OnceLock};

use anyhow::Result;
use serde_json::Value;
use vnet_driver::{
    truth::{Counts, Flow, Ledger, Queue},
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

/// Whether a signal is known; what is not must not be told.
pub(crate) fn is_known(report: &Report, signal: &str) -> bool {
    report.state(signal).is_some_and(|state| state != "unavailable")
}

/// What is said of a count of that signal.
pub(crate) fn told(report: &Report, signal: &str, count: u64) -> Value {
    if is_known(report, signal) { Value::from(count) } else { Value::Null }
}

/// Whether packets are counted that the tap refuses.
fn counts_refused(report: &Report) -> bool {
    is_known(report, "tap.tx.drops")
}

/// The reason for which a full tap drops; kernels before 5.17 have none.
fn full_ring() -> &'static str {
    static NAMED: OnceLock<bool> = OnceLock::new();
    let named = NAMED.get_or_init(|| {
        let btf = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        btf.windows(25).any(|name| name == b"SKB_DROP_REASON_FULL_RING")
    });
    if *named { "FULL_RING" } else { "NOT_SPECIFIED" }
}

/// Every difference, one line each. All guests of the namespaces must be there: what is counted beside them is counted out
/// of nothing.
pub(crate) fn differences(guests: &[Known], report: &Report) -> String {
    let mut ledger = Ledger::default();
    for (key, pair) in guests.iter().flat_map(Known::pairs) {
        let mut counts = Counts { tx: sent(&pair.tx, report), rx: pair.rx.flow.clone() };
        counts.rx.add_drops(full_ring(), pair.rx.dropped);
        ledger.0.insert(key, counts);
    }
    let mut lines = report.differences(&ledger);
    if !counts_refused(report) {
        let told = |line: &&str| !line.contains(" tx drops: vnet null, truth {}");
        lines = lines.split_inclusive('\n').filter(told).collect();
    }
    for guest in guests {
        for (key, pair) in guest.pairs() {
            lines.push_str(&of_pair(key, pair, guest.runs, report));
        }
        lines.push_str(&residuals(guest, report));
    }
    lines
}

/// What vnet counts of what a pair sent.
fn sent(tx: &Tx, report: &Report) -> Flow {
    if counts_refused(report) { tx.flow.clone() } else { tx.accepted() }
}

/// Independent counts agree, where both were taken, but for frames that no tap takes and no counter of the kernel sees.
fn residuals(guest: &Known, report: &Report) -> String {
    let mut lines = String::new();
    let runts: u64 = guest.pairs().map(|(_, pair)| pair.tx.runts.packets()).sum();
    let runts = i64::try_from(runts).unwrap_or(i64::MAX);
    // What the tap refused was sent and given back, if that is counted.
    let (tx, tx_used) = if counts_refused(report) { (runts, 0) } else { (0, -runts) };
    let device = guest.keys.first().and_then(|key| report.device(key.netns, key.ifindex, key.generation));
    for (what, expected) in [("tx", tx), ("rx", 0), ("tx_used", tx_used)] {
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
    let mut same = |signal: &str, what: &str, seen: &Value, real: u64| {
        let real = told(report, signal, real);
        if *seen != real {
            let _infallible = writeln!(lines, "{key:?} {what}: vnet {seen}, truth {real}");
        }
    };
    same("vhost.kicks", "tx.kicks", &tx["kicks"], pair.tx.ring.kicks);
    same("vhost.calls", "tx.calls", &tx["calls"], pair.tx.ring.calls);
    same("vhost.calls", "tx.used", &tx["used"], pair.tx.ring.used);
    same("vhost.kicks", "rx.kicks", &rx["kicks"], pair.rx.ring.kicks);
    same("vhost.calls", "rx.calls", &rx["calls"], pair.rx.ring.calls);
    same("vhost.calls", "rx.buffers", &rx["buffers"], pair.rx.ring.used);
    same("vhost.rx", "rx.copied_bytes", &rx["copied_bytes"], pair.rx.copied);
    if is_known(report, "vhost.copies") {
        lines.push_str(&of_copies(key, pair, tx, report));
    } else if !tx["copies"].is_null() || !tx["batches"].is_null() {
        let _infallible = writeln!(lines, "{key:?} copies are not known, and told: {tx}");
    }
    let worker = &row["worker"]["tid"];
    let last = pair.workers.last().map(|tid| u64::from(*tid));
    // That of a guest that is gone is gone, unless vnet has not looked since.
    if worker.as_u64() != last && (runs || !worker.is_null()) {
        let _infallible = writeln!(lines, "{key:?} worker: vnet {worker}, truth {:?}", pair.workers);
    }
    lines
}

/// What adds up in the ledger of copies.
fn of_copies(key: Queue, pair: &Pair, tx: &Value, report: &Report) -> String {
    let mut lines = String::new();
    let mut same = |what: &str, seen: &Value, real: u64| {
        if *seen != real {
            let _infallible = writeln!(lines, "{key:?} {what}: vnet {seen}, truth {real}");
        }
    };
    let copies = &tx["copies"];
    let count = |what: &str| copies[what].as_u64().unwrap_or(u64::MAX / 16);
    let all = ["batched", "single", "zerocopy", "zerocopy_failed", "in_flight"].map(count);
    same(
        "tx.packets, which is the sum of the ledger",
        &Value::from(all.iter().sum::<u64>()),
        sent(&pair.tx, report).packets(),
    );
    let why = |what: &str| copies["why"][what].as_u64().unwrap_or(u64::MAX / 16);
    let reasons = ["module_off", "short", "pending", "backoff"].map(why);
    same("reasons of copies", &Value::from(reasons.iter().sum::<u64>()), all[0] + all[1]);
    let failed = why("rejected") + why("late");
    same("reasons of zero-copy that failed", &Value::from(failed), all[3]);
    let sizes = tx["batch_sizes"].as_array().into_iter().flatten();
    let batches = sizes.map(|class| class["count"].as_u64().unwrap_or(u64::MAX / 16)).sum::<u64>();
    same("batches by size", &Value::from(batches), tx["batches"].as_u64().unwrap_or(u64::MAX));
    lines
}
