//! Guests from beginning to end: several at once, in any order, with any script.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use proptest::{
    prelude::{Just, ProptestConfig, Strategy},
    test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use vnet_driver::{
    frame::Gso,
    need,
    netns::Netns,
    vhost::{
        Config, Guest, Kick, Packet, Script, Side, Sink, Step, kernel::returns_refused, neighbours, random,
    },
};

use crate::{alone, checked, guest};

#[test]
fn guests_leave_nothing_behind() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let files = || Ok::<_, std::io::Error>(std::fs::read_dir("/proc/self/fd")?.count());
    let netns = Netns::new()?;
    let before = files()?;
    for round in 0..20 {
        let guest = Guest::new(&netns, Config { pairs: 3, event_idx: true, ..Config::default() })?;
        guest.run(&Script::new().transmit(2, Packet::new(100).times(5)))?;
        let workers = checked(&guest)?.pairs.into_iter().flat_map(|pair| pair.workers);
        let workers: Vec<_> = workers.map(|tid| format!("/proc/{tid}/comm")).collect();
        assert_eq!(workers.len(), 3);
        if round % 2 == 0 {
            drop(guest);
        } else {
            guest.end_tap_first();
        }
        let alive =
            |path: &String| std::fs::read_to_string(path).is_ok_and(|comm| comm.starts_with("vhost-"));
        // One that is a thread of this process says that it is done a moment before it is gone.
        let deadline = Instant::now() + Duration::from_secs(5);
        while workers.iter().any(alive) {
            ensure!(Instant::now() < deadline, "a worker outlives its device");
            std::thread::yield_now();
        }
        assert_eq!(files()?, before);
    }
    Ok(())
}

#[test]
fn packets_go_from_guest_to_guest() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let Some([a, b]) = neighbours(&Netns::new()?)? else { return Ok(()) };
    b.step(1, &Step::Refill(Some(1526)))?;
    b.expect(1, 300)?;
    let packets = [Packet::new(60), Packet::new(1514).parts(3), Packet::new(9000).gso(Gso::Tcp4, 1448)];
    a.run(
        &Script::new().on(0, Step::Send(packets.map(|p| p.to(1)).repeat(100))).on(0, Step::Wait(Side::Tx)),
    )?;
    b.step(1, &Step::Wait(Side::Rx))?;
    let (sent, arrived) = (checked(&a)?, checked(&b)?);
    assert_eq!(sent.pairs[0].tx.flow, arrived.pairs[1].rx.flow);
    assert_eq!(arrived.pairs[1].rx.buffers, BTreeMap::from([(1, 200), (6, 100)]));
    Ok(())
}

#[test]
fn a_receiver_reads_what_was_sent() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let guest = guest(Config { sink: Sink::Receiver, ..Config::default() })?;
    guest.run(&Script::new().on(0, Step::Send(Packet::new(1000).times(2000))).on(0, Step::Wait(Side::Tx)))?;
    checked(&guest)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while guest.truth()?.received < 2000 {
        ensure!(Instant::now() < deadline, "of 2000 packets the receiver has {}", guest.truth()?.received);
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_device_may_end_in_any_order_and_again() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let guest = guest(Config { pairs: 2, event_idx: true, ..Config::default() })?;
    let both = |script: Script| {
        let script = script.transmit(1, Packet::new(100).times(5)).on(1, Step::PostRx(vec![1526; 5]));
        script.on(1, Step::Kick(Side::Rx, Kick::Wanted)).receive(1, Packet::new(200).times(5))
    };
    let mut script = Script::new();
    for end in
        [vec![Step::Reset], vec![Step::Close, Step::Open], vec![Step::Backend(false), Step::Backend(true)]]
    {
        script = both(script).all(1, end);
    }
    guest.run(&both(script))?;
    let truth = checked(&guest)?;
    assert_eq!((truth.pairs[1].tx.flow.packets(), truth.pairs[1].rx.flow.packets()), (20, 20));
    // Every reset and every opening has a worker of its own.
    assert_eq!((truth.pairs[0].workers.len(), truth.pairs[1].workers.len()), (1, 3));
    guest.end_tap_first();
    Ok(())
}

#[test]
fn pairs_run_at_once() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let guest = guest(Config { pairs: 8, event_idx: true, ..Config::default() })?;
    let steps = vec![
        Step::Refill(Some(2048)),
        Step::Send(Packet::new(100).times(2000)),
        Step::Inject(Packet::new(1000).times(300)),
        Step::Send(Packet::new(5000).parts(4).times(300)),
        Step::Wait(Side::Tx),
        Step::Wait(Side::Rx),
    ];
    guest.run_each(&vec![steps; 8])?;
    let truth = checked(&guest)?;
    assert!(
        truth.pairs.iter().all(|pair| pair.tx.flow.packets() == 2300 && pair.rx.injected.packets() == 300)
    );
    Ok(())
}

/// Random guests with random scripts: `VNET_SEED` (printed) repeats a run, `VNET_CASES` sets how many.
#[test]
fn any_script_leaves_truth_and_tap_in_agreement() -> Result<()> {
    let _alone = alone();
    need!(need::vhost());
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse()).transpose();
    let seed = number("VNET_SEED")?.unwrap_or(UNIX_EPOCH.elapsed()?.as_secs());
    let cases = u32::try_from(number("VNET_CASES")?.unwrap_or(16))?;
    println!("VNET_SEED={seed} VNET_CASES={cases}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        ProptestConfig { cases, max_shrink_iters: 50, failure_persistence: None, ..Default::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let runts = returns_refused()?;
    let scripts = random::configs(8).prop_flat_map(|config| {
        let scripts = random::scripts(&config, 6, runts);
        (Just(config), scripts)
    });
    let sum = std::cell::RefCell::new([0; 6]);
    TestRunner::new_with_rng(config, rng).run(&scripts, |(config, script)| {
        let run = || {
            let guest = guest(config)?;
            guest.run(&script)?;
            checked(&guest)
        };
        let truth = run().map_err(|e| TestCaseError::fail(format!("{e:#}")))?;
        for pair in truth.pairs {
            let (tx, rx) = (pair.tx, pair.rx);
            let counts = [
                tx.flow.packets(),
                rx.flow.packets(),
                rx.ring.used,
                tx.ring.kicks,
                tx.ring.calls,
                rx.ring.calls,
            ];
            sum.borrow_mut().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(())
    })?;
    println!("TX packets, RX packets, RX buffers, TX kicks, TX calls, RX calls: {:?}", sum.borrow());
    Ok(())
}
