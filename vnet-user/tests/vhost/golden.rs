//! Counts that follow from how vhost is written, whatever the machine: calls, batches, and why runs of the worker end.

use anyhow::Result;
use serde_json::{Value, json};
use vnet_driver::{
    ftrace::{self, Functions},
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, kernel::Kernel},
};

use crate::{
    Cases, assert_exact, assert_running, described, expect::told, ledger, observe, row, vhost, watched,
};

/// Batches by packets in them as vnet tells them, of so many full batches and one of the rest.
fn sizes(full: u64, rest: u64) -> Value {
    let mut below = 0;
    let rows = [1_u64, 3, 7, 15, 31, 63, 64].map(|le| {
        let count = u64::from((below + 1..=le).contains(&rest)) + if le == 64 { full } else { 0 };
        below = le;
        json!({ "le": le, "count": count })
    });
    Value::from(rows.to_vec())
}

/// Packets and their length with the vnet header.
const PUBLISHED: [(usize, u32); 6] = [(64, 112), (65, 112), (200, 112), (10, 5000), (20, 3648), (20, 3649)];

pub(crate) fn publications() -> Cases {
    let send = |count: usize, len: u32| Script::new().transmit(0, Packet::new(len - 12).times(count));
    let mut all: Vec<_> =
        PUBLISHED.iter().map(|(count, len)| (Config::default(), send(*count, *len))).collect();
    all.push((Config { send_buffer: Some(1 << 20), ..Config::default() }, send(200, 112)));
    let silent = Script::new().on(0, Step::Interrupts(Side::Tx, false));
    all.push((Config::default(), silent.transmit(0, Packet::new(100).times(200))));
    all
}

#[test]
fn batches_and_calls_of_one_publication() -> Result<()> {
    need!(ledger());
    let kernel = Kernel::look()?;
    // Calls, full batches, and packets of the last batch in copy mode.
    let large = u64::from(!kernel.batches_large());
    let expected: [(u64, u64, u64); 6] =
        [(1, 1, 0), (2, 1, 1), (4, 3, 8), (1 + 9 * large, 0, 0), (1, 0, 20), (1 + 19 * large, 0, 0)];
    let (guests, report) = watched("publications")?;
    assert_exact(guests, report);
    let [guests @ .., limited, silent] = guests else { anyhow::bail!("too few guests") };
    for (((count, len), (calls, full, rest)), guest) in PUBLISHED.into_iter().zip(expected).zip(guests) {
        let tx = &row(guest.key(0), report)["tx"];
        let count = count as u64;
        // Zero-copy: a call per packet, copied or not, and no batch.
        let (calls, full, rest) = if kernel.zerocopy { (count, 0, 0) } else { (calls, full, rest) };
        let batches = full + u64::from(rest > 0);
        assert_eq!(
            (&tx["calls"], &tx["used"], &tx["batches"], &tx["batch_sizes"]),
            (&json!(calls), &json!(count), &json!(batches), &sizes(full, rest)),
            "{count} x {len} on {kernel:?}: {tx}"
        );
        let kicks = told(report, "vhost.kicks", 1);
        assert_eq!((&tx["kicks"], &tx["calls_suppressed"]), (&kicks, &json!(0)), "{tx}");
    }
    // With a limited send buffer there are no batches; a flag forbids calls.
    let updates = if kernel.zerocopy { 200 } else { 4 };
    let tx = &row(limited.key(0), report)["tx"];
    assert_eq!(
        (&tx["calls"], &tx["batches"], &tx["copies"]["single"]),
        (&json!(updates), &json!(0), &json!(200)),
        "{tx}"
    );
    let tx = &row(silent.key(0), report)["tx"];
    assert_eq!((&tx["calls"], &tx["calls_suppressed"]), (&json!(0), &json!(updates)), "{tx}");
    Ok(())
}

/// Sum of the runs of a side.
fn runs(side: &Value) -> u64 {
    ["empty", "weight", "busy_poll", "no_buffers"].iter().filter_map(|why| side["runs"][why].as_u64()).sum()
}

#[test]
fn why_runs_end() -> Result<()> {
    need!(described());
    need!(ftrace::missing());
    let vnet = observe()?;
    let functions = Functions::count(&["handle_tx_copy", "handle_tx_zerocopy", "handle_rx"])?;
    let guest = Guest::new(&Netns::new()?, Config { ring: 1024, ..Config::default() })?;
    let script = Script::new()
        // 256 and 256 and 88 packets; then 105 packets that make 512 KiB, and the rest.
        .transmit(0, Packet::new(100).times(600))
        .transmit(0, Packet::new(5000).times(200))
        // The first packet finds no buffer; with buffers 256, 256 and 88.
        .on(0, Step::Inject(Packet::new(100).times(600)))
        .on(0, Step::PostRx(vec![1526; 600]))
        .on(0, Step::Kick(Side::Rx, Kick::Wanted))
        .on(0, Step::Wait(Side::Rx));
    guest.run(&script)?;
    guest.truth()?;
    let report = vnet.finish()?;
    assert_running([&guest], &report);
    let calls = functions.calls()?;
    let row = row(guest.key(0), &report);
    let count = |name: &str| calls.get(name).copied().unwrap_or(0);
    println!("{calls:?}; tx {}, rx {}", row["tx"]["runs"], row["rx"]["runs"]);
    let (tx, rx) = (&row["tx"]["runs"], &row["rx"]["runs"]);
    assert_eq!(runs(&row["tx"]), count("handle_tx_copy") + count("handle_tx_zerocopy"), "runs of TX: {tx}");
    assert_eq!(runs(&row["rx"]), count("handle_rx"), "runs of RX: {rx}");
    assert_eq!(
        (&tx["weight"], &tx["busy_poll"], &tx["no_buffers"]),
        (&json!(3), &json!(0), &json!(0)),
        "{tx}"
    );
    assert_eq!((&rx["weight"], &rx["busy_poll"]), (&json!(2), &json!(0)), "{rx}");
    // A second packet may come before the first has made the worker deaf to more.
    assert!(rx["no_buffers"].as_u64().is_some_and(|runs| (1..=2).contains(&runs)), "{rx}");
    Ok(())
}

/// Guests of 1 to 8 pairs, each pair of which sends and is sent its own number of packets, one pair after the other; and
/// one whose tap's ring overflows.
pub(crate) fn pairs() -> Cases {
    let mut cases = Vec::new();
    for pairs in 1..=8 {
        let mut script = Script::new();
        for pair in 0..pairs {
            let n = usize::from(10 * pairs + pair);
            script = script
                .on(pair, Step::PostRx(vec![1526; n]))
                .on(pair, Step::Kick(Side::Rx, Kick::Wanted))
                .transmit(pair, Packet::new(60 + u32::from(pair)).times(n))
                .receive(pair, Packet::new(600 + u32::from(pair)).times(n));
        }
        cases.push((Config { pairs, event_idx: pairs % 2 == 0, ..Config::default() }, script));
    }
    let full = Script::new()
        .on(0, Step::Inject(Packet::new(100).times(1300)))
        .on(0, Step::Refill(Some(1526)))
        .on(0, Step::Wait(Side::Rx));
    cases.push((Config::default(), full));
    cases
}

#[test]
fn one_to_eight_pairs_and_a_tap_that_is_full() -> Result<()> {
    need!(vhost());
    let (guests, report) = watched("pairs")?;
    assert_exact(guests, report);
    let rx = &row(guests[8].key(0), report)["rx"];
    println!("1300 without buffers: {} dropped", rx["drops"]);
    let dropped = rx["drops"].as_object().and_then(|drops| drops.values().next()?.as_u64());
    assert!(dropped.is_some_and(|dropped| (200..=300).contains(&dropped)), "{rx}");
    Ok(())
}
