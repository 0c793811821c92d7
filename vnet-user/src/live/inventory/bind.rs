//! Joining the kernel side's devices, known by instance, with those that netlink told of. Pure.
//!
//! The instance is the node id of the device's sysfs directory. It grows from device to device, as generations do, so
//! under one index the two are in the same order. Whoever exists when events are drained is identified there by
//! looking (`identify`); what is left for `bind` to reason about are devices that came and went between two drains.

use super::book::{Book, Change, Facts, Queues};
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Netns};

impl Book {
    /// The key of the device that the kernel side knows as `instance`. Never fails: a device that netlink has not told
    /// of is made from what the caller knows, and the next link message of that index describes it.
    ///
    /// Of several that came and went unidentified under one index, kind and name, the oldest that fits is taken.
    ///
    /// `listed`: the links of the namespace were brought into the book after the kernel side had spoken of this one. If it
    /// is not among them it is gone, and no message will ever say so.
    pub(crate) fn bind(
        &mut self,
        netns: Netns,
        ifindex: IfIndex,
        instance: u64,
        name: &str,
        kind: DeviceKind,
        listed: bool,
    ) -> DeviceKey {
        if let Some((key, _)) = self.slot(netns, ifindex).find(|(_, entry)| entry.instance == Some(instance))
        {
            return key;
        }
        let fits = self.fitting(netns, ifindex, instance, kind);
        let named = |key: &&DeviceKey| {
            self.get(**key).is_some_and(|entry| {
                entry.facts.name == name || entry.earlier_names.iter().any(|earlier| earlier == name)
            })
        };
        let key = fits.iter().find(named).or(fits.first()).copied();
        let key = key.unwrap_or_else(|| self.provisional(netns, ifindex, instance, name, kind));
        if let Some(entry) = self.entries().get_mut(&key) {
            entry.instance = Some(instance);
            if listed && entry.provisional {
                self.close(key);
            }
        }
        key
    }

    /// Devices without an instance whose place in the order this one can take.
    fn fitting(&self, netns: Netns, ifindex: IfIndex, instance: u64, kind: DeviceKind) -> Vec<DeviceKey> {
        let slot: Vec<_> = self.slot(netns, ifindex).filter(|(_, entry)| !entry.stray).collect();
        let after =
            slot.iter().rposition(|(_, e)| e.instance.is_some_and(|i| i < instance)).map_or(0, |at| at + 1);
        let before =
            slot.iter().position(|(_, e)| e.instance.is_some_and(|i| i > instance)).unwrap_or(slot.len());
        let range = slot.get(after..before).unwrap_or_default();
        let free = range.iter().filter(|(_, entry)| entry.instance.is_none() && entry.facts.kind == kind);
        free.map(|(key, _)| *key).collect()
    }

    fn provisional(
        &mut self,
        netns: Netns,
        ifindex: IfIndex,
        instance: u64,
        name: &str,
        kind: DeviceKind,
    ) -> DeviceKey {
        let late = self.slot(netns, ifindex).any(|(_, entry)| entry.instance.is_some_and(|i| i > instance));
        let facts = Facts {
            ifindex,
            name: name.to_owned(),
            kind,
            address: Vec::new(),
            queues: Queues::default(),
            xdp: false,
        };
        let key = self.add(netns, facts);
        if let Some(entry) = self.entries().get_mut(&key) {
            (entry.provisional, entry.stray, entry.present) = (!late, late, !late);
        }
        key
    }

    /// The device that is there under this key has this instance. When another was thought to be there, events were
    /// lost: that one is gone, and this one is new.
    pub(crate) fn identify(&mut self, key: DeviceKey, instance: u64) -> Change {
        let DeviceKey { netns, ifindex, .. } = key;
        let other = self
            .slot(netns, ifindex)
            .find(|(k, e)| *k != key && e.instance == Some(instance))
            .map(|(k, _)| k);
        let Some(entry) = self.entries().get_mut(&key) else { return Change::None };
        match (entry.instance, other) {
            (Some(known), _) if known == instance => Change::None,
            (None, None) => {
                entry.instance = Some(instance);
                Change::None
            }
            (Some(_), None) => {
                let facts = entry.facts.clone();
                self.close(key);
                let key = self.add(netns, facts);
                if let Some(entry) = self.entries().get_mut(&key) {
                    entry.instance = Some(instance);
                }
                Change::New(key)
            }
            (known, Some(other)) => {
                let facts = entry.facts.clone();
                self.close(key);
                if known.is_none() {
                    // A device came back to its namespace: it was never another one, and nothing was counted for that.
                    self.entries().remove(&key);
                }
                if let Some(entry) = self.entries().get_mut(&other) {
                    (entry.facts, entry.present, entry.provisional) = (facts, true, false);
                }
                Change::New(other)
            }
        }
    }
}
