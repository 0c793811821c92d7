//! One netlink socket that hears of the links of every network namespace.
//!
//! A socket in each namespace would keep that namespace, and the taps in it, alive for as long as vnet runs. Instead
//! one socket listens to all namespaces that have an id in its own (`NETLINK_LISTEN_ALL_NSID`), and reads their links
//! through that id: no namespace is entered or held, and the kernel says when one is gone (`RTM_DELNSID`).
//!
//! Requests go through the same socket as events: their answers are then in one order with the events, so that an old
//! event cannot be taken for a change of a state that was read later.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::{Message, What, frame, parse};
use crate::live::ioctl::recv_netlink;

/// The kernel builds dumps in pieces of at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;
/// The kernel answers at once; longer than this means that it never will.
const ANSWER: Duration = Duration::from_secs(5);
const RTNLGRP_LINK: u32 = 1;

/// One event of one namespace.
#[derive(Debug)]
pub(crate) struct Event {
    /// Id of the namespace; `None` is the socket's own.
    pub(crate) nsid: Option<i32>,
    /// What happened.
    pub(crate) what: What,
}

/// Id of the namespace that a datagram speaks of; `None` is the socket's own.
struct Origin(Option<i32>);

/// What came back for one request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Events that were queued before the end of the answer, in order.
    pub(crate) events: Vec<Event>,
    /// The answer's messages.
    pub(crate) replies: Vec<What>,
    /// The dump is not one instant's state.
    pub(crate) interrupted: bool,
    /// 0, or what the kernel refused with.
    pub(crate) error: i32,
}

/// The socket.
pub(crate) struct Listener {
    socket: Socket,
    port: u32,
    seq: u32,
    buffer: Vec<u8>,
    /// The kernel dropped events since this was last taken.
    pub(crate) overflow: bool,
    /// Why only the own namespace is heard.
    pub(crate) own_only: Option<io::Error>,
}

impl Listener {
    /// Opens the socket in the network namespace of this thread, with so much memory for events not read yet.
    pub(crate) fn open(bytes: usize) -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open a netlink socket")?;
        // The forced size needs CAP_NET_ADMIN; without it the usual limit (net.core.rmem_max) holds.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, bytes).is_err() {
            socket.set_rx_buf_sz(bytes.cast_signed()).context("cannot size a netlink socket")?;
        }
        let own_only = socket.set_listen_all_namespaces(true).err();
        let mut address = SocketAddr::new(0, 0);
        socket.bind(&address).context("cannot bind a netlink socket")?;
        for group in [RTNLGRP_LINK, libc::RTNLGRP_NSID] {
            socket.add_membership(group).context("cannot listen for changes of network devices (netlink)")?;
        }
        socket.get_address(&mut address).context("cannot read the port of a netlink socket")?;
        let port = address.port_number();
        Ok(Self { socket, port, seq: 0, buffer: vec![0; DATAGRAM], overflow: false, own_only })
    }

    /// A second handle to wait on.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Reads all events that are queued.
    pub(crate) fn events(&mut self) -> Result<Vec<Event>> {
        let (mut events, mut messages) = (Vec::new(), Vec::new());
        while let Some(Origin(nsid)) = self.receive(&mut messages)? {
            events.extend(messages.drain(..).filter_map(|message| event(nsid, message)));
        }
        Ok(events)
    }

    /// Sends one request and reads until its answer is whole.
    pub(crate) fn ask(&mut self, (kind, flags, body): (u16, u16, Vec<u8>)) -> Result<Answer> {
        self.seq = self.seq.wrapping_add(1).max(1);
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let acknowledged = flags & NLM_F_ACK != 0;
        self.socket.send(&frame(kind, flags, self.seq, &body), 0).context("cannot send a netlink request")?;
        let (mut answer, mut messages) = (Answer::default(), Vec::new());
        let deadline = Instant::now() + ANSWER;
        loop {
            let Some(Origin(nsid)) = self.receive(&mut messages)? else {
                self.wait(deadline)?;
                continue;
            };
            for message in messages.drain(..) {
                if message.port != self.port || message.seq != self.seq {
                    answer.events.extend(event(nsid, message));
                    continue;
                }
                answer.interrupted |= message.interrupted;
                match message.what {
                    What::Done(error) | What::Answer(error) => {
                        answer.error = -error;
                        return Ok(answer);
                    }
                    what => answer.replies.push(what),
                }
            }
            if !dump && !acknowledged && !answer.replies.is_empty() {
                return Ok(answer);
            }
        }
    }

    /// Next datagram: its namespace. `None` when there is none; an overflow is noted and passed over.
    fn receive(&mut self, messages: &mut Vec<Message>) -> Result<Option<Origin>> {
        loop {
            match recv_netlink(self.socket.as_fd(), &mut self.buffer) {
                Ok((length, nsid)) => {
                    parse(self.buffer.get(..length).unwrap_or_default(), messages);
                    return Ok(Some(Origin(nsid)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOBUFS)
                        || error.kind() == io::ErrorKind::InvalidData =>
                {
                    self.overflow = true;
                }
                Err(error) => return Err(error).context("cannot read changes of network devices (netlink)"),
            }
        }
    }

    fn wait(&self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left)) {
            Ok(0) => bail!("the kernel did not answer a netlink request within {} s", ANSWER.as_secs()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for a netlink answer"),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Nobody's answer is an event, and ids that another namespace gives are none of ours.
fn event(nsid: Option<i32>, message: Message) -> Option<Event> {
    match message.what {
        What::Done(_) | What::Answer(_) => None,
        What::NsidNew(_) | What::NsidDel(_) if nsid.is_some() => None,
        what => Some(Event { nsid, what }),
    }
}
