//! Blocks: a head, a checksum, and compressed content.

use std::io::{self, Read};

use twox_hash::XxHash3_64;

/// First bytes of a recording: not text, and broken by whatever translates line ends.
pub(super) const MAGIC: [u8; 8] = *b"\x89vnet\r\n\x1a";

/// Bytes of a block's head.
pub(super) const HEAD: usize = 40;

/// Longest content of a block, before compression. No more than this is ever unpacked at once.
pub(super) const LONGEST: usize = 16 << 20;

const MARK: [u8; 4] = *b"VNTB";
/// zstd's own default: the next ones cost more time than they save space on counts.
const LEVEL: i32 = 3;
/// Where the checksum lies in the head, after all that it covers of it.
const SUM: usize = 32;

/// Kinds of blocks. Never used anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All that is known.
    Picture = 1,
    /// What was told since.
    Records = 2,
    /// The source ended in order.
    End = 3,
}

/// A block as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) kind: Option<Kind>,
    pub(super) sequence: u32,
    pub(super) stored: usize,
    length: usize,
    /// Instant that was last told when it began.
    pub(super) at: u64,
    zstd: bool,
    bytes: [u8; HEAD],
}

/// Why there is no further block.
#[derive(Debug)]
pub(super) enum Broken {
    /// The file ends within a block.
    Cut,
    /// Bytes are not those that were written.
    Damaged,
    /// It cannot be read.
    Io(io::Error),
}

/// Makes a block.
///
/// # Errors
/// zstd refused.
pub(super) fn pack(kind: Kind, sequence: u32, records: u32, at: u64, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut block = vec![0; HEAD];
    let packed = zstd::bulk::compress(content, LEVEL)?;
    let zstd = packed.len() < content.len();
    block.extend_from_slice(if zstd { &packed } else { content });
    let stored = block.len() - HEAD;
    let head = [
        &MARK[..],
        &[kind as u8, u8::from(zstd), 0, 0],
        &sequence.to_le_bytes(),
        &records.to_le_bytes(),
        &narrow(stored).to_le_bytes(),
        &narrow(content.len()).to_le_bytes(),
        &at.to_le_bytes(),
    ]
    .concat();
    block[..SUM].copy_from_slice(&head);
    let sum = sum(&head, &block[HEAD..]);
    block[SUM..HEAD].copy_from_slice(&sum.to_le_bytes());
    Ok(block)
}

impl Head {
    /// The next head; `None` where the file ends.
    pub(super) fn read(input: &mut impl Read) -> Result<Option<Self>, Broken> {
        let mut bytes = Vec::with_capacity(HEAD);
        input.take(HEAD as u64).read_to_end(&mut bytes).map_err(Broken::Io)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let bytes: [u8; HEAD] = bytes.try_into().map_err(|_| Broken::Cut)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let kind = [Kind::Picture, Kind::Records, Kind::End].into_iter().find(|kind| *kind as u8 == bytes[4]);
        let head = Self {
            kind,
            sequence: word(8),
            stored: word(16) as usize,
            length: word(20) as usize,
            at: u64::from(word(24)) | u64::from(word(28)) << 32,
            zstd: bytes[5] == 1,
            bytes,
        };
        let sound = bytes[..4] == MARK && head.stored <= LONGEST && head.length <= LONGEST;
        if sound { Ok(Some(head)) } else { Err(Broken::Damaged) }
    }

    /// What the block holds; replaces `content`. Nothing is unpacked before the checksum was seen to be right.
    pub(super) fn content(&self, input: &mut impl Read, content: &mut Vec<u8>) -> Result<(), Broken> {
        let mut stored = Vec::new();
        input.take(self.stored as u64).read_to_end(&mut stored).map_err(Broken::Io)?;
        if stored.len() < self.stored {
            return Err(Broken::Cut);
        }
        if self.bytes[SUM..] != sum(&self.bytes[..SUM], &stored).to_le_bytes() {
            return Err(Broken::Damaged);
        }
        *content = if self.zstd {
            zstd::bulk::decompress(&stored, self.length).map_err(|_| Broken::Damaged)?
        } else {
            stored
        };
        if content.len() == self.length { Ok(()) } else { Err(Broken::Damaged) }
    }
}

fn sum(head: &[u8], content: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::new();
    std::hash::Hasher::write(&mut hasher, head);
    std::hash::Hasher::write(&mut hasher, content);
    std::hash::Hasher::finish(&hasher)
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
