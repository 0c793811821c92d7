//! The open files of all processes, walked through in the kernel: which queues of taps vhost serves and by which thread,
//! before a packet moves, and who holds devices whose queues no probe sees.
//!
//! A walk is made when vnet begins, when devices or those of vhost have changed, and else so seldom that it takes a
//! thousandth of the time.

mod invisible;
mod served;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use vnet_ebpf::files::OpenFile;

pub(crate) use self::{
    served::{Served, Serving, Thread},
    walk::{ITERATOR, Walker},
};
use super::inventory::Inventory;
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Invisible, Netns, QueueKey, QueuePair, Topology};

/// Between two walks for which there is no reason.
const REST: Duration = Duration::from_secs(10);

/// Times as long as a walk took is waited before the next one.
const RESTS: Rests = Rests { idle: 1000, changed: 50 };

struct Rests {
    /// When there is no reason for it.
    idle: u32,
    /// When something has changed.
    changed: u32,
}

/// What the last walk brought, and when the next is due.
#[derive(Default)]
pub(crate) struct Files {
    served: Served,
    invisible: Vec<Invisible>,
    /// What was last known of each device, also of those that are gone: whether vhost serves it, and without copies.
    known: HashMap<DeviceKey, (Serving, Option<bool>)>,
    /// What there was before the last walk.
    before: Option<(Arc<Topology>, u64)>,
    /// When that ended, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Files {
    /// Walks if there is a reason to: other devices than at the last walk, or another `vhost`, which stands for the
    /// vhost devices that the probes know.
    ///
    /// # Errors
    /// When the inventory can no longer be followed.
    pub(crate) fn follow(&mut self, walker: &Walker, inventory: &mut Inventory, vhost: u64) -> Result<()> {
        let now = Some((inventory.topology(), vhost));
        if !self.is_due(self.before != now) {
            return Ok(());
        }
        let begin = Instant::now();
        let found = walker.walk();
        inventory.drain()?; // a device whose queues were found is known now
        self.invisible = invisible::of(found.as_deref());
        self.served = Served::of(found.as_deref(), walker.knows_vhost(), |file| queue(inventory, file));
        self.before = now;
        self.last = Some((Instant::now(), begin.elapsed()));
        Ok(())
    }

    fn is_due(&self, changed: bool) -> bool {
        let Some((ended, took)) = self.last else { return true };
        let rest = if changed { took * RESTS.changed } else { (took * RESTS.idle).max(REST) };
        ended.elapsed() >= rest
    }

    /// Forgets these devices.
    pub(crate) fn forget(&mut self, devices: &HashSet<DeviceKey>) {
        self.known.retain(|key, _| !devices.contains(key));
    }

    /// The next walk is due at once.
    pub(crate) fn expire(&mut self) {
        self.last = None;
    }

    /// What vhost serves.
    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    /// Puts what is known into the devices, and what else there is beside them. What the devices say already, the probes
    /// have seen.
    pub(crate) fn tell(&mut self, topology: &mut Topology) {
        let before = self.before.as_ref().map_or(&[][..], |(topology, _)| &topology.devices);
        for device in &mut topology.devices {
            // A device that has come since the walk may have vhost's by now.
            let was_there = before.binary_search_by_key(&device.key, |device| device.key).is_ok();
            let found = if device.present && was_there { self.served.of_device(device) } else { None };
            if let Some(found) = found {
                self.known.insert(device.key, found);
            }
            let earlier = || self.known.get(&device.key).filter(|_| device.vhost.is_none()).copied();
            if let Some((serving, zerocopy)) = found.or_else(earlier) {
                device.vhost = Some(serving != Serving::Nothing);
                device.zerocopy = zerocopy.or(device.zerocopy).filter(|_| serving != Serving::Nothing);
            }
        }
        topology.invisible.clone_from(&self.invisible);
    }
}

/// The queue that a file stands for; `None` when it is of no tap.
fn queue(inventory: &mut Inventory, file: &OpenFile) -> Option<QueueKey> {
    if file.instance == 0 {
        return None;
    }
    let (netns, ifindex) = (Netns(u64::from(file.netns)), IfIndex(file.ifindex));
    let end = file.name.iter().position(|byte| *byte == 0).unwrap_or(file.name.len());
    let name = String::from_utf8_lossy(&file.name[..end]);
    if !inventory.knows(netns) {
        inventory.rescan();
    }
    let device = inventory.bind(netns, ifindex, file.instance, &name, DeviceKind::Tap);
    Some(QueueKey { device, queue: QueuePair(u16::try_from(file.queue).unwrap_or(u16::MAX)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Device;

    fn tap(ifindex: u32) -> Device {
        Device {
            key: DeviceKey { netns: Netns(1), ifindex: IfIndex(ifindex), generation: 0 },
            name: "tap0".to_owned(),
            kind: DeviceKind::Tap,
            present: true,
            queues_max: Some(1),
            queues_enabled: Some(1),
            queues_disabled: Some(0),
            owner: None,
            uncovered: Vec::new(),
            vhost: None,
            zerocopy: None,
        }
    }

    #[test]
    fn a_walk_tells_nothing_of_what_came_after_it() {
        let topology = |devices: &[Device]| Topology { devices: devices.to_vec(), ..Topology::default() };
        let mut files = Files {
            served: Served::of(Some(&[]), true, |_| None),
            before: Some((Arc::new(topology(&[tap(7)])), 0)),
            ..Files::default()
        };
        let mut told = |devices: &[Device]| {
            let mut topology = topology(devices);
            files.tell(&mut topology);
            topology.devices.iter().map(|device| device.vhost).collect::<Vec<_>>()
        };
        assert_eq!(told(&[tap(7), tap(8)]), [Some(false), None]);
        let gone = Device { present: false, ..tap(7) };
        assert_eq!(told(&[gone, Device { vhost: Some(true), ..tap(8) }]), [Some(false), Some(true)]);
    }
}
