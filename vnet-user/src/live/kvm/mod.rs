//! KVM: which vCPU a call interrupts, which VMs there are, and on which CPUs all of that happens.

mod cpus;
mod names;
mod paths;
mod vms;

pub(crate) use self::vms::vcpus;
use self::{cpus::Cpus, paths::PathCounts, vms::Vms};
use super::{inventory::Inventory, maps::Maps};
use crate::{
    record::{Paths, VcpuPlace},
    topology::{QueueKey, Topology},
};

/// What is known of this host's VMs.
#[derive(Debug, Default)]
pub(crate) struct Host {
    paths: PathCounts,
    vms: Vms,
    cpus: Cpus,
}

impl Host {
    /// Nothing is known yet; what was counted before is not told.
    pub(crate) fn new(maps: &Maps) -> Self {
        let mut host = Self::default();
        host.paths.begin(maps);
        host
    }

    /// Reads anew which VMs and CPUs there are.
    pub(crate) fn refresh(&mut self, inventory: &Inventory) {
        let devices = &inventory.topology().devices;
        let present = devices.iter().filter(|device| device.present);
        self.vms.refresh(present.filter_map(|device| device.owner.as_ref()));
        self.cpus.refresh();
    }

    /// Adds them to a topology.
    pub(crate) fn tell(&self, topology: &mut Topology) {
        topology.vms = self.vms.all();
        topology.cpus = self.cpus.all().to_vec();
    }

    /// See [`PathCounts::read`].
    pub(crate) fn paths(
        &mut self,
        maps: &Maps,
        queue: impl Fn(u32) -> Option<QueueKey>,
    ) -> Vec<(QueueKey, Paths)> {
        self.paths.read(maps, &mut self.vms, queue)
    }

    /// See [`Vms::moved`].
    pub(crate) fn moved(&mut self) -> Vec<VcpuPlace> {
        self.vms.moved()
    }
}
