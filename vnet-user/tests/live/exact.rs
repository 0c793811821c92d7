//! Every count of every queue, both directions, all sizes, all drops.

use anyhow::Result;
use vnet_driver::{
    bpf::Program,
    frame::{Frame, Gso},
    host::Sender,
    link::Links,
    load::{self, Mix, Share},
    need,
    netns::Netns,
    tap::{Config, Tap},
    truth::{Flow, Ledger},
};

use crate::{assert_exact, live, observe};

#[test]
fn uneven_queues_in_both_directions_at_once() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let shares = [1, 10, 100, 1000].map(|n| Share { tx: 50 * n, rx: 50 * n });
    load::both(&tap, &Mix::everything(), &shares, &mut truth)?;
    let kernel = Links::open(&netns)?.stats(tap.ifindex)?;
    let report = vnet.finish()?;
    assert_exact(&report, &truth);

    let whole = truth.device(netns.inode(), tap.ifindex, 0);
    assert_eq!(
        (kernel.rx_packets, kernel.tx_packets, kernel.tx_dropped),
        (whole.tx.packets(), whole.rx.packets(), whole.rx.dropped()),
        "the truth is the kernel's too"
    );
    Ok(())
}

#[test]
fn every_frame_length_around_every_edge() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let vnet = observe()?;
    let frames: Vec<_> = (14..=4200).chain([9000, 65_535]).map(Frame::plain).collect();
    let mut truth = Ledger::default();
    let share = Share { tx: frames.len() as u64, rx: frames.len() as u64 };
    load::both(&tap, &Mix::same(&frames), &[share], &mut truth)?;
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    let sizes = &report.queue(tap.key(0)).expect("counted")["tx"]["sizes"];
    let edges: Vec<_> = sizes.as_array().expect("a list").iter().filter_map(|s| s["le"].as_u64()).collect();
    assert!(edges.contains(&256), "what zero-copy never takes is a class of its own: {edges:?}");
    Ok(())
}

#[test]
fn drops_by_reason() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    tap.steer_by_address()?;
    let links = Links::open(&netns)?;
    let sender = Sender::open(&netns, tap.ifindex)?;
    let vnet = observe()?;
    let (mut tx, mut rx) = ([Flow::default(), Flow::default()], [Flow::default(), Flow::default()]);

    links.set_queue_len(tap.ifindex, 32)?;
    for queue in [0_u8, 1] {
        for _ in 0..50 + u64::from(queue) {
            sender.send(&Frame::plain(100).to(queue))?;
        }
        let (file, flow) = (&tap.files()[usize::from(queue)], &mut rx[usize::from(queue)]);
        load::drain(file, flow)?;
        let lost = 50 + u64::from(queue) - flow.packets();
        assert!(lost > 0, "nothing was dropped");
        flow.add_drops("FULL_RING", lost);
    }
    tap.filter(Some(0))?;
    for _ in 0..3 {
        sender.send(&Frame::plain(100).to(1))?;
    }
    tap.filter(None)?;
    rx[1].add_drops("TAP_FILTER", 3);

    tap.address_filter(Some([2, 0, 0, 0, 0, 1]))?;
    for queue in [0, 0, 1] {
        sender.send(&Frame::plain(200).to(queue))?;
    }
    tap.address_filter(None)?;
    rx[0].add_drops("TAP_TXFILTER", 2);
    for (file, flow) in tap.files().iter().zip(&mut rx) {
        load::drain(file, flow)?;
    }

    // With every queue detached and the device up, packets go to queue 0, which nobody serves.
    tap.detach(1)?;
    tap.detach(0)?;
    for _ in 0..4 {
        sender.send(&Frame::plain(100))?;
    }
    rx[0].add_drops("DEV_READY", 4);
    tap.attach(0)?;
    tap.attach(1)?;

    links.down(tap.ifindex)?;
    for (index, flow) in tx.iter_mut().enumerate() {
        for _ in 0..=index {
            assert!(tap.files()[index].transmit(&Frame::plain(100)).is_err(), "the device is down");
        }
        flow.add_drops("DEV_READY", index as u64 + 1);
    }
    let kernel = links.stats(tap.ifindex)?;
    let report = vnet.finish()?;
    let mut truth = Ledger::default();
    for (queue, (tx, rx)) in (0..).zip(tx.into_iter().zip(rx)) {
        truth.tx(tap.key(queue), tx);
        truth.rx(tap.key(queue), rx);
    }
    let whole = truth.device(netns.inode(), tap.ifindex, 0);
    assert_eq!((kernel.tx_dropped, kernel.rx_dropped), (whole.rx.dropped(), whole.tx.dropped()));
    assert_exact(&report, &truth);
    Ok(())
}

#[test]
fn a_refused_header_is_a_drop_and_no_packet() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    for (queue, bad) in [(0, 7), (1, 3)] {
        let file = &tap.files()[usize::from(queue)];
        let mut flow = load::transmit(file, &[Frame::plain(60)], 5)?;
        for _ in 0..bad {
            assert!(file.transmit(&Frame::bad_header(100)).is_err());
        }
        // The kernel gives no better reason, and drops it before the packet has a device.
        flow.add_drops("NOT_SPECIFIED", bad);
        truth.tx(tap.key(queue), flow);
    }
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn what_the_stack_drops_later_is_no_drop_of_the_tap() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let (dropped, stolen) =
        (Tap::new(&netns, &Config::new("dropped", 2))?, Tap::new(&netns, &Config::new("stolen", 1))?);
    Links::open(&netns)?.classify(stolen.ifindex, &Program::steal()?)?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    for (tap, file, count) in [(&dropped, 0, 11), (&dropped, 1, 22), (&stolen, 0, 33)] {
        truth.tx(tap.key(file), load::transmit(&tap.files()[usize::from(file)], &[Frame::plain(60)], count)?);
    }
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    let stack_drops = |tap: &Tap, queue| report.queue(tap.key(queue)).map(|q| q["tx"]["stack_drops"].clone());
    assert_eq!(stack_drops(&dropped, 0), Some(11.into()));
    assert_eq!(stack_drops(&dropped, 1), Some(22.into()));
    assert_eq!(stack_drops(&stolen, 0), Some(0.into()));
    Ok(())
}

#[test]
fn queues_that_the_kernel_chooses() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    let sender = Sender::open(&netns, tap.ifindex)?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    // The tap learns from what the guest sends where to put the answers.
    for flow in 0..64 {
        let queue = flow % 4;
        let frame = Frame::udp(200 + usize::from(flow), 1000 + flow);
        truth.tx(
            tap.key(queue),
            load::transmit(&tap.files()[usize::from(queue)], std::slice::from_ref(&frame), 3)?,
        );
        load::send(&sender, &[frame], 5)?;
    }
    let mut read = 0;
    for file in tap.files() {
        let mut flow = Flow::default();
        load::drain(file, &mut flow)?;
        read += flow.packets();
        truth.rx(tap.key(file.index()), flow);
    }
    assert_eq!(read, 64 * 5);
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn vlan_tags_are_part_of_the_frame() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let bridge = links.add_bridge("br0")?;
    let (a, b) = (Tap::new(&netns, &Config::new("a", 1))?, Tap::new(&netns, &Config::new("b", 1))?);
    links.up(bridge)?;
    for tap in [&a, &b] {
        links.set_bridge(tap.ifindex, bridge)?;
    }
    let vnet = observe()?;
    // Through the bridge the outer tag travels beside the packet; the second tap puts it back into the frame.
    let frames = [
        Frame::plain(60).tagged(7),
        Frame::plain(61).tagged(7),
        Frame::plain(125).tagged(7),
        Frame::plain(60).tagged(7).tagged(8),
        Frame::gso(Gso::Tcp4, 54 + 5000, 1000).tagged(7),
    ];
    let (mut truth, mut read) = (Ledger::default(), Flow::default());
    let sent = load::transmit(&a.files()[0], &frames, 50)?;
    load::drain(&b.files()[0], &mut read)?;
    assert_eq!(read, sent, "the guest sees the tags");
    truth.tx(a.key(0), sent);
    truth.rx(b.key(0), read);
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn segments_without_offloads_are_packets() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config { offload: false, ..Config::new("tap0", 1) })?;
    let sender = Sender::open(&netns, tap.ifindex)?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    sender.send(&Frame::gso(Gso::Tcp4, 54 + 4000, 1000))?;
    let mut flow = Flow::default();
    load::drain(&tap.files()[0], &mut flow)?;
    assert_eq!((flow.packets(), flow.segments), (4, 4));
    truth.rx(tap.key(0), flow);
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn two_observers_at_once_both_see_everything() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    tap.steer_by_address()?;
    let (first, second) = (observe()?, observe()?);
    let mut truth = Ledger::default();
    load::both(
        &tap,
        &Mix::everything(),
        &[Share { tx: 3000, rx: 300 }, Share { tx: 30, rx: 3000 }],
        &mut truth,
    )?;
    assert_exact(&first.finish()?, &truth);
    assert_exact(&second.finish()?, &truth);
    Ok(())
}
