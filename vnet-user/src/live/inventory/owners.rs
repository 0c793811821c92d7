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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        live::inventory::tests::{FIVE, HERE, THERE, key, tap},
        topology::IfIndex,
    };

    fn found(epoch: u64, files: &[(u32, i32, &str, Option<u64>)]) -> Found {
        let process = |pid| Process { pid, start: 1 };
        let file = |(pid, fd, name, netns): &(u32, i32, &str, Option<u64>)| {
            ((process(*pid), *fd), Some(Held { name: (*name).to_owned(), netns: *netns }))
        };
        Found {
            epoch,
            holders: Some(files.iter().map(file).collect()),
            comms: files.iter().map(|(pid, ..)| (process(*pid), format!("qemu-{pid}"))).collect(),
            ..Found::default()
        }
    }

    fn owner(book: &Book, at: usize) -> Option<u32> {
        book.topology().devices[at].owner.as_ref().map(|owner| owner.pid)
    }

    #[test]
    fn twins_have_their_own_owners() {
        let (mut book, mut owners) = (Book::default(), Owners::default());
        book.link(HERE, tap(FIVE, "tap0", 1));
        book.link(THERE, tap(FIVE, "tap0", 2));
        let files =
            [(1, 3, "tap0", Some(HERE.0)), (1, 4, "tap0", Some(HERE.0)), (2, 3, "tap0", Some(THERE.0))];
        let outcome = owners.apply(&found(book.epoch(), &files), &mut book, true);
        assert_eq!(outcome, Outcome { changed: true, again: false });
        assert_eq!((owner(&book, 0), owner(&book, 1)), (Some(1), Some(2)));
        // Without the namespace there is no telling the two apart.
        let files = [(1, 3, "tap0", None), (2, 3, "tap0", None)];
        assert!(owners.apply(&found(book.epoch(), &files), &mut book, true).again);
        assert_eq!((owner(&book, 0), owner(&book, 1)), (None, None));
    }

    #[test]
    fn a_name_alone_tells_only_when_no_namespace_is_hidden() {
        let (mut book, mut owners) = (Book::default(), Owners::default());
        book.link(HERE, tap(FIVE, "tap0", 1));
        let result = found(book.epoch(), &[(1, 3, "tap0", None)]);
        owners.apply(&result, &mut book, false);
        assert_eq!(owner(&book, 0), None);
        owners.apply(&result, &mut book, true);
        assert_eq!(owner(&book, 0), Some(1));
    }

    #[test]
    fn two_processes_are_no_owner_and_a_later_process_is_another() {
        let (mut book, mut owners) = (Book::default(), Owners::default());
        book.link(HERE, tap(FIVE, "tap0", 1));
        let here = Some(HERE.0);
        owners.apply(&found(book.epoch(), &[(1, 3, "tap0", here), (2, 3, "tap0", here)]), &mut book, true);
        assert_eq!(owner(&book, 0), None);
        let mut result = found(book.epoch(), &[(1, 3, "tap0", here)]);
        owners.apply(&result, &mut book, true);
        assert_eq!(book.topology().devices[0].owner.as_ref().map(|owner| owner.start), Some(1));
        let later = Process { pid: 1, start: 2 };
        result.holders =
            Some(BTreeMap::from([((later, 3), Some(Held { name: "tap0".to_owned(), netns: here }))]));
        owners.apply(&result, &mut book, true);
        assert_eq!(book.topology().devices[0].owner.as_ref().map(|owner| owner.start), Some(2));
    }

    #[test]
    fn a_name_that_moved_during_the_search_gives_no_owner() {
        let (mut book, mut owners) = (Book::default(), Owners::default());
        book.link(HERE, tap(FIVE, "tap0", 1));
        let result = found(book.epoch(), &[(1, 3, "tap0", Some(HERE.0))]);
        // The search saw the first tap0; by now that is another one.
        book.link(HERE, tap(FIVE, "old", 1));
        book.link(HERE, tap(IfIndex(6), "tap0", 2));
        assert!(owners.apply(&result, &mut book, true).again);
        assert_eq!((owner(&book, 0), owner(&book, 1)), (None, None));
    }

    #[test]
    fn known_files_keep_their_device_until_its_queues_change() {
        let (mut book, mut owners) = (Book::default(), Owners::default());
        book.link(HERE, tap(FIVE, "tap0", 1));
        let mut result = found(book.epoch(), &[(1, 3, "tap0", Some(HERE.0))]);
        owners.apply(&result, &mut book, true);
        let file = (Process { pid: 1, start: 1 }, 3);
        assert!(owners.known().contains(&file));
        result.holders = Some(BTreeMap::from([(file, None)]));
        assert!(!owners.apply(&result, &mut book, true).changed);
        owners.forget(key(HERE, FIVE, 0));
        assert!(owners.known().is_empty());
        assert!(owners.apply(&result, &mut book, true).again, "it has to be read again");
    }
}
