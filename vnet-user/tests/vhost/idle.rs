//! What is known before a packet moves: from the files that are open.

use std::process;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vnet_driver::{
    need,
    netns::Netns,
    tap::{self, Tap},
    vhost::{Config, Guest, Packet, Script, Step, Vsock, kernel::Kernel},
};

use crate::{assert_running, live, observe, row, vhost};

#[test]
fn guests_that_were_there_and_are_silent() -> Result<()> {
    need!(vhost());
    let (netns, other) = (Netns::new()?, Netns::new()?);
    let guest = Guest::new(&netns, Config { pairs: 3, event_idx: true, ..Config::default() })?;
    let halved = Guest::new(&other, Config { pairs: 2, ..Config::default() })?;
    halved.step(1, &Step::Close)?;
    let alone = Tap::new(&netns, &tap::Config::new("alone", 2))?;
    let zerocopy = Kernel::look()?.zerocopy;
    let report = observe()?.finish()?;
    assert_running([&guest], &report);
    for (pair, truth) in (0..).zip(guest.truth()?.pairs) {
        let row = row(guest.key(pair), &report);
        assert_eq!(row["worker"]["tid"], json!(truth.workers.last()), "{row}");
        assert_eq!((&row["tx"]["packets"], &row["rx"]["kicks"]), (&json!(0), &json!(0)), "{row}");
    }
    let device = |tap: &Tap| report.device(tap.key(0).netns, tap.ifindex, tap.generation).expect("listed");
    for served in [guest.tap(), halved.tap()] {
        let device = device(served);
        assert_eq!((&device["vhost"], &device["zerocopy"]), (&json!(true), &json!(zerocopy)), "{device}");
    }
    let device = device(&alone);
    assert_eq!((&device["vhost"], &device["zerocopy"]), (&json!(false), &Value::Null), "{device}");
    // The pair whose device was closed has no worker.
    let workers = [0, 1].map(|pair| row(halved.key(pair), &report)["worker"]["tid"].clone());
    assert_eq!(workers, [json!(halved.truth()?.pairs[0].workers.last()), Value::Null]);
    Ok(())
}

#[test]
fn a_tap_that_vhost_leaves_and_takes_again() -> Result<()> {
    need!(vhost());
    let guest = Guest::new(&Netns::new()?, Config::default())?;
    let send = |count| guest.run(&Script::new().transmit(0, Packet::new(100).times(count)));
    let key = guest.key(0);
    let vhost = |report: &vnet_driver::vnet::Report| {
        report.device(key.netns, key.ifindex, key.generation).map(|device| device["vhost"].clone())
    };
    let vnet = observe()?;
    send(10)?;
    guest.step(0, &Step::Close)?;
    let report = vnet.finish()?;
    assert_eq!(vhost(&report), Some(json!(false)));
    let gone = row(key, &report);
    assert_eq!((&gone["tx"]["packets"], &gone["worker"]), (&json!(10), &Value::Null), "{gone}");
    let vnet = observe()?;
    guest.step(0, &Step::Open)?;
    let report = vnet.finish()?;
    assert_eq!(vhost(&report), Some(json!(true)));
    assert_eq!(row(key, &report)["worker"]["tid"], json!(guest.truth()?.pairs[0].workers.last()));
    Ok(())
}

#[test]
fn another_kind_of_vhost_is_named() -> Result<()> {
    need!(live());
    let vsock = match Vsock::new(78) {
        Ok(vsock) => vsock,
        Err(why) => {
            println!("skipped: there is no vsock to name: {why:#}");
            return Ok(());
        }
    };
    let report = observe()?.finish()?;
    drop(vsock);
    let rows = report.0["invisible"].as_array().context("no list")?;
    let ours: Vec<_> = rows.iter().filter(|row| row["pid"] == process::id()).collect();
    let [row] = ours[..] else { panic!("not one of ours: {rows:?}") };
    assert_eq!((&row["kind"], &row["device"]), (&json!("vhost_vsock"), &json!("vhost-vsock")), "{row}");
    assert!(row["name"].as_str().is_some_and(|name| !name.is_empty()), "{row}");
    assert!(row["why"].as_str().is_some_and(|why| why.contains("no network queue")), "{row}");
    let later = observe()?.finish()?;
    let left = later.0["invisible"].as_array().context("no list")?;
    assert!(left.iter().all(|row| row["pid"] != process::id()), "{left:?}");
    Ok(())
}
