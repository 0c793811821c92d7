//! What holds whatever a guest does.

use proptest::{collection::vec, prelude::*};
use vnet::{
    model::{
        Chain, Features, Frame, PROFILES, Setup, Side,
        guest::{Delivery, Pair, Wanted},
    },
    record::Flow,
};

/// One thing that the guest or the host does.
#[derive(Clone, Debug)]
enum Step {
    Publish(Side, Vec<u32>),
    Kick(Side),
    Inject(Vec<u32>),
    Want(Side, Wanted),
    Refuse(u32),
    Writable,
    Deliver,
    Run,
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Tx), Just(Side::Rx)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (side(), vec(12_u32..5000, 1..80)).prop_map(|(side, lens)| Step::Publish(side, lens)),
        4 => side().prop_map(Step::Kick),
        2 => vec(14_u32..3000, 1..200).prop_map(Step::Inject),
        1 => (side(), any::<u16>()).prop_map(|(side, at)| Step::Want(side, Wanted::Passing(at))),
        1 => side().prop_map(|side| Step::Want(side, Wanted::No)),
        1 => (1_u32..4).prop_map(Step::Refuse),
        1 => Just(Step::Writable),
        1 => Just(Step::Deliver),
        4 => Just(Step::Run),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let flags = (any::<[bool; 5]>(), 6_u32..10);
    ((0..PROFILES.len()), flags).prop_map(
        |(profile, ([event_idx, on_empty, zerocopy, limited, xdp], num))| Setup {
            num: 1 << num,
            features: Features { event_idx, notify_on_empty: on_empty },
            zerocopy,
            send_buffer_limited: limited,
            xdp,
            ..Setup::new(PROFILES[profile])
        },
    )
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::Leaves),
        Just(Delivery::IsCopied),
        Just(Delivery::IsReceived),
        Just(Delivery::IsRejected),
        Just(Delivery::Waits),
    ]
}

/// Bytes and packets that were published or injected.
#[derive(Default)]
struct Gone {
    tx: (u64, u64),
    injected: u64,
}

fn play(pair: &mut Pair, step: &Step, gone: &mut Gone) {
    match step {
        Step::Publish(side, lens) => {
            let chains: Vec<_> =
                lens.iter().map(|len| Chain { len: *len, header_len: 0, segments: 1 }).collect();
            if pair.publish(*side, &chains) && *side == Side::Tx {
                gone.tx.0 += chains.len() as u64;
                gone.tx.1 += lens.iter().map(|len| u64::from(len - 12)).sum::<u64>();
            }
        }
        Step::Kick(side) => pair.kick(*side),
        Step::Inject(lens) => {
            gone.injected += lens.len() as u64;
            pair.inject(lens.iter().map(|len| Frame { len: *len, segments: 1 }));
        }
        Step::Want(side, wanted) => pair.want_call(*side, *wanted),
        Step::Refuse(packets) => pair.refuse(*packets),
        Step::Writable => pair.writable(),
        Step::Deliver => pair.deliver(),
        Step::Run => drop(pair.run()),
    }
}

fn packets_and_bytes(flow: &Flow) -> (u64, u64) {
    (flow.packets(), flow.bytes)
}

proptest! {
    #[test]
    fn nothing_is_made_or_lost(setup in setup(), delivery in delivery(), steps in vec(step(), 0..60)) {
        let mut pair = Pair::new(setup, 1000, delivery);
        let mut gone = Gone::default();
        for step in &steps {
            play(&mut pair, step, &mut gone);
            let counts = pair.vhost().counts().queue();
            let (tx, vhost) = (counts.tx.unwrap(), counts.vhost.unwrap());
            let copies = vhost.copies.unwrap();
            let ledger = copies.batched + copies.single + copies.zerocopy + copies.zerocopy_rejected
                + copies.zerocopy_late + copies.in_flight;
            prop_assert_eq!(ledger, tx.packets(), "after {:?}", step);
            let why = copies.why;
            prop_assert_eq!(
                why.module_off + why.short + why.pending + why.backoff,
                copies.batched + copies.single
            );
            for (side, ring) in [(Side::Tx, vhost.tx), (Side::Rx, vhost.rx)] {
                prop_assert_eq!(ring.calls, Some(pair.guest().calls(side)));
                prop_assert_eq!(ring.used.unwrap() % 65536, u64::from(pair.guest().given_back(side)));
            }
            prop_assert!(vhost.tx.used.unwrap() <= tx.packets());
        }
        // At the end the guest kicks, everything arrives and the worker does all there is.
        pair.refuse(0);
        for _ in 0..3 {
            pair.writable();
            pair.deliver();
            pair.kick(Side::Tx);
            pair.run();
        }
        let counts = pair.vhost().counts().queue();
        prop_assert_eq!(packets_and_bytes(&counts.tx.unwrap()), gone.tx);
        prop_assert_eq!(counts.vhost.unwrap().tx.used.unwrap(), gone.tx.0);
        prop_assert!(counts.rx.unwrap().packets() + pair.guest().dropped() <= gone.injected);
    }
}
