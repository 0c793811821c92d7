//! Which tap queues vhost serves now: nobody else reads or writes them then, and vhost's own programs count it all.

use std::collections::{BTreeMap, HashMap, HashSet};

use vnet_ebpf::{
    device::NO_SLOT,
    vhost::{Pair, state},
};

use super::workers::STATE;
use crate::{
    live::{maps::Maps, mmap::Shared},
    topology::{DeviceKey, QueueKey},
};

/// What a pair says of its tap queue: as long as it says the same, the queue is of the same device.
type Place = (u64, u64, u64, u32);

/// The queues that vhost serves.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Of each pair, what it said when it was first seen to say so, and whose the slot was then. A pair whose worker does not
    /// run does not hear that its slot was given to another device.
    first: HashMap<usize, (Place, DeviceKey)>,
    /// Slots of the queues.
    slots: HashSet<u32>,
    /// How many queues of a device.
    queues: BTreeMap<DeviceKey, usize>,
}

impl Served {
    /// Looks again; `queue` says whose a slot is. True when it is not as before.
    pub(crate) fn look(&mut self, maps: &Maps, queue: impl Fn(u32) -> Option<QueueKey>) -> bool {
        self.take(serving(&maps.pairs), queue)
    }

    fn take(
        &mut self,
        pairs: impl Iterator<Item = (usize, Pair)>,
        queue: impl Fn(u32) -> Option<QueueKey>,
    ) -> bool {
        let (mut first, mut slots) = (HashMap::new(), HashSet::new());
        let mut files: BTreeMap<DeviceKey, HashSet<u64>> = BTreeMap::new();
        for (number, pair) in pairs {
            let Some(key) = queue(pair.slot) else { continue };
            let place = (pair.file, pair.tun, pair.epoch, pair.slot);
            let seen = self.first.get(&number).filter(|(earlier, _)| *earlier == place);
            let device = seen.map_or(key.device, |(_, device)| *device);
            first.insert(number, (place, device));
            if device == key.device {
                slots.insert(pair.slot);
                files.entry(device).or_default().insert(pair.file);
            }
        }
        let queues = files.into_iter().map(|(device, files)| (device, files.len())).collect();
        let changed = self.slots != slots || self.queues != queues;
        *self = Self { first, slots, queues };
        changed
    }

    /// The queue of a slot is served.
    pub(crate) fn has(&self, slot: usize) -> bool {
        u32::try_from(slot).is_ok_and(|slot| self.slots.contains(&slot))
    }

    /// How many queues of a device are.
    pub(crate) fn queues(&self, device: DeviceKey) -> usize {
        self.queues.get(&device).copied().unwrap_or(0)
    }
}

/// Pairs of which both virtqueues have the same tap queue as their backend.
fn serving(pairs: &Shared<Pair>) -> impl Iterator<Item = (usize, Pair)> {
    let open = (0..pairs.len()).filter(|number| pairs.word(*number, STATE) == state::OPEN);
    open.map(|number| (number, pairs.read(number))).filter(|(_, pair)| {
        let [receive, transmit] = pair.backends;
        receive == transmit && receive != 0 && pair.file != 0 && pair.slot != NO_SLOT
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{IfIndex, Netns, QueuePair};

    fn device(generation: u32) -> DeviceKey {
        DeviceKey { netns: Netns(1), ifindex: IfIndex(2), generation }
    }

    /// A pair with this tap queue, whose worker found it when so many devices had been registered.
    fn pair(file: u64, slot: u32, epoch: u64) -> Pair {
        Pair { file, slot, epoch, tun: 9, ..Pair::default() }
    }

    /// Queues served of the device that all slots belong to.
    fn served(served: &mut Served, pairs: &[Pair], generation: u32) -> usize {
        let key = QueueKey { device: device(generation), queue: QueuePair(0) };
        served.take(pairs.iter().copied().enumerate(), |_| Some(key));
        served.queues(device(generation))
    }

    #[test]
    fn a_queue_counts_once_whoever_says_so() {
        let mut all = Served::default();
        assert_eq!(served(&mut all, &[pair(1, 5, 1), pair(2, 6, 1), pair(1, 5, 1)], 0), 2);
        assert!(all.has(5) && all.has(6) && !all.has(7));
        assert_eq!(served(&mut all, &[], 0), 0);
        assert!(!all.has(5));
    }

    #[test]
    fn a_slot_that_another_device_has_got_is_not_served_by_who_had_it() {
        let mut all = Served::default();
        assert_eq!(served(&mut all, &[pair(1, 5, 1)], 0), 1);
        assert_eq!(served(&mut all, &[pair(1, 5, 1)], 1), 0, "its worker has not run since");
        assert_eq!(served(&mut all, &[pair(1, 5, 1)], 1), 0);
        assert_eq!(served(&mut all, &[pair(1, 5, 2)], 1), 1, "it has, and found the new device");
    }
}
