//! The device's half of a split virtqueue as vhost keeps it (drivers/vhost/vhost.c; virtio 1.3, section 2.7).

use super::{Side, World, profile::Compared};

/// Features that change what is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `VIRTIO_RING_F_EVENT_IDX`: both sides say at which index they want to be notified.
    pub event_idx: bool,
    /// `VIRTIO_F_NOTIFY_ON_EMPTY`: the guest is called whenever the ring runs empty.
    pub notify_on_empty: bool,
}

/// Whether the step of an index from `old` to `new` passes the one that the other side waits for
/// (`vring_need_event` of the virtio UAPI).
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// State of one `struct vhost_virtqueue`.
#[derive(Clone, Debug)]
pub struct Vring {
    side: Side,
    num: u16,
    features: Features,
    /// `last_avail_idx`: the next buffer to be taken.
    taken: u16,
    /// `avail_idx`: as it was read last.
    avail: u16,
    /// `last_used_idx`: where the next used entry goes.
    used: u16,
    /// `VRING_USED_F_NO_NOTIFY` in `used_flags`: the guest need not kick.
    quiet: bool,
    /// `signalled_used`: the used index when notifying was last considered.
    considered: u16,
    /// `signalled_used_valid`: it has not been passed by a whole turn since.
    considered_valid: bool,
}

impl Vring {
    /// A ring of `num` descriptors that is given to vhost.
    pub fn new(side: Side, num: u16, features: Features) -> Self {
        Self {
            side,
            num,
            features,
            taken: 0,
            avail: 0,
            used: 0,
            quiet: false,
            considered: 0,
            considered_valid: false,
        }
    }

    /// Descriptors.
    pub fn num(&self) -> u16 {
        self.num
    }

    /// Takes the next buffer; its place in the available ring, `None` when there is none (`vhost_get_vq_desc`).
    pub fn take(&mut self, world: &mut impl World) -> Option<u16> {
        if self.avail == self.taken {
            self.avail = world.avail_idx(self.side);
        }
        if self.avail == self.taken {
            return None;
        }
        let place = self.taken;
        self.taken = self.taken.wrapping_add(1);
        Some(place)
    }

    /// Puts the last `count` buffers back (`vhost_discard_vq_desc`).
    pub fn put_back(&mut self, count: u16) {
        self.taken = self.taken.wrapping_sub(count);
    }

    /// Whether no buffer is there to be taken (`vhost_vq_avail_empty`).
    pub fn is_empty(&mut self, world: &mut impl World) -> bool {
        if self.avail == self.taken {
            self.avail = world.avail_idx(self.side);
        }
        self.avail == self.taken
    }

    /// The guest need not kick from now on (`vhost_disable_notify`). With `EVENT_IDX` nothing is written: the index that
    /// stands there is passed no more.
    pub fn disable_notify(&mut self, world: &mut impl World) {
        if !std::mem::replace(&mut self.quiet, true) && !self.features.event_idx {
            world.ask_for_kicks(self.side, None);
        }
    }

    /// The guest is to kick for the next buffer; whether some came before that was asked for (`vhost_enable_notify`).
    pub fn enable_notify(&mut self, world: &mut impl World, compared: Compared) -> bool {
        if !std::mem::replace(&mut self.quiet, false) {
            return false;
        }
        world.ask_for_kicks(self.side, Some(self.avail));
        let before = match compared {
            Compared::Cached => self.avail,
            Compared::Taken => self.taken,
        };
        self.avail = world.avail_idx(self.side);
        self.avail != before
    }

    /// Puts `count` entries into the used ring, in two pieces where it wraps (`vhost_add_used_n`).
    pub fn add_used(&mut self, count: u16) {
        let room = self.num - self.used % self.num;
        for piece in [count.min(room), count.saturating_sub(room)].into_iter().filter(|piece| *piece > 0) {
            let old = self.used;
            self.used = old.wrapping_add(piece);
            if self.used.wrapping_sub(self.considered) < self.used.wrapping_sub(old) {
                self.considered_valid = false;
            }
        }
    }

    /// Whether the guest is to be called now (`vhost_notify`).
    pub fn notify(&mut self, world: &mut impl World) -> bool {
        if self.features.notify_on_empty && self.avail == self.taken {
            return true;
        }
        if !self.features.event_idx {
            return !world.no_interrupt(self.side);
        }
        let (old, valid) = (self.considered, self.considered_valid);
        (self.considered, self.considered_valid) = (self.used, true);
        !valid || need_event(world.used_event(self.side), self.used, old)
    }
}
