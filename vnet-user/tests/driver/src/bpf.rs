//! BPF programs of a few instructions, and what BPF objects the kernel holds.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::sys;

/// A loaded program; gone when this and every place that uses it are gone.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// For `TUNSETSTEERINGEBPF`: the queue is the last byte of the destination address.
    pub fn steer_by_address() -> io::Result<Self> {
        Self::load(SOCKET_FILTER, &[mov64_reg(6, 1), load_byte_absolute(5), EXIT])
    }

    /// For `TUNSETFILTEREBPF`: keeps `bytes` of each packet; 0 drops it.
    pub fn keep(bytes: u32) -> io::Result<Self> {
        Self::load(SOCKET_FILTER, &[mov64(0, bytes), EXIT])
    }

    /// An XDP program that always says `action`.
    pub fn xdp(action: XdpAction) -> io::Result<Self> {
        Self::load(XDP, &[mov64(0, action as u32), EXIT])
    }

    /// A classifier that consumes every packet (`TC_ACT_STOLEN`): no drop, no counter of drops.
    pub fn steal() -> io::Result<Self> {
        Self::load(SCHED_CLS, &[mov64(0, 4), EXIT])
    }

    /// A classifier that sends every packet on, out of device `ifindex`, as it is (`bpf_redirect`).
    pub fn redirect(ifindex: u32) -> io::Result<Self> {
        Self::load(SCHED_CLS, &[mov64(1, ifindex), mov64(2, 0), call(23), EXIT])
    }

    fn load(kind: u32, instructions: &[u64]) -> io::Result<Self> {
        sys::bpf_load(kind, instructions).map(Self)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an XDP program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum XdpAction {
    /// `XDP_DROP`.
    Drop = 1,
    /// `XDP_PASS`.
    Pass = 2,
    /// `XDP_TX`.
    Tx = 3,
}

const SOCKET_FILTER: u32 = 1;
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;

const EXIT: u64 = 0x95;

/// `dst = imm`.
const fn mov64(dst: u64, imm: u32) -> u64 {
    0xb7 | dst << 8 | (imm as u64) << 32
}

/// Calls a helper.
const fn call(helper: u32) -> u64 {
    0x85 | (helper as u64) << 32
}

/// `dst = src`.
const fn mov64_reg(dst: u64, src: u64) -> u64 {
    0xbf | dst << 8 | src << 12
}

/// `r0 = the packet's byte at offset` (needs the context in r6).
const fn load_byte_absolute(offset: u32) -> u64 {
    0x30 | (offset as u64) << 32
}

/// Ids of all BPF programs, maps and links that the kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
    /// Links.
    pub links: BTreeSet<u32>,
}

impl Objects {
    /// What there is now.
    pub fn now() -> io::Result<Self> {
        let walk = |command| {
            let mut ids = BTreeSet::new();
            let mut last = 0;
            while let Some(id) = sys::bpf_next_id(command, last)? {
                ids.insert(id);
                last = id;
            }
            Ok::<_, io::Error>(ids)
        };
        Ok(Self {
            programs: walk(sys::libc_bpf::PROG_GET_NEXT_ID)?,
            maps: walk(sys::libc_bpf::MAP_GET_NEXT_ID)?,
            links: walk(sys::libc_bpf::LINK_GET_NEXT_ID)?,
        })
    }

    /// What is here and was not in `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let new = |now: &BTreeSet<u32>, then: &BTreeSet<u32>| now.difference(then).copied().collect();
        Self {
            programs: new(&self.programs, &before.programs),
            maps: new(&self.maps, &before.maps),
            links: new(&self.links, &before.links),
        }
    }

    /// No program, map or link.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }
}
