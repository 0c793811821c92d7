//! Looking at devices inside a network namespace: their sysfs directories, in this or another namespace.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, statat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::topology::IfIndex;

/// `IFF_NAPI | IFF_NAPI_FRAGS` in a device's `tun_flags`.
const NAPI_FLAGS: u32 = 0x10 | 0x20;

/// What the sysfs directory of a device tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Node id of the directory.
    pub(crate) instance: u64,
    /// Packets go through NAPI; tap only.
    pub(crate) napi: Option<bool>,
}

/// A sysfs that shows the devices of one namespace.
pub(crate) struct Sysfs(OwnedFd);

impl Sysfs {
    /// Of the namespace of this thread: a mount of its own that is in no folder, as the one at `/sys` may be another
    /// namespace's (after `nsenter --net`). It does not keep the namespace alive.
    pub(crate) fn here() -> io::Result<Self> {
        let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        Ok(Self(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?))
    }

    /// The one at `/sys`, for those who may not mount: whose it is has to be checked by index.
    pub(crate) fn mounted() -> io::Result<Self> {
        Ok(Self(File::open("/sys")?.into()))
    }

    /// Looks at a device.
    pub(crate) fn look(&self, name: &str, ifindex: IfIndex) -> Option<Look> {
        let folder = format!("class/net/{name}");
        let before = statat(&self.0, &folder, AtFlags::empty()).ok()?.st_ino;
        let shown: u32 = self.read(&format!("{folder}/ifindex"))?.parse().ok()?;
        let flags = self.read(&format!("{folder}/tun_flags"));
        let flags = flags.and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        // The same directory all along: the name may have come to mean another device meanwhile.
        let after = statat(&self.0, &folder, AtFlags::empty()).ok()?.st_ino;
        (shown == ifindex.0 && before == after)
            .then_some(Look { instance: before, napi: flags.map(|flags| flags & NAPI_FLAGS != 0) })
    }

    /// The driver of a device is virtio's, before kernels said so over netlink (Linux 5.14).
    pub(crate) fn is_virtio(&self, name: &str) -> bool {
        self.driver(&format!("class/net/{name}/device/driver"))
    }

    /// The driver of a device on the virtio bus is `virtio_net`.
    pub(crate) fn is_virtio_net(&self, device: &str) -> bool {
        self.driver(&format!("bus/virtio/devices/{device}/driver"))
    }

    fn driver(&self, link: &str) -> bool {
        let target = rustix::fs::readlinkat(&self.0, link, Vec::new());
        target.is_ok_and(|target| target.to_bytes().ends_with(b"/virtio_net"))
    }

    fn read(&self, path: &str) -> Option<String> {
        let file = openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        io::read_to_string(File::from(file)).ok().map(|text| text.trim_end().to_owned())
    }
}

/// Opens a namespace through the first of the paths that still leads to it; `None` when none does any more.
pub(crate) fn open(netns: u64, ways: &[PathBuf]) -> Result<Option<File>> {
    let mut refused = None;
    for way in ways {
        match File::open(way).and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((inode, file)) if inode == netns => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused = Some(anyhow!("cannot open {}: {error} (needs CAP_SYS_PTRACE)", way.display()));
            }
            Ok(_) | Err(_) => {}
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Runs something inside a namespace, in a thread that ends with it.
pub(crate) fn inside<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let entered = thread::Builder::new().name("vnet-netns".into()).spawn_scoped(scope, || {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).map(|()| work())
        });
        let joined = entered.context("cannot start a thread")?.join();
        let entered = joined.map_err(|_| anyhow!("a thread in a network namespace panicked"))?;
        entered.context("cannot enter a network namespace (needs CAP_SYS_ADMIN)")
    })
}
