//! `vhost_net` in Rust: what its worker does for one queue pair, as a pure function of what it reads of the world.
//!
//! [`Vhost`] is one `struct vhost_net`. Wherever the kernel looks at something that it does not decide itself (the
//! available ring, where the guest wants to be called, what a socket did), it asks a [`World`]: a guest that a program
//! plays ([`guest::Guest`]), or a recording of what a kernel read. Given the same answers in the same order it does what
//! the kernel did: copies, batches, used entries, calls. Kernels differ; how is a [`Profile`].
//!
//! Each step names the kernel function that it follows. Lengths of packets include the vnet header, as in vhost, unless
//! they are called frames.

use std::collections::VecDeque;

mod copy;
mod counts;
pub mod guest;
mod profile;
mod rx;
mod tap;
mod vring;
mod worker;
mod zerocopy;

pub use self::{
    counts::Counts,
    profile::{Compared, PROFILES, Profile},
    tap::TapRing,
    vring::{Features, Vring, need_event},
    worker::{Setup, Vhost, Work},
};

/// A virtqueue of the pair, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// What the guest receives.
    Rx,
    /// What it sends.
    Tx,
}

/// A chain of buffers that the guest has made available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Bytes in it: of the packet with its vnet header, or room for one.
    pub len: u32,
    /// `hdr_len` of the vnet header: bytes that a zero-copy packet has copied in any case; 0 where the guest does not say.
    pub header_len: u32,
    /// Packets on the wire that it becomes; 1 unless it is a GSO packet.
    pub segments: u32,
}

/// A packet for the guest, in the tap's ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, without the vnet header.
    pub len: u32,
    /// Packets on the wire that it stands for; 1 unless it is a GSO packet.
    pub segments: u32,
}

/// What is handed to the tap's `sendmsg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many packets, copied by vhost.
    Batch(u16),
    /// One packet, for the tap to copy. `more` says that another follows at once (`MSG_MORE`).
    Single {
        /// Its length.
        len: u32,
        /// Another one is there.
        more: bool,
    },
    /// One packet, not to be copied; its completion is told under this number.
    Zerocopy {
        /// Its length.
        len: u32,
        /// Another one is there.
        more: bool,
        /// `ubuf_info.desc`.
        desc: u16,
    },
}

/// What `sendmsg` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet was taken.
    Taken,
    /// Not now: the send buffer is full, or there is no memory (`EAGAIN`, `ENOBUFS`, `ENOMEM`).
    Later,
    /// Never: the packet is given up.
    Refused,
}

/// How a packet that was sent without a copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It was not copied: delivered, or dropped by the host.
    Uncopied,
    /// The tap copied it at once.
    Rejected,
    /// So many bytes of it were copied later (net/core/skbuff.c: `skb_copy_ubufs`).
    Late(u32),
}

/// How busy polling ended (drivers/vhost/net.c: `vhost_net_busy_poll`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The ring or the socket has something, or the time is over: the worker looks again.
    Look,
    /// Other work waits for the worker.
    Interrupted,
}

/// What the worker reads of the world, in the order in which it reads it, and what it tells the guest.
pub trait World {
    /// `avail->idx` of a virtqueue.
    fn avail_idx(&mut self, side: Side) -> u16;
    /// The chain at this place of the available ring.
    fn chain(&mut self, side: Side, place: u16) -> Chain;
    /// `VRING_AVAIL_F_NO_INTERRUPT`; asked without `EVENT_IDX` only.
    fn no_interrupt(&mut self, side: Side) -> bool;
    /// `used_event`; asked with `EVENT_IDX` only.
    fn used_event(&mut self, side: Side) -> u16;
    /// What the tap does with packets from the guest.
    fn send(&mut self, sent: Sent) -> Outcome;
    /// The next completion of a zero-copy packet, if one has come.
    fn completion(&mut self) -> Option<(u16, Completion)>;
    /// Takes up to `most` packets out of the tap's ring.
    fn pull(&mut self, most: usize, into: &mut VecDeque<Frame>);
    /// Whether a packet of `len` bytes could be copied into the guest's buffers.
    fn receive(&mut self, len: u32) -> bool;
    /// How busy polling for this virtqueue ended; asked only where it is on.
    fn busy_poll(&mut self, side: Side) -> Polled;
    /// From now on the guest is to kick for the buffer at this index, or, for `None`, not at all.
    fn ask_for_kicks(&mut self, side: Side, index: Option<u16>);
    /// The used ring has `count` more entries.
    fn used(&mut self, side: Side, count: u16);
    /// The guest is called.
    fn call(&mut self, side: Side);
}
