//! What vnet says that it sees of vhost, and what it does not.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, kernel::Kernel},
};

use crate::{assert_running, expect::is_known, observe, vhost};

/// Whether this kernel describes `vhost_net` to programs: in BTF of the module, or of itself where it is built in.
pub(crate) fn described() -> bool {
    let module = |name: &str| {
        Path::new("/sys/kernel/btf").join(name).exists()
            || !Path::new("/sys/module").join(name).join("refcnt").exists()
    };
    ["tun", "vhost", "vhost_net"].into_iter().all(module)
}

#[test]
fn what_cannot_be_seen_is_said() -> Result<()> {
    need!(vhost());
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config::default())?;
    let script = Script::new()
        .on(0, Step::PostRx(vec![1526; 50]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .receive(0, Packet::new(300).times(30))
        .transmit(0, Packet::new(100).times(200));
    guest.run(&script)?;
    guest.truth()?;
    let report = vnet.finish()?;
    let row = report.queue(guest.key(0)).context("the queue is not listed")?;
    let (tx, rx) = (&row["tx"], &row["rx"]);
    let signals: [(&str, &[&Value]); 5] = [
        ("vhost.copies", &[&tx["copies"], &tx["batches"], &tx["batch_sizes"]]),
        ("vhost.calls", &[&tx["calls"], &tx["calls_suppressed"], &tx["used"], &rx["calls"], &rx["buffers"]]),
        ("vhost.kicks", &[&tx["kicks"], &rx["kicks"]]),
        ("vhost.runs", &[&tx["runs"], &rx["runs"]]),
        ("vhost.rx", &[&rx["copied_bytes"]]),
    ];
    let probes = report.0["probes"].as_array().context("no probes")?;
    let ours: Vec<_> = probes
        .iter()
        .filter(|probe| probe["signal"].as_str().is_some_and(|s| s.starts_with("vhost.")))
        .collect();
    assert!(ours.len() >= signals.len(), "signals are not told of: {probes:?}");
    let zerocopy = Kernel::look()?.zerocopy;
    for probe in &ours {
        println!("{} {} {}", probe["signal"], probe["state"], probe["reason"]);
        match probe["state"].as_str() {
            Some("exact") if described() => assert!(probe["reason"].is_null(), "{probe}"),
            // Why it is not known in a better way.
            Some("exact") => {
                let via = probe["via"].as_str().unwrap_or_default();
                assert!(via.starts_with("kprobe:"), "{probe}");
                let reason = probe["reason"].as_str().unwrap_or_default();
                assert!(reason.contains("does not describe"), "{probe}");
            }
            Some("unavailable") => {
                let reason = probe["reason"].as_str().unwrap_or_default();
                assert!(reason.len() > 10, "no reason: {probe}");
                assert!(!reason.contains("not loaded"), "vhost_net is loaded: {probe}");
                assert!(!described(), "this kernel describes it: {probe}");
                let signal = probe["signal"].as_str().unwrap_or_default();
                let few = ["vhost.kicks", "vhost.runs"].contains(&signal);
                assert!(
                    few || zerocopy && signal == "vhost.copies",
                    "arguments and nesting tell it: {probe}"
                );
            }
            _ => panic!("neither exact nor unavailable: {probe}"),
        }
    }
    for (signal, counts) in signals {
        let probe =
            ours.iter().find(|probe| probe["signal"] == signal).with_context(|| format!("no {signal}"))?;
        let exact = probe["state"] == "exact";
        for count in counts {
            assert_eq!(
                !count.is_null(),
                exact,
                "{signal} is {}, its counts {counts:?}: {row}",
                probe["state"]
            );
        }
    }
    // What the tap itself tells is there in any case.
    assert_eq!((tx["packets"].as_u64(), rx["packets"].as_u64()), (Some(200), Some(30)), "{row}");
    assert_eq!(report.0["lost"]["events"], 0, "{}", report.0["lost"]);
    Ok(())
}

#[test]
fn the_taps_own_counters_agree() -> Result<()> {
    need!(vhost());
    let netns = Netns::new()?; // vnet finds it as it starts
    let vnet = observe()?;
    let guest = Guest::new(&netns, Config { pairs: 2, ..Config::default() })?;
    let script = Script::new()
        .transmit(0, Packet::new(100).times(130))
        .on(1, Step::Refill(Some(1526)))
        .receive(1, Packet::new(1000).times(70));
    guest.run(&script)?;
    guest.truth()?;
    let report = vnet.finish()?;
    assert_running([&guest], &report);
    let key = guest.key(0);
    let device = report.device(key.netns, key.ifindex, key.generation).expect("listed");
    let mut residuals = serde_json::json!({"rx": 0, "tx": 0});
    if is_known(&report, "vhost.copies") {
        residuals["tx_used"] = 0.into();
    }
    assert_eq!(device["residuals"], residuals, "{device}");
    Ok(())
}
