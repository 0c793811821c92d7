//! What there is: devices, their queues and their owners, under ids that cannot be mixed up.

mod host;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::host::{Cpu, Vcpu, Vm};

/// A network namespace, by the inode number of its nsfs file (`stat /proc/PID/ns/net`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Netns(pub u64);

/// An interface index; unique within one network namespace at one time, reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IfIndex(pub u32);

/// One device for as long as it exists.
///
/// `generation` counts the devices that this observation saw one after the other under the same namespace and index,
/// from 0, so that a reused index is never the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey {
    /// Namespace that the device is in.
    pub netns: Netns,
    /// Index of the device in that namespace.
    pub ifindex: IfIndex,
    /// 0 for the first device seen under this namespace and index, then 1, …
    pub generation: u32,
}

/// Index of a queue pair of a device, from 0, as the packet carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueuePair(pub u16);

/// One queue pair of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueKey {
    /// The device.
    pub device: DeviceKey,
    /// The pair in it.
    pub queue: QueuePair,
}

/// What kind of device it is; decides which kernel direction is the guest's TX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A tun device in tap mode: the host's end of a guest's NIC.
    Tap,
    /// A tun device in IP mode: listed, not judged (no guest NIC stands behind it).
    Tun,
    /// A macvtap or ipvtap device.
    Macvtap,
    /// A virtio NIC of this machine: vnet runs inside a guest.
    VirtioNet,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tap => "tap",
            Self::Tun => "tun",
            Self::Macvtap => "macvtap",
            Self::VirtioNet => "virtio_net",
        })
    }
}

/// A process that holds queues of a tap open: usually the VM monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22): tells a reused pid apart.
    pub start: u64,
    /// Command name (`/proc/PID/comm`).
    pub comm: String,
}

/// One device as the inventory last saw it. What the kernel did not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Which device.
    pub key: DeviceKey,
    /// Its name now; names are reused and change.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// False once it is gone; a gone device stays listed for the rest of the observation.
    pub present: bool,
    /// Queue pairs it can have.
    pub queues_max: Option<u32>,
    /// Queue pairs in use now.
    pub queues_enabled: Option<u32>,
    /// Attached but disabled queue files (tap, `IFF_DETACH_QUEUE`).
    pub queues_disabled: Option<u32>,
    /// Process that holds its queues (tap), when exactly one does.
    pub owner: Option<Owner>,
    /// Why counts of this device do not cover all of its traffic, one sentence each; empty when they do.
    pub uncovered: Vec<String>,
    /// Queues are served by `vhost_net`; `None` while not known.
    #[serde(default)]
    pub vhost: Option<bool>,
    /// Transmit zero-copy is on; `None` while not known.
    #[serde(default)]
    pub zerocopy: Option<bool>,
}

/// All devices at an instant, sorted by key. A newer topology replaces the older one whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The devices.
    pub devices: Vec<Device>,
    /// Devices of guests whose queues no probe sees, sorted.
    #[serde(default)]
    pub invisible: Vec<Invisible>,
    /// Virtual machines, sorted by process.
    #[serde(default)]
    pub vms: Vec<Vm>,
    /// CPUs of the host, sorted by number.
    #[serde(default)]
    pub cpus: Vec<Cpu>,
}

/// A device of a guest that this kernel's network stack has no part in, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Invisible {
    /// Process that holds it, in the host's pid namespace.
    pub pid: u32,
    /// Its command name.
    pub comm: String,
    /// What it is.
    pub kind: InvisibleKind,
    /// Which one: its file below `/dev`, or the id that the monitor has for it.
    pub device: String,
}

/// Kinds of [`Invisible`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvisibleKind {
    /// Sockets between guest and host (`vhost_vsock`).
    VhostVsock,
    /// A storage controller (`vhost_scsi`).
    VhostScsi,
    /// A device whose hardware or driver serves the queues (`vhost_vdpa`).
    VhostVdpa,
    /// A device of the host that is handed to the guest (VFIO).
    Vfio,
    /// A network device whose queues another process serves (vhost-user).
    VhostUser,
}
