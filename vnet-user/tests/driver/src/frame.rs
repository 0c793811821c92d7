//! Frames as a guest hands them over: a vnet header and Ethernet, plain or GSO.

/// Bytes of the vnet header that carry facts (`struct virtio_net_hdr`); a tap's header is padded beyond them.
pub const HEADER: usize = 10;

/// Largest frame that IPv4 can describe: 65535 bytes of IP and the Ethernet header.
pub const LARGEST: usize = 65_535 + ETHERNET;

const ETHERNET: usize = 14;
const NEEDS_CSUM: u8 = 1;

/// How a frame is to be cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gso {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4 (USO).
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Gso {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Udp6];

    const fn v4(self) -> bool {
        matches!(self, Self::Tcp4 | Self::Udp4)
    }

    const fn tcp(self) -> bool {
        matches!(self, Self::Tcp4 | Self::Tcp6)
    }

    /// Bytes that every segment repeats.
    pub const fn headers(self) -> usize {
        ETHERNET + if self.v4() { 20 } else { 40 } + if self.tcp() { 20 } else { 8 }
    }

    const fn wire(self) -> u8 {
        match self {
            Self::Tcp4 => 1,
            Self::Tcp6 => 4,
            Self::Udp4 | Self::Udp6 => 5,
        }
    }
}

/// A frame with its vnet header and the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    vnet: [u8; HEADER],
    data: Vec<u8>,
    segments: u64,
}

impl Frame {
    /// `len` bytes (at least 14) of an ethertype that nobody handles (IEEE's local experimental 0x88b5).
    ///
    /// # Panics
    /// When `len` has no room for the Ethernet header.
    pub fn plain(len: usize) -> Self {
        let mut data = ethernet(0x88b5);
        assert!(len >= data.len(), "an Ethernet frame has at least 14 bytes");
        data.resize(len, 0x5a);
        Self { vnet: [0; HEADER], data, segments: 1 }
    }

    /// A plain UDP datagram over IPv4 of `len` frame bytes; `flow` is its source port.
    pub fn udp(len: usize, flow: u16) -> Self {
        let mut frame = Self::ip(Gso::Udp4, len, flow);
        frame.vnet = [0; HEADER];
        frame
    }

    /// A GSO packet of `len` frame bytes to be cut up into pieces of `size` payload bytes, checksum left to the device.
    pub fn gso(kind: Gso, len: usize, size: u16) -> Self {
        let mut frame = Self::ip(kind, len, 40_000);
        frame.vnet[1] = kind.wire();
        frame.vnet[2..4].copy_from_slice(&short(kind.headers()).to_le_bytes());
        frame.vnet[4..6].copy_from_slice(&size.to_le_bytes());
        let payload = (len - kind.headers()) as u64;
        frame.segments = payload.div_ceil(u64::from(size)).max(1);
        frame
    }

    /// A frame whose vnet header names a kind of GSO that does not exist: the tap refuses it.
    pub fn bad_header(len: usize) -> Self {
        let mut frame = Self::plain(len);
        frame.vnet[1] = 7;
        frame.vnet[4..6].copy_from_slice(&100_u16.to_le_bytes());
        frame
    }

    /// The same frame inside a VLAN: four bytes longer.
    #[must_use]
    pub fn tagged(mut self, vlan: u16) -> Self {
        let mut tag = [0x81, 0, 0, 0];
        tag[2..].copy_from_slice(&vlan.to_be_bytes());
        self.data.splice(12..12, tag);
        if self.vnet[0] == NEEDS_CSUM {
            let start = u16::from_le_bytes([self.vnet[6], self.vnet[7]]) + 4;
            self.vnet[6..8].copy_from_slice(&start.to_le_bytes());
        }
        self
    }

    /// The same frame to the address whose last byte is `byte`; see [`crate::bpf::Program::steer_by_address`].
    #[must_use]
    pub fn to(mut self, byte: u8) -> Self {
        self.data[5] = byte;
        self
    }

    /// The same IPv4 or IPv6 frame from source port `port`.
    #[must_use]
    pub fn flow(mut self, port: u16) -> Self {
        let ip = if self.data[12] == 0x08 { 20 } else { 40 };
        self.data[ETHERNET + ip..][..2].copy_from_slice(&port.to_be_bytes());
        self
    }

    /// The same frame to `address`.
    #[must_use]
    pub fn to_address(mut self, address: [u8; 6]) -> Self {
        self.data[..6].copy_from_slice(&address);
        self
    }

    /// The vnet header.
    pub fn vnet(&self) -> &[u8; HEADER] {
        &self.vnet
    }

    /// The frame.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Frame bytes.
    ///
    /// # Panics
    /// Never: frames are far smaller than 4 GiB.
    pub fn len(&self) -> u32 {
        u32::try_from(self.data.len()).expect("a frame fits")
    }

    /// Never: a frame has at least its Ethernet header.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Packets on the wire once GSO is cut up.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    fn ip(kind: Gso, len: usize, flow: u16) -> Self {
        assert!(len >= kind.headers(), "no room for the headers in {len} bytes");
        let total = len - ETHERNET;
        let mut data = ethernet(if kind.v4() { 0x0800 } else { 0x86dd });
        let protocol = if kind.tcp() { 6 } else { 17 };
        if kind.v4() {
            let mut ip = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 9, 8, 7, 10, 9, 8, 6];
            ip[2..4].copy_from_slice(&short(total).to_be_bytes());
            let sum = checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            data.extend(ip);
        } else {
            data.extend([0x60, 0, 0, 0]);
            data.extend(short(total - 40).to_be_bytes());
            data.extend([protocol, 64]);
            for last in [7, 6] {
                data.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
            }
        }
        let start = data.len();
        data.extend(flow.to_be_bytes());
        data.extend([0x13, 0x88]);
        if kind.tcp() {
            // Sequence, acknowledgement, 20 bytes of header, ACK, window, checksum, urgent.
            data.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        } else {
            data.extend(short(len - start).to_be_bytes());
            data.extend([0, 0]);
        }
        data.resize(len, 0x5a);
        let mut vnet = [0; HEADER];
        vnet[0] = NEEDS_CSUM;
        vnet[6..8].copy_from_slice(&short(start).to_le_bytes());
        vnet[8..10].copy_from_slice(&(if kind.tcp() { 16_u16 } else { 6 }).to_le_bytes());
        Self { vnet, data, segments: 1 }
    }
}

/// Segments that a packet read from a queue stands for, from its vnet header and its own headers.
pub fn segments(vnet: &[u8; HEADER], frame: &[u8]) -> u64 {
    let field = |at: usize| u16::from_le_bytes([vnet[at], vnet[at + 1]]);
    let (kind, size, start) = (vnet[1] & 0x7f, u64::from(field(4)), usize::from(field(6)));
    if kind == 0 || size == 0 {
        return 1;
    }
    let headers = match kind {
        5 => start + 8,
        _ => start + frame.get(start + 12).map_or(20, |offset| usize::from(offset >> 4) * 4),
    };
    (frame.len().saturating_sub(headers) as u64).div_ceil(size).max(1)
}

fn ethernet(kind: u16) -> Vec<u8> {
    let mut data = vec![2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0xff];
    data.extend(kind.to_be_bytes());
    data
}

fn short(value: usize) -> u16 {
    u16::try_from(value).expect("an IP packet has at most 65535 bytes")
}

fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_packet_reads_back_as_what_it_was_built_from() {
        for kind in Gso::ALL {
            for (len, size) in [(kind.headers() + 1, 1), (1514, 1448), (9000, 1000), (LARGEST, 1448)] {
                let frame = Frame::gso(kind, len, size);
                assert_eq!(frame.data().len(), len);
                assert_eq!(segments(frame.vnet(), frame.data()), frame.segments(), "{kind:?} {len} {size}");
            }
        }
    }

    #[test]
    fn segments_are_counted_by_payload() {
        assert_eq!(Frame::gso(Gso::Tcp4, 54 + 2896, 1448).segments(), 2);
        assert_eq!(Frame::gso(Gso::Tcp4, 54 + 2897, 1448).segments(), 3);
        assert_eq!(Frame::gso(Gso::Udp6, 62 + 10, 1000).segments(), 1);
    }
}
