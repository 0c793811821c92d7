//! Differences between counts of the same packets taken in different places: 0 unless something was missed, or is on its
//! way between the two.

use std::collections::{BTreeMap, HashMap};

use crate::{
    live::inventory::LinkStats,
    record::QueueCounts,
    topology::{DeviceKey, QueueKey},
};

/// Counts of one queue, or of all queues of a device.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Packets that the guest sent and the tap did not drop.
    tx: u64,
    /// Packets that the guest was given.
    rx: u64,
    /// Packets that the guest sent.
    sent: u64,
    /// Chains that it got back for them; `None` where not known.
    used: Option<u64>,
}

/// What was counted so far, and what the tap's own counters said when counting began.
#[derive(Debug, Default)]
pub(crate) struct Residuals {
    queues: BTreeMap<QueueKey, Totals>,
    /// Per device, what its own counters say more than was counted since it was first looked at: packets from the guest, to
    /// the guest.
    base: HashMap<DeviceKey, [i64; 2]>,
}

impl Residuals {
    /// Takes newer counts.
    pub(crate) fn take(&mut self, queues: &[(QueueKey, QueueCounts)]) {
        for (key, counts) in queues {
            let Some(vhost) = &counts.vhost else { continue };
            let sent = counts.tx.as_ref().map_or(0, crate::record::Flow::packets);
            let dropped = counts.tx.as_ref().map_or(0, crate::record::Flow::dropped);
            let totals = Totals {
                tx: sent.saturating_sub(dropped),
                rx: counts.rx.as_ref().map_or(0, crate::record::Flow::packets),
                sent,
                used: vhost.copies.and(vhost.tx.used),
            };
            self.queues.insert(*key, totals);
        }
    }

    /// The differences now, per device that vhost serves. `stats` are a tap's own counters; `new` says that it was made since
    /// counting began, so that they began at 0.
    pub(crate) fn tell(
        &mut self,
        stats: impl Fn(DeviceKey) -> Option<LinkStats>,
        new: impl Fn(DeviceKey) -> bool,
    ) -> Vec<(DeviceKey, BTreeMap<String, i64>)> {
        let mut devices: BTreeMap<DeviceKey, Totals> = BTreeMap::new();
        for (key, queue) in &self.queues {
            let device = devices.entry(key.device).or_insert(Totals { used: Some(0), ..Totals::default() });
            device.tx += queue.tx;
            device.rx += queue.rx;
            device.sent += queue.sent;
            device.used = device.used.zip(queue.used).map(|(a, b)| a + b);
        }
        let mut told = Vec::new();
        for (key, counted) in devices {
            let mut differences = BTreeMap::new();
            if let Some(own) = stats(key) {
                let now = [difference(own.rx_packets, counted.tx), difference(own.tx_packets, counted.rx)];
                let base = *self.base.entry(key).or_insert(if new(key) { [0, 0] } else { now });
                differences.insert("tx".to_owned(), base[0] - now[0]);
                differences.insert("rx".to_owned(), base[1] - now[1]);
            }
            if let Some(used) = counted.used {
                differences.insert("tx_used".to_owned(), difference(counted.sent, used));
            }
            told.push((key, differences));
        }
        told
    }
}

fn difference(a: u64, b: u64) -> i64 {
    a.cast_signed().wrapping_sub(b.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Copies, Flow, Ring, Vhost},
        topology::{IfIndex, Netns, QueuePair},
    };

    const DEVICE: DeviceKey = DeviceKey { netns: Netns(1), ifindex: IfIndex(2), generation: 0 };

    fn counts(tx: u64, rx: u64, used: u64) -> Vec<(QueueKey, QueueCounts)> {
        let flow = |packets| Some(Flow { sizes: [packets, 0, 0, 0, 0, 0, 0, 0], ..Flow::default() });
        let vhost = Vhost {
            copies: Some(Copies::default()),
            tx: Ring { used: Some(used), ..Ring::default() },
            ..Vhost::default()
        };
        let counts = QueueCounts { tx: flow(tx), rx: flow(rx), vhost: Some(vhost) };
        vec![(QueueKey { device: DEVICE, queue: QueuePair(0) }, counts)]
    }

    fn told(residuals: &mut Residuals, rx_packets: u64, tx_packets: u64, new: bool) -> [i64; 3] {
        let stats = |_| Some(LinkStats { rx_packets, tx_packets });
        let told = residuals.tell(stats, |_| new);
        ["tx", "rx", "tx_used"].map(|name| told[0].1[name])
    }

    #[test]
    fn a_new_tap_begins_at_nothing() {
        let mut residuals = Residuals::default();
        residuals.take(&counts(10, 5, 10));
        assert_eq!(told(&mut residuals, 10, 5, true), [0, 0, 0]);
        assert_eq!(told(&mut residuals, 8, 5, true), [2, 0, 0], "two that the tap did not take");
        residuals.take(&counts(10, 4, 9));
        assert_eq!(told(&mut residuals, 10, 5, true), [0, -1, 1]);
    }

    #[test]
    fn what_a_tap_had_counted_before_is_no_difference() {
        let mut residuals = Residuals::default();
        residuals.take(&counts(3, 4, 3));
        assert_eq!(told(&mut residuals, 1003, 2004, false), [0, 0, 0]);
        residuals.take(&counts(13, 24, 13));
        assert_eq!(told(&mut residuals, 1013, 2024, false), [0, 0, 0]);
        assert_eq!(told(&mut residuals, 1013, 2025, false), [0, -1, 0]);
    }
}
