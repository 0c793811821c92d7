//! Which devices there are and were: generations of each (namespace, index). Pure.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use crate::topology::{Device, DeviceKey, DeviceKind, IfIndex, Netns, Owner, Topology};

/// What one link message says about a device of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Index in its namespace.
    pub(crate) ifindex: IfIndex,
    /// Name.
    pub(crate) name: String,
    /// Kind.
    pub(crate) kind: DeviceKind,
    /// Hardware address; tells devices apart when events were lost.
    pub(crate) address: Vec<u8>,
    /// Queues.
    pub(crate) queues: Queues,
    /// An XDP program is attached.
    pub(crate) xdp: bool,
}

/// Queue pairs of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queues {
    /// Possible.
    pub(crate) max: Option<u32>,
    /// In use.
    pub(crate) enabled: Option<u32>,
    /// Attached, but disabled.
    pub(crate) disabled: Option<u32>,
}

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What the kernel last said.
    pub(crate) facts: Facts,
    /// Names it had before.
    pub(crate) earlier_names: Vec<String>,
    /// Still there.
    pub(crate) present: bool,
    /// Node id of its sysfs directory; grows from device to device and is never given twice.
    pub(crate) instance: Option<u64>,
    /// Known from its traffic only: the next link message of its index describes it.
    pub(crate) provisional: bool,
    /// Not in creation order with its neighbours: its traffic was reported after it was gone.
    pub(crate) stray: bool,
    /// [`Book::epoch`] when it got its present name.
    pub(crate) named_at: u64,
    /// `IFF_NAPI` or `IFF_NAPI_FRAGS`.
    pub(crate) napi: Option<bool>,
    /// Process that holds its queues.
    pub(crate) owner: Option<Owner>,
    /// How often its sysfs directory was looked for in vain.
    pub(crate) vain_looks: u8,
}

impl Entry {
    fn new(facts: Facts, named_at: u64) -> Self {
        Self {
            facts,
            earlier_names: Vec::new(),
            present: true,
            instance: None,
            provisional: false,
            stray: false,
            named_at,
            napi: None,
            owner: None,
            vain_looks: 0,
        }
    }

    /// No queue file is attached: nobody can own it.
    pub(crate) fn idle(&self) -> bool {
        self.facts.queues.enabled == Some(0) && self.facts.queues.disabled.unwrap_or(0) == 0
    }

    /// A tap or tun device that is there.
    pub(crate) fn is_live_tun(&self) -> bool {
        self.present && !self.provisional && matches!(self.facts.kind, DeviceKind::Tap | DeviceKind::Tun)
    }
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Something about a known device that does not bear on who owns it.
    Facts(DeviceKey),
    /// Queues of a known device came or went.
    Queues(DeviceKey),
    /// A device appeared.
    New(DeviceKey),
    /// A device is gone.
    Gone(DeviceKey),
}

/// All devices seen so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    devices: BTreeMap<DeviceKey, Entry>,
    /// What the rest of the program knows of them, if it has asked since they changed.
    told: OnceCell<Arc<Topology>>,
    /// Grows whenever a name comes to mean another device.
    epoch: u64,
}

impl Book {
    /// All devices, to be changed.
    pub(super) fn entries(&mut self) -> &mut BTreeMap<DeviceKey, Entry> {
        self.told.take();
        &mut self.devices
    }

    /// Moment in the history of names.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// All devices in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DeviceKey, &Entry)> {
        self.devices.iter().map(|(key, entry)| (*key, entry))
    }

    /// One device.
    pub(crate) fn get(&self, key: DeviceKey) -> Option<&Entry> {
        self.devices.get(&key)
    }

    /// One device.
    pub(crate) fn get_mut(&mut self, key: DeviceKey) -> Option<&mut Entry> {
        self.entries().get_mut(&key)
    }

    /// Generations of one index, oldest first.
    pub(super) fn slot(&self, netns: Netns, ifindex: IfIndex) -> impl Iterator<Item = (DeviceKey, &Entry)> {
        let key = |generation| DeviceKey { netns, ifindex, generation };
        self.devices.range(key(0)..=key(u32::MAX)).map(|(key, entry)| (*key, entry))
    }

    /// The device that a message about this index speaks of. Two are open for the moment between the traffic of a new
    /// one and the word of the old one's end, and then messages are still the old one's.
    pub(super) fn open(&self, netns: Netns, ifindex: IfIndex) -> Option<DeviceKey> {
        self.slot(netns, ifindex).find(|(_, entry)| entry.present).map(|(key, _)| key)
    }

    pub(super) fn add(&mut self, netns: Netns, facts: Facts) -> DeviceKey {
        let last = self.slot(netns, facts.ifindex).last().map(|(key, _)| key.generation);
        let generation = last.map_or(0, |generation| generation + 1);
        let key = DeviceKey { netns, ifindex: facts.ifindex, generation };
        self.epoch += 1;
        let epoch = self.epoch;
        self.entries().insert(key, Entry::new(facts, epoch));
        key
    }

    /// The link exists, as described.
    pub(crate) fn link(&mut self, netns: Netns, facts: Facts) -> Change {
        let Some(key) = self.open(netns, facts.ifindex) else {
            return Change::New(self.add(netns, facts));
        };
        let Some(entry) = self.devices.get_mut(&key) else { return Change::None };
        if entry.facts.kind != facts.kind {
            // A device keeps its kind for life: the word of this one's end was lost, or never meant for us.
            if entry.provisional {
                entry.facts.kind = facts.kind;
            } else {
                self.close(key);
                return Change::New(self.add(netns, facts));
            }
        }
        let renamed = entry.facts.name != facts.name;
        let change = match () {
            () if entry.provisional => Change::New(key),
            () if entry.facts.queues != facts.queues => Change::Queues(key),
            () if entry.facts == facts => Change::None,
            () => Change::Facts(key),
        };
        if change != Change::None {
            self.told.take();
        }
        if renamed || entry.provisional {
            let old = std::mem::replace(&mut entry.facts.name, facts.name.clone());
            if renamed && !old.is_empty() && !entry.earlier_names.contains(&old) {
                entry.earlier_names.push(old);
            }
            self.epoch += 1;
            entry.named_at = self.epoch;
        }
        entry.provisional = false;
        entry.facts = facts;
        change
    }

    /// The link is gone, or is now of a kind that is of no interest.
    pub(crate) fn gone(&mut self, netns: Netns, ifindex: IfIndex) -> Change {
        self.open(netns, ifindex).map_or(Change::None, |key| {
            self.close(key);
            Change::Gone(key)
        })
    }

    pub(super) fn close(&mut self, key: DeviceKey) {
        self.epoch += 1;
        if let Some(entry) = self.entries().get_mut(&key) {
            entry.present = false;
            entry.provisional = false;
        }
    }

    /// The namespace is gone, and with it all of its devices.
    pub(crate) fn namespace_gone(&mut self, netns: Netns) -> Vec<DeviceKey> {
        let keys: Vec<_> = self
            .iter()
            .filter(|(key, entry)| key.netns == netns && entry.present)
            .map(|(key, _)| key)
            .collect();
        for key in &keys {
            self.close(*key);
        }
        keys
    }

    /// All links of a namespace, after events were lost; `settled` are the indexes of which an event spoke while the
    /// list was read: the event is right, not the list.
    pub(crate) fn resync(&mut self, netns: Netns, links: Vec<Facts>, settled: &[IfIndex]) -> Vec<Change> {
        let mut changes = Vec::new();
        let open: Vec<_> = self
            .iter()
            .filter(|(key, entry)| key.netns == netns && entry.present && !settled.contains(&key.ifindex))
            .map(|(key, entry)| (key, entry.provisional, entry.facts.clone()))
            .collect();
        for (key, provisional, was) in open {
            let same = |now: &Facts| {
                let alike = provisional || now.name == was.name || now.address == was.address;
                now.ifindex == key.ifindex && now.kind == was.kind && alike
            };
            if !links.iter().any(same) {
                self.close(key);
                changes.push(Change::Gone(key));
            }
        }
        let links = links.into_iter().filter(|facts| !settled.contains(&facts.ifindex));
        changes.extend(links.map(|facts| self.link(netns, facts)));
        changes.retain(|change| *change != Change::None);
        changes
    }

    /// The devices as the rest of the program knows them.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        let told = self.told.get_or_init(|| {
            let devices = self.iter().map(|(key, entry)| device(key, entry)).collect();
            Arc::new(Topology { devices, ..Topology::default() })
        });
        Arc::clone(told)
    }
}

fn device(key: DeviceKey, entry: &Entry) -> Device {
    let Facts { name, kind, queues, .. } = &entry.facts;
    // A single-queue tap says only whether its carrier is on; a VM monitor may switch that off with the queue attached.
    let single_owned = entry.present && entry.owner.is_some() && queues.max == Some(1);
    Device {
        key,
        name: name.clone(),
        kind: *kind,
        present: entry.present,
        queues_max: queues.max,
        queues_enabled: if single_owned { Some(1) } else { queues.enabled },
        queues_disabled: queues.disabled,
        owner: entry.owner.clone(),
        uncovered: uncovered(&entry.facts),
        vhost: None,
        zerocopy: None,
    }
}

/// Why counts of a device are not all of its traffic.
fn uncovered(facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    match facts.kind {
        DeviceKind::Macvtap => reasons.push(
            "a macvtap device is not counted: what its guest receives passes no tracepoint of the device, and what \
             it sends carries no queue there"
                .to_owned(),
        ),
        DeviceKind::Tap | DeviceKind::VirtioNet if facts.xdp => reasons.push(
            "an XDP program is attached: packets that it drops, sends back or redirects are not counted, for they \
             never reach the tracepoints"
                .to_owned(),
        ),
        DeviceKind::Tap | DeviceKind::Tun | DeviceKind::VirtioNet => {}
    }
    reasons
}
