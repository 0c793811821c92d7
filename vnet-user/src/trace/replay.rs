//! A recording as a source: what the user asked for of it, as it came, one sample after the other.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Reader, Seen, frame::Head, write::header};
use crate::{
    filter::Filter,
    record::{Nanos, Record, SourceKind},
};

/// Read at once from the file; blocks are longer.
const BUFFER: usize = 64 << 10;

/// The recording that is part of the program: see `cargo xtask demo`.
const DEMO: &[u8] = include_bytes!("../../demo/demo.vnet");

/// Where a recording is read from.
trait Input: Read + Seek {}
impl<T: Read + Seek> Input for T {}

/// A recording that is read from its beginning.
pub struct Replay {
    name: PathBuf,
    reader: Reader<BufReader<Box<dyn Input>>>,
    filter: Filter,
    length: Nanos,
    /// Say of a recorded host that it is a recording.
    as_trace: bool,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn open(path: &Path, filter: Filter) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(cannot)?;
        Self::new(path.to_owned(), Box::new(file), filter).with_context(cannot)
    }

    /// Opens the recording that is part of the program.
    ///
    /// # Errors
    /// It is of another format than this program's: a test holds that it is not.
    pub fn demo(filter: Filter) -> Result<Self> {
        Self::new("demo".into(), Box::new(Cursor::new(DEMO)), filter)
    }

    fn new(name: PathBuf, mut input: Box<dyn Input>, filter: Filter) -> Result<Self> {
        let length = length(&mut input).unwrap_or_default();
        input.rewind()?;
        let reader = Reader::new(BufReader::with_capacity(BUFFER, input))?;
        Ok(Self { name, reader, filter, length, as_trace: true })
    }

    /// Instant at which its last block begins, which is its end where it has one.
    pub fn length(&self) -> Nanos {
        self.length
    }

    /// The same with records as they are in the file: it does not say of itself that it is a recording.
    #[must_use]
    pub fn as_recorded(self) -> Self {
        Self { as_trace: false, ..self }
    }

    /// The next records, up to a sample; empty at the end.
    pub fn batch(&mut self) -> Vec<Record> {
        let mut batch = Vec::new();
        for record in self.by_ref() {
            let sample = matches!(record, Record::Sample(_));
            batch.push(record);
            if sample {
                break;
            }
        }
        batch
    }

    /// What was read so far.
    pub fn seen(&self) -> Seen {
        self.reader.seen()
    }

    /// Sentences about what is not as it should be, once all is read.
    pub fn problems(&self) -> Vec<String> {
        let name = self.name.display();
        let seen = self.seen();
        let mut problems = Vec::new();
        match self.reader.problem() {
            Some(problem) => problems.push(format!("{name}: {problem}")),
            None if !seen.ended => {
                problems.push(format!("{name}: its end is missing: the recorder did not end in order"));
            }
            None => {}
        }
        if seen.unknown > 0 {
            let unknown = seen.unknown;
            problems
                .push(format!("{name}: {unknown} things in it are of a newer vnet, and were passed over"));
        }
        problems
    }
}

impl Iterator for Replay {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut record = self.reader.next()?;
        self.filter.narrow(&mut record);
        if let Record::Source(source) = &mut record
            && self.as_trace
            && source.kind == SourceKind::Live
        {
            source.kind = SourceKind::Trace;
        }
        Some(record)
    }
}

/// Hops from head to head to the last one that is as it should be.
fn length(input: &mut Box<dyn Input>) -> io::Result<Nanos> {
    input.seek(SeekFrom::Start(header().len() as u64))?;
    let mut length = Nanos::default();
    while let Ok(Some(head)) = Head::read(input) {
        length = length.max(Nanos(head.at));
        input.seek_relative(i64::try_from(head.stored).unwrap_or(i64::MAX))?;
    }
    Ok(length)
}
