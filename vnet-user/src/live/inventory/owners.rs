//! Who owns which tap: matching queue files with devices. Pure.
//!
//! A device is told by its namespace and its name, never by its name alone while there is doubt. Exactly one process
//! must hold its queues: with a forked child or a helper that still has a copy there is no telling who serves the
//! guest, so there is no owner.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    book::Book,
    scan::{File, Found, Held, Process},
};
use crate::topology::{DeviceKey, Owner};

/// Queue files whose device is known.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    files: BTreeMap<File, DeviceKey>,
    comms: BTreeMap<Process, String>,
}

/// What a search brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Some device has another owner.
    pub(crate) changed: bool,
    /// Some device with queues has none, or got its name after the search began: worth another search.
    pub(crate) again: bool,
}

impl Owners {
    /// Files that need no reading: nothing has changed about their devices.
    pub(crate) fn known(&self) -> HashSet<File> {
        self.files.keys().copied().collect()
    }

    /// Queues of this device came or went: its files have to be read again.
    pub(crate) fn forget(&mut self, key: DeviceKey) {
        self.files.retain(|_, device| *device != key);
    }

    /// Takes over the holders that were found. All events up to the end of the search must be in the book. `complete`
    /// says that no namespace is hidden, so that a name found in one namespace only is unique.
    pub(crate) fn apply(&mut self, found: &Found, book: &mut Book, complete: bool) -> Outcome {
        let mut outcome = Outcome { changed: false, again: false };
        let Some(holders) = &found.holders else { return outcome };
        let mut by_name: HashMap<&str, Vec<(DeviceKey, bool)>> = HashMap::new();
        for (key, entry) in book.iter().filter(|(_, entry)| entry.is_live_tun()) {
            by_name.entry(&entry.facts.name).or_default().push((key, entry.named_at <= found.epoch));
        }
        let resolve = |held: &Held| {
            let named = by_name.get(held.name.as_str())?;
            let mut fits =
                named.iter().filter(|(key, _)| held.netns.is_none_or(|netns| key.netns.0 == netns));
            let (key, settled) = fits.next()?;
            let sure = held.netns.is_some() || complete;
            (*settled && sure && fits.next().is_none()).then_some(*key)
        };
        let old = std::mem::take(&mut self.files);
        for (file, held) in holders {
            let key = held.as_ref().map_or_else(|| old.get(file).copied(), resolve);
            if let Some(key) = key {
                self.files.insert(*file, key);
            }
        }
        self.comms.extend(found.comms.iter().map(|(process, comm)| (*process, comm.clone())));
        let used: HashSet<Process> = self.files.keys().map(|(process, _)| *process).collect();
        self.comms.retain(|process, _| used.contains(process));

        let mut processes: HashMap<DeviceKey, HashSet<Process>> = HashMap::new();
        for ((process, _), key) in &self.files {
            processes.entry(*key).or_default().insert(*process);
        }
        let live: Vec<_> = book.iter().filter(|(_, entry)| entry.is_live_tun()).map(|(key, _)| key).collect();
        for key in live {
            let Some(entry) = book.get_mut(key) else { continue };
            if entry.named_at > found.epoch {
                outcome.again = true;
                continue;
            }
            let holders: Vec<_> = processes.get(&key).into_iter().flatten().copied().collect();
            let owner = match holders.as_slice() {
                [Process { pid, start }] => {
                    let comm =
                        self.comms.get(&Process { pid: *pid, start: *start }).cloned().unwrap_or_default();
                    Some(Owner { pid: *pid, start: *start, comm })
                }
                _ => None,
            };
            outcome.again |= owner.is_none() && !entry.idle();
            outcome.changed |= entry.owner != owner;
            entry.owner = owner;
        }
        outcome
    }
}
