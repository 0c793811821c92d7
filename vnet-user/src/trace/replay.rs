//! A recording as a source: what the user asked for of it, as it came, one sample after the other.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Reader, Seen};
use crate::{
    filter::Filter,
    record::{Record, SourceKind},
};

/// Read at once from the file; blocks are longer.
const BUFFER: usize = 64 << 10;

/// A recording that is read from its beginning.
#[derive(Debug)]
pub struct Replay {
    name: PathBuf,
    reader: Reader<BufReader<File>>,
    filter: Filter,
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
        let reader = Reader::new(BufReader::with_capacity(BUFFER, file)).with_context(cannot)?;
        Ok(Self { name: path.to_owned(), reader, filter, as_trace: true })
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
