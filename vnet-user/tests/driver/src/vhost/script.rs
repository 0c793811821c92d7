//! The language of scripts.

use std::fmt;

use super::packet::Packet;

/// Direction, as the guest sees it; its value is the vring's index in a `vhost_net` device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// To the guest.
    Rx = 0,
    /// From the guest.
    Tx = 1,
}

/// When the guest kicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kick {
    /// When the device asks for it, as every driver does: `avail_event`, or the used ring's flag.
    Wanted,
    /// In any case.
    Always,
}

/// Which used index the device is to call at (`EVENT_IDX` only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedEvent {
    /// At the next used entry.
    Next,
    /// After so many more than the guest has taken back.
    After(u16),
    /// Not before the index has gone around: half a turn behind.
    Never,
}

/// One thing that the guest, its monitor or the host does to one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest adds these packets to the TX ring and moves the available index once. It is an error when the ring has
    /// no room for all.
    Publish(Vec<Packet>),
    /// As any driver sends: publishes what fits, kicks when wanted, waits for room, until all is published.
    Send(Vec<Packet>),
    /// The guest kicks.
    Kick(Side, Kick),
    /// TX: until every chain has come back. RX: until all that was injected (and [`super::Guest::expect`]ed) and not
    /// dropped has arrived. With a deadline.
    Wait(Side),
    /// The guest posts one RX buffer of each size in one go. It is an error when the ring has no room.
    PostRx(Vec<u32>),
    /// From now on the guest keeps its RX ring full of buffers of this size, as a driver does, kicking when wanted; `None`
    /// ends that.
    Refill(Option<u32>),
    /// The host sends these to the pair, one after the other.
    Inject(Vec<Packet>),
    /// The guest sets when it wants to be called. It is an error without `EVENT_IDX`.
    UsedEvent(Side, UsedEvent),
    /// The guest sets whether it wants to be called (`VRING_AVAIL_F_NO_INTERRUPT`). It is an error with `EVENT_IDX`.
    Interrupts(Side, bool),
    /// The monitor takes the tap from the device, or gives it again; the rings and what is in them stay.
    Backend(bool),
    /// The monitor limits the tap's send buffer (all pairs): packets are then sent one by one.
    SendBuffer(i32),
    /// The monitor lets the worker poll for so many units of 1024 ns, in this direction.
    BusyPoll(Side, u32),
    /// The monitor begins or ends logging of written pages.
    Log(bool),
    /// The monitor resets the device: new worker, empty rings. What was in flight is lost.
    Reset,
    /// The monitor closes the device.
    Close,
    /// The monitor opens it anew, after [`Step::Close`]: new worker, empty rings.
    Open,
    /// Nothing; all that the worker had been woken for is done and counted afterwards.
    Settle,
}

/// Steps with the pair that each is for, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Script(pub Vec<(u16, Step)>);

/// A line a step, short enough to be read when a property test prints it.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(pair, step)| write!(f, "\n  pair {pair}: {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(packets) => write!(f, "Publish{}", Runs(packets)),
            Self::Send(packets) => write!(f, "Send{}", Runs(packets)),
            Self::Inject(packets) => write!(f, "Inject{}", Runs(packets)),
            Self::PostRx(sizes) => write!(f, "PostRx{}", Runs(sizes)),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Equal neighbours as one.
struct Runs<'a, T>(&'a [T]);

impl<T: fmt::Debug + PartialEq> fmt::Display for Runs<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs = self.0.chunk_by(|a, b| a == b);
        runs.try_for_each(|run| write!(f, " {} x {:?}", run.len(), run[0]))
    }
}

impl Script {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step for `pair`.
    #[must_use]
    pub fn on(mut self, pair: u16, step: Step) -> Self {
        self.0.push((pair, step));
        self
    }

    /// Adds steps for `pair`.
    #[must_use]
    pub fn all(mut self, pair: u16, steps: impl IntoIterator<Item = Step>) -> Self {
        self.0.extend(steps.into_iter().map(|step| (pair, step)));
        self
    }

    /// Adds: publish at once, kick, wait.
    #[must_use]
    pub fn transmit(self, pair: u16, packets: Vec<Packet>) -> Self {
        self.all(pair, [Step::Publish(packets), Step::Kick(Side::Tx, Kick::Wanted), Step::Wait(Side::Tx)])
    }

    /// Adds: the host sends, wait.
    #[must_use]
    pub fn receive(self, pair: u16, packets: Vec<Packet>) -> Self {
        self.all(pair, [Step::Inject(packets), Step::Wait(Side::Rx)])
    }
}
