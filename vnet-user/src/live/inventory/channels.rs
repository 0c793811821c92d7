//! Queue pairs of virtio NICs: ethtool's channels, over generic netlink.

use std::{io, os::fd::AsFd};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{DefaultNla, Emitable, NLMSG_ERROR, NetlinkBuffer, NlaBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{book::Queues, message::frame};
use crate::topology::IfIndex;

// linux/genetlink.h
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
// linux/ethtool_netlink.h
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
const ETHTOOL_A_CHANNELS_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_CHANNELS_COMBINED_MAX: u16 = 5;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;
const NLA_F_NESTED: u16 = 1 << 15;
/// Length of `struct genlmsghdr`.
const GENERIC_LEN: usize = 4;

/// A generic netlink socket of one namespace.
pub(crate) struct Ethtool {
    socket: Socket,
    family: u16,
    seq: u32,
}

impl Ethtool {
    /// Opens it in the network namespace of this thread.
    pub(crate) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC).context("cannot open a generic netlink socket")?;
        socket.bind(&SocketAddr::new(0, 0)).context("cannot bind a generic netlink socket")?;
        let mut this = Self { socket, family: GENL_ID_CTRL, seq: 0 };
        let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, b"ethtool\0".to_vec());
        let reply = this.ask(CTRL_CMD_GETFAMILY, &name).context("ethtool over netlink (Linux 5.6)")?;
        let family = find(&reply, CTRL_ATTR_FAMILY_ID).and_then(|v| v.first_chunk().copied());
        this.family = family.map(u16::from_ne_bytes).context("ethtool over netlink has no family id")?;
        Ok(this)
    }

    /// Queue pairs of a device.
    pub(crate) fn channels(&mut self, ifindex: IfIndex) -> Result<Queues> {
        let index = DefaultNla::new(ETHTOOL_A_HEADER_DEV_INDEX, ifindex.0.to_ne_bytes().to_vec());
        let mut header = vec![0; index.buffer_len()];
        index.emit(&mut header);
        let reply = self.ask(
            ETHTOOL_MSG_CHANNELS_GET,
            &DefaultNla::new(ETHTOOL_A_CHANNELS_HEADER | NLA_F_NESTED, header),
        )?;
        let count = |kind| find(&reply, kind).and_then(|v| v.first_chunk().copied()).map(u32::from_ne_bytes);
        Ok(Queues {
            max: count(ETHTOOL_A_CHANNELS_COMBINED_MAX),
            enabled: count(ETHTOOL_A_CHANNELS_COMBINED_COUNT),
            disabled: None,
        })
    }

    /// Sends a command with one attribute; gives the attributes of the answer.
    fn ask(&mut self, command: u8, attribute: &DefaultNla) -> Result<Vec<u8>> {
        self.seq += 1;
        let mut body = vec![command, 1, 0, 0];
        body.resize(GENERIC_LEN + attribute.buffer_len(), 0);
        attribute.emit(body.get_mut(GENERIC_LEN..).unwrap_or_default());
        self.socket.send(&frame(self.family, 0, self.seq, &body), 0)?;
        loop {
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            if poll(&mut [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)], Some(&second))? == 0
            {
                bail!("the kernel did not answer within 1 s");
            }
            let (datagram, _) = self.socket.recv_from_full()?;
            let message = NetlinkBuffer::new_checked(datagram.as_slice())?;
            if message.sequence_number() != self.seq {
                continue;
            }
            let payload = message.payload();
            if message.message_type() == NLMSG_ERROR {
                let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(-code).into());
            }
            return Ok(payload.get(GENERIC_LEN..).unwrap_or_default().to_vec());
        }
    }
}

fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|nla: &NlaBuffer<&[u8]>| nla.kind() == wanted)
        .and_then(|nla| nla.into_inner().get(4..).filter(|value| !value.is_empty()))
}
