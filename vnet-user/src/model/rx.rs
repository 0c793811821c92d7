//! Receiving (drivers/vhost/net.c: `handle_rx`). It is always a copy.

use std::collections::VecDeque;

use super::{Frame, Polled, Side, Vhost, Work, World, copy::BATCH, counts::Ended};

/// `UIO_MAXIOV`: buffers that one packet may take.
const MAX_IOV: u16 = 1024;

/// What a device has of packets for its guest between two turns.
#[derive(Clone, Debug, Default)]
pub(super) struct RxState {
    /// `rxq`: frames that were taken out of the tap's ring, at most [`BATCH`].
    taken: VecDeque<Frame>,
    /// `done_idx`: buffers that are filled and not given back.
    done: u16,
}

/// Buffers for a packet (`get_rx_bufs`).
enum Buffers {
    /// So many were taken.
    Taken(u16),
    /// There are not enough yet.
    TooFew,
    /// All that a packet may take are not enough.
    TooLarge,
}

impl Vhost {
    pub(super) fn handle_rx(&mut self, world: &mut impl World) -> Ended {
        let (mut packets, mut bytes) = (0, 0);
        let ended = loop {
            let (frame, interrupted) = self.peek(world);
            let Some(frame) = frame else {
                if interrupted {
                    self.queue(Work::Kick(Side::Rx));
                    break Ended::BusyPoll;
                }
                self.arm(Side::Rx, false);
                break Ended::Empty;
            };
            let len = frame.len + self.setup.header;
            match self.buffers(world, len) {
                Buffers::Taken(count) if world.receive(len) => {
                    self.receiving.taken.pop_front();
                    self.counts.received(frame, len);
                    self.receiving.done += count;
                    if self.receiving.done > BATCH {
                        self.give_back_received(world);
                    }
                    bytes += u64::from(len);
                }
                // It is thrown away, and what was taken for it goes back.
                Buffers::Taken(count) => {
                    self.receiving.taken.pop_front();
                    self.rx.put_back(count);
                }
                Buffers::TooLarge => drop(self.receiving.taken.pop_front()),
                Buffers::TooFew if interrupted => {
                    self.queue(Work::Kick(Side::Rx));
                    break Ended::BusyPoll;
                }
                Buffers::TooFew => {
                    if !self.rx.enable_notify(world, self.setup.profile.compared) {
                        // The socket's readiness queues nothing until the guest kicks.
                        break Ended::NoBuffers;
                    }
                    self.rx.disable_notify(world);
                }
            }
            packets += 1;
            if self.exceeds_weight(Side::Rx, packets, bytes) {
                break Ended::Weight;
            }
        };
        self.give_back_received(world);
        ended
    }

    /// The next packet, and whether busy polling for it was interrupted (`vhost_net_rx_peek_head_len`).
    fn peek(&mut self, world: &mut impl World) -> (Option<Frame>, bool) {
        let frame = self.next_frame(world);
        if frame.is_some() || !self.setup.busy_poll {
            return (frame, false);
        }
        self.give_back_received(world);
        let interrupted = world.busy_poll(Side::Rx) == Polled::Interrupted;
        (self.next_frame(world), interrupted)
    }

    /// `vhost_net_buf_peek`: takes from the tap's ring when nothing is left of what was taken before.
    fn next_frame(&mut self, world: &mut impl World) -> Option<Frame> {
        if self.receiving.taken.is_empty() {
            world.pull(usize::from(BATCH), &mut self.receiving.taken);
        }
        self.receiving.taken.front().copied()
    }

    fn buffers(&mut self, world: &mut impl World, len: u32) -> Buffers {
        let most = if self.setup.mergeable { MAX_IOV } else { 1 };
        let (mut count, mut room) = (0, 0);
        while room < len && count < most {
            let Some(place) = self.rx.take(world) else {
                self.rx.put_back(count);
                return Buffers::TooFew;
            };
            room = world.chain(Side::Rx, place).len.saturating_add(room);
            count += 1;
        }
        if room < len {
            self.rx.put_back(count);
            return Buffers::TooLarge;
        }
        Buffers::Taken(count)
    }

    /// `vhost_net_signal_used`.
    fn give_back_received(&mut self, world: &mut impl World) {
        let done = std::mem::take(&mut self.receiving.done);
        if done > 0 {
            self.give_back(world, Side::Rx, done);
        }
    }
}
