//! Transmitting with copies (drivers/vhost/net.c: `handle_tx_copy`).

use super::{
    Chain, Outcome, Polled, Sent, Side, Vhost, World,
    counts::{Ended, Why},
    worker::BYTE_WEIGHT,
};

/// `VHOST_NET_BATCH`.
pub(super) const BATCH: u16 = 64;

/// Longest packet that fits into a page together with what an skb needs (`vhost_net_build_xdp`), without and with room
/// for an XDP program's own header.
const FITS: u32 = 3648;
const FITS_XDP: u32 = 3392;

/// A turn so far.
#[derive(Default)]
struct Turn {
    /// Packets copied into the batch that is being filled, their frames and lengths.
    batch: Vec<Chain>,
    /// `done_idx`: buffers to be given back.
    done: u16,
}

impl Vhost {
    pub(super) fn handle_tx_copy(&mut self, world: &mut impl World) -> Ended {
        let (mut turn, mut packets, mut bytes) = (Turn::default(), 0, 0);
        let ended = loop {
            if turn.done == BATCH {
                self.flush(world, &mut turn);
            }
            let (place, interrupted) = self.take_to_copy(world, &mut turn);
            if let Some(place) = place {
                let chain = world.chain(Side::Tx, place);
                bytes += u64::from(chain.len);
                if !self.copy(world, &mut turn, chain, bytes) {
                    break Ended::NoBuffers;
                }
                turn.done += 1;
            } else {
                if self.setup.profile.flush_before_enable {
                    self.flush(world, &mut turn);
                }
                if let Some(ended) = self.tx_is_empty(world, interrupted) {
                    break ended;
                }
            }
            packets += 1;
            if self.exceeds_weight(Side::Tx, packets, bytes) {
                break Ended::Weight;
            }
        };
        self.flush(world, &mut turn);
        ended
    }

    /// The next buffer, and whether busy polling for it was interrupted (`get_tx_bufs`, `vhost_net_tx_get_vq_desc`).
    fn take_to_copy(&mut self, world: &mut impl World, turn: &mut Turn) -> (Option<u16>, bool) {
        let place = self.tx.take(world);
        if place.is_some() || !self.setup.busy_poll {
            return (place, false);
        }
        self.flush(world, turn);
        let interrupted = world.busy_poll(Side::Tx) == Polled::Interrupted;
        (self.tx.take(world), interrupted)
    }

    /// Copies a packet into the batch, or has the tap copy it; `false` when that is to be tried again later.
    fn copy(&mut self, world: &mut impl World, turn: &mut Turn, chain: Chain, bytes: u64) -> bool {
        let mut more = false;
        if self.setup.send_buffer_limited {
            more = bytes < BYTE_WEIGHT && !self.tx.is_empty(world);
        } else if chain.len <= if self.setup.xdp { FITS_XDP } else { FITS } {
            turn.batch.push(chain);
            return true;
        } else if !self.setup.profile.large_share_updates || !turn.batch.is_empty() {
            self.flush(world, turn);
        }
        if world.send(Sent::Single { len: chain.len, more }) == Outcome::Later {
            self.tx.put_back(1);
            self.arm(Side::Tx, false);
            return false;
        }
        self.counts.single(chain, self.setup.header, Why::ModuleOff);
        true
    }

    /// Hands over the batch and gives back all buffers that are done with (`vhost_tx_batch`).
    fn flush(&mut self, world: &mut impl World, turn: &mut Turn) {
        if !turn.batch.is_empty() {
            self.counts.batch(&turn.batch, self.setup.header);
            let count = u16::try_from(turn.batch.len()).unwrap_or(BATCH);
            turn.batch.clear();
            // It fails only when the tap is gone, and then nothing is left to be told of it.
            let _ = world.send(Sent::Batch(count));
        }
        if turn.done > 0 {
            self.give_back(world, Side::Tx, turn.done);
            turn.done = 0;
        }
    }
}
