//! What follows from the open files: which queues vhost serves, by which thread, and which devices it does not. Pure.

use std::collections::{BTreeMap, HashMap};

use vnet_ebpf::files::{OpenFile, TUN, VHOST_NET, flag};

use crate::topology::{Device, DeviceKey, DeviceKind, QueueKey};

/// How much of a tap vhost serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// All queues that are open.
    All,
    /// Some of them.
    Part,
    /// None.
    Nothing,
}

/// The thread that serves a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Its id in the host's pid namespace.
    pub(crate) tid: u32,
    /// The process that it belongs to.
    pub(crate) tgid: u32,
}

/// What vhost serves.
#[derive(Debug, Default)]
pub(crate) struct Served {
    threads: BTreeMap<QueueKey, Thread>,
    devices: HashMap<DeviceKey, Found>,
    /// What is known of devices of which no queue was found.
    rest: Rest,
}

/// What was found of the queues of a device.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    files: u32,
    served: u32,
    zerocopy: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    /// Nothing.
    #[default]
    Unknown,
    /// No vhost device of the network kind is open at all.
    Unserved,
}

impl Served {
    /// From the files that were found, if they could be walked through. Where it is not `known` what vhost devices serve,
    /// only their absence tells something. `queue` says which queue a file stands for.
    pub(crate) fn of(
        found: Option<&[OpenFile]>,
        known: bool,
        mut queue: impl FnMut(&OpenFile) -> Option<QueueKey>,
    ) -> Self {
        let mut this = Self::default();
        let Some(found) = found else { return this };
        let vhost = || found.iter().filter(|file| file.device == VHOST_NET);
        if vhost().next().is_none() {
            this.rest = Rest::Unserved;
        } else if !known {
            return this;
        }
        // A queue may be held by several files, and served by a device whose monitor has closed its own.
        let mut files: HashMap<u64, (DeviceKey, Option<&OpenFile>)> = HashMap::new();
        for file in found.iter().filter(|file| file.device == TUN).chain(vhost()) {
            let Some(key) = queue(file) else { continue };
            let served = (file.device == VHOST_NET).then_some(file);
            files.entry(file.queue_file).or_insert((key.device, None)).1 = served;
            if file.device == VHOST_NET && file.tid != 0 && file.flags & flag::DISABLED == 0 {
                this.threads.insert(key, Thread { tid: file.tid, tgid: file.tgid });
            }
        }
        for (device, server) in files.into_values() {
            let found = this.devices.entry(device).or_default();
            found.files += 1;
            if let Some(server) = server {
                found.served += 1;
                let mode = (server.flags & flag::MODE != 0).then_some(server.flags & flag::ZEROCOPY != 0);
                found.zerocopy = found.zerocopy.max(mode);
            }
        }
        this
    }

    /// The threads that serve queues.
    pub(crate) fn threads(&self) -> impl Iterator<Item = (QueueKey, Thread)> {
        self.threads.iter().map(|(key, thread)| (*key, *thread))
    }

    /// How much of a device vhost serves, and whether without copies; `None` where that is not sure: the device is no tap,
    /// nobody has its queues open, or not all that have were found.
    pub(crate) fn of_device(&self, device: &Device) -> Option<(Serving, Option<bool>)> {
        if device.kind != DeviceKind::Tap {
            return None;
        }
        let open = match (device.queues_max, device.queues_enabled) {
            (_, Some(enabled)) => Some(enabled + device.queues_disabled.unwrap_or(0)),
            _ => None,
        };
        let Some(found) = self.devices.get(&device.key) else {
            let unserved = self.rest == Rest::Unserved && open.is_some_and(|open| open > 0);
            return unserved.then_some((Serving::Nothing, None));
        };
        let single = device.queues_max == Some(1);
        let all = open == Some(found.files) || single && found.files == 1;
        match found.served {
            0 => all.then_some((Serving::Nothing, None)),
            served if all && served == found.files => Some((Serving::All, found.zerocopy)),
            _ => Some((Serving::Part, found.zerocopy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{IfIndex, Netns, QueuePair};

    fn key(ifindex: u32, queue: u32) -> QueueKey {
        let device = DeviceKey { netns: Netns(1), ifindex: IfIndex(ifindex), generation: 0 };
        QueueKey { device, queue: QueuePair(u16::try_from(queue).unwrap()) }
    }

    fn device(ifindex: u32, queues: u32) -> Device {
        Device {
            key: key(ifindex, 0).device,
            name: "tap0".to_owned(),
            kind: DeviceKind::Tap,
            present: true,
            queues_max: Some(256),
            queues_enabled: Some(queues),
            queues_disabled: Some(0),
            owner: None,
            uncovered: Vec::new(),
            vhost: None,
            zerocopy: None,
        }
    }

    /// A queue file of a tap, and what serves it.
    fn files(ifindex: u32, queue: u32, worker: Option<u32>) -> Vec<OpenFile> {
        let queue_file = u64::from(ifindex * 100 + queue);
        let tun = OpenFile { device: TUN, instance: 1, ifindex, queue, queue_file, ..OpenFile::default() };
        let vhost = |tid| OpenFile { device: VHOST_NET, object: 7, flags: flag::MODE, tid, tgid: 1, ..tun };
        [Some(tun), worker.map(vhost)].into_iter().flatten().collect()
    }

    fn served(files: &[Vec<OpenFile>], known: bool) -> Served {
        Served::of(Some(&files.concat()), known, |file| {
            (file.instance != 0).then(|| key(file.ifindex, file.queue))
        })
    }

    #[test]
    fn a_tap_is_served_when_one_of_its_queues_is() {
        let all = served(&[files(7, 0, Some(40)), files(7, 1, Some(41)), files(8, 0, None)], true);
        assert_eq!(all.of_device(&device(7, 2)), Some((Serving::All, Some(false))));
        assert_eq!(all.of_device(&device(8, 1)), Some((Serving::Nothing, None)));
        let threads = [(key(7, 0), Thread { tid: 40, tgid: 1 }), (key(7, 1), Thread { tid: 41, tgid: 1 })];
        assert_eq!(all.threads().collect::<Vec<_>>(), threads);
        let part = served(&[files(7, 0, Some(40)), files(7, 1, None)], true);
        assert_eq!(part.of_device(&device(7, 2)), Some((Serving::Part, Some(false))));
    }

    #[test]
    fn a_file_that_several_hold_is_one() {
        let twice = served(&[files(7, 0, None), files(7, 0, Some(40)), files(7, 0, None)], true);
        assert_eq!(twice.of_device(&device(7, 1)), Some((Serving::All, Some(false))));
        let hidden = served(&[files(7, 0, Some(40))[1..].to_vec()], true);
        assert_eq!(hidden.of_device(&device(7, 1)), Some((Serving::All, Some(false))));
    }

    #[test]
    fn what_is_not_sure_is_not_known() {
        let one = [files(7, 0, None), files(8, 0, Some(40))];
        assert_eq!(served(&one, true).of_device(&device(7, 2)), None, "a queue was not found");
        assert_eq!(served(&one, false).of_device(&device(7, 1)), None, "nothing is known of vhost");
        assert_eq!(served(&one, true).of_device(&device(9, 1)), None, "no queue was found");
        assert_eq!(Served::of(None, true, |_| None).of_device(&device(7, 1)), None, "nothing was walked");
        assert_eq!(served(&[], false).of_device(&device(7, 0)), None, "nobody has it open");
        let macvtap = Device { kind: DeviceKind::Macvtap, ..device(7, 1) };
        assert_eq!(served(&[], false).of_device(&macvtap), None);
    }

    #[test]
    fn without_any_vhost_device_nothing_is_served() {
        assert_eq!(served(&[], false).of_device(&device(7, 1)), Some((Serving::Nothing, None)));
    }
}
