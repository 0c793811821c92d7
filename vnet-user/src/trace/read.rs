//! Blocks back to records.

use std::io::{self, Read};

use super::{
    Malformed, VERSION,
    decode::{Decoded, Decoder},
    frame::{Broken, Head, Kind, MAGIC},
    wire::Cursor,
};
use crate::record::Record;

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It begins as no recording does.
    #[error("this is no recording of vnet")]
    NoRecording,
    /// It is of a later format.
    #[error("this recording has format {0}, and this vnet reads format {VERSION}: a newer vnet made it")]
    Newer(u32),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why reading ended before the file's end in order. What was read until there is right.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its writer was killed, or the file was cut.
    #[error("it is cut off within the block at byte {0}: what was read is whole up to there")]
    Cut(u64),
    /// Bytes are not those that were written.
    #[error("it is damaged in the block at byte {0}: nothing from there on was read")]
    Damaged(u64),
    /// Its bytes are as they were written, and make no sense.
    #[error("the block at byte {0} makes no sense ({1}): nothing from there on was read")]
    Malformed(u64, Malformed),
    /// It cannot be read.
    #[error("it cannot be read from byte {0} on: {1}")]
    Io(u64, io::Error),
}

/// What was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whole blocks.
    pub blocks: u64,
    /// Blocks before the first one of the file, which were dropped to keep it small.
    pub dropped: u64,
    /// Pictures of everything known, from which reading can begin.
    pub pictures: u64,
    /// Bytes of the whole blocks, header included.
    pub bytes: u64,
    /// The same before compression.
    pub unpacked: u64,
    /// Records.
    pub records: u64,
    /// Records, lists and counts that only a newer vnet knows.
    pub unknown: u64,
    /// The last block says that the source ended in order.
    pub ended: bool,
}

/// Reads a recording from its beginning.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    decoder: Decoder,
    content: Vec<u8>,
    /// How far `content` is read, and whether its records are told.
    place: usize,
    told: bool,
    /// Where the block in `content` begins.
    at: u64,
    next: Option<u32>,
    unknown: u64,
    seen: Seen,
    problem: Option<Problem>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no recording, or not one that this vnet can read.
    pub fn new(mut input: R) -> Result<Self, OpenError> {
        let mut header = [0; MAGIC.len() + 4];
        input.read_exact(&mut header).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => OpenError::NoRecording,
            _ => error.into(),
        })?;
        let (magic, version) = header.split_at(MAGIC.len());
        let version = version.iter().rev().fold(0, |version, byte| version << 8 | u32::from(*byte));
        match version {
            _ if magic != MAGIC => return Err(OpenError::NoRecording),
            VERSION => {}
            0 => return Err(OpenError::NoRecording),
            newer => return Err(OpenError::Newer(newer)),
        }
        Ok(Self {
            input,
            decoder: Decoder::default(),
            content: Vec::new(),
            place: 0,
            told: true,
            at: 0,
            next: None,
            unknown: 0,
            seen: Seen { bytes: header.len() as u64, ..Seen::default() },
            problem: None,
        })
    }

    /// Why there is nothing more; `None` when the file ended at the end of a block.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// What was read so far.
    pub fn seen(&self) -> Seen {
        Seen { unknown: self.unknown + self.decoder.passed_over, ..self.seen }
    }

    fn read(&mut self) -> Result<Option<Record>, Problem> {
        loop {
            let mut cursor = Cursor(&self.content[self.place..]);
            if cursor.is_empty() {
                if !self.block()? {
                    return Ok(None);
                }
                continue;
            }
            let decoded =
                self.decoder.next(&mut cursor).map_err(|wrong| Problem::Malformed(self.at, wrong))?;
            self.place = self.content.len() - cursor.0.len();
            match decoded {
                Decoded::Record(record) if self.told => {
                    self.seen.records += 1;
                    return Ok(Some(record));
                }
                Decoded::Unknown => self.unknown += u64::from(self.told),
                Decoded::Record(_) | Decoded::Table => {}
            }
        }
    }

    /// Reads the next block; false where the file ends.
    fn block(&mut self) -> Result<bool, Problem> {
        let at = self.seen.bytes;
        let broken = |broken| match broken {
            Broken::Cut => Problem::Cut(at),
            Broken::Damaged => Problem::Damaged(at),
            Broken::Io(error) => Problem::Io(at, error),
        };
        let Some(head) = Head::read(&mut self.input).map_err(broken)? else { return Ok(false) };
        head.content(&mut self.input, &mut self.content).map_err(broken)?;
        let first = self.next.is_none();
        if self.next.is_some_and(|next| next != head.sequence) {
            self.content.clear();
            return Err(Problem::Damaged(at));
        }
        if first {
            self.seen.dropped = head.sequence.into();
        }
        self.next = Some(head.sequence.wrapping_add(1));
        (self.place, self.at) = (0, at);
        self.told = true;
        match head.kind {
            Some(Kind::Picture) => {
                self.decoder.picture();
                self.seen.pictures += 1;
                // Where reading does not begin with it, it says nothing new.
                self.told = first;
            }
            Some(Kind::Records | Kind::End) => {}
            None => {
                self.unknown += 1;
                self.content.clear();
            }
        }
        self.seen.ended = head.kind == Some(Kind::End);
        self.seen.blocks += 1;
        self.seen.bytes += (super::frame::HEAD + head.stored) as u64;
        self.seen.unpacked += self.content.len() as u64;
        Ok(true)
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Record;

    /// The next record; after the last one [`Reader::problem`] says whether there would have been more.
    fn next(&mut self) -> Option<Record> {
        if self.problem.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|problem| {
            self.problem = Some(problem);
            None
        })
    }
}
