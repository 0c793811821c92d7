//! Random guests and scripts, for property tests: everything that may happen to a pair, without what never ends.
//!
//! A script is made of rounds. In a round some pairs send and are sent packets, all at once; then all is waited for. So
//! rounds can be left out, which is how a failing script is shrunk.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::select,
};

use super::{Config, Kick, Packet, Script, Side, Sink, Step, UsedEvent, pair::SLOT};
use crate::frame::Gso;

/// Any guest, of 1 to `pairs` pairs.
pub fn configs(pairs: u16) -> impl Strategy<Value = Config> {
    let rings = (1..=pairs, select(vec![16_u16, 64, 256, 512, 1024]), any::<bool>(), any::<bool>());
    let features = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let host = (
        prop_oneof![3 => Just(0), 1 => Just(50_u32)],
        prop_oneof![3 => Just(None), 1 => Just(Some(1 << 20))],
        select(vec![Sink::Stack, Sink::Receiver]),
    );
    (rings, features, host).prop_map(
        |(
            (pairs, ring, event_idx, indirect),
            (mrg_rxbuf, version_1, notify_on_empty, log),
            (busy_poll, send_buffer, sink),
        )| {
            Config {
                pairs,
                ring,
                event_idx,
                mrg_rxbuf,
                version_1,
                indirect,
                notify_on_empty,
                log,
                busy_poll,
                send_buffer,
                sink,
                ..Config::default()
            }
        },
    )
}

/// What one pair does in a round.
#[derive(Clone, Debug)]
struct Turn {
    pair: u16,
    before: Option<Step>,
    bursts: Vec<(Packet, u16, Option<Kick>)>,
    injected: Vec<(Packet, u16)>,
    /// Size of RX buffers where packets may be spread over several.
    buffer: u32,
    /// Buffers are posted before the packets come, after, or half and half.
    post: u8,
    backend_off: bool,
    after: Option<Step>,
}

/// Any script of up to `rounds` rounds for a guest made with `config`; with `runts`, frames too short for a tap among its
/// packets: not every kernel returns them in every mode, see [`super::kernel::returns_refused`].
pub fn scripts(config: &Config, rounds: usize, runts: bool) -> impl Strategy<Value = Script> + use<> {
    let config = config.clone();
    let round = vec(turn(&config, runts), 1..=usize::from(config.pairs.min(4)));
    vec(round, 1..=rounds).prop_map(move |rounds| {
        let mut script = Script::new();
        for turns in rounds {
            // One turn a round for each pair.
            let turns: BTreeMap<_, _> = turns.into_iter().map(|turn| (turn.pair, turn)).collect();
            for turn in turns.values() {
                script = script.all(turn.pair, begin(&config, turn));
            }
            for turn in turns.into_values() {
                script = script.all(turn.pair, [Step::Wait(Side::Tx), Step::Wait(Side::Rx)]);
                script.0.extend(turn.after.clone().map(|step| (turn.pair, step)));
                if turn.after == Some(Step::Close) {
                    script.0.push((turn.pair, Step::Open));
                }
            }
        }
        script
    })
}

fn turn(config: &Config, runts: bool) -> impl Strategy<Value = Turn> + use<> {
    let side = || select(vec![Side::Rx, Side::Tx]);
    let before = if config.event_idx {
        let when = prop_oneof![
            Just(UsedEvent::Next),
            (1_u16..100).prop_map(UsedEvent::After),
            Just(UsedEvent::Never)
        ];
        (side(), when).prop_map(|(side, when)| Step::UsedEvent(side, when)).boxed()
    } else {
        (side(), any::<bool>()).prop_map(|(side, on)| Step::Interrupts(side, on)).boxed()
    };
    let mut after = vec![Step::Reset, Step::Close, Step::Settle, Step::BusyPoll(Side::Tx, 0)];
    after.push(Step::BusyPoll(Side::Rx, 30));
    after.extend([Step::SendBuffer(i32::MAX), Step::SendBuffer(1 << 20)]);
    if config.log {
        after.extend([Step::Log(true), Step::Log(false)]);
    }
    let kick = prop_oneof![4 => Just(Some(Kick::Wanted)), 1 => Just(Some(Kick::Always)), 1 => Just(None)];
    (
        0..config.pairs,
        option::weighted(0.3, before),
        vec((sent(runts), 1_u16..130, kick), 0..4),
        vec((packet(), 1_u16..60), 0..4),
        select(vec![64_u32, 256, 1526, 4096]),
        0_u8..3,
        proptest::bool::weighted(0.1),
        option::weighted(0.2, select(after)),
    )
        .prop_map(|(pair, before, bursts, injected, buffer, post, backend_off, after)| Turn {
            pair,
            before,
            bursts,
            injected,
            buffer,
            post,
            backend_off,
            after,
        })
}

/// A packet of a length near the limits of notes, GSO among them.
fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        4 => (14_u32..=1514).prop_map(Packet::new),
        // 256 bytes with a vnet header of 10 or 12, then what a batch takes with and without an XDP program.
        2 => prop_oneof![240_u32..=248, 3376_u32..=3384, 3632_u32..=3640].prop_map(Packet::new),
        1 => (1515_u32..=9000).prop_map(Packet::new),
        1 => (select(vec![Gso::Tcp4, Gso::Tcp6]), 100_u32..=60_000, 536_u16..=1448)
            .prop_map(|(kind, len, size)| Packet::new(len).gso(kind, size)),
    ]
}

/// The same as a chain; with `runts`, too short for the tap as well.
fn sent(runts: bool) -> impl Strategy<Value = Packet> {
    let any_length = if runts {
        prop_oneof![15 => packet(), 1 => (1_u32..14).prop_map(Packet::new)].boxed()
    } else {
        packet().boxed()
    };
    let parts = prop_oneof![4 => Just(1), 2 => 2_u16..=4, 1 => 17_u16..=20];
    (any_length, parts)
        .prop_map(|(packet, parts)| packet.parts(parts.min(u16::try_from(packet.len).unwrap_or(u16::MAX))))
}

/// All of a turn up to what is to be waited for.
fn begin(config: &Config, turn: &Turn) -> Vec<Step> {
    let mut steps: Vec<_> = turn.before.iter().cloned().collect();
    if turn.backend_off {
        steps.push(Step::Backend(false));
    }
    let mut room = usize::from(config.ring);
    for (packet, count, kick) in &turn.bursts {
        let each = if config.indirect { 1 } else { usize::from(packet.parts) };
        // Chains that no ring has room for are no chains.
        let packet = if each > usize::from(config.ring) { packet.parts(1) } else { *packet };
        let each = each.min(usize::from(packet.parts));
        let count = usize::from(*count);
        if count * each <= room {
            room -= count * each;
            steps.push(Step::Publish(packet.times(count)));
            steps.extend(kick.map(|how| Step::Kick(Side::Tx, how)));
        } else if !turn.backend_off {
            steps.push(Step::Send(packet.times(count)));
            room = 0;
        }
    }
    steps.extend(receive(config, turn));
    if turn.backend_off {
        steps.extend([Step::Backend(true), Step::Kick(Side::Rx, Kick::Always)]);
    }
    steps.push(Step::Kick(Side::Tx, if turn.backend_off { Kick::Always } else { Kick::Wanted }));
    steps
}

/// Buffers for exactly what is injected, before it, after it or around it.
fn receive(config: &Config, turn: &Turn) -> Vec<Step> {
    let size = if config.mrg_rxbuf { turn.buffer } else { SLOT };
    let (mut packets, mut buffers) = (Vec::new(), 0);
    for (packet, count) in &turn.injected {
        let each = (packet.len + config.header()).div_ceil(size) as usize;
        let fit = (usize::from(config.ring) - buffers) / each;
        let count = fit.min(usize::from(*count));
        packets.extend(packet.times(count));
        buffers += count * each;
    }
    let first = match turn.post {
        0 => 0,
        1 => buffers / 2,
        _ => buffers,
    };
    let mut steps = Vec::new();
    for (count, packets) in [(first, packets), (buffers - first, Vec::new())] {
        if count > 0 {
            steps.extend([Step::PostRx(vec![size; count]), Step::Kick(Side::Rx, Kick::Wanted)]);
        }
        if !packets.is_empty() {
            steps.push(Step::Inject(packets));
        }
    }
    steps
}
