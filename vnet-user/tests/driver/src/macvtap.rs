//! A macvtap's queue file, without udev: the device node is made where nobody else sees it.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
};

use crate::{netns::Netns, sys, tap::QueueFile};

/// Opens a queue of the macvtap with this index.
pub fn open(netns: &Netns, ifindex: u32) -> Result<QueueFile> {
    netns.run(|| {
        // Its number is told in sysfs only, and only in a sysfs of its namespace; both mounts end with this thread.
        sys::unshare_mounts().context("cannot make a mount namespace")?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("cannot mount sysfs")?;
        let number = fs::read_to_string(device_file(ifindex)?).context("macvtap without a device number")?;
        let (major, minor) = number.trim().split_once(':').context("not MAJOR:MINOR")?;
        mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None).context("cannot mount tmpfs")?;
        mknodat(
            CWD,
            "/tmp/queue",
            FileType::CharacterDevice,
            Mode::RUSR | Mode::WUSR,
            makedev(major.parse()?, minor.parse()?),
        )
        .context("cannot make a device node")?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/tmp/queue")
            .context("cannot open the macvtap")?;
        QueueFile::of_macvtap(file)
    })
}

fn device_file(ifindex: u32) -> Result<std::path::PathBuf> {
    for entry in fs::read_dir(Path::new("/sys/class/macvtap"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy() == format!("tap{ifindex}")) {
            return Ok(path.join("dev"));
        }
    }
    anyhow::bail!("no macvtap with index {ifindex}")
}
