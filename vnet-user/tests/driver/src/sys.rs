//! The system calls that no safe crate offers: tun's ioctls, packet sockets, namespaces, raw BPF.
#![expect(
    unsafe_code,
    reason = "ioctl, bpf, setns and packet sockets have no safe wrapper; each call is argued for"
)]

use std::{
    fs::File,
    io,
    mem::{size_of, size_of_val},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use libc::{Ioctl, c_int, c_uint};

/// `struct ifreq` as far as tun reads and writes it.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; 22],
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// # Safety
/// The kernel reads and writes a `T` for `request`, no more.
pub(crate) unsafe fn control<T>(fd: BorrowedFd<'_>, request: Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: `argument` is a live, exclusive `T`, and the caller vouches for the request.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) }).map(drop)
}

fn request(name: &str, flags: c_int) -> io::Result<IfReq> {
    let mut field = [0; libc::IFNAMSIZ];
    if name.len() >= field.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("device name {name:?} is too long")));
    }
    field[..name.len()].copy_from_slice(name.as_bytes());
    let flags = u16::try_from(flags).map_err(io::Error::other)?;
    Ok(IfReq { name: field, flags, rest: [0; 22] })
}

/// `TUNSETIFF`: makes the device, or adds a queue to it.
pub(crate) fn set_iff(fd: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    let mut argument = request(name, flags)?;
    // SAFETY: TUNSETIFF copies one `struct ifreq` (40 bytes) in and out, which `IfReq` is.
    unsafe { control(fd, libc::TUNSETIFF, &mut argument) }
}

/// `TUNSETQUEUE`: attaches or detaches this queue file.
pub(crate) fn set_queue(fd: BorrowedFd<'_>, attach: bool) -> io::Result<()> {
    let mut argument = request("", if attach { libc::IFF_ATTACH_QUEUE } else { libc::IFF_DETACH_QUEUE })?;
    // SAFETY: TUNSETQUEUE copies one `struct ifreq` in.
    unsafe { control(fd, libc::TUNSETQUEUE, &mut argument) }
}

/// Ioctls of tun that take a pointer to an `int`.
#[derive(Clone, Copy)]
pub(crate) enum TunInt {
    /// Interface index of the device to come.
    IfIndex,
    /// Size of the vnet header.
    VnetHeader,
    /// eBPF program that chooses the queue; -1 takes it away.
    Steering,
    /// eBPF program that decides how much of a packet is kept; -1 takes it away.
    Filter,
    /// Bytes that the host may hold of what a queue file sent.
    SendBuffer,
}

/// Sets one of tun's integers.
pub(crate) fn set_int(fd: BorrowedFd<'_>, what: TunInt, value: c_int) -> io::Result<()> {
    let op = match what {
        TunInt::IfIndex => libc::TUNSETIFINDEX,
        TunInt::VnetHeader => libc::TUNSETVNETHDRSZ,
        TunInt::Steering => libc::TUNSETSTEERINGEBPF,
        TunInt::Filter => libc::TUNSETFILTEREBPF,
        TunInt::SendBuffer => libc::TUNSETSNDBUF,
    };
    let mut value = value;
    // SAFETY: each of these copies one int in.
    unsafe { control(fd, op, &mut value) }
}

/// `TUNSETOFFLOAD`: what the guest takes unsegmented.
pub(crate) fn set_offload(fd: BorrowedFd<'_>, flags: c_uint) -> io::Result<()> {
    // SAFETY: the argument is a plain value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) }).map(drop)
}

/// `TUNSETTXFILTER`: the guest takes frames to `address` only; `None` takes all again.
pub(crate) fn set_tx_filter(fd: BorrowedFd<'_>, address: Option<[u8; 6]>) -> io::Result<()> {
    #[repr(C)]
    struct Filter {
        flags: u16,
        count: u16,
        address: [u8; 6],
    }
    let mut filter =
        Filter { flags: 0, count: u16::from(address.is_some()), address: address.unwrap_or_default() };
    // SAFETY: the kernel copies the 4-byte head and `count` (0 or 1) addresses of 6 bytes in.
    unsafe { control(fd, libc::TUNSETTXFILTER, &mut filter) }
}

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: only the network namespace of this thread changes; no memory is touched.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the calling thread mounts of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_NEWNS also unshares the thread's working directory and umask, which nothing here relies on.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).map(drop)
}

/// Moves the calling thread into the network namespace behind `fd`.
pub(crate) fn enter_net(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// A raw packet socket bound to `ifindex` that receives nothing; with `vnet_header` each send begins with 10 bytes of it.
pub(crate) fn packet_socket(ifindex: u32, vnet_header: bool) -> io::Result<OwnedFd> {
    let socket = raw_packets(0)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, c_int::from(vnet_header))?;
    bind_packets(&socket, ifindex, 0)?;
    Ok(socket)
}

/// A raw packet socket that receives, without blocking, what `ifindex` hands to the stack with this ethertype.
pub(crate) fn packet_receiver(ifindex: u32, ethertype: u16) -> io::Result<OwnedFd> {
    let socket = raw_packets(libc::SOCK_NONBLOCK)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 256 << 20)?;
    bind_packets(&socket, ifindex, ethertype)?;
    Ok(socket)
}

fn raw_packets(flags: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags;
    // SAFETY: no pointers; the result is checked before it becomes an owned descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_PACKET, kind, 0))?) })
}

fn set_option(socket: &OwnedFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let (pointer, length) = (std::ptr::from_ref(&value).cast(), length_of(&value)?);
    // SAFETY: option value and its length describe the live int `value`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length) }).map(drop)
}

fn bind_packets(socket: &OwnedFd, ifindex: u32, ethertype: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: c_int::try_from(ifindex).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: address and its length describe the live sockaddr_ll.
    check(unsafe {
        libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length_of(&address)?)
    })
    .map(drop)
}

fn length_of<T>(value: &T) -> io::Result<libc::socklen_t> {
    size_of_val(value).try_into().map_err(io::Error::other)
}

/// Loads a BPF program of raw instructions.
pub(crate) fn bpf_load(kind: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        version: u32,
        flags: u32,
        name: [u8; 16],
    }
    let mut attributes = Load {
        kind,
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        version: 0,
        flags: 0,
        name: *b"vnet_driver\0\0\0\0\0",
    };
    let fd = bpf(libc_bpf::PROG_LOAD, &mut attributes)?;
    // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Commands of bpf(2) used here.
pub(crate) mod libc_bpf {
    pub(crate) const PROG_LOAD: u32 = 5;
    pub(crate) const PROG_GET_NEXT_ID: u32 = 11;
    pub(crate) const MAP_GET_NEXT_ID: u32 = 12;
    pub(crate) const LINK_GET_NEXT_ID: u32 = 31;
}

/// The smallest id above `start` of the objects that `command` walks; `None` after the last.
pub(crate) fn bpf_next_id(command: u32, start: u32) -> io::Result<Option<u32>> {
    let mut attributes = [start, 0, 0, 0];
    match bpf(command, &mut attributes) {
        Ok(_) => Ok(Some(attributes[1])),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<c_int> {
    // SAFETY: attributes and their size describe a live, exclusive value whose inner pointers the callers keep alive; the
    // commands used write inside it only.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        c_int::try_from(result).map_err(io::Error::other)
    }
}

/// CPU time of all children of this process that it has waited for.
pub(crate) fn children_cpu() -> io::Result<Duration> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills one rusage, which is live and exclusive; zeroed is a valid rusage already.
    let usage = unsafe {
        check(libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()))?;
        usage.assume_init()
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.unsigned_abs()) + Duration::from_micros(t.tv_usec.unsigned_abs())
    };
    Ok(time(usage.ru_utime) + time(usage.ru_stime))
}

/// CPU time of a process so far, threads that have ended included.
pub(crate) fn process_cpu(pid: c_int) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: writes one clock id, which is live.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, which is live.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    let nanos = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), nanos))
}

/// Effective user id.
pub(crate) fn euid() -> u32 {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

/// The network namespace of the calling thread.
pub(crate) fn own_net() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}
