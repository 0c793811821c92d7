//! Netlink bytes to facts and back: no I/O.
//!
//! Attributes are walked by hand with `netlink-packet-core`: a dump of 500 taps is read every two seconds, only ten
//! attributes of some sixty matter, and an attribute that a newer kernel changed must not cost the whole message.

use netlink_packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NlaBuffer, NlasIterator,
};

use crate::topology::IfIndex;

// Not in libc: linux/if_tun.h, linux/if_link.h, linux/net_namespace.h.
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;
const IFLA_STATS64: u16 = 23;
const IFLA_XDP_ATTACHED: u16 = 2;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Length of `struct ifinfomsg`.
const IFINFO_LEN: usize = 16;
/// Length of `struct rtgenmsg`, padded.
const RTGEN_LEN: usize = 4;
/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Bits of `nla_type` that are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const NLA_TYPE_MASK: u16 = 0x3fff;

/// What kind of device a link message speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Made by the tun driver.
    Tun {
        /// In tap mode: whole Ethernet frames.
        tap: bool,
        /// Made with `IFF_MULTI_QUEUE`.
        multi_queue: bool,
        /// Enabled queues; only multi-queue devices say.
        queues: Option<u32>,
        /// Disabled queues; likewise.
        disabled: Option<u32>,
    },
    /// A macvtap or ipvtap device.
    Macvtap,
    /// A device of a bus, e.g. `virtio` and `virtio2` (Linux 5.14).
    Bus {
        /// Name of the bus.
        bus: String,
        /// Name of the device on it.
        device: String,
    },
    /// An Ethernet device that says neither a driver kind nor a bus: before Linux 5.14 maybe a virtio NIC.
    Plain,
    /// Anything else.
    Other,
}

/// One link as the kernel told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Index.
    pub(crate) ifindex: IfIndex,
    /// Name.
    pub(crate) name: String,
    /// Kind.
    pub(crate) class: Class,
    /// Hardware address.
    pub(crate) address: Vec<u8>,
    /// `IFLA_CARRIER`: for a tun device, whether a queue file is attached.
    pub(crate) carrier: Option<bool>,
    /// `IFLA_NUM_TX_QUEUES`: queues that the device was made with room for.
    pub(crate) tx_queues: Option<u32>,
    /// An XDP program is attached.
    pub(crate) xdp: bool,
    /// Its own counters, where they were asked for.
    pub(crate) stats: Option<LinkStats>,
}

/// A device's own counters since it was made (`struct rtnl_link_stats64`); directions are the host's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkStats {
    /// Packets that it handed to the stack.
    pub(crate) rx_packets: u64,
    /// Packets that it was given by the stack, and a tap's reader took.
    pub(crate) tx_packets: u64,
}

/// One netlink message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `RTM_NEWLINK`: the link exists, as described.
    New(Link),
    /// `RTM_DELLINK`: the link is gone.
    Del(IfIndex),
    /// `RTM_NEWNSID`: a network namespace has this id; negative: it has none.
    NsidNew(i32),
    /// `RTM_DELNSID`: the network namespace of this id is gone.
    NsidDel(i32),
    /// End of a dump; 0, or a negative error number that ended it.
    Done(i32),
    /// Answer to a request; 0 is an acknowledgement, else a negative error number.
    Answer(i32),
}

/// One message and to whom it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Sequence number of the request that it answers, 0 for most events.
    pub(crate) seq: u32,
    /// Port that made the request, 0 for the kernel's own events.
    pub(crate) port: u32,
    /// The dump was disturbed (`NLM_F_DUMP_INTR`).
    pub(crate) interrupted: bool,
    /// Content.
    pub(crate) what: What,
}

/// Reads the messages of one datagram. What is malformed or of no interest is left out.
pub(crate) fn parse(mut datagram: &[u8], out: &mut Vec<Message>) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        let length = message.length() as usize;
        if let Some(what) = content(message.message_type(), message.payload()) {
            let interrupted = message.flags() & NLM_F_DUMP_INTR != 0;
            out.push(Message {
                seq: message.sequence_number(),
                port: message.port_number(),
                interrupted,
                what,
            });
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn content(kind: u16, payload: &[u8]) -> Option<What> {
    match kind {
        libc::RTM_NEWLINK => link(payload).map(What::New),
        libc::RTM_DELLINK => ifindex(payload).map(What::Del),
        libc::RTM_NEWNSID => nsid(payload).map(What::NsidNew),
        libc::RTM_DELNSID => nsid(payload).map(What::NsidDel),
        NLMSG_DONE => Some(What::Done(int(payload).unwrap_or(0))),
        NLMSG_ERROR => int(payload).map(What::Answer),
        _ => None,
    }
}

fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(payload).map_while(Result::ok).map(|nla: NlaBuffer<&[u8]>| {
        let (kind, length) = (nla.kind() & NLA_TYPE_MASK, nla.value_length());
        (kind, nla.into_inner().get(4..4 + length).unwrap_or_default())
    })
}

fn int(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

fn unsigned(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

fn flag(value: &[u8]) -> bool {
    value.first().is_some_and(|byte| *byte != 0)
}

fn nsid(payload: &[u8]) -> Option<i32> {
    attributes(payload.get(RTGEN_LEN..)?).find(|(kind, _)| *kind == NETNSA_NSID).and_then(|(_, v)| int(v))
}

fn ifindex(payload: &[u8]) -> Option<IfIndex> {
    // A change of a bridge port comes as AF_BRIDGE under the same type; it neither makes nor removes the link.
    (*payload.first()? == 0).then_some(())?;
    unsigned(payload.get(4..8)?).map(IfIndex)
}

fn link(payload: &[u8]) -> Option<Link> {
    let mut link = Link {
        ifindex: ifindex(payload)?,
        name: String::new(),
        class: Class::Other,
        address: Vec::new(),
        carrier: None,
        tx_queues: None,
        xdp: false,
        stats: None,
    };
    let ethernet = payload.get(2..4)? == libc::ARPHRD_ETHER.to_ne_bytes();
    let (mut info, mut bus, mut device) = (None, None, None);
    for (kind, value) in attributes(payload.get(IFINFO_LEN..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS => link.address = value.to_vec(),
            libc::IFLA_CARRIER => link.carrier = Some(flag(value)),
            libc::IFLA_NUM_TX_QUEUES => link.tx_queues = unsigned(value),
            libc::IFLA_XDP => {
                link.xdp = attributes(value).any(|(kind, v)| kind == IFLA_XDP_ATTACHED && flag(v));
            }
            IFLA_STATS64 => link.stats = stats(value),
            libc::IFLA_LINKINFO => info = Some(value),
            libc::IFLA_PARENT_DEV_NAME => device = Some(text(value)),
            libc::IFLA_PARENT_DEV_BUS_NAME => bus = Some(text(value)),
            _ => {}
        }
    }
    link.class = match (info, bus, device) {
        (Some(info), ..) => class_of(info),
        (None, Some(bus), Some(device)) => Class::Bus { bus, device },
        _ if ethernet => Class::Plain,
        _ => Class::Other,
    };
    Some(link)
}

fn stats(value: &[u8]) -> Option<LinkStats> {
    let word = |at: usize| value.get(at * 8..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    Some(LinkStats { rx_packets: word(0)?, tx_packets: word(1)? })
}

fn class_of(info: &[u8]) -> Class {
    let find = |wanted| attributes(info).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    match find(libc::IFLA_INFO_KIND).map(text).as_deref() {
        Some("tun") => {
            let (mut tap, mut multi_queue, mut queues, mut disabled) = (false, false, None, None);
            for (kind, value) in attributes(find(libc::IFLA_INFO_DATA).unwrap_or_default()) {
                match kind {
                    IFLA_TUN_TYPE => tap = value.first().map(|v| i32::from(*v)) == Some(libc::IFF_TAP),
                    IFLA_TUN_MULTI_QUEUE => multi_queue = flag(value),
                    IFLA_TUN_NUM_QUEUES => queues = unsigned(value),
                    IFLA_TUN_NUM_DISABLED_QUEUES => disabled = unsigned(value),
                    _ => {}
                }
            }
            Class::Tun { tap, multi_queue, queues, disabled }
        }
        Some("macvtap" | "ipvtap") => Class::Macvtap,
        // A namespace moved a NIC of a bus under a driver kind of its own: none that vnet knows.
        _ => Class::Other,
    }
}

/// Asks for all links of a namespace (`None`: the socket's own); `tun` only those of the tun driver (a kernel without that
/// driver sends all); `stats` with their own counters.
pub(crate) fn dump_links(nsid: Option<i32>, tun: bool, stats: bool) -> (u16, u16, Vec<u8>) {
    let filter = if stats { 0 } else { libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned() };
    let mut attributes = vec![DefaultNla::new(libc::IFLA_EXT_MASK, filter.to_ne_bytes().to_vec())];
    if let Some(id) = nsid {
        attributes.push(DefaultNla::new(libc::IFLA_TARGET_NETNSID, id.to_ne_bytes().to_vec()));
    }
    if tun {
        let kind = emit(0, &[DefaultNla::new(libc::IFLA_INFO_KIND, b"tun\0".to_vec())]);
        attributes.push(DefaultNla::new(libc::IFLA_LINKINFO, kind));
    }
    (libc::RTM_GETLINK, NLM_F_DUMP, emit(IFINFO_LEN, &attributes))
}

/// Asks which id the network namespace of an open file has.
pub(crate) fn get_nsid(fd: i32) -> (u16, u16, Vec<u8>) {
    let fd = DefaultNla::new(NETNSA_FD, fd.to_ne_bytes().to_vec());
    (libc::RTM_GETNSID, 0, emit(RTGEN_LEN, &[fd]))
}

/// Gives the network namespace of an open file an id; the kernel picks it.
pub(crate) fn new_nsid(fd: i32) -> (u16, u16, Vec<u8>) {
    let fd = DefaultNla::new(NETNSA_FD, fd.to_ne_bytes().to_vec());
    let any = DefaultNla::new(NETNSA_NSID, (-1i32).to_ne_bytes().to_vec());
    (libc::RTM_NEWNSID, NLM_F_ACK, emit(RTGEN_LEN, &[fd, any]))
}

/// Asks for the ids of all namespaces that have one.
pub(crate) fn list_nsids() -> (u16, u16, Vec<u8>) {
    (libc::RTM_GETNSID, NLM_F_DUMP, vec![0; RTGEN_LEN])
}

/// `prefix` zero bytes, then the attributes.
fn emit(prefix: usize, attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; prefix + attributes.buffer_len()];
    attributes.emit(bytes.get_mut(prefix..).unwrap_or_default());
    bytes
}

/// Puts a header before a request.
pub(crate) fn frame(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN + body.len()];
    let mut buffer = NetlinkBuffer::new(&mut bytes);
    buffer.set_length(u32::try_from(HEADER_LEN + body.len()).unwrap_or(u32::MAX));
    buffer.set_message_type(kind);
    buffer.set_flags(flags | NLM_F_REQUEST);
    buffer.set_sequence_number(seq);
    buffer.payload_mut().copy_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests;
