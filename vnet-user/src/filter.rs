//! Which devices are told of: by name, VM and namespace. The same for every source.

use glob::Pattern;

use crate::{
    record::Record,
    topology::{Device, DeviceKey, Netns, Topology, Vm},
};

/// What the user asked to see; empty lists ask for everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Names of devices, with `*` and `?`.
    pub devices: Vec<Pattern>,
    /// Names or process ids of VM monitors, with `*` and `?`.
    pub vms: Vec<Pattern>,
    /// Namespaces.
    pub netns: Vec<Netns>,
    refused: std::collections::BTreeSet<DeviceKey>,
}

impl Filter {
    /// A filter for these.
    pub fn new(devices: Vec<Pattern>, vms: Vec<Pattern>, netns: Vec<Netns>) -> Self {
        Self { devices, vms, netns, refused: std::collections::BTreeSet::new() }
    }

    /// The part of a topology that was asked for; remembered for [`Filter::admits_key`].
    pub fn apply(&mut self, topology: &Topology) -> Topology {
        let (admitted, refused): (Vec<Device>, Vec<Device>) =
            topology.devices.iter().cloned().partition(|device| self.admits(device));
        self.refused = refused.into_iter().map(|device| device.key).collect();
        let mut invisible = topology.invisible.clone();
        invisible.retain(|row| self.admits_vm(Some((row.pid, &row.comm))));
        Topology { devices: admitted, invisible, vms: self.vms(topology), cpus: topology.cpus.clone() }
    }

    /// Whether the queues of a device are told of. A device that no topology named yet is.
    pub fn admits_key(&self, key: DeviceKey) -> bool {
        !self.refused.contains(&key)
    }

    /// Leaves in a record only what was asked for.
    pub fn narrow(&mut self, record: &mut Record) {
        match record {
            Record::Topology(topology) => *topology = self.apply(topology),
            Record::Sample(sample) if !self.refused.is_empty() => {
                sample.queues.retain(|(key, _)| self.admits_key(key.device));
                sample.workers.retain(|worker| self.admits_key(worker.queue.device));
                sample.ended.retain(|key| self.admits_key(key.device));
                sample.residuals.retain(|(key, _)| self.admits_key(*key));
                sample.paths.retain(|(key, _)| self.admits_key(key.device));
            }
            _ => {}
        }
    }

    /// VMs by process or name; a device's is asked for by the name of its process too.
    fn vms(&self, topology: &Topology) -> Vec<Vm> {
        let names = |vm: &Vm| [&vm.monitor, &vm.name].into_iter().flatten().any(|name| any(&self.vms, name));
        let wanted = |vm: &&Vm| any(&self.vms, &vm.pid.to_string()) || names(vm);
        topology.vms.iter().filter(wanted).cloned().collect()
    }

    fn admits_vm(&self, owner: Option<(u32, &str)>) -> bool {
        match owner {
            Some((pid, comm)) => any(&self.vms, comm) || any(&self.vms, &pid.to_string()),
            None => self.vms.is_empty(),
        }
    }

    fn admits(&self, device: &Device) -> bool {
        let owner = device.owner.as_ref().map(|owner| (owner.pid, owner.comm.as_str()));
        any(&self.devices, &device.name)
            && self.admits_vm(owner)
            && (self.netns.is_empty() || self.netns.contains(&device.key.netns))
    }
}

/// Whether one of the patterns, if there are any, matches.
fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{DeviceKind, IfIndex, Owner};

    fn device(name: &str, ifindex: u32, owner: Option<(u32, &str)>) -> Device {
        Device {
            key: DeviceKey { netns: Netns(1), ifindex: IfIndex(ifindex), generation: 0 },
            name: name.to_owned(),
            kind: DeviceKind::Tap,
            present: true,
            queues_max: None,
            queues_enabled: None,
            queues_disabled: None,
            owner: owner.map(|(pid, comm)| Owner { pid, start: 0, comm: comm.to_owned() }),
            uncovered: Vec::new(),
            vhost: None,
            zerocopy: None,
        }
    }

    fn names(mut filter: Filter) -> Vec<String> {
        let devices =
            vec![device("tap0", 1, Some((7, "qemu-web"))), device("tap1", 2, None), device("vnet5", 3, None)];
        filter
            .apply(&Topology { devices, ..Topology::default() })
            .devices
            .into_iter()
            .map(|device| device.name)
            .collect()
    }

    fn patterns(text: &str) -> Vec<Pattern> {
        vec![Pattern::new(text).unwrap()]
    }

    #[test]
    fn nothing_asked_for_is_everything() {
        assert_eq!(names(Filter::default()).len(), 3);
    }

    #[test]
    fn names_vms_and_namespaces_narrow_it() {
        assert_eq!(names(Filter::new(patterns("tap*"), vec![], vec![])), ["tap0", "tap1"]);
        assert_eq!(names(Filter::new(vec![], patterns("*web"), vec![])), ["tap0"]);
        assert_eq!(names(Filter::new(vec![], patterns("7"), vec![])), ["tap0"]);
        assert!(names(Filter::new(vec![], vec![], vec![Netns(2)])).is_empty());
    }
}
