//! Any order of what happens in the kernel and what vnet reads of it.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::{
    book::{Book, Facts},
    tests::{FIVE, HERE, THERE, tap},
};
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Netns};

/// What happens in the kernel, and what vnet does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create {
        slot: usize,
        name: usize,
    },
    Delete {
        slot: usize,
    },
    Rename {
        slot: usize,
        name: usize,
    },
    /// The device's first packet, or one more.
    Traffic {
        slot: usize,
    },
    /// All events are taken in and the devices that are there are looked at.
    Drain,
    /// The kernel's table is read; what is in it is bound after the next drain, in the order of instances.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..4usize;
    prop_oneof![
        3 => (slot.clone(), 0..2usize).prop_map(|(slot, name)| Step::Create { slot, name }),
        3 => slot.clone().prop_map(|slot| Step::Delete { slot }),
        1 => (slot.clone(), 0..2usize).prop_map(|(slot, name)| Step::Rename { slot, name }),
        4 => slot.prop_map(|slot| Step::Traffic { slot }),
        2 => Just(Step::Drain),
        2 => Just(Step::Read),
    ]
}

/// A device as it truly is.
#[derive(Clone, Debug)]
struct Truth {
    slot: usize,
    names: Vec<String>,
    alive: bool,
    /// Looked at during its life.
    seen: bool,
    /// Name at its first packet.
    in_table: Option<String>,
}

#[derive(Default)]
struct World {
    truths: Vec<Truth>,
    /// Queued events: slot, and the device's facts or `None` for its end.
    queue: Vec<(usize, Option<Facts>)>,
    book: Book,
    read: Vec<(usize, String)>,
    bound: HashMap<usize, DeviceKey>,
}

/// Namespace and index of a slot: the same two indexes in two namespaces.
fn place(slot: usize) -> (Netns, IfIndex) {
    (if slot < 2 { HERE } else { THERE }, if slot.is_multiple_of(2) { FIVE } else { IfIndex(6) })
}

fn instance(truth: usize) -> u64 {
    10 + truth as u64
}

impl World {
    fn alive(&self, slot: usize) -> Option<usize> {
        self.truths.iter().rposition(|truth| truth.slot == slot && truth.alive)
    }

    fn facts(&self, at: usize) -> Facts {
        let truth = &self.truths[at];
        // The address tells the test, and only the test, which device an entry stands for.
        let address = u8::try_from(at).expect("few devices");
        tap(place(truth.slot).1, truth.names.last().expect("a name"), address)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Create { slot, name } if self.alive(slot).is_none() => {
                let names = vec![["a", "b"][name].to_owned()];
                self.truths.push(Truth { slot, names, alive: true, seen: false, in_table: None });
                self.queue.push((slot, Some(self.facts(self.truths.len() - 1))));
            }
            Step::Delete { slot } => {
                if let Some(at) = self.alive(slot) {
                    self.truths[at].alive = false;
                    self.queue.push((slot, None));
                }
            }
            Step::Rename { slot, name } => {
                if let Some(at) = self.alive(slot) {
                    self.truths[at].names.push(["a", "b"][name].to_owned());
                    self.queue.push((slot, Some(self.facts(at))));
                }
            }
            Step::Traffic { slot } => {
                if let Some(at) = self.alive(slot) {
                    let name = self.truths[at].names.last().cloned();
                    self.truths[at].in_table = self.truths[at].in_table.take().or(name);
                }
            }
            Step::Read => {
                let rows = self.truths.iter().enumerate();
                self.read = rows.filter_map(|(at, truth)| Some((at, truth.in_table.clone()?))).collect();
            }
            Step::Drain => self.drain(),
            Step::Create { .. } => {}
        }
    }

    fn drain(&mut self) {
        for (slot, facts) in std::mem::take(&mut self.queue) {
            let (netns, ifindex) = place(slot);
            match facts {
                Some(facts) => self.book.link(netns, facts),
                None => self.book.gone(netns, ifindex),
            };
        }
        for slot in 0..4 {
            let (netns, ifindex) = place(slot);
            let open = self.book.open(netns, ifindex);
            let alive = self.alive(slot);
            assert_eq!(open.is_some(), alive.is_some(), "after a drain the book is up to date");
            if let (Some(key), Some(at)) = (open, alive) {
                self.book.identify(key, instance(at));
                self.truths[at].seen = true;
            }
        }
        for (at, name) in std::mem::take(&mut self.read) {
            self.bind(at, &name);
        }
    }

    fn bind(&mut self, at: usize, name: &str) {
        let (netns, ifindex) = place(self.truths[at].slot);
        let key = self.book.bind(netns, ifindex, instance(at), name, DeviceKind::Tap, true);
        let before = *self.bound.entry(at).or_insert(key);
        assert_eq!(before, key, "an instance keeps its key");
        let other = self.bound.iter().find(|(other, bound)| **other != at && **bound == key);
        assert_eq!(other, None, "a key has one instance");
        let entry = self.book.get(key).expect("a bound device");
        let entry_at = usize::from(entry.facts.address[0]);
        if entry_at != at {
            // Both came and went between two drains, under one index and one name: nobody can tell them apart.
            let (wanted, got) = (&self.truths[at], &self.truths[entry_at]);
            assert!(!wanted.alive && !got.alive && !wanted.seen && !got.seen, "{wanted:?} bound to {got:?}");
            assert_eq!(wanted.slot, got.slot);
            assert!(wanted.names.iter().any(|name| got.names.contains(name)), "{wanted:?} bound to {got:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Drained before it is bound, an instance is never taken for another device.
    #[test]
    fn no_device_is_taken_for_another(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Drain);
        let present: BTreeSet<_> =
            world.book.iter().filter(|(_, entry)| entry.present).map(|(_, entry)| entry.facts.address[0]).collect();
        let alive = world.truths.iter().enumerate().filter(|(_, truth)| truth.alive);
        let alive: BTreeSet<_> = alive.map(|(at, _)| u8::try_from(at).expect("few devices")).collect();
        prop_assert_eq!(present, alive);
        prop_assert_eq!(world.book.iter().count(), world.truths.len(), "no device is made up, none forgotten");
    }

    /// Also when all events are lost, what is there is found, and nothing that is gone is taken for it.
    #[test]
    fn lost_events_mix_nothing_up(steps in prop::collection::vec(step(), 0..60), lose in prop::collection::vec(any::<bool>(), 60)) {
        let mut world = World::default();
        let steps = steps.into_iter().filter(|step| !matches!(step, Step::Read));
        for (step, lose) in steps.zip(lose) {
            if !matches!(step, Step::Drain) || !lose {
                world.step(step);
                continue;
            }
            world.queue.clear();
            for netns in [HERE, THERE] {
                let slots = (0..4).filter(|slot| place(*slot).0 == netns);
                let links = slots.filter_map(|slot| Some(world.facts(world.alive(slot)?))).collect();
                world.book.resync(netns, links, &[]);
            }
            for slot in 0..4 {
                let (netns, ifindex) = place(slot);
                let Some(at) = world.alive(slot) else { continue };
                let key = world.book.open(netns, ifindex).expect("listed");
                world.book.identify(key, instance(at));
                let key = world.book.open(netns, ifindex).expect("still there");
                prop_assert_eq!(world.book.bind(netns, ifindex, instance(at), "a", DeviceKind::Tap, true), key);
                prop_assert_eq!(usize::from(world.book.get(key).expect("bound").facts.address[0]), at);
                world.truths[at].seen = true;
            }
        }
    }
}
