//! What scripts speak of: packets by length, and where they lie in the guest's RAM.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};

use super::{memory::Memory, ring::Part};
use crate::frame::{self, Frame, Gso, LARGEST};

/// Shortest frame that a tap takes; below, vhost returns it as used and nobody counts it.
pub const SHORTEST: u32 = 14;

/// A packet in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Frame bytes: Ethernet header included, vnet header not. 1 to [`LARGEST`].
    pub len: u32,
    /// How it is to be cut up, and payload bytes of a piece.
    pub gso: Option<(Gso, u16)>,
    /// Last byte of its destination address: the queue that a tap steers it to.
    pub to: u8,
    /// Descriptors of the guest's chain: the vnet header apart, and the frame in equal pieces; 1 for all in one.
    pub parts: u16,
}

impl Packet {
    /// `len` frame bytes, in one descriptor.
    pub const fn new(len: u32) -> Self {
        Self { len, gso: None, to: 0, parts: 1 }
    }

    /// A GSO packet.
    #[must_use]
    pub const fn gso(self, kind: Gso, size: u16) -> Self {
        Self { gso: Some((kind, size)), ..self }
    }

    /// The same to another queue of the tap that it is forwarded to.
    #[must_use]
    pub const fn to(self, queue: u8) -> Self {
        Self { to: queue, ..self }
    }

    /// The same in a chain of so many descriptors.
    #[must_use]
    pub const fn parts(self, parts: u16) -> Self {
        Self { parts, ..self }
    }

    /// `count` of it.
    pub fn times(self, count: usize) -> Vec<Self> {
        vec![self; count]
    }

    /// The frame and its vnet header.
    pub fn frame(&self) -> Frame {
        match self.gso {
            Some((kind, size)) => Frame::gso(kind, self.len as usize, size),
            None => Frame::plain(self.len as usize),
        }
        .to(self.to)
    }

    /// Packets on the wire once it is cut up.
    pub fn segments(&self) -> u64 {
        self.gso.map_or(1, |(kind, size)| {
            let payload = u64::from(self.len).saturating_sub(kind.headers() as u64);
            payload.div_ceil(u64::from(size)).max(1)
        })
    }

    /// Too short for a tap.
    pub const fn is_runt(&self) -> bool {
        self.len < SHORTEST
    }
}

/// What packets that begin alike have in common: the GSO they are of, if they are, and their destination.
type Key = (Option<(u32, Gso, u16)>, u8);

/// The packets that a guest sends, laid out once each: the device only reads them.
#[derive(Debug)]
pub(super) struct Templates {
    memory: Arc<Memory>,
    header: u32,
    known: Mutex<HashMap<Key, u64>>,
}

impl Templates {
    /// For vnet headers of `header` bytes.
    pub(super) fn new(memory: &Arc<Memory>, header: u32) -> Self {
        Self { memory: memory.clone(), header, known: Mutex::default() }
    }

    /// The descriptors of `packet`.
    pub(super) fn parts(&self, packet: &Packet) -> Result<Vec<Part>> {
        ensure!(
            packet.len >= 1 && packet.len as usize <= LARGEST && packet.parts >= 1,
            "{packet:?} is no packet"
        );
        let at = self.place(packet)?;
        let pieces = u32::from(packet.parts - 1);
        if pieces == 0 {
            return Ok(vec![Part { at, len: self.header + packet.len }]);
        }
        ensure!(pieces <= packet.len, "{packet:?} has too few bytes for its descriptors");
        let mut parts = vec![Part { at, len: self.header }];
        let mut start = 0;
        for piece in 1..=pieces {
            let end = u32::try_from(u64::from(packet.len) * u64::from(piece) / u64::from(pieces))?;
            parts.push(Part { at: at + u64::from(self.header + start), len: end - start });
            start = end;
        }
        Ok(parts)
    }

    /// Where a packet that begins like `packet` lies: plain frames of all lengths begin alike.
    fn place(&self, packet: &Packet) -> Result<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (packet.gso.map(|(kind, size)| (packet.len, kind, size)), packet.to);
        if let Some(at) = known.get(&key) {
            return Ok(*at);
        }
        let frame = match packet.gso {
            Some(_) => packet.frame(),
            None => Packet { len: u32::try_from(LARGEST)?, ..*packet }.frame(),
        };
        let at = self.memory.take(self.header as usize + frame.data().len())?;
        let header = &frame.vnet()[..frame::HEADER.min(self.header as usize)];
        self.memory.write(at, header);
        self.memory.write(at + u64::from(self.header), frame.data());
        known.insert(key, at);
        Ok(at)
    }
}
