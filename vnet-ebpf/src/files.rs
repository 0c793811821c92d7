//! What is found of the open files of all processes: character devices behind which a guest's queues may be.

/// Device number of `/dev/vhost-net`, as the kernel keeps it (`MISC_MAJOR`, `VHOST_NET_MINOR`).
pub const VHOST_NET: u32 = device(10, 238);

/// Device number of `/dev/net/tun`.
pub const TUN: u32 = device(10, 200);

/// Device number of `/dev/kvm`.
pub const KVM: u32 = device(10, 232);

const fn device(major: u32, minor: u32) -> u32 {
    major << 20 | minor
}

/// Major and minor number.
#[inline]
pub const fn numbers(device: u32) -> (u32, u32) {
    (device >> 20, device & 0xf_ffff)
}

/// Bits of [`OpenFile::flags`].
pub mod flag {
    /// The queue is attached and disabled (`IFF_DETACH_QUEUE`), so that it has no index.
    pub const DISABLED: u32 = 1;
    /// It is known whether the vhost device sends with zero-copy.
    pub const MODE: u32 = 2;
    /// It does.
    pub const ZEROCOPY: u32 = 4;
}

/// One open file of one process. Several may be of one file, and files of several processes of one object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFile {
    /// What the file is to its driver: the address of the `vhost_dev` or `tun_file`.
    pub object: u64,
    /// Address of the `tun_file` that it stands for: its own, or the backend of a vhost device; 0: none.
    pub queue_file: u64,
    /// Identity of the tap of that queue, as in [`crate::device::Meta`]; 0: it is of none.
    pub instance: u64,
    /// Device number.
    pub device: u32,
    /// Process that holds the file, in the host's pid namespace.
    pub holder: u32,
    /// Namespace of the tap.
    pub netns: u32,
    /// Its index there.
    pub ifindex: u32,
    /// Index of the queue.
    pub queue: u32,
    /// Of [`flag`].
    pub flags: u32,
    /// Thread of the vhost worker; 0: none, or not known.
    pub tid: u32,
    /// Process of that thread.
    pub tgid: u32,
    /// Name of the tap.
    pub name: [u8; 16],
}

/// Bytes of a record.
pub const RECORD: usize = 72;

const _: () = assert!(size_of::<OpenFile>() == RECORD, "a record has no padding");

impl OpenFile {
    /// From the bytes that a walk wrote.
    pub fn of(bytes: &[u8; RECORD]) -> Self {
        let long = |at: usize| u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32;
        let mut name = [0; 16];
        name.copy_from_slice(&bytes[RECORD - 16..]);
        Self {
            object: long(0),
            queue_file: long(8),
            instance: long(16),
            device: word(bytes, 24),
            holder: word(bytes, 28),
            netns: word(bytes, 32),
            ifindex: word(bytes, 36),
            queue: word(bytes, 40),
            flags: word(bytes, 44),
            tid: word(bytes, 48),
            tgid: word(bytes, 52),
            name,
        }
    }
}

fn word(bytes: &[u8; RECORD], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
