//! What is not a guest's NIC is not counted; what cannot be counted exactly is named.

use std::slice::from_ref;

use anyhow::{Context, Result};
use serde_json::Value;
use vnet_driver::{
    bpf::{Program, XdpAction},
    frame::{Frame, Gso},
    host::Sender,
    link::Links,
    load::{self, Mix, Share},
    macvtap, need,
    netns::Netns,
    tap::{Config, Tap},
    truth::{Flow, Ledger},
    vnet::Report,
};

use crate::{assert_exact, live, observe};

/// Exact, or the device says what is not covered; returns which.
#[track_caller]
fn assert_exact_or_named(report: &Report, truth: &Ledger, device: &Value) {
    let named = device["uncovered"].as_array().is_some_and(|reasons| !reasons.is_empty());
    let differences = report.differences(truth);
    assert!(named || differences.is_empty(), "neither exact nor named:\n{differences}");
    eprintln!("{}: {}", device["name"], if named { device["uncovered"].to_string() } else { "exact".into() });
}

#[test]
fn loopback_veth_and_bridge_are_not_counted() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let (near, far) = links.add_veth("veth0", "veth1")?;
    let bridge = links.add_bridge("br0")?;
    links.set_bridge(far, bridge)?;
    for ifindex in [1, near, far, bridge] {
        links.up(ifindex)?;
    }
    let vnet = observe()?;
    for ifindex in [1, near, far, bridge] {
        load::send(&Sender::open(&netns, ifindex)?, &[Frame::plain(100), Frame::udp(200, 1)], 50)?;
    }
    assert!(links.stats(far)?.rx_packets >= 50, "the packets really travelled");
    let report = vnet.finish()?;
    assert_eq!(report.devices(netns.inode()).collect::<Vec<_>>(), Vec::<&Value>::new());
    assert_eq!(report.queues(netns.inode()).collect::<Vec<_>>(), Vec::<&Value>::new());
    Ok(())
}

#[test]
fn a_packet_from_guest_to_guest_counts_once_on_each_tap() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let bridge = links.add_bridge("br0")?;
    let (a, b) = (Tap::new(&netns, &Config::new("a", 2))?, Tap::new(&netns, &Config::new("b", 1))?);
    links.up(bridge)?;
    for tap in [&a, &b] {
        links.set_bridge(tap.ifindex, bridge)?;
    }
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let frames = [
        Frame::plain(60),
        Frame::plain(1514),
        Frame::gso(Gso::Tcp4, 54 + 9000, 1448),
        Frame::gso(Gso::Udp6, 62 + 9000, 1000),
    ];
    let sent = load::transmit(&a.files()[1], &frames, 400)?;
    let mut read = Flow::default();
    load::drain(&b.files()[0], &mut read)?;
    assert_eq!(read, sent, "the bridge hands over what it was given");
    truth.tx(a.key(1), sent);
    truth.rx(b.key(0), read);
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    assert_eq!(report.devices(netns.inode()).count(), 2, "the bridge is no guest's NIC");
    Ok(())
}

#[test]
fn a_tap_with_napi() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config { napi: true, ..Config::new("tap0", 2) })?;
    tap.steer_by_address()?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    load::both(
        &tap,
        &Mix::everything(),
        &[Share { tx: 500, rx: 50 }, Share { tx: 50, rx: 500 }],
        &mut truth,
    )?;
    let report = vnet.finish()?;
    let device = report.device(netns.inode(), tap.ifindex, 0).context("not listed")?;
    assert_exact_or_named(&report, &truth, device);
    Ok(())
}

fn xdp(action: XdpAction) -> Result<()> {
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let links = Links::open(&netns)?;
    links.set_mtu(tap.ifindex, 1500)?;
    links.set_xdp(tap.ifindex, Some(&Program::xdp(action)?))?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    truth.tx(tap.key(0), load::transmit(&tap.files()[0], &[Frame::plain(60), Frame::plain(1514)], 100)?);
    load::send(&Sender::open(&netns, tap.ifindex)?, &[Frame::plain(60)], 10)?;
    let mut read = Flow::default();
    load::drain(&tap.files()[0], &mut read)?;
    truth.rx(tap.key(0), read);
    let report = vnet.finish()?;
    let device = report.device(netns.inode(), tap.ifindex, 0).context("not listed")?;
    assert_exact_or_named(&report, &truth, device);
    Ok(())
}

#[test]
fn a_tap_with_xdp_that_passes() -> Result<()> {
    need!(live());
    xdp(XdpAction::Pass)
}

#[test]
fn a_tap_with_xdp_that_drops() -> Result<()> {
    need!(live());
    xdp(XdpAction::Drop)
}

#[test]
fn a_tap_with_xdp_that_sends_back() -> Result<()> {
    need!(live());
    xdp(XdpAction::Tx)
}

#[test]
fn a_packet_that_a_filter_cuts_short_counts_as_handed_over() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    tap.filter(Some(60))?;
    let vnet = observe()?;
    let (whole, mut read, mut handed_over) = (Frame::plain(1000), Flow::default(), Flow::default());
    load::send(&Sender::open(&netns, tap.ifindex)?, from_ref(&whole), 10)?;
    load::drain(&tap.files()[0], &mut read)?;
    assert_eq!((read.packets(), read.bytes()), (10, 600), "the guest sees what is left");
    // No hypervisor sets such a filter (TUNSETFILTEREBPF), and no tracepoint lies behind it.
    handed_over.add(whole.len(), 1, 10);
    let mut truth = Ledger::default();
    truth.rx(tap.key(0), handed_over);
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn a_macvtap() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let (lower, far) = links.add_veth("lower", "far")?;
    let ifindex = links.add_macvtap("mv0", lower)?;
    for link in [lower, far, ifindex] {
        links.up(link)?;
    }
    let file = macvtap::open(&netns, ifindex)?;
    let vnet = observe()?;
    let key = vnet_driver::truth::Queue { netns: netns.inode(), ifindex, generation: 0, queue: 0 };
    let mut truth = Ledger::default();
    truth.tx(key, load::transmit(&file, &[Frame::plain(60)], 20)?);
    // Broadcasts reach the macvtap whatever its address.
    let frame = Frame::plain(100).to_address([0xff; 6]);
    load::send(&Sender::open(&netns, far)?, from_ref(&frame), 30)?;
    let mut read = Flow::default();
    load::drain(&file, &mut read)?;
    truth.rx(key, read);
    let report = vnet.finish()?;
    let device = report.device(netns.inode(), ifindex, 0).context("not listed")?;
    assert_eq!(device["kind"], "macvtap");
    assert_exact_or_named(&report, &truth, device);
    Ok(())
}

#[test]
fn a_tun_is_listed_and_not_judged() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tun = Tap::new(&netns, &Config { tun: true, ..Config::new("tun0", 1) })?;
    let vnet = observe()?;
    let report = vnet.finish()?;
    let device = report.device(netns.inode(), tun.ifindex, 0).context("not listed")?;
    assert_eq!(device["kind"], "tun");
    assert!(
        report.0["findings"]
            .as_array()
            .is_none_or(|findings| !findings.iter().any(|f| f.to_string().contains("tun0"))),
        "no guest's NIC stands behind a tun"
    );
    Ok(())
}
