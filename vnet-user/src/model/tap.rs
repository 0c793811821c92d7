//! The ring between the host's stack and vhost: a tap queue's `ptr_ring` (`include/linux/ptr_ring.h`).

use std::collections::VecDeque;

/// Slots that are emptied at once: two cache lines of pointers.
const BATCH: usize = 16;

/// Packets that wait in a tap queue for the guest.
///
/// Slots of packets that were taken are emptied in batches, so that a ring is full with up to 15 slots behind the
/// consumer (`__ptr_ring_discard_one`).
#[derive(Clone, Debug)]
pub struct TapRing<T> {
    size: usize,
    batch: usize,
    packets: VecDeque<T>,
    /// `consumer_head`: the slot of the next packet.
    head: usize,
    /// `consumer_tail`: slots before it are empty.
    tail: usize,
}

impl<T> TapRing<T> {
    /// An empty ring; `size` is the device's `tx_queue_len`, 1000 for a tap unless it was changed.
    pub fn new(size: usize) -> Self {
        let batch = if BATCH > size / 2 { 1 } else { BATCH };
        Self { size, batch, packets: VecDeque::new(), head: 0, tail: 0 }
    }

    /// Packets in it.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Puts a packet in; gives it back when the ring is full, and the tap drops it (`FULL_RING`).
    ///
    /// # Errors
    /// The packet, without room.
    pub fn produce(&mut self, packet: T) -> Result<(), T> {
        if self.packets.len() + (self.head - self.tail) >= self.size {
            return Err(packet);
        }
        self.packets.push_back(packet);
        Ok(())
    }

    /// Takes a packet out.
    pub fn consume(&mut self) -> Option<T> {
        let packet = self.packets.pop_front()?;
        self.head += 1;
        if self.head - self.tail >= self.batch || self.head >= self.size {
            self.tail = self.head;
        }
        if self.head >= self.size {
            (self.head, self.tail) = (0, 0);
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(ring: &mut TapRing<u32>) -> usize {
        (0..10_000).take_while(|n| ring.produce(*n).is_ok()).count()
    }

    #[test]
    fn room_comes_back_in_steps_of_16() {
        let mut ring = TapRing::new(64);
        assert_eq!(fill(&mut ring), 64);
        for taken in 1..=15 {
            assert!(ring.consume().is_some());
            assert_eq!(fill(&mut ring), 0, "{taken} taken");
        }
        assert!(ring.consume().is_some());
        assert_eq!(fill(&mut ring), 16);
    }

    #[test]
    fn all_room_is_back_where_the_ring_begins_anew() {
        let mut ring = TapRing::new(40);
        assert_eq!(fill(&mut ring), 40);
        assert_eq!((0..40).filter_map(|_| ring.consume()).count(), 40);
        assert_eq!(fill(&mut ring), 40, "the 8 of the last batch too");
    }

    #[test]
    fn a_small_ring_empties_each_slot_at_once() {
        let mut ring = TapRing::new(8);
        assert_eq!(fill(&mut ring), 8);
        assert_eq!(ring.consume(), Some(0));
        assert_eq!(fill(&mut ring), 1);
        assert_eq!((ring.len(), ring.is_empty()), (8, false));
    }
}
