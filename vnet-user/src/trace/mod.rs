//! Recordings: the waist in a file.
//!
//! A file is a header and blocks, only ever appended to. A block is whole or not there: it carries its length, its place in
//! the order and a checksum over all of itself, and its content is compressed with zstd. So a file can be read up to its
//! last whole block however its writer ended, and a damaged one up to the damage; either is said.
//!
//! ```text
//! file     magic (8 bytes) · version (u32)
//! block    "VNTB" · kind (u8) · codec (u8) · 0 (u16) · sequence (u32) · records (u32) · stored length (u32)
//!          · length (u32) · instant (u64, ns) · xxh3-64 of all before it and of the content (u64) · content
//! content  records: kind · length · body (numbers as LEB128); see `encode`
//! ```
//!
//! All integers of a block's head are little-endian. Kinds of blocks:
//!
//! - **picture**: all that is known at this point, from empty tables. Reading may begin here, and the blocks before it can be
//!   dropped (`--retain`): counts are cumulative, so what is dropped is only how they came about.
//! - **records**: what was told since, in order.
//! - **end**: the source ended in order. A file without it is incomplete.
//!
//! **Evolution** is additive. A record, a list of a sample or a counter of a kind that a reader does not know is passed over
//! and counted; what an older file does not have is not known. Numbers of kinds and places are never used anew, so a file of
//! version 1 stays readable for ever. Another version is another format, and told as such.
//!
//! There is no index: heads carry length and instant, so that pictures are found by hopping from head to head.

mod decode;
mod encode;
pub mod export;
mod fields;
mod file;
mod frame;
pub mod info;
mod known;
mod read;
mod replay;
mod wire;
mod write;

pub use file::{Recording, Status};
pub use read::{OpenError, Problem, Reader, Seen};
pub use replay::Replay;
pub use write::{WriteError, Writer};

/// Version of the format.
pub const VERSION: u32 = 1;

/// What is wrong with bytes that arrived as they were written, or with records that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Kinds of records. Never used anew.
mod kind {
    /// [`Source`](crate::record::Source), JSON.
    pub(super) const SOURCE: u64 = 1;
    /// [`Topology`](crate::topology::Topology), JSON.
    pub(super) const TOPOLOGY: u64 = 2;
    /// [`Sample`](crate::record::Sample), as changes.
    pub(super) const SAMPLE: u64 = 3;
    /// [`Lost`](crate::record::Lost).
    pub(super) const LOST: u64 = 4;
    /// The end, with its instant.
    pub(super) const END: u64 = 5;
    /// A queue pair that gets the next number.
    pub(super) const PAIR: u64 = 16;
    /// A name that gets the next number.
    pub(super) const NAME: u64 = 17;
    /// Places that change together, which get the next number.
    pub(super) const SHAPE: u64 = 18;
}

/// Lists of a sample. Never used anew.
mod section {
    /// Queues and their counts.
    pub(super) const QUEUES: u64 = 1;
    /// Workers.
    pub(super) const WORKERS: u64 = 2;
    /// Pairs whose worker has ended.
    pub(super) const ENDED: u64 = 3;
    /// Differences between independent counts.
    pub(super) const RESIDUALS: u64 = 4;
    /// Ways of calls and kicks, in JSON as records have them: they are told when they change.
    pub(super) const PATHS: u64 = 5;
    /// Places of vCPUs, likewise.
    pub(super) const VCPUS: u64 = 6;
}
