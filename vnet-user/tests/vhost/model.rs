//! The model does what the kernel does: the same guests on both, the driver's truth and what vnet counted against what the
//! model counts.
//!
//! A guest publishes, kicks and waits, so that what the worker finds does not depend on when it runs. Whether it still looks
//! for receive buffers when they come does, and with it whether the guest has to kick: those kicks are not compared.

use anyhow::{Context as _, Error, Result};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::{Strategy, ValueTree},
};
use serde_json::{Value, json};
use vnet::model::{
    Chain, Features, Frame, Profile, Setup,
    guest::{Delivery, Pair, Wanted},
};
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step, UsedEvent, kernel::Kernel},
};

use crate::{exact, observe, row, vhost};

/// Bytes of the vnet header.
const HEADER: u32 = 12;

/// Bytes of a receive buffer.
const BUFFER: u32 = 1526;

/// One thing that a guest does and waits for.
#[derive(Clone, Debug)]
enum Block {
    /// Sends frames of these lengths; wants a call after so many of them.
    Send(Vec<u32>, u16),
    /// Is sent frames of these lengths, and then has the buffers that they need, so that none is left when the next come;
    /// likewise.
    Receive(Vec<u32>, u16),
    /// Wants calls in this direction, or none. Nothing with `EVENT_IDX`.
    Interrupts(Side, bool),
}

fn block() -> impl Strategy<Value = Block> {
    let lens = prop_oneof![
        vec(60_u32..300, 1..250),
        vec(3600_u32..3700, 1..100),
        vec(60_u32..9000, 1..200),
        (60_u32..5000, 1_usize..250).prop_map(|(len, count)| vec![len; count]),
    ];
    let received = prop_oneof![vec(60_u32..1500, 1..150), vec(60_u32..4500, 1..60)];
    prop_oneof![
        4 => (lens, 1_u16..300).prop_map(|(lens, wanted)| Block::Send(lens, wanted)),
        3 => (received, 1_u16..200).prop_map(|(lens, wanted)| Block::Receive(lens, wanted)),
        1 => (prop_oneof![Just(Side::Tx), Just(Side::Rx)], any::<bool>())
            .prop_map(|(side, on)| Block::Interrupts(side, on)),
    ]
}

/// Blocks of which at least one moves packets.
fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let moves = |blocks: &Vec<Block>| blocks.iter().any(|block| !matches!(block, Block::Interrupts(..)));
    vec(block(), 1..8).prop_filter("nothing happens", moves)
}

fn config() -> impl Strategy<Value = Config> {
    let any = (9_u32..11, any::<[bool; 3]>());
    any.prop_map(|(ring, [event_idx, notify_on_empty, limited])| Config {
        ring: 1 << ring,
        event_idx,
        notify_on_empty,
        send_buffer: limited.then_some(1 << 24),
        ..Config::default()
    })
}

/// Buffers that a frame takes.
fn buffers(len: u32) -> u32 {
    (len + HEADER).div_ceil(BUFFER)
}

/// The model of what the guest and the kernel are.
fn model(config: &Config, kernel: &Kernel, profile: Profile) -> Pair {
    let setup = Setup {
        num: config.ring,
        features: Features { event_idx: config.event_idx, notify_on_empty: config.notify_on_empty },
        zerocopy: kernel.zerocopy,
        send_buffer_limited: config.send_buffer.is_some(),
        header: HEADER,
        ..Setup::new(profile)
    };
    Pair::new(setup, 1000, Delivery::Leaves)
}

/// What the guest does on the kernel.
fn script(config: &Config, blocks: &[Block]) -> Script {
    let mut script = Script::new();
    for block in blocks {
        script = match block {
            Block::Send(lens, wanted) => {
                let packets = lens.iter().map(|len| Packet::new(*len)).collect();
                event(script, config, Side::Tx, *wanted).transmit(0, packets)
            }
            Block::Receive(lens, wanted) => {
                let count = lens.iter().map(|len| buffers(*len)).sum::<u32>();
                let packets = lens.iter().map(|len| Packet::new(*len)).collect();
                event(script, config, Side::Rx, *wanted).all(
                    0,
                    [
                        Step::Inject(packets),
                        Step::Settle,
                        Step::PostRx(vec![BUFFER; count as usize]),
                        Step::Kick(Side::Rx, Kick::Wanted),
                        Step::Wait(Side::Rx),
                        Step::Settle,
                    ],
                )
            }
            Block::Interrupts(..) if config.event_idx => script,
            Block::Interrupts(side, on) => script.on(0, Step::Interrupts(*side, *on)),
        };
    }
    script
}

fn event(script: Script, config: &Config, side: Side, wanted: u16) -> Script {
    if config.event_idx { script.on(0, Step::UsedEvent(side, UsedEvent::After(wanted))) } else { script }
}

/// The same on the model.
fn play(pair: &mut Pair, config: &Config, blocks: &[Block]) {
    use vnet::model::Side as Of;
    let wants = |pair: &mut Pair, side, wanted: u16| {
        if config.event_idx {
            let index = pair.guest().given_back(side).wrapping_add(wanted).wrapping_sub(1);
            pair.want_call(side, Wanted::Passing(index));
        }
    };
    let chain = |len: u32| Chain { len, header_len: 0, segments: 1 };
    for block in blocks {
        match block {
            Block::Send(lens, wanted) => {
                wants(pair, Of::Tx, *wanted);
                let chains: Vec<_> = lens.iter().map(|len| chain(len + HEADER)).collect();
                assert!(pair.publish(Of::Tx, &chains), "room for {}", chains.len());
                pair.kick(Of::Tx);
            }
            Block::Receive(lens, wanted) => {
                wants(pair, Of::Rx, *wanted);
                pair.inject(lens.iter().map(|len| Frame { len: *len, segments: 1 }));
                pair.run();
                let count = lens.iter().map(|len| buffers(*len)).sum::<u32>();
                assert!(pair.publish(Of::Rx, &vec![chain(BUFFER); count as usize]), "room for {count}");
                pair.kick(Of::Rx);
            }
            Block::Interrupts(..) if config.event_idx => {}
            Block::Interrupts(side, on) => {
                let side = if *side == Side::Tx { Of::Tx } else { Of::Rx };
                pair.want_call(side, if *on { Wanted::Passing(0) } else { Wanted::No });
            }
        }
        pair.run();
    }
}

/// Counts of the model in the words of a report.
fn counted(pair: &Pair) -> Value {
    let queue = pair.vhost().counts().queue();
    let vhost = queue.vhost.unwrap_or_default();
    let (tx, rx, copies) =
        (queue.tx.unwrap_or_default(), queue.rx.unwrap_or_default(), vhost.copies.unwrap_or_default());
    json!({
        "tx": {
            "packets": tx.packets(), "bytes": tx.bytes, "used": vhost.tx.used, "kicks": vhost.tx.kicks,
            "calls": vhost.tx.calls, "calls_suppressed": vhost.tx.calls_suppressed, "batches": copies.batches,
            "batched": copies.batched, "single": copies.single, "zerocopy": copies.zerocopy,
            "zerocopy_failed": copies.zerocopy_rejected + copies.zerocopy_late, "copied": copies.bytes,
            "short": copies.why.short, "pending": copies.why.pending, "backoff": copies.why.backoff,
        },
        "rx": {
            "packets": rx.packets(), "bytes": rx.bytes, "buffers": vhost.rx.used, "calls": vhost.rx.calls, "calls_suppressed": vhost.rx.calls_suppressed,
            "copied": vhost.rx_copied_bytes,
        },
    })
}

/// The same of what vnet says.
fn reported(row: &Value) -> Value {
    let (tx, rx, copies) = (&row["tx"], &row["rx"], &row["tx"]["copies"]);
    json!({
        "tx": {
            "packets": tx["packets"], "bytes": tx["bytes"], "used": tx["used"], "kicks": tx["kicks"],
            "calls": tx["calls"], "calls_suppressed": tx["calls_suppressed"], "batches": tx["batches"],
            "batched": copies["batched"], "single": copies["single"], "zerocopy": copies["zerocopy"],
            "zerocopy_failed": copies["zerocopy_failed"], "copied": copies["bytes"],
            "short": copies["why"]["short"], "pending": copies["why"]["pending"],
            "backoff": copies["why"]["backoff"],
        },
        "rx": {
            "packets": rx["packets"], "bytes": rx["bytes"], "buffers": rx["buffers"], "calls": rx["calls"], "calls_suppressed": rx["calls_suppressed"], "copied": rx["copied_bytes"],
        },
    })
}

#[test]
fn the_model_does_what_the_kernel_does() -> Result<()> {
    need!(vhost());
    let kernel = Kernel::look()?;
    let Some(profile) = Profile::of(&kernel.release) else {
        println!("skipped: no profile of {}", kernel.release);
        return Ok(());
    };
    println!("{} has the profile of {}", kernel.release, profile.kernel);
    let (seed, cases) = (exact::seed(), exact::number("VNET_CASES").unwrap_or(12));
    println!("VNET_SEED={seed} VNET_CASES={cases}");
    let (mut runner, any) = (exact::runner(seed), (config(), blocks()));
    let (vnet, netns) = (observe()?, Netns::new()?);
    let mut played = Vec::new();
    for case in 0..cases {
        let (config, blocks) = any.new_tree(&mut runner).map_err(Error::msg)?.current();
        let what = format!("case {case} of VNET_SEED={seed}: {config:?}\n{blocks:?}");
        let guest = Guest::new(&netns, config.clone())?;
        guest.run(&script(&config, &blocks)).with_context(|| what.clone())?;
        guest.truth()?;
        let mut pair = model(&config, &kernel, profile);
        play(&mut pair, &config, &blocks);
        played.push((guest.key(0), counted(&pair), what));
    }
    let report = vnet.finish()?;
    for (key, modelled, what) in &played {
        assert_eq!(*modelled, reported(row(*key, &report)), "model and kernel: {what}");
    }
    Ok(())
}
