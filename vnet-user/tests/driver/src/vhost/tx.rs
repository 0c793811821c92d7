//! What the guest does to send.

use anyhow::{Context, Result, ensure};

use super::{guest::Host, packet::Packet, pair::Pair, script::Side};

impl Pair {
    /// Adds all `packets` and moves the available index once.
    pub(super) fn publish(&mut self, host: &Host, packets: &[Packet]) -> Result<()> {
        for (at, packet) in packets.iter().enumerate() {
            ensure!(self.add_tx(host, packet)?, "the ring has room for {at} of {}", packets.len());
        }
        self.tx.ring.publish();
        Ok(())
    }

    /// Publishes what fits, kicks, waits for room, over and over.
    pub(super) fn send(&mut self, host: &Host, packets: &[Packet]) -> Result<()> {
        let mut rest = packets;
        while !rest.is_empty() {
            let mut added = 0;
            while added < rest.len() && self.add_tx(host, &rest[added])? {
                added += 1;
            }
            if added > 0 {
                self.tx.ring.publish();
                self.kick_wanted(Side::Tx)?;
                rest = &rest[added..];
            } else {
                self.kick_wanted(Side::Tx)?; // what was published before without a kick has filled the ring
            }
            if let Some(next) = rest.first() {
                let cost = self.tx.ring.cost(usize::from(next.parts));
                self.wait(host, Side::Tx, |pair| pair.tx.ring.room() >= cost)?;
            }
        }
        Ok(())
    }

    fn add_tx(&mut self, host: &Host, packet: &Packet) -> Result<bool> {
        let Some(head) = self.tx.add(&host.templates.parts(packet)?) else { return Ok(false) };
        self.flying.insert(head, *packet);
        Ok(true)
    }

    pub(super) fn take_back_tx(&mut self) -> Result<()> {
        while let Some(used) = self.tx.pop()? {
            let packet = self.flying.remove(&used.head).context("a TX chain came back that was not sent")?;
            let tx = &mut self.truth.tx;
            tx.flow.add(packet.len, packet.segments(), 1);
            if packet.is_runt() {
                tx.runts.add(packet.len, packet.segments(), 1);
            }
        }
        Ok(())
    }
}
