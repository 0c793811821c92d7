//! Counts that the real `vhost_net` gave, kernel by kernel (the driver's tests in the lab see them again).

use vnet::{
    model::{
        Chain, Features, Frame, PROFILES, Profile, Setup, Side,
        guest::{Delivery, Pair, Wanted},
    },
    record::{QueueCounts, Vhost},
};

/// Kernels on which the counts were taken.
const KERNELS: [&str; 4] = ["6.1.192", "6.12.117", "6.18.15", "7.2.13"];

fn profile(kernel: &str) -> Profile {
    *PROFILES.iter().find(|profile| profile.kernel == kernel).expect(kernel)
}

fn setup(kernel: &str) -> Setup {
    Setup { num: 512, ..Setup::new(profile(kernel)) }
}

fn zerocopy(kernel: &str) -> Setup {
    Setup { zerocopy: true, ..setup(kernel) }
}

fn packets(count: usize, len: u32) -> Vec<Chain> {
    vec![Chain { len, header_len: 0, segments: 1 }; count]
}

/// One publication of `count` packets of `len` bytes, vnet header included, and one kick.
fn transmit(setup: Setup, count: usize, len: u32, delivery: Delivery) -> Pair {
    let mut pair = Pair::new(setup, 1000, delivery);
    assert!(pair.publish(Side::Tx, &packets(count, len)));
    pair.kick(Side::Tx);
    assert!(pair.run());
    assert_eq!(usize::from(pair.guest().given_back(Side::Tx)), count);
    pair
}

fn vhost(pair: &Pair) -> (QueueCounts, Vhost) {
    let queue = pair.vhost().counts().queue();
    let vhost = queue.vhost.clone().expect("the model knows what vhost does");
    (queue, vhost)
}

#[test]
fn calls_of_one_publication() {
    // Packets, their length, and the calls on kernels until 6.12 and from 6.18 on.
    for (count, len, [before, since]) in [
        (64, 112, [1, 1]),
        (65, 112, [2, 2]),
        (200, 112, [4, 4]),
        (10, 5000, [10, 1]),
        (20, 3648, [1, 1]),
        (20, 3649, [20, 1]),
        (200, 5000, [200, 4]),
    ] {
        for kernel in KERNELS {
            let pair = transmit(setup(kernel), count, len, Delivery::Leaves);
            let expected = if profile(kernel).large_share_updates { since } else { before };
            assert_eq!(pair.guest().calls(Side::Tx), expected, "{count} x {len} B on {kernel}");
            let (queue, vhost) = vhost(&pair);
            assert_eq!(queue.tx.expect("counted").packets(), count as u64);
            assert_eq!(vhost.tx.calls, Some(expected));
            let copies = vhost.copies.expect("counted");
            let batched = if len <= 3648 { count as u64 } else { 0 };
            assert_eq!((copies.batched, copies.single), (batched, count as u64 - batched));
        }
    }
}

#[test]
fn an_xdp_program_leaves_less_room() {
    for kernel in KERNELS {
        for (len, batched) in [(3392, 20), (3393, 0)] {
            let pair = transmit(Setup { xdp: true, ..setup(kernel) }, 20, len, Delivery::Leaves);
            assert_eq!(vhost(&pair).1.copies.expect("counted").batched, batched, "{len} B on {kernel}");
        }
    }
}

#[test]
fn a_limited_send_buffer_sends_one_by_one_and_calls_as_before() {
    for kernel in KERNELS {
        let limited = Setup { send_buffer_limited: true, ..setup(kernel) };
        let pair = transmit(limited, 200, 112, Delivery::Leaves);
        assert_eq!((pair.guest().calls(Side::Tx), pair.guest().sends()), (4, 200), "{kernel}");
        let pair = transmit(setup(kernel), 200, 112, Delivery::Leaves);
        assert_eq!((pair.guest().calls(Side::Tx), pair.guest().sends()), (4, 4), "{kernel}");
    }
}

#[test]
fn no_interrupt_is_obeyed() {
    for kernel in KERNELS {
        let mut pair = Pair::new(setup(kernel), 1000, Delivery::Leaves);
        pair.want_call(Side::Tx, Wanted::No);
        assert!(pair.publish(Side::Tx, &packets(200, 112)));
        pair.kick(Side::Tx);
        assert!(pair.run());
        assert_eq!(pair.guest().calls(Side::Tx), 0);
        assert_eq!(vhost(&pair).1.tx.calls_suppressed, Some(4));
    }
}

#[test]
fn a_used_event_is_obeyed() {
    for kernel in KERNELS {
        let event_idx = Features { event_idx: true, ..Features::default() };
        let mut pair = Pair::new(Setup { features: event_idx, ..setup(kernel) }, 1000, Delivery::Leaves);
        // The first notification after a start is always a call; then the one for the entry that was asked for.
        for (event, count, calls) in [(199, 200, 2), (299, 100, 3), (300_u16.wrapping_add(0x8000), 150, 3)] {
            pair.want_call(Side::Tx, Wanted::Passing(event));
            assert!(pair.publish(Side::Tx, &packets(count, 112)));
            pair.kick(Side::Tx);
            assert!(pair.run());
            assert_eq!(pair.guest().calls(Side::Tx), calls, "{count} on {kernel}");
        }
        assert_eq!(vhost(&pair).1.tx.kicks, Some(3));
    }
}

#[test]
fn two_hundred_packets_are_received_with_four_calls() {
    for kernel in KERNELS {
        let mut pair = Pair::new(setup(kernel), 1000, Delivery::Leaves);
        // Buffers come last: the worker finds all packets at once.
        pair.inject([Frame { len: 100, segments: 1 }; 200]);
        assert!(pair.run());
        assert!(pair.publish(Side::Rx, &packets(300, 1526)));
        pair.kick(Side::Rx);
        assert!(pair.run());
        assert_eq!((pair.guest().calls(Side::Rx), pair.guest().given_back(Side::Rx)), (4, 200), "{kernel}");
        let (queue, vhost) = vhost(&pair);
        assert_eq!(queue.rx.expect("counted").packets(), 200);
        assert_eq!(vhost.rx_copied_bytes, Some(200 * 112));
    }
}

#[test]
fn a_tap_ring_that_is_full_drops() {
    for kernel in KERNELS {
        let mut pair = Pair::new(setup(kernel), 1000, Delivery::Leaves);
        pair.inject([Frame { len: 100, segments: 1 }; 1300]);
        // What the worker takes ahead depends on when it runs; here it runs when all are in.
        assert_eq!(pair.guest().dropped(), 300);
        assert!(pair.run());
        pair.inject([Frame { len: 100, segments: 1 }; 100]);
        assert_eq!(pair.guest().dropped(), 300 + 100 - 64, "{kernel}: it holds 64");
    }
}

#[test]
fn without_copies_every_packet_is_a_call() {
    for kernel in KERNELS {
        for (count, len, sent) in [(200, 112, 0), (32, 255, 0), (32, 256, 32), (200, 1012, 200)] {
            let pair = transmit(zerocopy(kernel), count, len, Delivery::Leaves);
            assert_eq!((pair.guest().calls(Side::Tx), pair.guest().sends()), (count as u64, count as u64));
            let copies = vhost(&pair).1.copies.expect("counted");
            assert_eq!((copies.zerocopy, copies.in_flight), (sent, 0), "{count} x {len} B on {kernel}");
            assert_eq!(copies.why.short, count as u64 - sent);
        }
    }
}

#[test]
fn zero_copy_that_always_fails_is_tried_every_64_packets() {
    for kernel in KERNELS {
        let mut pair = Pair::new(zerocopy(kernel), 1000, Delivery::IsCopied);
        for _ in 0..8 {
            assert!(pair.publish(Side::Tx, &packets(256, 1012)));
            pair.kick(Side::Tx);
            assert!(pair.run());
        }
        let copies = vhost(&pair).1.copies.expect("counted");
        assert_eq!((copies.zerocopy_late, copies.why.backoff), (32, 2048 - 32), "{kernel}");
    }
}

#[test]
fn no_more_are_in_flight_than_a_quarter_of_the_ring() {
    for (num, limit) in [(256, 64), (512, 128), (1024, 128)] {
        let mut pair = Pair::new(Setup { num, ..zerocopy("6.1.192") }, 1000, Delivery::Waits);
        assert!(pair.publish(Side::Tx, &packets(usize::from(num), 1012)));
        pair.kick(Side::Tx);
        assert!(pair.run());
        let copies = vhost(&pair).1.copies.expect("counted");
        assert_eq!((copies.in_flight, copies.why.pending), (limit + 1, u64::from(num) - limit - 1));
        pair.deliver();
        assert!(pair.run());
        let copies = vhost(&pair).1.copies.expect("counted");
        assert_eq!((copies.in_flight, copies.zerocopy), (0, limit + 1));
        assert_eq!(pair.guest().given_back(Side::Tx), num);
    }
}

#[test]
fn a_packet_that_needs_more_buffers_than_there_are() {
    for (kernel, spins) in [("6.1.192", false), ("6.12.117", false), ("6.18.15", true), ("7.2.13", false)] {
        let mut pair = Pair::new(setup(kernel), 1000, Delivery::Leaves);
        assert!(pair.publish(Side::Rx, &packets(2, 1526)));
        pair.inject([Frame { len: 4000, segments: 3 }]);
        assert_eq!(pair.run(), !spins, "{kernel}: the worker comes to an end");
        assert!(pair.publish(Side::Rx, &packets(1, 1526)));
        pair.kick(Side::Rx);
        assert!(pair.run());
        assert_eq!((pair.guest().given_back(Side::Rx), pair.guest().calls(Side::Rx)), (3, 1));
    }
}
