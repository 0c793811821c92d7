//! Real guests inside a lab machine: Linux under KVM and QEMU, with an agent inside that does what a test says.
//!
//! The lab brings what they are made of (`VNET_NESTED` says where). A machine in emulation carries light traffic only:
//! everything here is paced.

mod agent;
pub mod injected;
pub mod interrupts;
pub mod layout;
mod nic;
pub mod threads;
mod vm;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, Error, Result, ensure};

pub use self::{interrupts::Interrupt, vm::Vm};

/// Name of the virtio-serial port on which the agent is spoken to.
pub const PORT: &str = "vnet.agent";
/// The guest's NIC.
pub const NIC: &str = "eth0";
/// Between two packets of one sender.
pub const PACE: Duration = Duration::from_millis(10);

/// What a guest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name, as `-name guest=` says it.
    pub name: String,
    /// vCPUs.
    pub vcpus: usize,
    /// Queue pairs of its NIC.
    pub pairs: u16,
    /// `vhost_net` serves it; else QEMU itself.
    pub vhost: bool,
}

impl Config {
    /// A guest with a pair for each of two vCPUs, served by `vhost_net`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), vcpus: 2, pairs: 2, vhost: true }
    }

    /// Name of its tap.
    pub fn tap(&self) -> String {
        format!("tap-{}", self.name)
    }

    /// Address of its NIC.
    pub fn mac(&self) -> [u8; 6] {
        let sum = self.name.bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let [high, low] = sum.to_be_bytes();
        [0x52, 0x54, 0, 0, high, low]
    }
}

/// What one of the guest's CPUs sends: UDP frames of one flow, [`PACE`] apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The CPU, a guest's own number.
    pub cpu: usize,
    /// How many packets.
    pub packets: u64,
    /// Frame bytes of each.
    pub size: usize,
    /// Port that they come from: what the host sends with the same port goes to the queue that these came through.
    pub flow: u16,
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.cpu, self.packets, self.size, self.flow)
    }
}

impl FromStr for Sending {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let [cpu, packets, size, flow] = parts[..] else { anyhow::bail!("`{text}` is not CPU:N:SIZE:FLOW") };
        Ok(Self { cpu: cpu.parse()?, packets: packets.parse()?, size: size.parse()?, flow: flow.parse()? })
    }
}

/// The folder with what guests are made of.
fn parts() -> Result<PathBuf> {
    let folder = std::env::var_os("VNET_NESTED").map(PathBuf::from);
    let folder = folder.context("needs a lab machine with guests of its own (VNET_NESTED)")?;
    for part in ["kernel", "initramfs", "cpu"] {
        ensure!(folder.join(part).is_file(), "VNET_NESTED: {} has no {part}", folder.display());
    }
    Ok(folder)
}

/// Why tests with real guests cannot run here, or `None`.
pub fn need() -> Option<String> {
    let kvm = || {
        let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
        opened.err().map(|e| format!("needs /dev/kvm: {e}"))
    };
    parts().err().map(|e| format!("{e:#}")).or_else(kvm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_sent_reaches_the_agent_as_it_is() {
        let sending = Sending { cpu: 3, packets: 40, size: 1514, flow: 1007 };
        assert_eq!(sending.to_string().parse::<Sending>().unwrap(), sending);
        assert!("1:2:3".parse::<Sending>().is_err() && "1:2:3:x".parse::<Sending>().is_err());
    }
}
