//! The rules of rings and notifications against the `virtio-queue` crate, with which monitors are built.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};
use virtio_queue::{Queue, QueueT, desc::RawDescriptor, desc::split::Descriptor};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vnet::model::{Chain, Compared, Completion, Features, Frame, Outcome, Polled, Sent, Side, Vring, World};

/// Descriptors.
const NUM: u16 = 64;

/// What the guest has written, and where it was last told to kick.
#[derive(Default)]
struct Guest {
    avail: u16,
    used_event: u16,
    kick_at: Option<u16>,
}

impl World for Guest {
    fn avail_idx(&mut self, _: Side) -> u16 {
        self.avail
    }

    fn used_event(&mut self, _: Side) -> u16 {
        self.used_event
    }

    fn ask_for_kicks(&mut self, _: Side, index: Option<u16>) {
        self.kick_at = index;
    }

    fn no_interrupt(&mut self, _: Side) -> bool {
        unreachable!("with EVENT_IDX the flag is not read")
    }

    fn chain(&mut self, _: Side, _: u16) -> Chain {
        unreachable!("a ring does not look into its chains")
    }

    fn send(&mut self, _: Sent) -> Outcome {
        unreachable!("a ring does not send")
    }

    fn completion(&mut self) -> Option<(u16, Completion)> {
        unreachable!("a ring does not send")
    }

    fn pull(&mut self, _: usize, _: &mut VecDeque<Frame>) {
        unreachable!("a ring does not receive")
    }

    fn receive(&mut self, _: u32) -> bool {
        unreachable!("a ring does not receive")
    }

    fn busy_poll(&mut self, _: Side) -> Polled {
        unreachable!("a ring does not poll")
    }

    fn used(&mut self, _: Side, _: u16) {}

    fn call(&mut self, _: Side) {}
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u16),
    Take(u16),
    GiveBack(u16),
    Consider,
    Want(u16),
    Enable,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..=NUM).prop_map(Step::Publish),
        (1..=NUM).prop_map(Step::Take),
        (1..=NUM).prop_map(Step::GiveBack),
        Just(Step::Consider),
        (0..2 * NUM).prop_map(Step::Want),
        Just(Step::Enable),
    ]
}

proptest! {
    #[test]
    fn rings_agree_on_every_decision(steps in vec(step(), 0..400)) {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let [table, avail, used] = [0x1000_u64, 0x2000, 0x3000];
        let descriptor = RawDescriptor::from(Descriptor::new(0x8_0000, 64, 0, 0));
        memory.write_obj(descriptor, GuestAddress(table)).unwrap();
        let mut theirs = Queue::new(NUM).unwrap();
        theirs.set_desc_table_address(Some(0x1000), Some(0));
        theirs.set_avail_ring_address(Some(0x2000), Some(0));
        theirs.set_used_ring_address(Some(0x3000), Some(0));
        theirs.set_event_idx(true);
        theirs.set_ready(true);
        let avail_idx = GuestAddress(avail + 2);
        let used_event = GuestAddress(avail + 4 + 2 * u64::from(NUM));
        let avail_event = GuestAddress(used + 4 + 8 * u64::from(NUM));

        let mut ours = Vring::new(Side::Tx, NUM, Features { event_idx: true, notify_on_empty: false });
        let mut guest = Guest::default();
        let (mut taken, mut given_back, mut considered) = (0_u16, 0_u16, false);
        for step in steps {
            match step {
                Step::Publish(count) => {
                    let room = NUM - guest.avail.wrapping_sub(given_back);
                    guest.avail = guest.avail.wrapping_add(count.min(room));
                    memory.write_obj(guest.avail, avail_idx).unwrap();
                }
                Step::Take(count) => {
                    for _ in 0..count {
                        let mine = ours.take(&mut guest).is_some();
                        prop_assert_eq!(mine, theirs.pop_descriptor_chain(&memory).is_some());
                        taken = taken.wrapping_add(u16::from(mine));
                    }
                }
                Step::GiveBack(count) => {
                    let count = count.min(taken.wrapping_sub(given_back));
                    ours.add_used(count);
                    for _ in 0..count {
                        theirs.add_used(&memory, 0, 0).unwrap();
                    }
                    given_back = given_back.wrapping_add(count);
                    prop_assert_eq!(memory.read_obj::<u16>(GuestAddress(used + 2)).unwrap(), given_back);
                }
                Step::Consider => {
                    let (mine, other) = (ours.notify(&mut guest), theirs.needs_notification(&memory).unwrap());
                    // vhost always calls the first time, not knowing what was considered before.
                    prop_assert_eq!(mine, other || !considered);
                    considered = true;
                }
                Step::Want(ahead) => {
                    guest.used_event = given_back.wrapping_add(ahead).wrapping_sub(NUM);
                    memory.write_obj(guest.used_event, used_event).unwrap();
                }
                Step::Enable => {
                    while ours.take(&mut guest).is_some() {
                        prop_assert!(theirs.pop_descriptor_chain(&memory).is_some());
                        taken = taken.wrapping_add(1);
                    }
                    ours.disable_notify(&mut guest);
                    let mine = ours.enable_notify(&mut guest, Compared::Taken);
                    prop_assert_eq!(mine, theirs.enable_notification(&memory).unwrap());
                    prop_assert_eq!(guest.kick_at, Some(memory.read_obj::<u16>(avail_event).unwrap()));
                }
            }
        }
    }
}
