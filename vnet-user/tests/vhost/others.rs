//! What is no queue pair of a network device, and queues that change their number.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Guest, Packet, Script, Vsock},
    vnet::Report,
};

use crate::{assert_running, expect::told, observe, row, vhost};

/// Workers that vnet names, over all queues.
fn workers(report: &Report) -> BTreeSet<u64> {
    let rows = report.0["queues"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["worker"]["tid"].as_u64()).collect()
}

#[test]
fn vsock_is_no_network_device_and_queues_change_places() -> Result<()> {
    need!(vhost());
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config::default())?;
    let moving = Guest::new(&Netns::new()?, Config { pairs: 2, ..Config::default() })?;
    match Vsock::new(77) {
        Ok(mut vsock) => {
            for _ in 0..3 {
                vsock.send(20)?;
                guest.run(&Script::new().transmit(0, Packet::new(100).times(20)))?;
            }
        }
        Err(why) => println!("skipped: the vsock part: {why:#}"),
    }
    // The queue of a pair is where its file is in the tap: the last takes the place of one that is detached.
    let send =
        |pair: u16, count: usize| moving.run(&Script::new().transmit(pair, Packet::new(100).times(count)));
    send(0, 10)?;
    send(1, 20)?;
    moving.truth()?;
    moving.tap().detach(0)?;
    send(1, 40)?;
    moving.truth()?;
    moving.tap().attach(0)?;
    send(0, 80)?;
    let truth = moving.truth()?;
    guest.truth()?;
    let report = vnet.finish()?;
    assert_running([&guest], &report);
    let mut known: BTreeSet<_> =
        truth.pairs.iter().flat_map(|pair| pair.workers.clone()).map(u64::from).collect();
    known.extend(guest.truth()?.pairs[0].workers.iter().map(|tid| u64::from(*tid)));
    assert_eq!(workers(&report), known, "workers of queues");
    for (queue, packets, tid) in
        [(0, 10 + 40, &truth.pairs[1].workers), (1, 20 + 80, &truth.pairs[0].workers)]
    {
        let row = report.queue(moving.key(queue)).context("the queue is not listed")?;
        let tx = &row["tx"];
        assert_eq!(
            (&tx["packets"], &tx["used"], &tx["kicks"], &row["worker"]["tid"]),
            (&json!(packets), &json!(packets), &told(&report, "vhost.kicks", 2), &json!(tid.last())),
            "queue {queue}: {row}"
        );
        let calls: u64 = tx["calls"].as_u64().context("calls are known")?;
        assert!(calls >= 2, "{tx}");
    }
    let calls = |queue| report.queue(moving.key(queue)).and_then(|row| row["tx"]["calls"].as_u64());
    let sum = truth.pairs.iter().map(|pair| pair.tx.ring.calls).sum::<u64>();
    assert_eq!(calls(0).zip(calls(1)).map(|(a, b)| a + b), Some(sum), "calls");
    assert_eq!(report.0["lost"]["events"], 0, "{}", report.0["lost"]);
    assert_ne!(row(guest.key(0), &report)["worker"], Value::Null);
    Ok(())
}
