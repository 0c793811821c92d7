//! QEMU: pure emulation, which needs no KVM and no rights.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::packages::{self, Packages, Wanted};

/// QEMU, unpacked in the cache.
pub(crate) struct Qemu(PathBuf);

impl Qemu {
    /// Brings QEMU 10: 7.2 can oops a kernel that patches its own code.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub(crate) fn fetch() -> Result<Self> {
        packages::fetch(&Wanted {
            entry: "qemu-10-1",
            suites: &["bookworm", "bookworm-updates", "bookworm-backports", "bookworm-security"],
            packages: Packages::WithDependencies(&[
                "qemu-system-x86/bookworm-backports",
                "qemu-system-common/bookworm-backports",
                "qemu-system-data/bookworm-backports",
                "seabios/bookworm-backports",
            ]),
        })
        .map(Self)
    }

    /// A command that will be a machine without devices, in pure emulation; it ends where it would reboot.
    ///
    /// # Errors
    /// When the cache's folder has a name that no list of folders can hold.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.0.join("usr/bin/qemu-system-x86_64"));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|part| self.0.join(part));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.0.join(data));
        }
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-nodefaults",
            "-display",
            "none",
            "-vga",
            "none",
            "-no-reboot",
        ]);
        Ok(command)
    }
}

/// Busybox, linked statically: shell and tools of a machine.
///
/// # Errors
/// When it cannot be fetched.
pub(crate) fn busybox() -> Result<PathBuf> {
    let folder = packages::fetch(&Wanted {
        entry: "busybox-1",
        suites: &["bookworm"],
        packages: Packages::Alone("busybox-static"),
    })?;
    ["bin/busybox", "usr/bin/busybox"]
        .map(|part| folder.join(part))
        .into_iter()
        .find(|path| path.is_file())
        .context("the package has no busybox")
}
