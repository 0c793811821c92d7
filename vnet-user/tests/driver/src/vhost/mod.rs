//! A guest without a guest: drives the kernel's `vhost_net` from user space and owns both rings of every queue pair.
//!
//! One open `/dev/vhost-net` per pair, memory of this process as the guest's RAM, eventfds for kicks and calls, and a queue
//! of a real tap behind it. The kernel's side is as with any monitor; the guest's side is this crate's, so it knows every
//! packet, descriptor, kick and call.
//!
//! ```no_run
//! use vnet_driver::{netns::Netns, vhost::{Config, Guest, Packet, Script, Side, Step}};
//!
//! fn main() -> anyhow::Result<()> {
//!     let netns = Netns::new()?;
//!     let guest = Guest::new(&netns, Config { pairs: 4, ring: 512, ..Config::default() })?;
//!     let script = Script::new()
//!         .transmit(0, Packet::new(100).times(200))
//!         .on(3, Step::PostRx(vec![1526; 64]))
//!         .receive(3, Packet::new(1000).times(20));
//!     guest.run(&script)?;
//!     let truth = guest.truth()?;
//!     assert_eq!(truth.pairs[0].tx.flow.packets(), 200);
//!     assert_eq!(truth.pairs[3].rx.ring.used, 20);
//!     Ok(())
//! }
//! ```
//!
//! # What is certain, and when
//! - Counts are whole when the script has waited for what it sent. [`Guest::truth`] then takes every ring's lock in the
//!   kernel, which its worker holds while it runs, so that calls which follow the used index are counted as well.
//! - Whether a kick is [`Kick::Wanted`] and how many calls a stream of packets gives depends on when the worker runs.
//!   Both are counted, not predicted. After a wait, one `Publish` and one `Kick` leave nothing to chance: the worker finds
//!   all packets at once.
//! - A packet of TX counts when its chain comes back, one of RX when all its buffers do.
//! - With [`Sink::Receiver`] and zero-copy a chain comes back when the receiver has read the packet.
//!
//! # Copies
//! In copy mode (`experimental_zcopytx=0`) the ledger follows from lengths, see [`truth::Tx::copies`]: with a limited send
//! buffer every packet is copied singly; else packets of at most [`truth::BATCH`] bytes, vnet header included, are batched.
//! In zero-copy mode [`truth::Tx::short`] of them are copied for their length; of the rest it depends on what the host
//! does with them. [`crate::ftrace`] counts what the kernel's functions did, as a second witness.
//!
//! # Where it runs
//! Where `/dev/vhost-net` is and BPF may steer a tap; in the lab, say, with `cargo xtask lab run --kernel 6.1 --modules
//! tun,vhost_net,bridge -- PROGRAM` (`--set vhost_net.experimental_zcopytx=1` for zero-copy). [`crate::need::vhost`] tells
//! why not, elsewhere. A guest is this process: its memory, its files, its threads as workers from Linux 6.4 on.

mod device;
mod guest;
pub mod kernel;
mod memory;
mod packet;
mod pair;
mod queue;
pub mod random;
pub mod ring;
mod rx;
mod script;
mod sink;
pub mod truth;
mod tx;
mod vsock;

use std::time::Duration;

pub use guest::{Guest, bridge, neighbours};
pub use memory::Memory;
pub use packet::{Packet, SHORTEST};
pub use pair::SLOT;
pub use script::{Kick, Script, Side, Step, UsedEvent};
pub use vsock::Vsock;

/// Where the tap hands over what the guest sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sink {
    /// To the host's stack, which knows no such protocol and drops it.
    #[default]
    Stack,
    /// To a classifier that takes it without a drop.
    Steal,
    /// To a program that reads it from a packet socket.
    Receiver,
}

/// How a guest is made.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "most are bits that are independent on the device too")]
pub struct Config {
    /// Name of its tap.
    pub name: String,
    /// Queue pairs.
    pub pairs: u16,
    /// Descriptors of each ring, a power of two up to 32768.
    pub ring: u16,
    /// `VIRTIO_RING_F_EVENT_IDX`.
    pub event_idx: bool,
    /// `VIRTIO_NET_F_MRG_RXBUF`: a packet may take several RX buffers. Without it every buffer must have room for any.
    pub mrg_rxbuf: bool,
    /// `VIRTIO_F_VERSION_1`. Without it and `mrg_rxbuf` the vnet header has 10 bytes, else 12.
    pub version_1: bool,
    /// `VIRTIO_RING_F_INDIRECT_DESC`: chains of several descriptors go in tables of their own.
    pub indirect: bool,
    /// `VIRTIO_F_NOTIFY_ON_EMPTY`.
    pub notify_on_empty: bool,
    /// `VHOST_F_LOG_ALL` from the start, and a bitmap for [`Step::Log`].
    pub log: bool,
    /// The worker polls for so many units of 1024 ns.
    pub busy_poll: u32,
    /// The tap's send buffer, see [`Step::SendBuffer`].
    pub send_buffer: Option<i32>,
    /// The tap uses NAPI.
    pub napi: bool,
    /// The guest takes GSO packets whole.
    pub offload: bool,
    /// Where packets of the guest go.
    pub sink: Sink,
    /// How long [`Step::Wait`] waits.
    pub patience: Duration,
}

impl Default for Config {
    /// One pair with rings of 512 and the features of a present guest, but for `EVENT_IDX`.
    fn default() -> Self {
        Self {
            name: "vm0".into(),
            pairs: 1,
            ring: 512,
            event_idx: false,
            mrg_rxbuf: true,
            version_1: true,
            indirect: false,
            notify_on_empty: false,
            log: false,
            busy_poll: 0,
            send_buffer: None,
            napi: false,
            offload: true,
            sink: Sink::Stack,
            patience: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Bytes of the vnet header.
    pub const fn header(&self) -> u32 {
        if self.version_1 || self.mrg_rxbuf { 12 } else { 10 }
    }
}
