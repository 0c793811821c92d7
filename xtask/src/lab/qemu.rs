//! QEMU: pure emulation, which needs no KVM and no rights.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    closure,
    initramfs::Initramfs,
    packages::{self, Packages, Wanted},
};

const PROGRAM: &str = "usr/bin/qemu-system-x86_64";
/// Where it looks for firmware.
const DATA: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];
/// What of it a machine with a kernel of its own and no screen needs.
const FIRMWARE: [&str; 3] = ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin"];

/// QEMU, unpacked in the cache.
#[derive(Clone)]
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
        let mut command = Command::new(self.0.join(PROGRAM));
        command.env("LD_LIBRARY_PATH", env::join_paths(self.libraries())?);
        for data in DATA {
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

    fn libraries(&self) -> [PathBuf; 2] {
        ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|part| self.0.join(part))
    }

    /// Adds QEMU to what a machine starts from, at the places where it looks for its parts by itself.
    ///
    /// # Errors
    /// When one of its parts cannot be read.
    pub(crate) fn carry(&self, archive: &mut Initramfs) -> Result<()> {
        let program = self.0.join(PROGRAM);
        archive.file(PROGRAM, &closure::content(&program)?)?;
        for library in closure::libraries(&program, &self.libraries())? {
            // A library of the package as if it were installed, one of this machine where it is.
            let place = library.strip_prefix(&self.0).unwrap_or(&library);
            archive.file(&place.to_string_lossy(), &closure::content(&library)?)?;
        }
        for file in FIRMWARE {
            let found =
                DATA.map(|folder| self.0.join(folder).join(file)).into_iter().find(|path| path.is_file());
            let found = found.with_context(|| format!("the package has no {file}"))?;
            archive.file(&Path::new(DATA[0]).join(file).to_string_lossy(), &fs::read(found)?)?;
        }
        Ok(())
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
