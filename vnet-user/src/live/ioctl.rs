//! The few system calls of the inventory that no crate wraps; the only unsafe code there.
#![expect(unsafe_code, reason = "system calls that no crate wraps; each is one call with checked results")]

use std::{
    ffi::{CStr, c_int},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// `_IO('T', 227)`, Linux 5.10: a file of the network namespace that the device is in.
const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;

/// Registers a descriptor with the tokio runtime of this thread.
///
/// # Errors
/// `EPERM` for files that cannot be waited on.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` gives the same, open descriptor for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Room for one control message that carries an `int`.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Receives one netlink datagram, and the id of the network namespace it speaks of when that is not the socket's own
/// (`NETLINK_LISTEN_ALL_NSID`).
///
/// # Errors
/// Those of `recvmsg`; a datagram longer than `buffer` is [`io::ErrorKind::InvalidData`].
pub(crate) fn recv_netlink(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are a valid `msghdr` (null pointers and zero lengths).
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: the header points at a buffer and a control area that outlive the call, with their true lengths.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "netlink datagram longer than the buffer"));
    }
    let mut nsid = None;
    // SAFETY: the kernel filled the control area and set its length; the CMSG functions stay within it.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: not null means a whole, aligned `cmsghdr` in the control area.
    while let Some(found) = unsafe { message.as_ref() } {
        let is_nsid =
            found.cmsg_level == libc::SOL_NETLINK && found.cmsg_type == libc::NETLINK_LISTEN_ALL_NSID;
        // SAFETY: CMSG_LEN only computes.
        if is_nsid && found.cmsg_len >= unsafe { libc::CMSG_LEN(4) } as usize {
            // SAFETY: the length says that an `int` follows the header.
            nsid = Some(unsafe { libc::CMSG_DATA(message).cast::<c_int>().read_unaligned() });
        }
        // SAFETY: as for CMSG_FIRSTHDR; `message` came from it.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok((got, nsid))
}

/// Name and `IFF_*` flags of the device that a tun file is attached to.
///
/// # Errors
/// `EBADFD` when the file is attached to none.
pub(crate) fn tun_interface(fd: BorrowedFd<'_>) -> io::Result<(String, u16)> {
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: TUNGETIFF writes one `ifreq` at the address given.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as libc::Ioctl, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let name: Vec<u8> = request.ifr_name.iter().map(|c| c.cast_unsigned()).chain([0]).collect();
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_string_lossy().into_owned();
    // SAFETY: the kernel filled the flags; any bits are a valid integer.
    Ok((name, unsafe { request.ifr_ifru.ifru_flags }.cast_unsigned()))
}

/// The network namespace that the device of a tun file is in now.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` there, `EINVAL` before Linux 5.10, `EBADFD` when attached to no device.
pub(crate) fn tun_netns(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument.
    let got = unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETDEVNETNS) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(got) })
}
