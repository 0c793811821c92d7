//! Differences between counts of the same packets taken in different places: 0 unless something was missed, or is on its
//! way between the two.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    live::inventory::LinkStats,
    record::{QueueCounts, Ring},
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
    /// Calls of the guest.
    calls: u64,
    /// Of these, those that reached an `irqfd`.
    woken: u64,
}

/// What was counted so far, and what the tap's own counters said when counting began.
#[derive(Debug, Default)]
pub(crate) struct Residuals {
    queues: BTreeMap<QueueKey, Totals>,
    /// Per device, what its own counters say more than was counted since it was first looked at: packets from the guest, to
    /// the guest.
    base: HashMap<DeviceKey, [i64; 2]>,
    /// Taps of which more than vhost's part is compared: nothing may be attached that counts the rest.
    watched: BTreeSet<DeviceKey>,
    /// What was found of those when last looked at.
    looks: BTreeMap<DeviceKey, Look>,
}

/// Counters of a tap beside what was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    own: LinkStats,
    /// Packets that only the tap has counted: from the guest, to the guest.
    more: [u64; 2],
    /// Those of them that are not on their way: they are missing.
    missed: [u64; 2],
}

impl Look {
    /// The next one. While packets pass, some may be on their way between the two counts.
    fn then(self, own: LinkStats, differences: [i64; 2]) -> Self {
        const ON_THEIR_WAY: u64 = 256;
        let more = differences.map(|difference| (-difference).max(0).unsigned_abs());
        let moving = [own.rx_packets != self.own.rx_packets, own.tx_packets != self.own.tx_packets];
        let missed = [0, 1].map(|at| {
            let sure = self.more[at].min(more[at]);
            let missed = sure.saturating_sub(if moving[at] { ON_THEIR_WAY } else { 0 });
            missed.max(self.missed[at])
        });
        Self { own, more, missed }
    }
}

impl Residuals {
    /// Takes newer counts.
    pub(crate) fn take(&mut self, queues: &[(QueueKey, QueueCounts)]) {
        for (key, counts) in queues {
            let vhost = counts.vhost.as_ref();
            if vhost.is_none() && !self.watched.contains(&key.device) {
                continue;
            }
            let sent = counts.tx.as_ref().map_or(0, crate::record::Flow::packets);
            let dropped = counts.tx.as_ref().map_or(0, crate::record::Flow::dropped);
            // What the stack sees of a guest is without what the tap drops.
            let dropped = if vhost.is_some() { dropped } else { 0 };
            let both = |of: fn(&Ring) -> Option<u64>| {
                vhost.map_or(0, |vhost| of(&vhost.tx).unwrap_or(0) + of(&vhost.rx).unwrap_or(0))
            };
            let totals = Totals {
                tx: sent.saturating_sub(dropped),
                rx: counts.rx.as_ref().map_or(0, crate::record::Flow::packets),
                sent,
                used: vhost.and_then(|vhost| vhost.copies.and(vhost.tx.used)),
                calls: both(|ring| ring.calls),
                woken: both(|ring| ring.woken),
            };
            self.queues.insert(*key, totals);
        }
    }

    /// Forgets these devices.
    pub(crate) fn forget(&mut self, devices: &HashSet<DeviceKey>) {
        self.queues.retain(|key, _| !devices.contains(&key.device));
        self.base.retain(|key, _| !devices.contains(key));
        self.watched.retain(|key| !devices.contains(key));
        self.looks.retain(|key, _| !devices.contains(key));
    }

    /// From now on, the differences of a tap are told whether vhost serves it or not.
    pub(crate) fn watch(&mut self, device: DeviceKey) -> bool {
        self.watched.insert(device)
    }

    /// Packets that only the tap itself has counted, while nothing was attached that counts them by queue: from its guest, to
    /// its guest.
    pub(crate) fn missed(&self, device: DeviceKey) -> [u64; 2] {
        self.looks.get(&device).map_or([0; 2], |look| look.missed)
    }

    /// The differences now, per device that vhost serves or that is watched. `stats` are a tap's own counters; `new` says that it was made since
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
            device.calls += queue.calls;
            device.woken += queue.woken;
            device.used = device.used.zip(queue.used).map(|(a, b)| a + b);
        }
        for key in &self.watched {
            devices.entry(*key).or_default();
        }
        let mut told = Vec::new();
        for (key, counted) in devices {
            let mut differences = BTreeMap::new();
            if let Some(own) = stats(key) {
                let now = [difference(own.rx_packets, counted.tx), difference(own.tx_packets, counted.rx)];
                let base = *self.base.entry(key).or_insert(if new(key) { [0, 0] } else { now });
                differences.insert("tx".to_owned(), base[0] - now[0]);
                differences.insert("rx".to_owned(), base[1] - now[1]);
                if self.watched.contains(&key) {
                    let look = self.looks.entry(key).or_default();
                    *look = look.then(own, [base[0] - now[0], base[1] - now[1]]);
                }
            }
            if let Some(used) = counted.used {
                differences.insert("tx_used".to_owned(), difference(counted.sent, used));
            }
            // Calls that no `irqfd` takes at all are for another program, not missing.
            if counted.woken > 0 {
                differences.insert("calls".to_owned(), difference(counted.calls, counted.woken));
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
        record::{Copies, Flow, Vhost},
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
    fn what_only_the_tap_has_counted_is_missing_once_nothing_is_on_its_way() {
        let mut residuals = Residuals::default();
        let mut missed = |rx_packets, tx_packets| {
            residuals.watch(DEVICE);
            residuals.tell(|_| Some(LinkStats { rx_packets, tx_packets }), |_| true);
            residuals.missed(DEVICE)
        };
        assert_eq!(missed(3, 0), [0, 0], "they may be on their way");
        assert_eq!(missed(3, 300), [3, 0]);
        assert_eq!(missed(3, 1000), [3, 300 - 256]);
        assert_eq!(missed(3, 1000), [3, 1000]);
        assert_eq!(missed(4, 1001), [3, 1000], "what is missing stays so");
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
