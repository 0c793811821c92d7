//! What really happened on the rings: counted by the side that owns them.

use std::collections::BTreeMap;

use crate::{
    frame,
    truth::{Counts, Flow},
};

/// Packets shorter than this, vnet header included, are copied whatever the mode (`VHOST_GOODCOPY_LEN`).
pub const GOODCOPY: u32 = 256;

/// Longest packet, vnet header included, that is copied into a batch (`vhost_net_build_xdp`, pages of 4 KiB).
pub const BATCH: u32 = 3648;

/// The same with an XDP program on the tap.
pub const BATCH_XDP: u32 = 3392;

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

    /// How they were copied in copy mode, when that did not change meanwhile: packets of at most `batch` bytes, vnet header
    /// included, in batches ([`BATCH`], [`BATCH_XDP`]; 0 with a limited send buffer), the others singly.
    pub fn copies(&self, batch: u32) -> Copies {
        let ((packets, bytes), whole) = (self.up_to(batch), self.bytes_with_header());
        let short: u64 = self
            .runts
            .lengths
            .iter()
            .filter(|(len, _)| **len + self.header > batch)
            .map(|(len, n)| u64::from(*len) * n)
            .sum();
        let single = self.flow.packets() - packets;
        let padding = u64::from(self.header) - frame::HEADER as u64;
        Copies {
            batched: packets,
            batched_bytes: bytes,
            single,
            single_bytes: whole - bytes - padding * single - short,
        }
    }

    /// What the tap takes and counts: all but runts.
    pub fn accepted(&self) -> Flow {
        let mut flow = self.flow.clone();
        flow.lengths.retain(|len, _| !self.runts.lengths.contains_key(len));
        flow.segments -= self.runts.segments;
        flow
    }
}

impl Rx {
    /// Bytes with vnet headers: what vhost counts.
    pub fn bytes_with_header(&self) -> u64 {
        self.flow.bytes() + u64::from(self.header) * self.flow.packets()
    }
}

/// How packets of TX were copied in copy mode; see [`Tx::copies`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Packets that vhost copied into a buffer of a batch.
    pub batched: u64,
    /// Bytes of that: frames and their vnet headers.
    pub batched_bytes: u64,
    /// Packets that the tap copied one by one.
    pub single: u64,
    /// Bytes of that: frames and the 10 bytes of each vnet header that the tap reads; of a runt the latter only.
    pub single_bytes: u64,
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

impl Pair {
    /// Both directions, runts left out: what the tap's own counters must say.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { tx: self.tx.accepted(), rx: self.rx.flow.clone() };
        counts.rx.add_drops("FULL_RING", self.rx.dropped);
        counts
    }
}

impl Truth {
    /// The sum of all pairs.
    pub fn device(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.pairs.iter().map(Pair::counts) {
            sum.tx += counts.tx;
            sum.rx += counts.rx;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_follow_from_lengths() {
        let mut tx = Tx { header: 12, ..Tx::default() };
        for (len, packets) in [(10, 2), (243, 3), (244, 5), (3636, 7), (3637, 11)] {
            tx.flow.add(len, 1, packets);
        }
        tx.runts.add(10, 1, 2);
        assert_eq!(tx.short(), 5);
        let all = 2 * 10 + 3 * 243 + 5 * 244 + 7 * 3636 + 11 * 3637;
        let copies = tx.copies(BATCH);
        assert_eq!((copies.batched, copies.single), (17, 11));
        assert_eq!((copies.batched_bytes, copies.single_bytes), (all - 11 * 3637 + 17 * 12, 11 * 3647));
        let copies = tx.copies(0);
        assert_eq!((copies.batched, copies.batched_bytes, copies.single), (0, 0, 28));
        assert_eq!(copies.single_bytes, all - 20 + 28 * 10, "of the runts the tap reads the header only");
        assert_eq!((tx.accepted().packets(), tx.accepted().bytes()), (26, all - 20));
    }
}
