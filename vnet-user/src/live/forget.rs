//! Forgetting devices that are gone, so that an observation without an end needs no more memory as guests come and go.

use std::collections::HashSet;

use super::Live;
use crate::topology::DeviceKey;

/// Samples through which a device is gone before it is forgotten: until then it may come back to its namespace, and what
/// was counted of it last is told.
const REMEMBERED: u32 = 10;

impl Live {
    /// Notes which devices are gone at a sample.
    pub(super) fn note_gone(&mut self, present: &HashSet<DeviceKey>) {
        let listed = self.told.iter().flat_map(|topology| &topology.devices);
        for key in listed.map(|device| device.key).filter(|key| !present.contains(key)) {
            *self.gone.entry(key).or_default() += 1;
        }
        self.gone.retain(|key, _| !present.contains(key));
    }

    /// Forgets devices that are gone for good, and says which: their keys may come to mean others.
    pub fn forget_gone(&mut self) -> Vec<DeviceKey> {
        // Counts of a slot that is not given back yet are still to be read.
        let counters = &self.counters;
        let forgotten: HashSet<_> = self
            .gone
            .extract_if(|key, samples| *samples > REMEMBERED && !counters.has_slots(*key))
            .map(|(key, _)| key)
            .collect();
        if forgotten.is_empty() {
            return Vec::new();
        }
        self.counters.forget(&forgotten);
        self.workers.forget(&forgotten);
        self.residuals.forget(&forgotten);
        self.files.forget(&forgotten);
        self.inventory.forget(&forgotten);
        self.old.retain(|key| !forgotten.contains(key));
        forgotten.into_iter().collect()
    }
}
