//! A host that does not let go of packets: a full send buffer, and zero-copy packets in flight.

use anyhow::Result;
use serde_json::json;
use vnet_driver::{
    hold::Hold,
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, kernel::Kernel},
};

use crate::{assert_running, described, observe, row};

/// Makes a device that holds what comes from the guest's tap, or says why not.
fn hold(guest: &Guest) -> Option<Hold> {
    match Hold::new(guest.tap()) {
        Ok(hold) => Some(hold),
        Err(why) => {
            println!("skipped: needs veth, sch_plug, sch_ingress and cls_bpf: {why:#}");
            None
        }
    }
}

#[test]
fn a_full_send_buffer_is_tried_again() -> Result<()> {
    need!(described());
    let vnet = observe()?;
    let config = Config { send_buffer: Some(20_000), ..Config::default() };
    let guest = Guest::new(&Netns::new()?, config)?;
    let Some(hold) = hold(&guest) else { return Ok(()) };
    // Shorter than what goes without a copy, and longer.
    for len in [100_u32, 1000] {
        let script = Script::new()
            .on(0, Step::Publish(Packet::new(len).times(150)))
            .on(0, Step::Kick(Side::Tx, Kick::Always))
            // Some more, while the buffer is full: each tries again and puts back.
            .on(0, Step::Settle)
            .on(0, Step::Kick(Side::Tx, Kick::Always))
            .on(0, Step::Settle);
        guest.run(&script)?;
    }
    hold.release()?;
    guest.step(0, &Step::Wait(Side::Tx))?;
    let truth = guest.truth()?;
    assert_eq!(truth.pairs[0].tx.flow.packets(), 300);
    let report = vnet.finish()?;
    assert_running([&guest], &report);
    let tx = &row(guest.key(0), &report)["tx"];
    println!("{}", tx["runs"]);
    assert!(tx["runs"]["no_buffers"].as_u64() >= Some(1), "the send buffer was never full: {}", tx["runs"]);
    assert_eq!(tx["copies"]["in_flight"], 0, "{tx}");
    Ok(())
}

/// What a guest that sends `count` packets of 1000 bytes at once has in flight, while none is let go and afterwards.
#[test]
fn packets_in_flight_and_those_that_are_too_many() -> Result<()> {
    need!(described());
    if !Kernel::look()?.zerocopy {
        println!("skipped: vhost_net is loaded without experimental_zcopytx");
        return Ok(());
    }
    let (during, after) = (observe()?, observe()?);
    let mut stalled = Vec::new();
    for (ring, limit, delivered) in [(256_u16, 64_u64, false), (512, 128, true)] {
        let guest = Guest::new(&Netns::new()?, Config { ring, ..Config::default() })?;
        let Some(hold) = hold(&guest) else { return Ok(()) };
        let script = Script::new()
            .on(0, Step::Publish(Packet::new(1000).times(200)))
            .on(0, Step::Kick(Side::Tx, Kick::Always));
        guest.run(&script)?;
        // One more than the limit is sent without a copy (`vhost_exceeds_maxpend`: strictly more); the rest comes back.
        while guest.truth()?.pairs[0].tx.ring.used < 200 - limit - 1 {
            guest.step(0, &Step::Settle)?;
        }
        // Before the guest, whose devices wait for what is in flight.
        stalled.push((hold, guest, limit, delivered));
    }
    let report = during.finish()?;
    for (_, guest, limit, _) in &stalled {
        let tx = &row(guest.key(0), &report)["tx"];
        let (copies, back) = (&tx["copies"], 200 - limit - 1);
        assert_eq!(
            (&copies["in_flight"], &copies["zerocopy"], &copies["single"], &copies["why"]["pending"]),
            (&json!(limit + 1), &json!(0), &json!(back), &json!(back)),
            "limit of {limit}: {copies}"
        );
        assert_eq!((&tx["packets"], &tx["used"]), (&json!(200), &json!(back)), "{tx}");
    }
    let mut ended = Vec::new();
    for (hold, guest, limit, delivered) in stalled {
        // What is dropped was never copied; what is handed to another device's receiver is (`____dev_forward_skb`).
        let hold = delivered.then_some(hold);
        hold.as_ref().map(Hold::release).transpose()?;
        guest.step(0, &Step::Wait(Side::Tx))?;
        guest.truth()?;
        ended.push((hold, guest, limit, delivered));
    }
    let report = after.finish()?;
    assert_running(ended.iter().map(|(_, guest, ..)| guest), &report);
    for (_, guest, limit, delivered) in &ended {
        let copies = &row(guest.key(0), &report)["tx"]["copies"];
        let (late, uncopied) = if *delivered { (limit + 1, 0) } else { (0, limit + 1) };
        assert_eq!(
            (&copies["in_flight"], &copies["zerocopy"], &copies["why"]["late"], &copies["single"]),
            (&json!(0), &json!(uncopied), &json!(late), &json!(200 - limit - 1)),
            "limit of {limit}, after: {copies}"
        );
    }
    Ok(())
}
