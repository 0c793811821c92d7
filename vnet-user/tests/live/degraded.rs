//! On kernels that lack a tracepoint or hide their symbols: what depends on it is unknown and says why, the rest is exact.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use vnet::{
    filter::Filter,
    live::{Live, Options},
    record::Record,
    state::State,
};
use vnet_driver::{
    frame::Frame,
    host::Sender,
    link::Links,
    load::{self, Mix, Share},
    need,
    netns::Netns,
    tap::{Config, Tap},
    truth::{Flow, Ledger},
    vnet::Report,
};

use crate::live;

/// Counts of a side that come from the program that counts its packets.
const PACKETS: [&str; 4] = ["packets", "bytes", "segments", "sizes"];

/// Observes `work` on a kernel without these.
fn observe_without(absent: &[&str], work: impl FnOnce() -> Result<()>) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut live = Live::start(Options {
            interval: Duration::from_mins(1),
            filter: Filter::default(),
            probe_stats: false,
            without: absent.iter().map(|name| (*name).to_owned()).collect(),
        })?;
        let mut state = State::default();
        let mut fold = |records: Vec<Record>| records.iter().for_each(|record| state.apply(record));
        fold(live.next().await?);
        work()?;
        fold(live.finish().await?);
        assert_eq!(state.regressions(), 0);
        Ok(Report(serde_json::to_value(state.report())?))
    })
}

/// What the kernel is given to count.
struct Traffic {
    tap: Tap,
    /// What happened.
    truth: Ledger,
    /// What happened, as far as it can be told when nobody sees a tap refuse a packet.
    offered: Ledger,
}

impl Traffic {
    fn new(napi: bool) -> Result<Self> {
        let tap = Tap::new(&Netns::new()?, &Config { napi, ..Config::new("tap0", 2) })?;
        tap.steer_by_address()?;
        Ok(Self { tap, truth: Ledger::default(), offered: Ledger::default() })
    }

    /// Packets of all kinds in both directions, refused by nobody: the rings are longer than all of them.
    fn packets(&mut self) -> Result<()> {
        let shares = [Share { tx: 300, rx: 200 }, Share { tx: 30, rx: 400 }];
        load::both(&self.tap, &Mix::everything(), &shares, &mut self.truth)?;
        self.offered = self.truth.clone();
        Ok(())
    }

    /// Drops of both directions by the tap itself.
    fn drops(&mut self) -> Result<()> {
        let links = Links::open(&self.tap.netns)?;
        links.set_queue_len(self.tap.ifindex, 16)?;
        let sender = Sender::open(&self.tap.netns, self.tap.ifindex)?;
        for (queue, file) in (0_u8..).zip(self.tap.files()) {
            let frame = Frame::plain(100).to(queue);
            load::send(&sender, std::slice::from_ref(&frame), 40)?;
            let mut read = Flow::default();
            load::drain(file, &mut read)?;
            let refused = 40 - read.packets();
            assert!(refused > 0, "nothing was refused");
            let mut offered = read.clone();
            offered.add(frame.len(), 1, refused);
            read.add_drops("FULL_RING", refused);
            let key = self.tap.key(u16::from(queue));
            self.truth.rx(key, read);
            self.offered.rx(key, offered);
            for _ in 0..3 {
                assert!(file.transmit(&Frame::bad_header(100)).is_err());
            }
            let mut dropped = Flow::default();
            dropped.add_drops("NOT_SPECIFIED", 3);
            self.truth.tx(key, dropped);
        }
        Ok(())
    }
}

/// Fails unless the report differs from the truth in these counts of every queue, and there by saying that it does not
/// know.
#[track_caller]
fn assert_unknown(report: &Report, truth: &Ledger, unknown: &[(&str, &str)]) {
    let mut found = BTreeSet::new();
    let differences = report.differences(truth);
    for line in differences.lines() {
        let known = unknown.iter().find(|(side, what)| line.contains(&format!(" {side} {what}: vnet ")));
        let says_so = line.contains(": vnet null,") || line.contains(" sizes: vnet [],");
        let Some(known) = known.filter(|_| says_so) else {
            panic!("{line}\nof all differences:\n{differences}");
        };
        found.insert(*known);
    }
    assert_eq!(found, unknown.iter().copied().collect(), "what should be unknown is not");
}

/// Fails unless the signal is `state` for a reason with `word`.
#[track_caller]
fn assert_told(report: &Report, signal: &str, state: &str, word: &str) {
    let probes = report.0["probes"].as_array().expect("a list");
    let probe = probes.iter().find(|probe| probe["signal"] == signal).expect(signal);
    assert_eq!(probe["state"], state, "{probe}");
    assert!(probe["reason"].as_str().is_some_and(|reason| reason.contains(word)), "{probe}");
}

fn side(side: &'static str, counts: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    counts.iter().map(|what| (side, *what)).collect()
}

#[test]
fn nothing_is_unknown_when_nothing_is_absent() -> Result<()> {
    need!(live());
    let mut traffic = Traffic::new(false)?;
    let report = observe_without(&[], || traffic.packets().and_then(|()| traffic.drops()))?;
    assert_unknown(&report, &traffic.truth, &[]);
    Ok(())
}

/// Without a view of drops, what was refused looks accepted.
fn drops_unseen(absent: &str, word: &str) -> Result<()> {
    let mut traffic = Traffic::new(false)?;
    let report = observe_without(&[absent], || traffic.packets().and_then(|()| traffic.drops()))?;
    assert_unknown(&report, &traffic.offered, &[("tx", "drops"), ("rx", "drops")]);
    for signal in ["tap.tx.drops", "tap.rx.drops", "tap.tx.stack_drops"] {
        assert_told(&report, signal, "unavailable", word);
    }
    assert_told(&report, "tap.rx", "derived", "packets that the tap refuses are counted as accepted");
    let queue = report.queue(traffic.tap.key(0)).context("not listed")?;
    assert_eq!(queue["tx"]["stack_drops"], Value::Null);
    Ok(())
}

#[test]
fn without_drops() -> Result<()> {
    need!(live());
    drops_unseen("kfree_skb", "no tracepoint kfree_skb")
}

#[test]
fn with_hidden_symbols() -> Result<()> {
    need!(live());
    drops_unseen("kallsyms", "kernel addresses are hidden")
}

#[test]
fn without_what_the_guest_sends() -> Result<()> {
    need!(live());
    let mut traffic = Traffic::new(false)?;
    let absent = "netif_receive_skb_entry";
    let report = observe_without(&[absent], || traffic.packets().and_then(|()| traffic.drops()))?;
    assert_unknown(&report, &traffic.truth, &side("tx", &PACKETS));
    assert_told(&report, "tap.tx", "unavailable", "no tracepoint netif_receive_skb_entry");
    let queue = report.queue(traffic.tap.key(0)).context("not listed")?;
    assert!(queue["tx"]["stack_drops"].as_u64() >= Some(300), "still seen: {}", queue["tx"]["stack_drops"]);
    Ok(())
}

#[test]
fn without_what_the_guest_is_sent() -> Result<()> {
    need!(live());
    let mut traffic = Traffic::new(false)?;
    let absent = "net_dev_start_xmit";
    let report = observe_without(&[absent], || traffic.packets().and_then(|()| traffic.drops()))?;
    assert_unknown(&report, &traffic.truth, &side("rx", &PACKETS));
    assert_told(&report, "tap.rx", "unavailable", "no tracepoint net_dev_start_xmit");
    assert_told(&report, "virtio_net.tx", "unavailable", "no tracepoint net_dev_start_xmit");
    Ok(())
}

#[test]
fn without_napi() -> Result<()> {
    need!(live());
    let (mut plain, mut napi) = (Traffic::new(false)?, Traffic::new(true)?);
    let absent = "napi_gro_receive_entry";
    let report = observe_without(&[absent], || {
        plain.packets()?;
        plain.drops()?;
        napi.packets()
    })?;
    assert_unknown(&report, &plain.truth, &[]);
    // That nothing was dropped is not said of a device that is not wholly seen.
    let unknown = [side("tx", &PACKETS), side("tx", &["drops"]), side("rx", &["drops"])].concat();
    assert_unknown(&report, &napi.truth, &unknown);
    let device = report.device(napi.tap.netns.inode(), napi.tap.ifindex, 0).context("not listed")?;
    let told = device["uncovered"][0].as_str().unwrap_or_default();
    assert!(
        told.contains("through NAPI") && told.contains("no tracepoint napi_gro_receive_entry"),
        "{device}"
    );
    assert_told(&report, "virtio_net.rx", "unavailable", "no tracepoint napi_gro_receive_entry");
    Ok(())
}

#[test]
fn without_fragments() -> Result<()> {
    need!(live());
    let mut traffic = Traffic::new(false)?;
    let absent = "napi_gro_frags_entry";
    let report = observe_without(&[absent], || traffic.packets().and_then(|()| traffic.drops()))?;
    assert_unknown(&report, &traffic.truth, &[]);
    assert_told(&report, "tap.tx.napi_frags", "unavailable", "no tracepoint napi_gro_frags_entry");
    Ok(())
}

#[test]
fn without_a_view_of_registrations() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let config = Config { ifindex: Some(4242), ..Config::new("tap0", 2) };
    let mut truth = Ledger::default();
    let report = observe_without(&["register_netdevice", "notifier_run"], || {
        for generation in 0..3 {
            let mut tap = Tap::new(&netns, &config)?;
            tap.generation = generation;
            tap.steer_by_address()?;
            load::both(&tap, &Mix::everything(), &[Share { tx: 100, rx: 50 }; 2], &mut truth)?;
        }
        Ok(())
    })?;
    assert_unknown(&report, &truth, &[]);
    let devices = report.devices(netns.inode()).count();
    assert_eq!(devices, 3, "one place, three devices");
    Ok(())
}
