//! Queue files of taps, opened inside a network namespace.
#![expect(unsafe_code, reason = "tun devices are made by ioctl")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_MULTI_QUEUE: u16 = 0x0100;
const IFF_ATTACH_QUEUE: u16 = 0x0200;
const IFF_DETACH_QUEUE: u16 = 0x0400;
const TUNSETIFF: u64 = 0x4004_54ca;
const TUNSETQUEUE: u64 = 0x4004_54d9;
const TUNSETIFINDEX: u64 = 0x4004_54da;

#[repr(C, align(8))]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// A queue file.
pub(crate) struct Queue(File);

impl Queue {
    /// Opens one more queue of a tap, making the tap if need be (with this index, if one is given).
    pub(crate) fn open(
        netns: Option<&Path>,
        name: &str,
        multi_queue: bool,
        index: Option<i32>,
    ) -> io::Result<Self> {
        let open = || {
            if let Some(path) = netns {
                move_into_link_name_space(File::open(path)?.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
            if let Some(index) = index {
                ioctl(&file, TUNSETIFINDEX, &index)?;
            }
            let flags = IFF_TAP | IFF_NO_PI | if multi_queue { IFF_MULTI_QUEUE } else { 0 };
            ioctl(&file, TUNSETIFF, &request(name, flags))?;
            Ok(Self(file))
        };
        thread::scope(|scope| scope.spawn(open).join().expect("no panic"))
    }

    /// A copy that a child can have as its standard input.
    pub(crate) fn share(&self) -> std::process::Stdio {
        self.0.try_clone().expect("a copy").into()
    }

    /// Disables or enables the queue.
    pub(crate) fn attach(&self, on: bool) -> io::Result<()> {
        let flags = if on { IFF_ATTACH_QUEUE } else { IFF_DETACH_QUEUE };
        ioctl(&self.0, TUNSETQUEUE, &request("", flags))
    }
}

fn request(name: &str, flags: u16) -> Request {
    let mut request = Request { name: [0; 16], flags, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request
}

fn ioctl<T>(file: &File, code: u64, argument: &T) -> io::Result<()> {
    // SAFETY: the argument is an `int` or a whole `ifreq`, as the request needs, and outlives the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), code, std::ptr::from_ref(argument)) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
