//! What really happened on the rings: counted by the side that owns them.

use std::collections::BTreeMap;

use crate::truth::{Counts, Flow};

/// Packets shorter than this, vnet header included, are copied whatever the mode (`VHOST_GOODCOPY_LEN`).
pub const GOODCOPY: u32 = 256;

/// What a ring of either direction has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Chains that the guest published.
    pub heads: u64,
    /// Descriptors in them, those of indirect tables included and the tables' own not.
    pub descriptors: u64,
    /// Entries that vhost put on the used ring.
    pub used: u64,
    /// Kicks: writes to the kick eventfd.
    pub kicks: u64,
    /// Calls: what the call eventfd counted.
    pub calls: u64,
    /// What the error eventfd counted.
    pub errors: u64,
}

/// TX of a pair. A packet counts when its chain came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tx {
    /// Bytes of the vnet header.
    pub header: u32,
    /// All packets, runts included.
    pub flow: Flow,
    /// Those of them that no tap takes and no counter sees: frames below 14 bytes.
    pub runts: Flow,
    /// The ring.
    pub ring: Events,
}

/// RX of a pair. A packet counts when the guest finds it on the used ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rx {
    /// Bytes of the vnet header.
    pub header: u32,
    /// What arrived.
    pub flow: Flow,
    /// What [`super::Step::Inject`] sent; with packets forwarded by other taps it is less than what can arrive.
    pub injected: Flow,
    /// How many of those the tap dropped for want of room.
    pub dropped: u64,
    /// Bytes written into the guest's buffers, vnet headers included.
    pub copied: u64,
    /// Packets by the number of buffers that they took; `ring.used` is the sum of both multiplied.
    pub buffers: BTreeMap<u64, u64>,
    /// The ring.
    pub ring: Events,
}

impl Tx {
    /// Bytes with vnet headers: what vhost counts, and what it copies of packets that it batches.
    pub fn bytes_with_header(&self) -> u64 {
        self.flow.bytes() + u64::from(self.header) * self.flow.packets()
    }

    /// Packets whose length with the vnet header is at most `len`, and their bytes, counted so.
    pub fn up_to(&self, len: u32) -> (u64, u64) {
        let lengths = self.flow.lengths.iter().map(|(frame, packets)| (frame + self.header, *packets));
        lengths
            .filter(|(whole, _)| *whole <= len)
            .fold((0, 0), |(packets, bytes), (whole, more)| (packets + more, bytes + u64::from(whole) * more))
    }

    /// Packets that are never sent without a copy, being too short for it.
    pub fn short(&self) -> u64 {
        self.up_to(GOODCOPY - 1).0
    }

    /// What the tap counts as received.
    pub fn accepted(&self) -> (u64, u64) {
        (self.flow.packets() - self.runts.packets(), self.flow.bytes() - self.runts.bytes())
    }
}

impl Rx {
    /// Bytes with vnet headers: what vhost counts.
    pub fn bytes_with_header(&self) -> u64 {
        self.flow.bytes() + u64::from(self.header) * self.flow.packets()
    }
}

/// A queue pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// What the guest sent.
    pub tx: Tx,
    /// What it was given.
    pub rx: Rx,
    /// Threads that have worked for it, the present one last: `vhost-…` in the kernel's eyes.
    pub workers: Vec<u32>,
}

/// A guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Its pairs; the index is the tap's queue.
    pub pairs: Vec<Pair>,
    /// What [`super::Sink::Receiver`] read of what the guest sent.
    pub received: u64,
}

impl Truth {
    /// Both directions of the whole device, runts left out: what its own counters must say.
    pub fn device(&self) -> Counts {
        let mut counts = Counts::default();
        for pair in &self.pairs {
            let mut accepted = pair.tx.flow.clone();
            for (len, packets) in &pair.tx.runts.lengths {
                if let Some(left) = accepted.lengths.get_mut(len) {
                    *left -= packets;
                }
            }
            accepted.lengths.retain(|_, packets| *packets > 0);
            accepted.segments -= pair.tx.runts.segments;
            counts.tx += accepted;
            counts.rx += pair.rx.flow.clone();
            counts.rx.add_drops("FULL_RING", pair.rx.dropped);
        }
        counts
    }
}
