//! What is kept of devices that are gone.

use std::collections::HashSet;

use super::Counters;
use crate::topology::DeviceKey;

impl Counters {
    /// Whether a queue of the device has a slot.
    pub(crate) fn has_slots(&self, device: DeviceKey) -> bool {
        self.slots.iter().any(|slot| slot.key.device == device)
    }

    /// Forgets what released slots of these devices had counted.
    pub(crate) fn forget(&mut self, devices: &HashSet<DeviceKey>) {
        self.released.retain(|key, _| !devices.contains(&key.device));
    }
}
