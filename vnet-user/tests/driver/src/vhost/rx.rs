//! What the guest does to receive, and the host to send to it.

use anyhow::{Context, Result, ensure};

use super::{
    guest::Host,
    packet::Packet,
    pair::{Pair, SLOT},
    ring::{Part, Used},
    script::Side,
};
use crate::{frame, host::Sender};

/// Bytes of a packet that are kept until it is whole: enough for its headers.
const PREFIX: usize = 160;

/// A packet of which some buffers have come back.
#[derive(Debug, Default)]
pub(super) struct Partial {
    buffers: u64,
    left: u64,
    len: u64,
    prefix: Vec<u8>,
}

impl Pair {
    /// Posts one buffer of each size, and moves the available index once.
    pub(super) fn post(&mut self, sizes: &[u32]) -> Result<()> {
        for (at, size) in sizes.iter().enumerate() {
            ensure!(self.add_rx(*size)?, "the ring has room for {at} of {}", sizes.len());
        }
        self.rx.ring.publish();
        Ok(())
    }

    /// Keeps the ring full, if that is wanted.
    pub(super) fn fill(&mut self) -> Result<()> {
        let Some(size) = self.refill else { return Ok(()) };
        if self.rx.ring.room() > 0 {
            while self.add_rx(size)? {}
            self.rx.ring.publish();
            self.kick_wanted(Side::Rx)?;
        }
        Ok(())
    }

    /// The host sends `packets` to this pair.
    pub(super) fn inject(&mut self, host: &Host, packets: &[Packet]) -> Result<()> {
        let sender = Sender::open(&host.tap.netns, host.tap.ifindex)?;
        let queue = u8::try_from(self.index).context("addresses steer to queues up to 255")?;
        let frames: Vec<_> = packets.iter().map(|packet| packet.to(queue).frame()).collect();
        // Held meanwhile: what the tap drops now is of these packets.
        let links = host.links();
        let before = links.stats(host.tap.ifindex)?.tx_dropped;
        for (packet, frame) in packets.iter().zip(&frames) {
            sender.send(frame).with_context(|| format!("cannot send {packet:?}"))?;
            let packets = if host.config.offload { 1 } else { packet.segments() };
            self.truth.rx.injected.add(packet.len, packets, 1);
        }
        self.truth.rx.dropped += links.stats(host.tap.ifindex)?.tx_dropped - before;
        Ok(())
    }

    pub(super) fn take_back_rx(&mut self, host: &Host) -> Result<()> {
        while let Some(used) = self.rx.pop()? {
            self.received(host, used)?;
        }
        Ok(())
    }

    fn received(&mut self, host: &Host, used: Used) -> Result<()> {
        let slot = self.slot(used.head);
        let header = host.header() as usize;
        let mut packet = match self.partial.take() {
            Some(packet) => packet,
            None if host.config.mrg_rxbuf => {
                let mut buffers = [0; 2];
                host.memory.read(slot + 10, &mut buffers);
                let buffers = u64::from(u16::from_le_bytes(buffers));
                ensure!(buffers > 0, "a packet in no buffer at all");
                Partial { buffers, left: buffers, ..Partial::default() }
            }
            None => Partial { buffers: 1, left: 1, ..Partial::default() },
        };
        packet.left -= 1;
        packet.len += u64::from(used.len);
        self.truth.rx.copied += u64::from(used.len);
        let more = (PREFIX - packet.prefix.len()).min(used.len as usize);
        let start = packet.prefix.len();
        packet.prefix.resize(start + more, 0);
        host.memory.read(slot, &mut packet.prefix[start..]);
        if packet.left > 0 {
            self.partial = Some(packet);
            return Ok(());
        }
        let vnet = packet.prefix.first_chunk().context("a packet without its vnet header")?;
        let len = usize::try_from(packet.len)?.checked_sub(header).context("no whole vnet header")?;
        // Its length counts, not what follows the headers.
        let mut data = packet.prefix[header.min(packet.prefix.len())..].to_vec();
        data.resize(len, 0);
        let segments = frame::segments(vnet, &data);
        self.truth.rx.flow.add(u32::try_from(len)?, segments, 1);
        *self.truth.rx.buffers.entry(packet.buffers).or_default() += 1;
        Ok(())
    }

    fn add_rx(&mut self, size: u32) -> Result<bool> {
        ensure!(size >= self.truth.rx.header && size <= SLOT, "an RX buffer has {size} bytes");
        let Some(head) = self.rx.ring.next_head() else { return Ok(false) };
        let added = self.rx.add(&[Part { at: self.slot(head), len: size }]);
        Ok(added.is_some())
    }

    fn slot(&self, head: u16) -> u64 {
        self.slots + u64::from(head) * u64::from(SLOT)
    }
}
