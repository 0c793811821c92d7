//! The driver's truth against the kernel's own counters: difference 0, or the truth is none.

use std::time::{Duration, Instant};

use anyhow::Result;
use vnet_driver::{
    frame::{Frame, Gso},
    host::Sender,
    link::Links,
    load::{self, Mix, Share},
    macvtap, need,
    netns::Netns,
    tap::{Config, QueueFile, Tap},
    truth::{Counts, Flow, Ledger},
};

/// Host's counters as the guest's: the tap's rx is the guest's TX.
fn assert_equals_kernel(tap: &Tap, truth: &Counts) -> Result<()> {
    let kernel = Links::open(&tap.netns)?.stats(tap.ifindex)?;
    assert_eq!(
        (kernel.rx_packets, kernel.rx_bytes, kernel.tx_packets, kernel.tx_bytes, kernel.tx_dropped),
        (truth.tx.packets(), truth.tx.bytes(), truth.rx.packets(), truth.rx.bytes(), truth.rx.dropped()),
    );
    Ok(())
}

fn uneven(unit: u64) -> Vec<Share> {
    [1, 10, 100, 1000].map(|n| Share { tx: unit * n, rx: unit * n }).to_vec()
}

#[test]
fn uneven_load_in_both_directions() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let mut ledger = Ledger::default();
    load::both(&tap, &Mix::everything(), &uneven(20), &mut ledger)?;
    for (queue, n) in [20, 200, 2000, 20_000].into_iter().enumerate() {
        let counts = &ledger.0[&tap.key(u16::try_from(queue)?)];
        assert_eq!((counts.tx.packets(), counts.rx.packets() + counts.rx.dropped()), (n, n));
    }
    assert_equals_kernel(&tap, &ledger.device(netns.inode(), tap.ifindex, 0))
}

#[test]
fn what_is_read_is_what_was_sent() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let mix = Mix::same(&Mix::everything().rx);
    let mut ledger = Ledger::default();
    let count = mix.rx.len() as u64;
    load::both(&tap, &mix, &[Share { tx: count, rx: count }], &mut ledger)?;
    let counts = &ledger.0[&tap.key(0)];
    assert_eq!(counts.tx, counts.rx, "lengths and segments survive the way through the host");
    Ok(())
}

#[test]
fn a_detached_queue_keeps_its_index_and_the_last_one_moves() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let index = |tap: &Tap| tap.files().iter().map(QueueFile::index).collect::<Vec<_>>();
    let mut ledger = Ledger::default();
    let mix = Mix::everything();
    load::both(&tap, &mix, &uneven(2), &mut ledger)?;
    tap.detach(1)?;
    assert_eq!(index(&tap), [0, 1, 2, 1]);
    load::both(&tap, &mix, &uneven(2), &mut ledger)?;
    tap.attach(1)?;
    assert_eq!(index(&tap), [0, 3, 2, 1]);
    load::both(&tap, &mix, &uneven(2), &mut ledger)?;
    assert_equals_kernel(&tap, &ledger.device(netns.inode(), tap.ifindex, 0))
}

#[test]
fn drops_by_reason() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    tap.steer_by_address()?;
    let links = Links::open(&netns)?;
    let sender = Sender::open(&netns, tap.ifindex)?;
    let file = &tap.files()[0];
    let mut truth = Counts::default();

    links.set_queue_len(tap.ifindex, 32)?;
    for _ in 0..50 {
        sender.send(&Frame::plain(100))?;
    }
    load::drain(file, &mut truth.rx)?;
    assert_eq!(truth.rx.packets(), 32, "the ring holds what it is set to");
    truth.rx.add_drops("FULL_RING", 50 - truth.rx.packets());

    tap.filter(Some(0))?;
    for _ in 0..3 {
        sender.send(&Frame::plain(100))?;
    }
    tap.filter(None)?;
    truth.rx.add_drops("TAP_FILTER", 3);

    tap.address_filter(Some([2, 0, 0, 0, 0, 1]))?;
    for byte in [0, 1, 1] {
        sender.send(&Frame::plain(100).to(byte))?;
    }
    tap.address_filter(None)?;
    truth.rx.add_drops("TAP_TXFILTER", 1);
    load::drain(&tap.files()[1], &mut truth.rx)?;

    tap.detach(1)?;
    tap.detach(0)?;
    for _ in 0..4 {
        sender.send(&Frame::plain(100))?;
    }
    truth.rx.add_drops("DEV_READY", 4);

    let mut left = truth.rx.clone();
    load::drain(file, &mut left)?;
    assert_eq!(left, truth.rx, "none of the dropped came through");
    assert_equals_kernel(&tap, &truth)?;

    assert_eq!(file.transmit(&Frame::bad_header(100)).map_err(|e| e.raw_os_error()), Err(Some(22)));
    assert_eq!(links.stats(tap.ifindex)?.rx_packets, 0, "a refused frame was never received");

    links.down(tap.ifindex)?;
    assert_eq!(file.transmit(&Frame::plain(100)).map_err(|e| e.raw_os_error()), Err(Some(5)));
    let stats = links.stats(tap.ifindex)?;
    assert_eq!((stats.rx_packets, stats.rx_dropped), (0, 1), "DEV_READY, the guest's TX");
    Ok(())
}

#[test]
fn a_chosen_index_a_new_name_and_a_second_life() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let config = Config { ifindex: Some(77), ..Config::new("tap0", 1) };
    let tap = Tap::new(&netns, &config)?;
    assert_eq!(tap.ifindex, 77);
    links.down(77)?;
    links.rename(77, "other")?;
    assert_eq!(links.index("other")?, 77);
    tap.close()?;
    assert!(links.index("other").is_err(), "a tap goes with its last file");
    assert_eq!(Tap::new(&netns, &config)?.ifindex, 77);
    Ok(())
}

#[test]
fn segments_are_cut_by_the_host_without_offloads() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config { offload: false, ..Config::new("tap0", 1) })?;
    let frame = Frame::gso(Gso::Tcp4, 54 + 4000, 1000);
    let mut ledger = Ledger::default();
    load::both(&tap, &Mix::same(&[frame]), &[Share { tx: 1, rx: 0 }], &mut ledger)?;
    Sender::open(&netns, tap.ifindex)?.send(&Frame::gso(Gso::Tcp4, 54 + 4000, 1000))?;
    let mut read = Flow::default();
    load::drain(&tap.files()[0], &mut read)?;
    assert_eq!((read.packets(), read.segments), (4, 4));
    Ok(())
}

#[test]
fn a_classifier_steals_what_the_guest_sends() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let links = Links::open(&netns)?;
    links.classify(tap.ifindex, &vnet_driver::bpf::Program::steal()?)?;
    for _ in 0..10 {
        tap.files()[0].transmit(&Frame::plain(64))?;
    }
    let stats = links.stats(tap.ifindex)?;
    assert_eq!((stats.rx_packets, stats.rx_dropped), (10, 0));
    Ok(())
}

/// Reads until there were so many packets, or for so long: a veth hands over in a softirq of its own.
fn read_until(file: &QueueFile, flow: &mut Flow, packets: u64, wait: Duration) -> Result<()> {
    let deadline = Instant::now() + wait;
    while flow.packets() < packets && Instant::now() < deadline {
        load::drain(file, flow)?;
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_macvtap_sends_and_receives() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let (lower, far) = links.add_veth("lower", "far")?;
    let ifindex = links.add_macvtap("mv0", lower)?;
    for link in [lower, far, ifindex] {
        links.up(link)?;
    }
    let file = macvtap::open(&netns, ifindex)?;
    // The kernel gives a link that came up its queue a moment later, and drops until then.
    let deadline = Instant::now() + Duration::from_secs(10);
    let (sender, frame) = (Sender::open(&netns, far)?, Frame::plain(100).to_address([0xff; 6]));
    let mut early = Flow::default();
    while links.stats(ifindex)?.tx_packets == 0 || early.packets() == 0 {
        assert!(Instant::now() < deadline, "the link does not come up");
        load::transmit(&file, &[Frame::plain(60)], 1)?;
        if early.packets() == 0 {
            load::send(&sender, std::slice::from_ref(&frame), 1)?;
            read_until(&file, &mut early, 1, Duration::from_millis(100))?;
        }
    }
    let before = links.stats(ifindex)?;
    let sent = load::transmit(&file, &[Frame::plain(60)], 20)?;
    load::send(&sender, std::slice::from_ref(&frame), 30)?;
    let mut read = Flow::default();
    read_until(&file, &mut read, 30, Duration::from_secs(10))?;
    let after = links.stats(ifindex)?;
    assert_eq!((read.packets(), read.bytes()), (30, 3000));
    // A macvtap counts as a NIC does: what the guest sends is its tx.
    assert_eq!(after.tx_packets - before.tx_packets, sent.packets());
    assert_eq!(after.rx_packets - before.rx_packets, read.packets());
    Ok(())
}

#[test]
fn a_bridge_hands_over_what_it_was_given() -> Result<()> {
    need!(need::bpf());
    let netns = Netns::new()?;
    let links = Links::open(&netns)?;
    let bridge = links.add_bridge("br0")?;
    let (a, b) = (Tap::new(&netns, &Config::new("a", 2))?, Tap::new(&netns, &Config::new("b", 1))?);
    links.up(bridge)?;
    for tap in [&a, &b] {
        links.set_bridge(tap.ifindex, bridge)?;
    }
    let frames = [
        Frame::plain(60),
        Frame::gso(Gso::Tcp4, 54 + 9000, 1448),
        Frame::gso(Gso::Udp6, 62 + 9000, 1000),
        // On its way through the host a tag travels beside the packet; the second tap puts it back.
        Frame::plain(1000).tagged(7),
        Frame::gso(Gso::Tcp4, 54 + 5000, 1000).tagged(7),
    ];
    let sent = load::transmit(&a.files()[1], &frames, 300)?;
    let mut read = Flow::default();
    load::drain(&b.files()[0], &mut read)?;
    assert_eq!(read, sent);
    assert_equals_kernel(&a, &Counts { tx: sent, rx: Flow::default() })?;
    assert_equals_kernel(&b, &Counts { tx: Flow::default(), rx: read })
}
