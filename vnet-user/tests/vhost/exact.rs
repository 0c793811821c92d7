//! Packets, bytes, segments, sizes, buffers, kicks and calls of every pair.

use std::{env, time::UNIX_EPOCH};

use anyhow::Result;
use proptest::{
    prelude::{Just, ProptestConfig, Strategy},
    test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use vnet_driver::{
    frame::Gso,
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, UsedEvent, kernel::returns_refused, random},
};

use crate::{assert_exact, observe, vhost, watched};

#[test]
fn one_pair_that_sends() -> Result<()> {
    need!(vhost());
    let script = Script::new().transmit(0, Packet::new(100).times(200));
    let (guest, report) = watched(Config::default(), &script)?;
    assert_exact(&guest, &report);
    Ok(())
}

#[test]
fn one_pair_that_receives() -> Result<()> {
    need!(vhost());
    let script = Script::new()
        .on(0, Step::PostRx(vec![1526; 300]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .receive(0, Packet::new(100).times(200));
    let (guest, report) = watched(Config::default(), &script)?;
    assert_exact(&guest, &report);
    Ok(())
}

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
    assert_exact(&guest, &vnet.finish()?);
    Ok(())
}

#[test]
fn every_length_around_every_limit() -> Result<()> {
    need!(vhost());
    let edges = [14_u32, 60, 64, 128, 243, 244, 256, 512, 1024, 1518, 3380, 3636, 4096, 9000, 65_000];
    let lengths: Vec<_> = edges.iter().flat_map(|edge| edge.saturating_sub(2).max(14)..=edge + 2).collect();
    let packets: Vec<_> = lengths.iter().map(|len| Packet::new(*len)).collect();
    for send_buffer in [None, Some(1 << 20)] {
        let mut script = Script::new().on(0, Step::Refill(Some(65_550)));
        for some in packets.chunks(40) {
            script = script.transmit(0, some.to_vec());
        }
        let received: Vec<_> =
            lengths.iter().filter(|len| **len <= 9000).map(|len| Packet::new(*len)).collect();
        script = script.receive(0, received);
        let (guest, report) = watched(Config { send_buffer, ..Config::default() }, &script)?;
        assert_exact(&guest, &report);
    }
    Ok(())
}

#[test]
fn gso_packets_in_one_piece_and_in_several() -> Result<()> {
    need!(vhost());
    for send_buffer in [None, Some(1 << 20)] {
        let mut packets = Vec::new();
        for len in [1600_u32, 2962, 3600, 5000, 30_000, 65_226] {
            packets.push(Packet::new(len).gso(Gso::Tcp4, 1448));
            packets.push(Packet::new(len).gso(Gso::Tcp6, 1428).parts(3));
        }
        let script = Script::new().transmit(0, packets);
        let (guest, report) = watched(Config { send_buffer, ..Config::default() }, &script)?;
        assert_exact(&guest, &report);
    }
    Ok(())
}

#[test]
fn calls_that_the_guest_does_not_want() -> Result<()> {
    need!(vhost());
    let script = Script::new()
        .on(0, Step::UsedEvent(Side::Tx, UsedEvent::Never))
        .transmit(0, Packet::new(100).times(200))
        .on(0, Step::UsedEvent(Side::Tx, UsedEvent::Next))
        .transmit(0, Packet::new(100).times(100));
    let (guest, report) = watched(Config { event_idx: true, ..Config::default() }, &script)?;
    assert_exact(&guest, &report);
    let row = report.queue(guest.key(0)).expect("counted");
    assert!(row["tx"]["calls_suppressed"].as_u64() > Some(0), "{row}");
    Ok(())
}

#[test]
fn no_buffers_and_more_than_one_each() -> Result<()> {
    need!(vhost());
    let script = Script::new()
        .on(0, Step::Inject(Packet::new(3000).times(20)))
        .on(0, Step::PostRx(vec![1000; 30]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .on(0, Step::PostRx(vec![1000; 100]))
        .on(0, Step::Kick(Side::Rx, Kick::Always))
        .on(0, Step::Wait(Side::Rx));
    let (guest, report) = watched(Config::default(), &script)?;
    assert_exact(&guest, &report);
    Ok(())
}

/// A runner with a printed seed; `VNET_SEED` and `VNET_CASES` choose others.
fn runner(cases: u32) -> TestRunner {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs() % 1_000_000);
    let seed = number("VNET_SEED").unwrap_or(clock);
    println!("seed {seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let cases = number("VNET_CASES").and_then(|n| u32::try_from(n).ok()).unwrap_or(cases);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn whatever_a_guest_does() -> Result<()> {
    need!(vhost());
    let runts = returns_refused()?;
    let any = random::configs(4)
        .prop_flat_map(move |config| (Just(config.clone()), random::scripts(&config, 4, runts)));
    let result = runner(12).run(&any, |(config, script)| {
        let run = || -> Result<String> {
            let (guest, report) = watched(config.clone(), &script)?;
            Ok(crate::expect::differences(&guest, &guest.truth()?, &report))
        };
        match run() {
            Ok(differences) if differences.is_empty() => Ok(()),
            Ok(differences) => Err(TestCaseError::fail(format!("vnet and the truth differ:\n{differences}"))),
            Err(error) => Err(TestCaseError::fail(format!("{error:#}"))),
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    Ok(())
}
