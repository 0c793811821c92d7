//! What really happened, kept beside the traffic.

use std::{collections::BTreeMap, ops::AddAssign};

/// One direction of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Packets by frame length; a GSO packet counts once.
    pub lengths: BTreeMap<u32, u64>,
    /// Packets once GSO is cut up.
    pub segments: u64,
    /// Packets that the device itself dropped, by the kernel's reason; not part of `lengths`.
    pub drops: BTreeMap<String, u64>,
}

impl Flow {
    /// Counts `packets` packets of `len` frame bytes, each cut up into `segments`.
    pub fn add(&mut self, len: u32, segments: u64, packets: u64) {
        *self.lengths.entry(len).or_default() += packets;
        self.segments += segments * packets;
    }

    /// Counts packets that were dropped for `reason`; none leaves no trace.
    pub fn add_drops(&mut self, reason: &str, packets: u64) {
        if packets > 0 {
            *self.drops.entry(reason.to_owned()).or_default() += packets;
        }
    }

    /// Packets.
    pub fn packets(&self) -> u64 {
        self.lengths.values().sum()
    }

    /// Frame bytes.
    pub fn bytes(&self) -> u64 {
        self.lengths.iter().map(|(len, packets)| u64::from(*len) * packets).sum()
    }

    /// Packets dropped by the device.
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    /// Packets in the classes that end at `edges` (inclusive), and in the open class behind the last.
    pub fn classes(&self, edges: &[u32]) -> Vec<u64> {
        let mut classes = vec![0; edges.len() + 1];
        for (len, packets) in &self.lengths {
            classes[edges.partition_point(|edge| edge < len)] += packets;
        }
        classes
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        for (len, packets) in other.lengths {
            *self.lengths.entry(len).or_default() += packets;
        }
        self.segments += other.segments;
        for (reason, packets) in other.drops {
            self.add_drops(&reason, packets);
        }
    }
}

/// Which queue of which device of which namespace.
///
/// `generation` tells devices apart that used one index of one namespace one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    /// Inode number of the namespace.
    pub netns: u64,
    /// Interface index.
    pub ifindex: u32,
    /// 0, then 1, …
    pub generation: u32,
    /// Index of the pair that the packets carried.
    pub queue: u16,
}

/// Both directions of a queue, as the guest sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What the guest sent.
    pub tx: Flow,
    /// What the guest was given.
    pub rx: Flow,
}

/// The whole truth of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(pub BTreeMap<Queue, Counts>);

impl Ledger {
    /// Adds what the guest sent through `queue`.
    pub fn tx(&mut self, queue: Queue, flow: Flow) {
        self.0.entry(queue).or_default().tx += flow;
    }

    /// Adds what the guest was given through `queue`.
    pub fn rx(&mut self, queue: Queue, flow: Flow) {
        self.0.entry(queue).or_default().rx += flow;
    }

    /// Sum over the queues of one device.
    pub fn device(&self, netns: u64, ifindex: u32, generation: u32) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self
            .0
            .iter()
            .filter(|(key, _)| (key.netns, key.ifindex, key.generation) == (netns, ifindex, generation))
        {
            sum.tx += counts.tx.clone();
            sum.rx += counts.rx.clone();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_class_below() {
        let mut flow = Flow::default();
        flow.add(64, 1, 2);
        flow.add(65, 1, 3);
        flow.add(4097, 3, 1);
        assert_eq!(flow.classes(&[64, 128, 4096]), [2, 3, 0, 1]);
        assert_eq!((flow.packets(), flow.bytes(), flow.segments), (6, 128 + 195 + 4097, 8));
    }
}
