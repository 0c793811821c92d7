//! The rules of split virtqueues: a driver's ring against a device that a test plays, which knows only the memory.

use std::{collections::VecDeque, sync::Arc};

use anyhow::Result;
use proptest::{collection::vec, prelude::*};
use vnet_driver::vhost::{
    Memory,
    ring::{Layout, Part, Ring, Used, need_event},
};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The device's half, from the specification.
struct Device {
    memory: Arc<Memory>,
    layout: Layout,
    taken: u16,
    used: u16,
}

impl Device {
    fn word(&self, at: u64) -> u64 {
        u64::from(self.memory.read_u32(at)) | u64::from(self.memory.read_u32(at + 4)) << 32
    }

    /// The next chain: its head and its parts, with whether it may write there.
    fn take(&mut self) -> Option<(u16, Vec<(Part, bool)>)> {
        if self.memory.load_u16(self.layout.available + 2) == self.taken {
            return None;
        }
        let slot = u64::from(self.taken % self.layout.num);
        let head = self.memory.load_u16(self.layout.available + 4 + 2 * slot);
        self.taken = self.taken.wrapping_add(1);
        let mut parts = Vec::new();
        let (mut table, mut id, mut limit) = (self.layout.descriptors, head, self.layout.num);
        loop {
            assert!(id < limit, "descriptor {id} of {limit}");
            let at = table + 16 * u64::from(id);
            let place = self.memory.place(self.word(at));
            let len = self.memory.read_u32(at + 8);
            let (flags, next) = (self.memory.load_u16(at + 12), self.memory.load_u16(at + 14));
            if flags & INDIRECT != 0 {
                assert_eq!(flags, INDIRECT, "the table is all of the chain");
                (table, id, limit) = (place, 0, u16::try_from(len / 16).expect("a table fits"));
                continue;
            }
            parts.push((Part { at: place, len }, flags & WRITE != 0));
            assert!(parts.len() <= usize::from(limit), "a chain that goes around");
            if flags & NEXT == 0 {
                return Some((head, parts));
            }
            id = next;
        }
    }

    fn give_back(&mut self, head: u16, len: u32) {
        let at = self.layout.used + 4 + 8 * u64::from(self.used % self.layout.num);
        self.memory.write(at, &u32::from(head).to_le_bytes());
        self.memory.write(at + 4, &len.to_le_bytes());
        self.used = self.used.wrapping_add(1);
        self.memory.store_u16(self.layout.used + 2, self.used);
    }

    fn used_event(&self) -> u16 {
        self.memory.load_u16(self.layout.available + 4 + 2 * u64::from(self.layout.num))
    }

    fn set_avail_event(&self, index: u16) {
        self.memory.store_u16(self.layout.used + 4 + 8 * u64::from(self.layout.num), index);
    }
}

fn pair(num: u16, event_idx: bool, indirect: bool) -> Result<(Ring, Device)> {
    let memory = Arc::new(Memory::new(8 << 20)?);
    let ring = Ring::new(&memory, num, event_idx, indirect)?;
    let layout = ring.layout();
    Ok((ring, Device { memory, layout, taken: 0, used: 0 }))
}

#[derive(Clone, Debug)]
enum Act {
    /// The driver adds chains of so many parts, and publishes them at once.
    Add(Vec<usize>),
    /// The device takes so many.
    Take(usize),
    /// The device gives back one of those it has, chosen by this number: in any order.
    Give(usize),
    /// The driver takes back all.
    Pop,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => vec(1_usize..6, 1..8).prop_map(Act::Add),
        3 => (1_usize..10).prop_map(Act::Take),
        6 => any::<usize>().prop_map(Act::Give),
        2 => Just(Act::Pop),
    ];
    vec(act, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chains arrive in order and whole, come back in any order, and no descriptor is lost; over many turns of the ring.
    #[test]
    fn chains_go_through(log in 2_u32..7, write in any::<bool>(), indirect in any::<bool>(), acts in acts()) {
        let num = 1_u16 << log;
        let (mut ring, mut device) = pair(num, false, indirect).unwrap();
        let (mut published, mut held, mut returned) = (VecDeque::new(), Vec::new(), VecDeque::new());
        let mut serial = 0_u32;
        for act in acts {
            match act {
                Act::Add(chains) => {
                    for count in chains {
                        let parts: Vec<_> = (0..count).map(|_| {
                            serial += 1;
                            Part { at: u64::from(serial), len: serial }
                        }).collect();
                        let expected = ring.next_head();
                        let fits = ring.cost(count) <= ring.room();
                        let head = ring.add(&parts, write);
                        prop_assert_eq!(head.is_some(), fits);
                        if let Some(head) = head {
                            prop_assert_eq!(Some(head), expected);
                            published.push_back((head, parts.into_iter().map(|part| (part, write)).collect::<Vec<_>>()));
                        }
                    }
                    ring.publish();
                }
                Act::Take(count) => {
                    for _ in 0..count {
                        let taken = device.take();
                        prop_assert_eq!(&taken, &published.pop_front());
                        held.extend(taken);
                    }
                }
                Act::Give(choice) if !held.is_empty() => {
                    let (head, parts) = held.swap_remove(choice % held.len());
                    let len = parts[0].0.len;
                    device.give_back(head, len);
                    returned.push_back(Used { head, len });
                }
                Act::Give(_) => {}
                Act::Pop => {
                    while let Some(used) = ring.pop().unwrap() {
                        prop_assert_eq!(Some(used), returned.pop_front());
                    }
                    prop_assert!(returned.is_empty());
                }
            }
            let out = published.len() + held.len() + returned.len();
            prop_assert_eq!(usize::from(ring.in_flight()), out);
            prop_assert!(ring.room() + out <= usize::from(num));
        }
        while let Some((head, _)) = device.take().or_else(|| held.pop()) {
            device.give_back(head, 0);
        }
        while ring.pop().unwrap().is_some() {}
        prop_assert_eq!(ring.room(), usize::from(num), "every descriptor is free again");
    }

    /// The rule says yes exactly when the step from old to new goes past the event.
    #[test]
    fn an_event_is_passed(old in any::<u16>(), step in 0_u16..2000, event in any::<u16>()) {
        let new = old.wrapping_add(step);
        let passed = (0..step).any(|n| old.wrapping_add(n) == event);
        prop_assert_eq!(need_event(event, new, old), passed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// With `EVENT_IDX` a kick is wanted when the published index passes what the device waits for, across the wrap too.
    #[test]
    fn a_kick_is_wanted_once(start in prop_oneof![0_u32..20, 65_520_u32..65_540], burst in 1_u16..8, event in 0_u16..10) {
        let (mut ring, mut device) = pair(8, true, false).unwrap();
        let part = [Part { at: 0, len: 1 }];
        for _ in 0..start {
            let head = ring.add(&part, false).unwrap();
            ring.publish();
            ring.kick_needed();
            device.take();
            device.give_back(head, 0);
            ring.pop().unwrap();
        }
        let old = ring.next();
        device.set_avail_event(old.wrapping_add(event));
        for _ in 0..burst {
            ring.add(&part, false).unwrap();
        }
        ring.publish();
        prop_assert_eq!(ring.kick_needed(), event < burst);
        prop_assert!(!ring.kick_needed(), "nothing new since");
    }
}

#[test]
fn a_kick_is_wanted_unless_the_flag_says_no() -> Result<()> {
    let (mut ring, device) = pair(8, false, false)?;
    ring.add(&[Part { at: 0, len: 1 }], false);
    ring.publish();
    assert!(ring.kick_needed());
    device.memory.store_u16(device.layout.used, 1);
    assert!(!ring.kick_needed());
    Ok(())
}

#[test]
fn the_device_sees_what_the_driver_sets_and_nothing_unpublished() -> Result<()> {
    let (mut ring, mut device) = pair(8, true, false)?;
    ring.set_used_event(0xfffe);
    assert_eq!(device.used_event(), 0xfffe);
    ring.set_interrupts(false);
    assert_eq!(device.memory.load_u16(device.layout.available), 1);
    ring.add(&[Part { at: 0, len: 1 }], true);
    assert_eq!(device.take(), None);
    ring.publish();
    assert!(device.take().is_some());
    ring.reset();
    assert_eq!((ring.room(), ring.in_flight(), device.used_event()), (8, 0, 0));
    Ok(())
}

#[test]
fn a_device_that_returns_what_it_was_not_given_is_found_out() -> Result<()> {
    let (mut ring, mut device) = pair(8, false, false)?;
    device.give_back(3, 0);
    assert!(ring.pop().is_err());
    let (mut ring, mut device) = pair(8, false, false)?;
    let head = ring.add(&[Part { at: 0, len: 1 }], false).unwrap();
    ring.publish();
    device.give_back(head, 0);
    device.give_back(head, 0);
    assert!(ring.pop()?.is_some() && ring.pop().is_err());
    Ok(())
}

/// `vring_init` of the kernel's headers gives the same places.
#[test]
fn parts_of_a_ring_do_not_overlap_and_are_aligned() {
    for log in 0..16 {
        let num = 1_u16 << log;
        let layout = Layout::at(4096, num);
        assert_eq!(layout.available, layout.descriptors + 16 * u64::from(num));
        assert!(layout.used >= layout.available + 6 + 2 * u64::from(num));
        assert_eq!((layout.available % 2, layout.used % 4096), (0, 0));
        assert_eq!(layout.end, layout.used + 6 + 8 * u64::from(num));
    }
}
