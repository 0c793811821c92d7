//! Records into blocks.

use std::io::{self, Write};

use super::{
    Malformed, VERSION,
    encode::Encoder,
    frame::{Kind, LONGEST, MAGIC, pack},
};
use crate::record::Record;

/// Content at which a block is written; more compresses no better.
const ENOUGH: usize = 64 << 10;

/// Bytes between two pictures at least, and how many times as much as the last picture took: they stay a small part.
const BETWEEN: u64 = 256 << 10;
const TIMES: u64 = 16;

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The record does not fit the format.
    #[error("a record does not fit a recording: {0}")]
    Record(#[from] Malformed),
    /// What is known at one moment takes too much of the size that is to be kept.
    #[error("too little is to be kept of so many queues: --retain must be {needed} bytes at least")]
    Retain {
        /// Bytes that would do.
        needed: u64,
    },
}

/// Writes records as a recording.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    encoder: Encoder,
    content: Vec<u8>,
    /// Records in `content`, and the instant at which it began.
    records: u32,
    began: u64,
    sequence: u32,
    /// Bytes handed to `out`, all of them whole blocks.
    written: u64,
    /// Where the last picture begins, or the file does, and how long that picture is.
    picture: (u64, u64),
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// The header could not be written.
    pub fn new(mut out: W) -> io::Result<Self> {
        let header = header();
        out.write_all(&header)?;
        let written = header.len() as u64;
        Ok(Self {
            out,
            encoder: Encoder::default(),
            content: Vec::new(),
            records: 0,
            began: 0,
            sequence: 0,
            written,
            picture: (written, 0),
        })
    }

    /// Takes a record. It is in the file once [`Writer::flush`] was called, at the latest.
    ///
    /// # Errors
    /// The file could not be written to, or the record does not fit. What was written before is a sound recording.
    pub fn push(&mut self, record: &Record) -> Result<(), WriteError> {
        let (since, picture) = (self.written - self.picture.0, self.picture.1);
        if self.encoder.full() || since > BETWEEN.max(TIMES * picture) {
            self.picture()?;
        }
        if let Record::End(_) = record {
            self.flush()?;
            self.encode(record)?;
            return self.block(Kind::End);
        }
        self.encode(record)?;
        if self.content.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.records > 0 { self.block(Kind::Records) } else { Ok(()) }
    }

    /// Writes all that is known, so that reading can begin there.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn picture(&mut self) -> Result<(), WriteError> {
        self.flush()?;
        let place = self.written;
        self.records = self.encoder.picture(&mut self.content)?;
        self.block(Kind::Picture)?;
        self.picture = (place, self.written - place);
        Ok(())
    }

    /// Bytes written, all of them whole blocks.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where reading can begin last: at the last picture, or at the file's beginning.
    pub fn last_picture(&self) -> u64 {
        self.picture.0
    }

    /// Goes on in another file, which holds a header and what was written from `from` on.
    pub(super) fn go_on(&mut self, out: W, from: u64) {
        self.out = out;
        let moved = from - header().len() as u64;
        self.written -= moved;
        self.picture.0 -= moved;
    }

    fn encode(&mut self, record: &Record) -> Result<(), WriteError> {
        if self.records == 0 {
            self.began = self.encoder.at();
        }
        self.encoder.record(record, &mut self.content)?;
        self.records += 1;
        Ok(())
    }

    fn block(&mut self, kind: Kind) -> Result<(), WriteError> {
        if self.content.len() > LONGEST {
            return Err(Malformed("it is too long").into());
        }
        let block = pack(kind, self.sequence, self.records, self.began, &self.content)?;
        self.out.write_all(&block)?;
        self.written += block.len() as u64;
        self.sequence = self.sequence.wrapping_add(1);
        self.content.clear();
        self.records = 0;
        Ok(())
    }
}

/// What a recording begins with.
pub(super) fn header() -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes()].concat()
}
