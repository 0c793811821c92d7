//! `/dev/vhost-net`: one open file is one queue pair (include/uapi/linux/vhost.h).
#![expect(unsafe_code, reason = "vhost's ioctls have no safe wrapper; each call is argued for")]

use std::{
    fs::{File, OpenOptions},
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use libc::Ioctl;

use super::{memory::Memory, ring::Layout};
use crate::sys::control;

/// `VIRTIO_F_NOTIFY_ON_EMPTY`.
pub(super) const NOTIFY_ON_EMPTY: u64 = 1 << 24;
/// `VHOST_F_LOG_ALL`: the kernel marks the pages it writes to, as during migration.
pub(super) const LOG_ALL: u64 = 1 << 26;
/// `VIRTIO_RING_F_INDIRECT_DESC`.
pub(super) const INDIRECT: u64 = 1 << 28;
/// `VIRTIO_RING_F_EVENT_IDX`.
pub(super) const EVENT_IDX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
pub(super) const VERSION_1: u64 = 1 << 32;
/// `VIRTIO_NET_F_MRG_RXBUF`.
pub(super) const MRG_RXBUF: u64 = 1 << 15;

const NONE: u64 = 0;
const TO_KERNEL: u64 = 1;
const FROM_KERNEL: u64 = 2;

const fn code(direction: u64, number: u64, size: usize) -> Ioctl {
    direction << 30 | (size as u64) << 16 | 0xaf << 8 | number
}

/// `struct vhost_vring_state`.
#[repr(C)]
struct State {
    index: u32,
    num: u32,
}

/// `struct vhost_vring_file`.
#[repr(C)]
struct VringFile {
    index: u32,
    fd: i32,
}

/// `struct vhost_vring_addr`.
#[repr(C)]
struct Addresses {
    index: u32,
    flags: u32,
    descriptors: u64,
    used: u64,
    available: u64,
    log: u64,
}

/// `struct vhost_memory` with one region.
#[repr(C)]
struct Table {
    regions: u32,
    padding: u32,
    guest: u64,
    size: u64,
    host: u64,
    flags: u64,
}

/// Files of a vring that are eventfds.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// Guest to device.
    Kick = 0x20,
    /// Device to guest.
    Call = 0x21,
    /// Device to monitor: something in the ring is wrong.
    Error = 0x22,
}

/// An open `/dev/vhost-net`.
#[derive(Debug)]
pub(super) struct Device(File);

impl Device {
    /// Opens it.
    pub(super) fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/vhost-net").map(Self)
    }

    /// Opens another kind of vhost device, which has the same ioctls beside its own.
    pub(super) fn open_vsock() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open("/dev/vhost-vsock").map(Self)
    }

    /// The address of a vsock guest (include/uapi/linux/vhost.h: `VHOST_VSOCK_SET_GUEST_CID`).
    pub(super) fn set_cid(&self, cid: u64) -> io::Result<()> {
        let mut cid = cid;
        // SAFETY: the ioctl reads one u64.
        unsafe { self.control(TO_KERNEL, 0x60, 8, &mut cid) }
    }

    /// A vsock device begins to work (`VHOST_VSOCK_SET_RUNNING`).
    pub(super) fn set_running(&self) -> io::Result<()> {
        let mut running = 1_i32;
        // SAFETY: the ioctl reads one int.
        unsafe { self.control(TO_KERNEL, 0x61, size_of::<i32>(), &mut running) }
    }

    /// Makes this process its owner: its worker is started.
    pub(super) fn set_owner(&self) -> io::Result<()> {
        // SAFETY: the ioctl ignores its argument.
        unsafe { self.control(NONE, 0x01, 0, &mut ()) }
    }

    /// Stops it and its worker; everything is to be set again.
    pub(super) fn reset_owner(&self) -> io::Result<()> {
        // SAFETY: the ioctl ignores its argument.
        unsafe { self.control(NONE, 0x02, 0, &mut ()) }
    }

    /// Features that the kernel has.
    pub(super) fn features(&self) -> io::Result<u64> {
        let mut features = 0_u64;
        // SAFETY: VHOST_GET_FEATURES writes one u64.
        unsafe { self.control(FROM_KERNEL, 0x00, 8, &mut features)? };
        Ok(features)
    }

    /// Features that are used.
    pub(super) fn set_features(&self, features: u64) -> io::Result<()> {
        let mut features = features;
        // SAFETY: VHOST_SET_FEATURES reads one u64.
        unsafe { self.control(TO_KERNEL, 0x00, 8, &mut features) }
    }

    /// The guest's RAM.
    pub(super) fn set_memory(&self, memory: &Memory) -> io::Result<()> {
        let mut table = Table {
            regions: 1,
            padding: 0,
            guest: memory.guest(0),
            size: memory.len(),
            host: memory.host(0),
            flags: 0,
        };
        // SAFETY: VHOST_SET_MEM_TABLE reads the head of 8 bytes (which is what its number says) and one region.
        unsafe { self.control(TO_KERNEL, 0x03, 8, &mut table) }
    }

    /// Where the bitmap of written pages is.
    pub(super) fn set_log(&self, memory: &Memory, at: u64) -> io::Result<()> {
        let mut base = memory.host(at);
        // SAFETY: VHOST_SET_LOG_BASE reads one u64, an address that stays mapped as long as the guest.
        unsafe { self.control(TO_KERNEL, 0x04, 8, &mut base) }
    }

    /// Size and place of a ring; with `log`, writes to its used ring are logged too.
    pub(super) fn set_ring(&self, index: u32, memory: &Memory, layout: &Layout, log: bool) -> io::Result<()> {
        self.state(0x10, index, u32::from(layout.num))?;
        let mut addresses = Addresses {
            index,
            flags: u32::from(log),
            descriptors: memory.host(layout.descriptors),
            used: memory.host(layout.used),
            available: memory.host(layout.available),
            log: memory.guest(layout.used),
        };
        // SAFETY: VHOST_SET_VRING_ADDR reads one `struct vhost_vring_addr`.
        unsafe { self.control(TO_KERNEL, 0x11, size_of::<Addresses>(), &mut addresses) }
    }

    /// The available index that the device takes next.
    pub(super) fn set_base(&self, index: u32, base: u16) -> io::Result<()> {
        self.state(0x12, index, u32::from(base))
    }

    /// The same, asked. The kernel takes the ring's lock for it, which its worker holds while it runs: whatever the worker
    /// had begun for this ring has been done, used entries and calls included, when this returns.
    pub(super) fn base(&self, index: u32) -> io::Result<u16> {
        let mut state = State { index, num: 0 };
        // SAFETY: VHOST_GET_VRING_BASE reads and writes one `struct vhost_vring_state`.
        unsafe { self.control(TO_KERNEL | FROM_KERNEL, 0x12, size_of::<State>(), &mut state)? };
        u16::try_from(state.num & 0xffff).map_err(io::Error::other)
    }

    /// How long the worker polls for more, in units of 1024 ns; 0 for not at all.
    pub(super) fn set_busy_poll(&self, index: u32, units: u32) -> io::Result<()> {
        self.state(0x23, index, units)
    }

    /// An eventfd of a ring.
    pub(super) fn set_event(&self, index: u32, event: Event, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.file(event as u64, index, fd.as_raw_fd())
    }

    /// The tap queue behind a ring; `None` stops the ring.
    pub(super) fn set_backend(&self, index: u32, tap: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.file(0x30, index, tap.map_or(-1, |fd| fd.as_raw_fd()))
    }

    fn state(&self, number: u64, index: u32, num: u32) -> io::Result<()> {
        let mut state = State { index, num };
        // SAFETY: the ioctls that come here read one `struct vhost_vring_state`.
        unsafe { self.control(TO_KERNEL, number, size_of::<State>(), &mut state) }
    }

    fn file(&self, number: u64, index: u32, fd: i32) -> io::Result<()> {
        let mut file = VringFile { index, fd };
        // SAFETY: the ioctls that come here read one `struct vhost_vring_file`.
        unsafe { self.control(TO_KERNEL, number, size_of::<VringFile>(), &mut file) }
    }

    /// # Safety
    /// The kernel reads and writes a `T` for this, no more.
    unsafe fn control<T>(&self, direction: u64, number: u64, size: usize, value: &mut T) -> io::Result<()> {
        // SAFETY: passed on to the caller.
        unsafe { control(self.0.as_fd(), code(direction, number, size), value) }
    }
}
