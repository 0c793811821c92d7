//! What ethtool does with `-S` and `-L`, by ioctl: older kernels tell a NIC's per-queue counters only there.
#![expect(unsafe_code, reason = "SIOCETHTOOL has no safe wrapper; each call is argued for")]

use std::{io, net::UdpSocket, os::fd::AsRawFd};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
const GSSET_INFO: u32 = 0x37;
const GCHANNELS: u32 = 0x3c;
const SCHANNELS: u32 = 0x3d;
/// `ETH_SS_STATS`.
const STATS: u32 = 1;
const NAME: usize = 32;

/// `struct ifreq` whose data is a pointer.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u64,
    rest: [u8; 16],
}

/// # Safety
/// `buffer` holds a command of ethtool and all the room that the kernel fills for it.
unsafe fn call(name: &str, buffer: &mut [u64]) -> io::Result<()> {
    let mut field = [0; libc::IFNAMSIZ];
    field
        .get_mut(..name.len())
        .ok_or_else(|| io::Error::other("device name too long"))?
        .copy_from_slice(name.as_bytes());
    let mut request = IfReq { name: field, data: buffer.as_mut_ptr(), rest: [0; 16] };
    // Any socket of this namespace does.
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
    // SAFETY: the request is live, its data points to the exclusive buffer, and the caller vouches for its size.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, std::ptr::from_mut(&mut request)) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Two 32-bit words as the kernel reads them.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The driver's own statistics by name (`ethtool -S`).
pub fn statistics(name: &str) -> io::Result<Vec<(String, u64)>> {
    // cmd, reserved; mask; one count.
    let mut info = [pair(GSSET_INFO, 0), 1 << STATS, 0];
    // SAFETY: one bit of the mask is set, so one 32-bit count is written behind it.
    unsafe { call(name, &mut info)? };
    let count = usize::try_from(info[2] & u64::from(u32::MAX)).map_err(io::Error::other)?;
    let length = u32::try_from(count).map_err(io::Error::other)?;

    // cmd, set; len (32 bits), then the names directly behind it.
    let mut names = vec![0; 2 + count * NAME / 8];
    (names[0], names[1]) = (pair(GSTRINGS, STATS), u64::from(length));
    // SAFETY: 12 bytes of head and `count` names of 32 bytes fit.
    unsafe { call(name, &mut names)? };
    let bytes: Vec<u8> = names.iter().flat_map(|word| word.to_ne_bytes()).collect();

    let mut values = vec![0; 1 + count];
    values[0] = pair(GSTATS, length);
    // SAFETY: 8 bytes of head and `count` 64-bit values fit.
    unsafe { call(name, &mut values)? };

    let text = |at: usize| {
        let field = &bytes[12 + at * NAME..][..NAME];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    Ok((0..count).map(|at| (text(at), values[1 + at])).collect())
}

/// Sets the queue pairs in use (`ethtool -L NAME combined PAIRS`); how many there are now.
pub fn set_queue_pairs(name: &str, pairs: u32) -> io::Result<u32> {
    // cmd, max_rx; max_tx, max_other; max_combined, rx; tx, other; combined.
    let mut channels = [pair(GCHANNELS, 0), 0, 0, 0, 0];
    // SAFETY: `struct ethtool_channels` has nine 32-bit words, which fit in five pairs.
    unsafe { call(name, &mut channels)? };
    channels[0] = pair(SCHANNELS, u32::try_from(channels[0] >> 32).map_err(io::Error::other)?);
    channels[4] = u64::from(pairs);
    // SAFETY: as above; the kernel only reads it.
    unsafe { call(name, &mut channels)? };
    channels = [pair(GCHANNELS, 0), 0, 0, 0, 0];
    // SAFETY: as above.
    unsafe { call(name, &mut channels)? };
    u32::try_from(channels[4]).map_err(io::Error::other)
}
