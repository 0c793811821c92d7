//! The user-space vhost driver against the real vhost_net: golden counts, and its truth against the tap's own counters.

use anyhow::{Context, Result, ensure};
use vnet_driver::{
    link::Links,
    need,
    netns::Netns,
    vhost::{
        Config, Guest, Kick, Packet, Script, Side, Step,
        kernel::Kernel,
        truth::{Pair, Truth},
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

#[test]
fn golden_counts_without_a_batch_at_the_tap() -> Result<()> {
    need!(need::vhost());
    let config = Config { send_buffer: Some(1 << 20), ..Config::default() };
    let pair = one(config, &Script::new().transmit(0, Packet::new(100).times(200)))?;
    println!("200 x 112 B, sndbuf 1 MiB: {} calls", pair.tx.ring.calls);
    assert_eq!(pair.tx.ring.calls, if Kernel::look()?.zerocopy { 200 } else { 4 });
    Ok(())
}

#[test]
fn runts_come_back_and_nobody_counts_them() -> Result<()> {
    need!(need::vhost());
    let pair = one(Config::default(), &Script::new().transmit(0, Packet::new(10).times(20)))?;
    assert_eq!((pair.tx.ring.used, pair.tx.accepted()), (20, (0, 0)));
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
fn golden_counts_of_rx() -> Result<()> {
    need!(need::vhost());
    // Buffers come last: the worker finds all packets at once.
    let script = Script::new()
        .on(0, Step::Inject(Packet::new(100).times(200)))
        .on(0, Step::PostRx(vec![1526; 300]))
        .on(0, Step::Kick(Side::Rx, Kick::Wanted))
        .on(0, Step::Wait(Side::Rx));
    let pair = one(Config::default(), &script)?;
    println!("RX 200 x 100 B: {} calls, {} kicks", pair.rx.ring.calls, pair.rx.ring.kicks);
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
