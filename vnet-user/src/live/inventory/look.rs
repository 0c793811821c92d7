//! What devices are, and which instance each is: sysfs and ethtool beside netlink.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use anyhow::Result;

use super::{
    Inventory,
    book::{Facts, Queues},
    channels::Ethtool,
    follow::RETRIES,
    message::{Class, Link},
    place::{self, Look, Sysfs},
};
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Netns};

/// `MAX_TAP_QUEUES` of the tun driver.
const MAX_TAP_QUEUES: u32 = 256;
/// How often a device whose sysfs directory is not found is looked for.
const VAIN_LOOKS: u8 = 3;

impl Inventory {
    /// The facts of a link of interest; else its index.
    pub(super) fn facts(&mut self, netns: Netns, link: Link) -> Result<Facts, IfIndex> {
        let Link { ifindex, name, class, address, carrier, tx_queues, xdp, stats: _ } = link;
        let own = netns == self.spaces.own;
        let driver = |look: &dyn Fn(&Sysfs) -> bool, else_: bool| self.sysfs.as_ref().map_or(else_, look);
        let (kind, queues) = match class {
            Class::Tun { tap, multi_queue, queues, disabled } => {
                let queues = if multi_queue {
                    Queues { max: Some(MAX_TAP_QUEUES), enabled: queues, disabled }
                } else {
                    Queues { max: Some(1), enabled: carrier.map(u32::from), disabled: None }
                };
                (if tap { DeviceKind::Tap } else { DeviceKind::Tun }, queues)
            }
            Class::Macvtap => (DeviceKind::Macvtap, Queues::default()),
            Class::Bus { bus, device }
                if bus == "virtio" && driver(&|sys| sys.is_virtio_net(&device), true) =>
            {
                (DeviceKind::VirtioNet, Queues { max: tx_queues, ..Queues::default() })
            }
            Class::Plain if own && driver(&|sys| sys.is_virtio(&name), false) => {
                (DeviceKind::VirtioNet, Queues { max: tx_queues, ..Queues::default() })
            }
            Class::Bus { .. } | Class::Plain | Class::Other => return Err(ifindex),
        };
        let queues = if kind == DeviceKind::VirtioNet {
            let known = self.channels.get(&(netns, ifindex)).copied();
            known.or_else(|| self.read_channels(netns, ifindex)).unwrap_or(queues)
        } else {
            queues
        };
        Ok(Facts { ifindex, name, kind, address, queues, xdp })
    }

    pub(super) fn read_channels(&mut self, netns: Netns, ifindex: IfIndex) -> Option<Queues> {
        let queues = if netns == self.spaces.own {
            if self.ethtool.is_none() {
                self.ethtool = Ethtool::open().ok();
            }
            self.ethtool.as_mut()?.channels(ifindex).ok()?
        } else {
            let file = place::open(netns.0, &self.spaces.get(netns)?.ways).ok()??;
            place::inside(file.as_fd(), || Ethtool::open()?.channels(ifindex)).ok()?.ok()?
        };
        self.channels.insert((netns, ifindex), queues);
        Some(queues)
    }

    /// Looks at devices whose instance is not known, or at all (`verify`). What a look shows is that device's only if
    /// no event says afterwards that the device or its name is another meanwhile.
    pub(super) fn identify(&mut self, verify: bool) -> Result<()> {
        let mut wanted = self.unidentified(verify);
        for _ in 0..RETRIES {
            if wanted.is_empty() {
                break;
            }
            let looks: Vec<_> = wanted.iter().flat_map(|(netns, keys)| self.look(*netns, keys)).collect();
            for event in self.listener.events()? {
                self.handle(event);
            }
            for (key, named_at, look) in looks {
                let Some(entry) = self.book.get_mut(key).filter(|e| e.present && e.named_at == named_at)
                else {
                    continue;
                };
                let Some(look) = look else {
                    entry.vain_looks += 1;
                    continue;
                };
                entry.napi = look.napi;
                let change = self.book.identify(key, look.instance);
                self.note(change);
            }
            wanted = self.unidentified(false);
        }
        Ok(())
    }

    fn unidentified(&self, all: bool) -> BTreeMap<Netns, Vec<DeviceKey>> {
        let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, entry) in self.book.iter() {
            let counted = entry.present && !entry.provisional && entry.facts.kind != DeviceKind::Macvtap;
            if counted && (all || entry.instance.is_none() && entry.vain_looks < VAIN_LOOKS) {
                wanted.entry(key.netns).or_default().push(key);
            }
        }
        wanted
    }

    fn look(&self, netns: Netns, keys: &[DeviceKey]) -> Vec<(DeviceKey, u64, Option<Look>)> {
        let named = |key: &DeviceKey| {
            let entry = self.book.get(*key)?;
            Some((*key, entry.named_at, entry.facts.name.clone()))
        };
        let named: Vec<_> = keys.iter().filter_map(named).collect();
        let each = |sysfs: Option<&Sysfs>| {
            let look = |(key, at, name): &(DeviceKey, u64, String)| {
                (*key, *at, sysfs.and_then(|sysfs| sysfs.look(name, key.ifindex)))
            };
            named.iter().map(look).collect()
        };
        if netns == self.spaces.own {
            return each(self.sysfs.as_ref());
        }
        let ways = self.spaces.get(netns).map(|space| space.ways.as_slice()).unwrap_or_default();
        let Ok(Some(file)) = place::open(netns.0, ways) else { return each(None) };
        place::inside(file.as_fd(), || each(Sysfs::here().ok().as_ref())).unwrap_or_else(|_| each(None))
    }
}
