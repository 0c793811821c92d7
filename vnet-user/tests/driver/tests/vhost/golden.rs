//! What the real `vhost_net` does, counted on kernels of several series.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use vnet_driver::{
    bpf::{Program, XdpAction},
    ftrace::{self, Functions},
    link::Links,
    need,
    vhost::{
        Config, Kick, Packet, Script, Side, Step, UsedEvent,
        kernel::{Kernel, returns_refused},
        truth::{BATCH_XDP, Pair},
    },
};

use crate::{alone, checked, guest, one};

/// Calls after sending `count` packets of `len` bytes, vnet header included, at once.
fn calls(count: usize, len: u32) -> Result<u64> {
    let pair = one(Config::default(), &Script::new().transmit(0, Packet::new(len - 12).times(count)))?;
    assert_eq!((pair.tx.ring.heads, pair.tx.ring.kicks), (count as u64, 1));
    Ok(pair.tx.ring.calls)
}

#[test]
fn golden_counts_of_tx() -> Result<()> {
    let _alone = alone();
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
    let _alone = alone();
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
    let _alone = alone();
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
    let _alone = alone();
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
    let _alone = alone();
    need!(need::vhost());
    let script =
        Script::new().on(0, Step::Interrupts(Side::Tx, false)).transmit(0, Packet::new(100).times(200));
    let pair = one(Config::default(), &script)?;
    assert_eq!(pair.tx.ring.calls, 0);
    Ok(())
}

#[test]
fn a_used_event_is_obeyed() -> Result<()> {
    let _alone = alone();
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
fn golden_counts_of_rx() -> Result<()> {
    let _alone = alone();
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
    let _alone = alone();
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
