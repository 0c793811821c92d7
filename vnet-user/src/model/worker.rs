//! The device, and the worker that does its work in order (drivers/vhost/vhost.c: `vhost_worker`).

use std::collections::VecDeque;

use super::{
    Counts, Features, Profile, Side, Vring, World, counts::Ended, rx::RxState, zerocopy::ZerocopyState,
};

/// `VHOST_NET_PKT_WEIGHT`: packets of one turn.
const PACKET_WEIGHT: u32 = 256;

/// `VHOST_NET_WEIGHT`: bytes of one turn.
pub(super) const BYTE_WEIGHT: u64 = 0x8_0000;

/// How a device was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one of the device too, and independent of the others"
)]
pub struct Setup {
    /// The kernel.
    pub profile: Profile,
    /// Descriptors of each ring.
    pub num: u16,
    /// Features that the guest took.
    pub features: Features,
    /// `VIRTIO_NET_F_MRG_RXBUF`: a packet may take several receive buffers.
    pub mergeable: bool,
    /// Bytes of the vnet header.
    pub header: u32,
    /// `experimental_zcopytx`, and a socket that allows it.
    pub zerocopy: bool,
    /// The tap's send buffer is limited (`TUNSETSNDBUF`): nothing is batched.
    pub send_buffer_limited: bool,
    /// An XDP program is on the tap: less fits into a buffer of a batch.
    pub xdp: bool,
    /// The worker polls before it sleeps (`VHOST_SET_VRING_BUSYLOOP_TIMEOUT`).
    pub busy_poll: bool,
}

impl Setup {
    /// A tap as QEMU sets it up, on a kernel with this profile: rings of 256, mergeable buffers, no zero-copy.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            num: 256,
            features: Features::default(),
            mergeable: true,
            header: 12,
            zerocopy: false,
            send_buffer_limited: false,
            xdp: false,
            busy_poll: false,
        }
    }
}

/// What can wait for the worker; each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The guest kicked, or a turn ended by its weight (`handle_tx_kick`, `handle_rx_kick`).
    Kick(Side),
    /// The socket is ready (`handle_tx_net`, `handle_rx_net`).
    Socket(Side),
}

impl Work {
    fn side(self) -> Side {
        let (Self::Kick(side) | Self::Socket(side)) = self;
        side
    }
}

/// One `struct vhost_net`: a queue pair.
#[derive(Clone, Debug)]
pub struct Vhost {
    pub(super) setup: Setup,
    pub(super) tx: Vring,
    pub(super) rx: Vring,
    pub(super) zerocopy: ZerocopyState,
    pub(super) receiving: RxState,
    pub(super) counts: Counts,
    work: VecDeque<Work>,
    /// Whether the socket's readiness queues work: room to send, data to receive.
    armed: [bool; 2],
}

impl Vhost {
    /// A device that was just given its tap (`vhost_net_set_backend`): it looks at both sides once.
    pub fn new(setup: Setup) -> Self {
        let ring = |side| Vring::new(side, setup.num, setup.features);
        let mut vhost = Self {
            tx: ring(Side::Tx),
            rx: ring(Side::Rx),
            zerocopy: ZerocopyState::default(),
            receiving: RxState::default(),
            counts: Counts::default(),
            work: VecDeque::new(),
            armed: [false; 2],
            setup,
        };
        vhost.arm(Side::Rx, false);
        vhost.arm(Side::Tx, true);
        vhost
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The guest kicks.
    pub fn kick(&mut self, side: Side) {
        self.counts.ring(side).kicks += 1;
        self.queue(Work::Kick(side));
    }

    /// The socket has become ready: there is a packet for the guest, or room for one from it.
    pub fn ready(&mut self, side: Side) {
        if self.armed[side as usize] {
            self.queue(Work::Socket(side));
        }
    }

    /// Does the work that waits longest; `false` when there is none.
    pub fn turn(&mut self, world: &mut impl World) -> bool {
        let Some(work) = self.work.pop_front() else { return false };
        let side = work.side();
        self.ring_mut(side).disable_notify(world);
        self.armed[side as usize] = false;
        let ended = match side {
            Side::Rx => self.handle_rx(world),
            Side::Tx if self.setup.zerocopy => self.handle_tx_zerocopy(world),
            Side::Tx => self.handle_tx_copy(world),
        };
        self.counts.ended(side, ended);
        true
    }

    /// Does all work, and what comes of it; at most `most` turns, and whether that was enough.
    pub fn run(&mut self, world: &mut impl World, most: usize) -> bool {
        (0..most).any(|_| !self.turn(world))
    }

    /// Queues work, unless it waits already (`vhost_vq_work_queue`).
    pub(super) fn queue(&mut self, work: Work) {
        if !self.work.contains(&work) {
            self.work.push_back(work);
        }
    }

    /// Whether the socket's readiness queues work.
    pub fn listens(&self, side: Side) -> bool {
        self.armed[side as usize]
    }

    /// Has the socket's readiness queue work (`vhost_net_enable_vq`); at once, if it is `ready`.
    pub(super) fn arm(&mut self, side: Side, ready: bool) {
        self.armed[side as usize] = true;
        if ready {
            self.queue(Work::Socket(side));
        }
    }

    /// Whether a turn is over; the rest is then left to the next one (`vhost_exceeds_weight`).
    pub(super) fn exceeds_weight(&mut self, side: Side, packets: u32, bytes: u64) -> bool {
        let exceeds = packets >= PACKET_WEIGHT || bytes >= BYTE_WEIGHT;
        if exceeds {
            self.queue(Work::Kick(side));
        }
        exceeds
    }

    /// Nothing is left in the transmit ring: whether the turn ends, and how.
    pub(super) fn tx_is_empty(&mut self, world: &mut impl World, interrupted: bool) -> Option<Ended> {
        if interrupted {
            self.queue(Work::Kick(Side::Tx));
            return Some(Ended::BusyPoll);
        }
        if self.tx.enable_notify(world, self.setup.profile.compared) {
            self.tx.disable_notify(world);
            return None;
        }
        Some(Ended::Empty)
    }

    /// Gives buffers back to the guest and calls it if it wants that (`vhost_add_used_and_signal_n`).
    pub(super) fn give_back(&mut self, world: &mut impl World, side: Side, count: u16) {
        let ring = self.ring_mut(side);
        ring.add_used(count);
        let call = ring.notify(world);
        world.used(side, count);
        if call {
            world.call(side);
        }
        self.counts.gave_back(side, count, call);
    }

    fn ring_mut(&mut self, side: Side) -> &mut Vring {
        match side {
            Side::Rx => &mut self.rx,
            Side::Tx => &mut self.tx,
        }
    }
}
