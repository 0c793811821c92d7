//! Packets, bytes, segments, sizes, buffers, kicks and calls of every pair.

use std::{env, fmt::Write as _, time::UNIX_EPOCH};

use anyhow::{Context as _, Error, Result};
use proptest::{
    prelude::{Just, ProptestConfig, Strategy},
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use vnet_driver::{
    frame::Gso,
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, UsedEvent, kernel::returns_refused, random},
};

use crate::{
    Cases, assert_exact, assert_running,
    expect::{self, Known},
    observe, row, vhost, watched,
};

#[test]
fn both_directions_at_once() -> Result<()> {
    need!(vhost());
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config { pairs: 4, event_idx: true, ..Config::default() })?;
    let scripts = [1_usize, 3, 9, 27].map(|n| {
        vec![
            Step::Refill(Some(1526)),
            Step::Send(Packet::new(60 + u32::try_from(n).unwrap_or(0)).times(20 * n)),
            Step::Inject(Packet::new(700).times(7 * n)),
            Step::Send(Packet::new(1514).times(11 * n)),
            Step::Wait(Side::Tx),
            Step::Wait(Side::Rx),
        ]
    });
    guest.run_each(&scripts)?;
    assert_running([&guest], &vnet.finish()?);
    Ok(())
}

pub(crate) fn lengths() -> Cases {
    let edges = [14_u32, 60, 64, 128, 243, 244, 256, 512, 1024, 1518, 3380, 3636, 4096, 9000, 65_000];
    let lengths: Vec<_> = edges.iter().flat_map(|edge| edge.saturating_sub(2).max(14)..=edge + 2).collect();
    let packets: Vec<_> = lengths.iter().map(|len| Packet::new(*len)).collect();
    let mut script = Script::new().on(0, Step::Refill(Some(65_550)));
    for some in packets.chunks(40) {
        script = script.transmit(0, some.to_vec());
    }
    script = script.receive(0, packets.into_iter().filter(|packet| packet.len <= 9000).collect());
    // In one piece and in several.
    let gso = [1600_u32, 2962, 3600, 5000, 30_000, 65_226].into_iter().flat_map(|len| {
        [Packet::new(len).gso(Gso::Tcp4, 1448), Packet::new(len).gso(Gso::Tcp6, 1428).parts(3)]
    });
    let script = script.transmit(0, gso.collect());
    let case = |send_buffer| (Config { send_buffer, ..Config::default() }, script.clone());
    vec![case(None), case(Some(1 << 20))]
}

#[test]
fn every_length_around_every_limit_and_gso() -> Result<()> {
    need!(vhost());
    let (guests, report) = watched("lengths")?;
    assert_exact(guests, report);
    Ok(())
}

pub(crate) fn rings() -> Cases {
    let sends = Script::new().transmit(0, Packet::new(100).times(200));
    let receives = Script::new()
        .on(0, Step::PostRx(vec![1526; 300]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .receive(0, Packet::new(100).times(200));
    let no_calls = Script::new()
        .on(0, Step::UsedEvent(Side::Tx, UsedEvent::Never))
        .transmit(0, Packet::new(100).times(200))
        .on(0, Step::UsedEvent(Side::Tx, UsedEvent::Next))
        .transmit(0, Packet::new(100).times(100));
    let no_buffers_and_several_each = Script::new()
        .on(0, Step::Inject(Packet::new(3000).times(20)))
        .on(0, Step::PostRx(vec![1000; 30]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .on(0, Step::PostRx(vec![1000; 100]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .on(0, Step::Wait(Side::Rx));
    let plain = Config::default;
    vec![
        (Config { event_idx: true, ..plain() }, no_calls),
        (plain(), sends),
        (plain(), receives),
        (plain(), no_buffers_and_several_each),
    ]
}

#[test]
fn rings_with_and_without_calls_and_buffers() -> Result<()> {
    need!(vhost());
    let (guests, report) = watched("rings")?;
    assert_exact(guests, report);
    let tx = &row(guests[0].key(0), report)["tx"];
    assert!(tx["calls_suppressed"].as_u64() > Some(0), "{tx}");
    Ok(())
}

pub(crate) fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// `VNET_SEED`, or another each time.
pub(crate) fn seed() -> u64 {
    number("VNET_SEED").unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs() % 1_000_000))
}

/// A runner that draws the same for one seed.
pub(crate) fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(ProptestConfig::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Any guests, one after the other under one vnet; what differs is told with all guests and their scripts.
#[test]
fn whatever_a_guest_does() -> Result<()> {
    need!(vhost());
    let runts = returns_refused()?;
    let any = random::configs(4)
        .prop_flat_map(move |config| (Just(config.clone()), random::scripts(&config, 4, runts)));
    let (seed, cases) = (seed(), number("VNET_CASES").unwrap_or(16));
    let again = format!("VNET_SEED={seed} VNET_CASES={cases}");
    println!("{again}");
    let mut runner = runner(seed);
    // One namespace, so that each tap has an index of its own.
    let (vnet, netns) = (observe()?, Netns::new()?);
    let (mut ended, mut cases_by_tap) = (Vec::new(), String::new());
    for number in 0..cases {
        let (config, script) = any.new_tree(&mut runner).map_err(Error::msg)?.current();
        let what = format!("case {number} of {again}: {config:?}{script:?}");
        let guest = Guest::new(&netns, config)?;
        guest.run(&script).with_context(|| what.clone())?;
        // It is gone when the next begins: any number of them fits into the machine.
        ended.push(Known { runs: false, ..Known::of(&guest)? });
        let _infallible = writeln!(cases_by_tap, "ifindex {}: {what}", guest.tap().ifindex);
    }
    let differences = expect::differences(&ended, &vnet.finish()?);
    assert!(differences.is_empty(), "vnet and the truth differ:\n{differences:.10000}\n{cases_by_tap}");
    Ok(())
}
