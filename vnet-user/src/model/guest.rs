//! A guest that a program plays against the model, and what stands behind its tap.

use std::collections::VecDeque;

use super::{
    Chain, Completion, Frame, Outcome, Polled, Sent, Setup, Side, TapRing, Vhost, World, need_event,
};

/// What becomes of packets that the guest sends without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// They leave the host, or are dropped by it: done with at once, uncopied.
    Leaves,
    /// Something on the way needs a copy of its own, such as the tap of another guest.
    IsCopied,
    /// A socket of this host receives them.
    IsReceived,
    /// The tap cannot take their pages.
    IsRejected,
    /// They are under way until [`Pair::deliver`].
    Waits,
}

/// When the guest wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// With `EVENT_IDX`, when the used index passes this; without, always.
    Passing(u16),
    /// Not at all: `VRING_AVAIL_F_NO_INTERRUPT`, which `EVENT_IDX` leaves without effect.
    No,
}

/// The guest's half of one virtqueue.
#[derive(Clone, Debug)]
struct GuestRing {
    /// Chains by their place in the available ring.
    chains: Vec<Chain>,
    avail: u16,
    used: u16,
    wanted: Wanted,
    /// `avail_event`, or the flag that asks for no kicks.
    kick_at: Option<u16>,
    /// The available index when a kick was last considered.
    considered: u16,
    calls: u64,
}

/// The world of a device that a program plays.
#[derive(Clone, Debug)]
pub struct Guest {
    setup: Setup,
    rings: [GuestRing; 2],
    tap: TapRing<Frame>,
    delivery: Delivery,
    completions: VecDeque<(u16, Completion)>,
    waiting: VecDeque<(u16, Completion)>,
    sends: u64,
    refusals: u32,
    dropped: u64,
}

/// A device and its guest.
#[derive(Clone, Debug)]
pub struct Pair {
    vhost: Vhost,
    guest: Guest,
}

/// Turns after which a worker that finds no end is left alone: one that spins needs more buffers than it has.
const TURNS: usize = 10_000;

impl Pair {
    /// A device that has begun to serve a guest; `tap` is the length of the tap's queue.
    pub fn new(setup: Setup, tap: usize, delivery: Delivery) -> Self {
        let ring = GuestRing {
            chains: vec![Chain::default(); usize::from(setup.num)],
            avail: 0,
            used: 0,
            wanted: Wanted::Passing(0),
            kick_at: Some(0),
            considered: 0,
            calls: 0,
        };
        let guest = Guest {
            setup,
            rings: [ring.clone(), ring],
            tap: TapRing::new(tap),
            delivery,
            completions: VecDeque::new(),
            waiting: VecDeque::new(),
            sends: 0,
            refusals: 0,
            dropped: 0,
        };
        let mut pair = Self { vhost: Vhost::new(setup), guest };
        pair.run();
        pair
    }

    /// The device.
    pub fn vhost(&self) -> &Vhost {
        &self.vhost
    }

    /// The guest.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// The guest makes buffers available, all at once; `false` when its ring has no room for them, and nothing was done.
    pub fn publish(&mut self, side: Side, chains: &[Chain]) -> bool {
        let ring = &mut self.guest.rings[side as usize];
        let num = ring.chains.len();
        if usize::from(ring.avail.wrapping_sub(ring.used)) + chains.len() > num {
            return false;
        }
        for chain in chains {
            let place = usize::from(ring.avail) % num;
            ring.chains[place] = *chain;
            ring.avail = ring.avail.wrapping_add(1);
        }
        true
    }

    /// The guest kicks, if the device asked for it.
    pub fn kick(&mut self, side: Side) {
        let ring = &mut self.guest.rings[side as usize];
        let old = std::mem::replace(&mut ring.considered, ring.avail);
        let wanted = ring
            .kick_at
            .is_some_and(|event| !self.guest.setup.features.event_idx || need_event(event, ring.avail, old));
        if wanted {
            self.vhost.kick(side);
        }
    }

    /// Sets when the guest wants to be called.
    pub fn want_call(&mut self, side: Side, wanted: Wanted) {
        self.guest.rings[side as usize].wanted = wanted;
    }

    /// The tap's send buffer is full for the next packets.
    pub fn refuse(&mut self, packets: u32) {
        self.guest.refusals = packets;
    }

    /// The host sends packets to the guest.
    pub fn inject(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            if self.guest.tap.produce(frame).is_err() {
                self.guest.dropped += 1;
            }
            self.vhost.ready(Side::Rx);
        }
    }

    /// All packets that were under way arrive.
    pub fn deliver(&mut self) {
        while let Some((desc, completion)) = self.guest.waiting.pop_front() {
            self.vhost.complete(desc, completion);
        }
    }

    /// There is room in the send buffer again.
    pub fn writable(&mut self) {
        self.vhost.ready(Side::Tx);
    }

    /// The worker does all that there is; `false` when it finds no end.
    pub fn run(&mut self) -> bool {
        for _ in 0..TURNS {
            if !self.vhost.turn(&mut self.guest) {
                // A packet that came while the worker did not listen queues work when it listens again.
                if self.guest.tap.is_empty() || !self.vhost.listens(Side::Rx) {
                    return true;
                }
                self.vhost.ready(Side::Rx);
            }
        }
        false
    }
}

impl Guest {
    /// Notifications by the device.
    pub fn calls(&self, side: Side) -> u64 {
        self.rings[side as usize].calls
    }

    /// Buffers that came back.
    pub fn given_back(&self, side: Side) -> u16 {
        self.rings[side as usize].used
    }

    /// Packets that the tap dropped, its ring being full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Calls of `sendmsg`.
    pub fn sends(&self) -> u64 {
        self.sends
    }

    fn completion_of(&self, len: u32) -> Completion {
        let frame = len.saturating_sub(self.setup.header);
        let rest = frame.saturating_sub(128);
        match self.delivery {
            Delivery::Leaves | Delivery::Waits => Completion::Uncopied,
            Delivery::IsReceived if !self.setup.profile.copies_for_receiver => Completion::Uncopied,
            Delivery::IsCopied | Delivery::IsReceived => Completion::Late(rest),
            Delivery::IsRejected => Completion::Rejected,
        }
    }
}

impl World for Guest {
    fn avail_idx(&mut self, side: Side) -> u16 {
        self.rings[side as usize].avail
    }

    fn chain(&mut self, side: Side, place: u16) -> Chain {
        let chains = &self.rings[side as usize].chains;
        chains[usize::from(place) % chains.len()]
    }

    fn no_interrupt(&mut self, side: Side) -> bool {
        self.rings[side as usize].wanted == Wanted::No
    }

    fn used_event(&mut self, side: Side) -> u16 {
        match self.rings[side as usize].wanted {
            Wanted::Passing(index) => index,
            Wanted::No => 0,
        }
    }

    fn send(&mut self, sent: Sent) -> Outcome {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Outcome::Later;
        }
        self.sends += 1;
        match sent {
            Sent::Batch(_) | Sent::Single { .. } => {}
            Sent::Zerocopy { len, desc, .. } => {
                let done = (desc, self.completion_of(len));
                let to =
                    if self.delivery == Delivery::Waits { &mut self.waiting } else { &mut self.completions };
                to.push_back(done);
            }
        }
        Outcome::Taken
    }

    fn completion(&mut self) -> Option<(u16, Completion)> {
        self.completions.pop_front()
    }

    fn pull(&mut self, most: usize, into: &mut VecDeque<Frame>) {
        into.extend((0..most).map_while(|_| self.tap.consume()));
    }

    fn receive(&mut self, _len: u32) -> bool {
        true
    }

    fn busy_poll(&mut self, _side: Side) -> Polled {
        Polled::Look
    }

    fn ask_for_kicks(&mut self, side: Side, index: Option<u16>) {
        self.rings[side as usize].kick_at = index;
    }

    fn used(&mut self, side: Side, count: u16) {
        let ring = &mut self.rings[side as usize];
        ring.used = ring.used.wrapping_add(count);
    }

    fn call(&mut self, side: Side) {
        self.rings[side as usize].calls += 1;
    }
}
