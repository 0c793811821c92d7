//! What a machine needs to have guests of its own: QEMU, a kernel, and an initramfs whose first process is an agent.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{
    initramfs::Initramfs,
    kernel::{self, Kernel},
    qemu::{self, Qemu},
};
use crate::{command, paths, progress};

/// Where a machine finds it all; its tests are told so by [`VARIABLE`].
const PLACE: &str = "/nested";
/// See [`PLACE`].
const VARIABLE: &str = "VNET_NESTED";
/// The guest's first process, a program of the driver.
const AGENT: &str = "vnet-agent";
/// Modules of the guest: its NIC, and the port on which the agent is spoken to.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "virtio_console"];

/// Under which kernel a guest with which other kernel runs, and on which CPU: the SVM that TCG emulates is not perfect, and
/// other pairs were seen to die or are not known.
const RUNS: &[(&str, &str, &str)] =
    &[("6.1", "6.1", "host"), ("6.12", "6.1", "qemu64"), ("7.2", "7.2", "qemu64")];

/// Guests for one kernel of a machine.
#[derive(Clone)]
pub(crate) struct Nested {
    qemu: Qemu,
    kernel: Kernel,
    cpu: &'static str,
}

impl Nested {
    /// Brings what guests under kernel `series` are made of.
    ///
    /// # Errors
    /// When none is known to run under that kernel, or its kernel cannot be had.
    pub(crate) fn fetch(qemu: &Qemu, series: &str) -> Result<Self> {
        let row = RUNS.iter().find(|(host, ..)| *host == series);
        let (_, guest, cpu) =
            row.with_context(|| format!("no guest is known to run under kernel {series}"))?;
        Ok(Self { qemu: qemu.clone(), kernel: kernel::fetch(guest)?, cpu })
    }

    /// The variable that says to a program where guests are.
    pub(crate) fn variable() -> (String, String) {
        (VARIABLE.to_owned(), PLACE.to_owned())
    }

    /// Adds it to a machine's archive.
    ///
    /// # Errors
    /// When the agent does not build, or a part cannot be read.
    pub(crate) fn carry(&self, archive: &mut Initramfs) -> Result<()> {
        self.qemu.carry(archive)?;
        let image = fs::read(&self.kernel.image)
            .with_context(|| format!("cannot read {}", self.kernel.image.display()))?;
        archive.file(&format!("{PLACE}/kernel"), &image)?;
        archive.file(&format!("{PLACE}/initramfs"), &self.initramfs()?)?;
        archive.file(&format!("{PLACE}/cpu"), self.cpu.as_bytes())
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let mut archive = Initramfs::default();
        archive.program(&agent()?, "/init")?;
        archive.file("/bin/busybox", &fs::read(qemu::busybox()?)?)?;
        let modules = self.kernel.modules(&MODULES)?;
        let order: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        archive.file("/modules/order", order.join("\n").as_bytes())?;
        for module in &modules {
            archive.file(&format!("/modules/{}", module.name), &module.content)?;
        }
        archive.finish()
    }
}

fn agent() -> Result<PathBuf> {
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root());
    cargo.args(["build", "--locked", "--package", "vnet-driver", "--bin", AGENT]);
    progress::step("build the agent of guests", || command::text(&mut cargo))?;
    Ok(paths::target().join("debug").join(AGENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_run_under_and_with_kernels_of_the_lab() {
        for (row, (host, guest, _)) in RUNS.iter().enumerate() {
            assert!(kernel::series().contains(host) && kernel::series().contains(guest), "{host} {guest}");
            assert!(RUNS[..row].iter().all(|(other, ..)| other != host), "{host} twice");
        }
    }
}
