//! The user-space vhost driver against the real `vhost_net`: golden counts, and its truth against the tap's own counters.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use proptest::{
    prelude::{Just, ProptestConfig, Strategy},
    test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use vnet_driver::{
    bpf::{Program, XdpAction},
    frame::Gso,
    ftrace::{self, Functions},
    link::Links,
    need,
    netns::Netns,
    vhost::{
        Config, Guest, Kick, Packet, Script, Side, Sink, Step, UsedEvent, bridge,
        kernel::{Kernel, returns_refused},
        random,
        truth::{BATCH_XDP, Pair, Truth},
    },
};

/// A guest in a namespace of its own.
fn guest(config: Config) -> Result<Guest> {
    Guest::new(&Netns::new()?, config)
}

/// The truth of `guest`, once it equals the tap's own counters.
fn checked(guest: &Guest) -> Result<Truth> {
    let truth = guest.truth()?;
    let kernel = Links::open(&guest.tap().netns)?.stats(guest.tap().ifindex)?;
    let device = truth.device();
    assert_eq!(
        (kernel.rx_packets, kernel.rx_bytes, kernel.tx_packets, kernel.tx_bytes, kernel.tx_dropped),
        (device.tx.packets(), device.tx.bytes(), device.rx.packets(), device.rx.bytes(), device.rx.dropped()),
        "the tap and the truth differ: {truth:?}"
    );
    for pair in &truth.pairs {
        for ring in [pair.tx.ring, pair.rx.ring] {
            assert_eq!(ring.errors, 0, "vhost complained");
            assert!(ring.calls <= ring.used, "a call for nothing: {ring:?}");
        }
        assert_eq!(pair.tx.ring.used, pair.tx.ring.heads, "what was sent came back");
        assert_eq!(pair.tx.ring.used, pair.tx.flow.packets());
        let buffers: u64 = pair.rx.buffers.iter().map(|(buffers, packets)| buffers * packets).sum();
        assert_eq!(pair.rx.ring.used, buffers);
        assert_eq!(pair.rx.copied, pair.rx.bytes_with_header());
    }
    Ok(truth)
}

/// What one pair saw of a script.
fn one(config: Config, script: &Script) -> Result<Pair> {
    let guest = guest(config)?;
    guest.run(script)?;
    Ok(checked(&guest)?.pairs.remove(0))
}

/// Calls after sending `count` packets of `len` bytes, vnet header included, at once.
fn calls(count: usize, len: u32) -> Result<u64> {
    let pair = one(Config::default(), &Script::new().transmit(0, Packet::new(len - 12).times(count)))?;
    assert_eq!((pair.tx.ring.heads, pair.tx.ring.kicks), (count as u64, 1));
    Ok(pair.tx.ring.calls)
}

#[test]
fn golden_counts_of_tx() -> Result<()> {
    need!(need::vhost());
    let kernel = Kernel::look()?;
    println!("{kernel:?}");
    let cases: &[(usize, u32, u64)] = match (kernel.zerocopy, kernel.batches_large()) {
        // Zero-copy: a call per packet, copied or not.
        (true, _) => &[(200, 112, 200), (32, 255, 32), (32, 256, 32), (200, 1012, 200), (10, 5000, 10)],
        (false, false) => &[
            (64, 112, 1),
            (65, 112, 2),
            (200, 112, 4),
            (10, 5000, 10),
            (20, 3648, 1),
            (20, 3649, 20),
            (200, 5000, 200),
        ],
        (false, true) => &[
            (64, 112, 1),
            (65, 112, 2),
            (200, 112, 4),
            (10, 5000, 1),
            (20, 3648, 1),
            (20, 3649, 1),
            (200, 5000, 4),
        ],
    };
    for (count, len, expected) in cases {
        let calls = calls(*count, *len)?;
        println!("{count} x {len} B: {calls} calls");
        assert_eq!(calls, *expected, "{count} x {len} B on {kernel:?}");
    }
    Ok(())
}

/// Calls of kernel functions while one pair goes through a script; and its truth.
fn traced(config: Config, script: &Script) -> Result<(BTreeMap<String, u64>, Pair)> {
    let guest = guest(config)?;
    let functions = Functions::count(&[
        "tun_sendmsg",
        "tun_recvmsg",
        "vhost_exceeds_weight",
        "vhost_get_vq_desc",
        "vhost_get_vq_desc_n",
        "vhost_zerocopy_callback",
        "vhost_zerocopy_complete",
        "vhost_net_buf_peek",
    ])?;
    guest.run(script)?;
    let truth = checked(&guest)?.pairs.remove(0);
    Ok((functions.calls()?, truth))
}

/// Sum of the calls of functions that are one, under names of different times.
fn sum(calls: &BTreeMap<String, u64>, names: [&str; 2]) -> u64 {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

#[test]
fn golden_counts_with_xdp_on_the_tap() -> Result<()> {
    need!(need::vhost());
    let kernel = Kernel::look()?;
    for (len, batched) in [(BATCH_XDP, true), (BATCH_XDP + 1, false)] {
        let guest = guest(Config::default())?;
        let program = Program::xdp(XdpAction::Pass)?;
        Links::open(&guest.tap().netns)?.set_xdp(guest.tap().ifindex, Some(&program))?;
        guest.run(&Script::new().transmit(0, Packet::new(len - 12).times(20)))?;
        let calls = checked(&guest)?.pairs[0].tx.ring.calls;
        println!("20 x {len} B with XDP: {calls} calls");
        let once = !kernel.zerocopy && (batched || kernel.batches_large());
        assert_eq!(calls, if once { 1 } else { 20 });
    }
    Ok(())
}

#[test]
fn golden_counts_of_functions() -> Result<()> {
    need!(need::vhost());
    need!(ftrace::missing());
    let kernel = Kernel::look()?;
    let limited = Config { send_buffer: Some(1 << 20), ..Config::default() };
    // Packets, length with vnet header, guest; then sendmsg in copy mode, and zero-copy completions in the other.
    let cases = [
        (200, 112, Config::default(), 4, 0),
        (200, 112, limited, 200, 0),
        (32, 255, Config::default(), 1, 0),
        (32, 256, Config::default(), 1, 32),
        (200, 1000, Config::default(), 4, 200),
    ];
    for (count, len, config, sendmsg, completions) in cases {
        let script = Script::new().transmit(0, Packet::new(len - 12).times(count));
        let (calls, pair) = traced(config, &script)?;
        println!("{count} x {len} B: {calls:?}, {} calls", pair.tx.ring.calls);
        let count = count as u64;
        let expected = if kernel.zerocopy { (count, completions) } else { (sendmsg, 0) };
        let completed = sum(&calls, ["vhost_zerocopy_callback", "vhost_zerocopy_complete"]);
        assert_eq!((calls["tun_sendmsg"], completed), expected);
        assert_eq!(calls["vhost_exceeds_weight"], count);
        let taken = sum(&calls, ["vhost_get_vq_desc", "vhost_get_vq_desc_n"]);
        // One that finds nothing ends each run; a completion may begin a run more.
        assert!(taken == count + 1 || (completed > 0 && taken > count), "{taken} looks at the ring");
        assert_eq!(pair.tx.ring.calls, if kernel.zerocopy { count } else { count.div_ceil(64) });
    }
    Ok(())
}

#[test]
fn runts_come_back_and_nobody_counts_them() -> Result<()> {
    need!(need::vhost());
    if Kernel::look()?.zerocopy && !returns_refused()? {
        println!("a runt that is sent singly never comes back on this kernel");
        return Ok(());
    }
    let pair = one(Config::default(), &Script::new().transmit(0, Packet::new(10).times(20)))?;
    assert_eq!((pair.tx.ring.used, pair.tx.accepted().packets()), (20, 0));
    Ok(())
}

#[test]
fn no_interrupt_is_obeyed() -> Result<()> {
    need!(need::vhost());
    let script =
        Script::new().on(0, Step::Interrupts(Side::Tx, false)).transmit(0, Packet::new(100).times(200));
    let pair = one(Config::default(), &script)?;
    assert_eq!(pair.tx.ring.calls, 0);
    Ok(())
}

#[test]
fn a_used_event_is_obeyed() -> Result<()> {
    need!(need::vhost());
    let guest = guest(Config { event_idx: true, ..Config::default() })?;
    // The first notification after a start is always a call; then the one for the entry that was asked for.
    for (event, count, calls) in
        [(UsedEvent::After(200), 200, 2), (UsedEvent::After(100), 100, 3), (UsedEvent::Never, 150, 3)]
    {
        let script = Script::new().on(0, Step::UsedEvent(Side::Tx, event));
        guest.run(&script.transmit(0, Packet::new(100).times(count)))?;
        let ring = checked(&guest)?.pairs[0].tx.ring;
        assert_eq!(ring.calls, calls, "{event:?}: {ring:?}");
    }
    assert_eq!(checked(&guest)?.pairs[0].tx.ring.kicks, 3);
    Ok(())
}

#[test]
fn guests_leave_nothing_behind() -> Result<()> {
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
fn golden_counts_of_rx() -> Result<()> {
    need!(need::vhost());
    need!(ftrace::missing());
    // Buffers come last: the worker finds all packets at once.
    let script = Script::new()
        .on(0, Step::Inject(Packet::new(100).times(200)))
        .on(0, Step::PostRx(vec![1526; 300]))
        .on(0, Step::Kick(Side::Rx, Kick::Wanted))
        .on(0, Step::Wait(Side::Rx));
    let (calls, pair) = traced(Config::default(), &script)?;
    println!("RX 200 x 100 B: {calls:?}, {} calls", pair.rx.ring.calls);
    assert_eq!((calls["tun_recvmsg"], calls["vhost_exceeds_weight"]), (200, 200));
    // One that finds nothing ends the run; before there were buffers, some runs had ended early.
    assert!(calls.get("vhost_net_buf_peek").is_none_or(|peeks| *peeks > 200));
    assert_eq!((pair.rx.ring.calls, pair.rx.ring.used), (4, 200));
    Ok(())
}

#[test]
fn a_ring_full_drops_by_steps() -> Result<()> {
    need!(need::vhost());
    let guest = guest(Config::default())?;
    guest.run(&Script::new().on(0, Step::Inject(Packet::new(100).times(1300))))?;
    let dropped = guest.truth()?.pairs[0].rx.dropped;
    println!("1300 without buffers: {dropped} dropped");
    ensure!(dropped <= 300 && (300 - dropped) % 16 == 0 && 300 - dropped <= 64, "{dropped} dropped");
    guest.run(&Script::new().on(0, Step::Refill(Some(1526))).on(0, Step::Wait(Side::Rx)))?;
    let truth = checked(&guest)?;
    assert_eq!(truth.pairs[0].rx.flow.packets(), 1300 - dropped);
    truth.pairs.first().context("one pair").map(drop)
}

#[test]
fn packets_go_from_guest_to_guest() -> Result<()> {
    need!(need::vhost());
    let netns = Netns::new()?;
    let named = |name: &str| Config { name: name.into(), pairs: 2, ..Config::default() };
    let (a, b) = (Guest::new(&netns, named("a"))?, Guest::new(&netns, named("b"))?);
    if let Err(why) = bridge(&netns, "br0", &[&a, &b]) {
        println!("skipped: needs a bridge: {why:#}");
        return Ok(());
    }
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
