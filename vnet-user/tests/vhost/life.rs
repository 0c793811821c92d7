//! Guests that begin and end while one vnet watches.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use vnet_driver::{
    need,
    netns::Netns,
    truth::Queue,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step},
};

use crate::{
    assert_exact, assert_running,
    expect::Known,
    held::{Held, settled},
    observe, vhost,
};

/// How long guests come and go when nobody says how often.
const LONG: Duration = Duration::from_secs(10);

/// KiB that a guest which is gone may take: it stays in the report, with its queues.
const GONE: u64 = 24;

/// Guests that may begin before it is known what vnet needs in the long run.
const FIRST: usize = 10;

/// A pair sends and is sent `count` packets.
fn both_ways(pair: u16, count: usize) -> Script {
    Script::new()
        .transmit(pair, Packet::new(100).times(count))
        .on(pair, Step::PostRx(vec![1526; count]))
        .on(pair, Step::Kick(Side::Rx, Kick::Wanted))
        .receive(pair, Packet::new(200).times(count))
}

/// Guests that are opened, send, and are closed, one after the other, in one namespace and under one name; `VNET_CYCLES`
/// says how many.
#[test]
fn guests_that_come_and_go() -> Result<()> {
    need!(vhost());
    let cycles = env::var("VNET_CYCLES").ok().map(|text| text.parse::<usize>()).transpose()?;
    let (vnet, netns, began) = (observe()?, Netns::new()?, Instant::now());
    let mut ended: Vec<Known> = Vec::new();
    let (mut bound, mut first) = (Held::of(&vnet)?, None);
    while cycles.map_or(began.elapsed() < LONG, |cycles| ended.len() < cycles) {
        let guest = Guest::new(&netns, Config { pairs: 2, event_idx: true, ..Config::default() })?;
        guest.run(&both_ways(0, 5 + ended.len() % 7))?;
        guest.run(&both_ways(1, 1 + ended.len() % 3))?;
        ended.push(Known { runs: false, ..Known::of(&guest)? });
        if ended.len().is_multiple_of(2) {
            drop(guest);
        } else {
            guest.end_tap_first();
        }
        if ended.len() == 3 {
            bound.files = Held::of(&vnet)?.files; // some are opened when they are first needed
        }
        if ended.len() == FIRST {
            first = Some(settled(&vnet, &bound)?);
        }
    }
    let last = settled(&vnet, &bound)?;
    println!("{} guests in {:.1} s", ended.len(), began.elapsed().as_secs_f64());
    println!("bound {bound:?}\nafter {FIRST} {first:?}\nat last {last:?}");
    if let Some(first) = first {
        let grown = last.memory.saturating_sub(first.memory);
        let gone = u64::try_from(ended.len() - FIRST)?;
        assert!(grown <= 1024 + GONE * gone, "{grown} KiB for {gone} guests that are gone");
    } else {
        println!("skipped: memory is compared after {FIRST} guests only");
    }
    let report = vnet.finish()?;
    assert_exact(&ended, &report);
    Ok(())
}

/// Says to the test that started this process what it is, and sends until it is killed.
fn send_until_killed() -> Result<()> {
    let guest = Guest::new(&Netns::new()?, Config::default())?;
    guest.run(&both_ways(0, 30))?;
    let (key, truth) = (guest.key(0), guest.truth()?);
    println!("\nkill {} {} {}", key.netns, key.ifindex, truth.pairs[0].tx.flow.packets());
    loop {
        guest.step(0, &Step::Send(Packet::new(300).times(50)))?;
    }
}

/// A process with a guest, killed while it sends: its pair, and packets that it is known to have sent.
fn kill_one() -> Result<(Queue, u64)> {
    let mut child = Command::new(env::current_exe()?)
        .args([
            "--exact",
            "life::guests_that_end_in_any_order_or_are_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("VNET_TEST_SEND", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(child.stdout.take().context("no stdout")?);
    let line = said.lines().map_while(Result::ok).find(|line| line.starts_with("kill "));
    child.kill()?;
    child.wait()?;
    let line = line.context("the process with the guest said nothing")?;
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    let [netns, ifindex, packets] = numbers[..] else { anyhow::bail!("it said {line}") };
    Ok((Queue { netns, ifindex: u32::try_from(ifindex)?, generation: 0, queue: 0 }, packets))
}

#[test]
fn guests_that_end_in_any_order_or_are_killed() -> Result<()> {
    need!(vhost());
    if env::var_os("VNET_TEST_SEND").is_some() {
        return send_until_killed();
    }
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config { pairs: 2, event_idx: true, ..Config::default() })?;
    let mut script = both_ways(0, 3);
    for end in [
        vec![Step::Reset],
        vec![Step::Close, Step::Open],
        vec![Step::Backend(false), Step::Backend(true)],
        vec![Step::Backend(false), Step::Close, Step::Open, Step::Reset],
    ] {
        script.0.extend(both_ways(1, 5).0);
        script = script.all(1, end);
    }
    script.0.extend(both_ways(1, 7).0);
    guest.run(&script)?;
    let (killed, sent) = kill_one()?;
    guest.run(&both_ways(1, 5))?;
    let truth = guest.truth()?;
    let report = vnet.finish()?;
    assert_running([&guest], &report);
    assert_eq!(truth.pairs[1].tx.flow.packets(), 4 * 5 + 7 + 5);
    let row = report.queue(killed).context("the queue of the killed guest is not listed")?;
    let tx = &row["tx"];
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX / 16);
    let ledger = ["batched", "single", "zerocopy", "zerocopy_failed", "in_flight"]
        .map(|what| number(&tx["copies"][what]));
    assert!(number(&tx["packets"]) >= sent && number(&row["rx"]["packets"]) == 30, "{row}");
    assert_eq!(ledger.iter().sum::<u64>(), number(&tx["packets"]), "{row}");
    assert_eq!(tx["copies"]["in_flight"], 0, "{row}");
    Ok(())
}
