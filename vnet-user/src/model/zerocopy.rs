//! Transmitting without copies where that pays (drivers/vhost/net.c: `handle_tx_zerocopy`).

use super::{
    Completion, Outcome, Polled, Sent, Side, Vhost, Work, World,
    counts::{Ended, Why},
    worker::BYTE_WEIGHT,
};

/// `VHOST_GOODCOPY_LEN`: shorter packets are copied.
const GOODCOPY: u32 = 256;

/// `VHOST_MAX_PEND`.
const MAX_PENDING: u16 = 128;

/// `UIO_MAXIOV`: zero-copy packets that can be told apart.
const MAX_IOV: u16 = 1024;

/// Packets after which the memory of failures is wiped (`vhost_net_tx_packet`).
const WINDOW: u32 = 1024;

/// A worker is woken for completions at every 16th (`vhost_zerocopy_complete`).
const WAKE: u32 = 16;

/// What is known of a packet that was sent without a copy: `vhost_virtqueue.heads[].len`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Clear,
    InProgress,
    Done,
    Failed,
}

/// Zero-copy packets of a device.
#[derive(Clone, Debug)]
pub(super) struct ZerocopyState {
    heads: Vec<Head>,
    /// `upend_idx`: number of the next packet.
    next: u16,
    /// `done_idx`: number of the oldest whose buffer is not given back.
    oldest: u16,
    /// `ubufs->refcount`: packets in flight, and one.
    references: u32,
    /// `tx_packets`.
    packets: u32,
    /// `tx_zcopy_err`.
    failures: u32,
}

impl Default for ZerocopyState {
    fn default() -> Self {
        let heads = vec![Head::default(); usize::from(MAX_IOV)];
        Self { heads, next: 0, oldest: 0, references: 1, packets: 0, failures: 0 }
    }
}

const fn after(number: u16, steps: u16) -> u16 {
    (number + steps) % MAX_IOV
}

impl ZerocopyState {
    /// `vhost_exceeds_maxpend`.
    fn exceeds_pending(&self, num: u16) -> bool {
        after(self.next, MAX_IOV - self.oldest) > MAX_PENDING.min(num >> 2)
    }

    /// `vhost_net_tx_select_zcopy`; nothing is flushed here.
    fn pays(&self) -> bool {
        self.packets / 64 >= self.failures
    }

    /// `vhost_net_tx_packet`.
    fn sent(&mut self) {
        self.packets += 1;
        if self.packets >= WINDOW {
            (self.packets, self.failures) = (0, 0);
        }
    }
}

impl Vhost {
    pub(super) fn handle_tx_zerocopy(&mut self, world: &mut impl World) -> Ended {
        let (mut packets, mut bytes) = (0, 0);
        loop {
            self.collect(world);
            let mut place = self.tx.take(world);
            let mut interrupted = false;
            if place.is_none() && self.setup.busy_poll {
                interrupted = world.busy_poll(Side::Tx) == Polled::Interrupted;
                place = self.tx.take(world);
            }
            if let Some(place) = place {
                if !self.send_one(world, place, &mut bytes) {
                    return Ended::NoBuffers;
                }
            } else if let Some(ended) = self.tx_is_empty(world, interrupted) {
                return ended;
            }
            packets += 1;
            if self.exceeds_weight(Side::Tx, packets, bytes) {
                return Ended::Weight;
            }
        }
    }

    /// Sends the packet at this place of the ring; `false` when that is to be tried again later.
    fn send_one(&mut self, world: &mut impl World, place: u16, bytes: &mut u64) -> bool {
        let chain = world.chain(Side::Tx, place);
        *bytes += u64::from(chain.len);
        let why = self.why_copied(chain.len);
        let (len, desc) = (chain.len, self.zerocopy.next);
        if why.is_none() {
            self.zerocopy.heads[usize::from(desc)] = Head::InProgress;
            self.zerocopy.references += 1;
            self.zerocopy.next = after(desc, 1);
        }
        let more = *bytes < BYTE_WEIGHT
            && !self.tx.is_empty(world)
            && !self.zerocopy.exceeds_pending(self.setup.num);
        let sent =
            if why.is_none() { Sent::Zerocopy { len, more, desc } } else { Sent::Single { len, more } };
        let outcome = world.send(sent);
        let header = self.setup.header;
        match (outcome, why) {
            (Outcome::Later, why) => {
                if why.is_none() {
                    self.zerocopy.heads[usize::from(desc)] = Head::Clear;
                    self.zerocopy.references -= 1;
                    self.zerocopy.next = desc;
                }
                self.tx.put_back(1);
                self.arm(Side::Tx, false);
                return false;
            }
            (_, Some(why)) => {
                self.counts.single(chain, header, why);
                self.give_back(world, Side::Tx, 1);
            }
            (outcome, None) => {
                self.counts.zerocopy(chain, header, desc);
                if outcome == Outcome::Refused {
                    // It is given up, and its completion is never told.
                    self.zerocopy.heads[usize::from(desc)] = Head::Done;
                    self.zerocopy.references -= 1;
                }
                self.collect(world);
            }
        }
        self.zerocopy.sent();
        true
    }

    /// Why a packet is copied, if it is.
    fn why_copied(&self, len: u32) -> Option<Why> {
        if len < GOODCOPY {
            Some(Why::Short)
        } else if self.zerocopy.exceeds_pending(self.setup.num) {
            Some(Why::Pending)
        } else if !self.zerocopy.pays() {
            Some(Why::Backoff)
        } else {
            None
        }
    }

    /// A zero-copy packet is done with (`vhost_zerocopy_callback`, later `vhost_zerocopy_complete`).
    pub fn complete(&mut self, desc: u16, completion: Completion) {
        let Some(head) = self.zerocopy.heads.get_mut(usize::from(desc)) else { return };
        if *head != Head::InProgress {
            return;
        }
        *head = if completion == Completion::Uncopied { Head::Done } else { Head::Failed };
        self.counts.completed(desc, completion);
        self.zerocopy.references -= 1;
        let left = self.zerocopy.references;
        if left <= 1 || left.is_multiple_of(WAKE) {
            self.queue(Work::Kick(Side::Tx));
        }
    }

    /// Gives back the buffers of packets that are done with, in the order in which they were sent
    /// (`vhost_zerocopy_signal_used`).
    fn collect(&mut self, world: &mut impl World) {
        while let Some((desc, completion)) = world.completion() {
            self.complete(desc, completion);
        }
        let (mut number, mut count) = (self.zerocopy.oldest, 0);
        while number != self.zerocopy.next {
            let head = &mut self.zerocopy.heads[usize::from(number)];
            match *head {
                Head::Failed => self.zerocopy.failures += 1,
                Head::Done => {}
                Head::Clear | Head::InProgress => break,
            }
            *head = Head::Clear;
            (number, count) = (after(number, 1), count + 1);
        }
        // Their numbers lie in an array that ends: in two pieces where they wrap.
        while count > 0 {
            let piece = count.min(MAX_IOV - self.zerocopy.oldest);
            self.give_back(world, Side::Tx, piece);
            self.zerocopy.oldest = after(self.zerocopy.oldest, piece);
            count -= piece;
        }
    }
}
