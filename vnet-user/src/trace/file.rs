//! A recording in a file of this machine.
//!
//! Blocks are written as they become full, and at the latest after [`OLDEST`], so that a killed recorder loses no more. They
//! are not synced one by one: what was written survives the recorder's death, and after a power failure all but the last
//! half minute is there (the kernel's own write-back), of which no block is half. The end is synced.
//!
//! Where a size was given, the oldest blocks are dropped: a picture of everything known is written when a third of it is
//! full, and when two thirds are, the file is replaced by one that begins with that picture. So both together take no more
//! than the size and some blocks, at least a third of it is kept, and at every moment there is one whole file under the name.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{WriteError, Writer, write::header};
use crate::record::Record;

/// The longest that a record waits to be written.
const OLDEST: Duration = Duration::from_secs(5);

/// What a recording has become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes in the file.
    pub bytes: u64,
    /// Records taken.
    pub records: u64,
    /// Times that the oldest part was dropped.
    pub dropped: u64,
}

/// A recording that is being made.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: File,
    writer: Writer<File>,
    retain: Option<u64>,
    /// Where the part begins that is kept next time.
    keep: Option<u64>,
    /// When the oldest record that is not written yet came.
    waiting: Option<Instant>,
    status: Status,
}

impl Recording {
    /// Begins a new file of which at most `retain` bytes are kept.
    ///
    /// # Errors
    /// It exists, or it cannot be written.
    pub fn create(path: &Path, retain: Option<u64>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path)?;
        let writer = Writer::new(file.try_clone()?)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            writer,
            retain,
            keep: None,
            waiting: None,
            status: Status::default(),
        })
    }

    /// Takes records.
    ///
    /// # Errors
    /// The disk is full, or otherwise cannot be written to. The file then holds all whole blocks and nothing else.
    pub fn push(&mut self, records: &[Record]) -> Result<(), WriteError> {
        let done = self.try_push(records);
        self.whole(done)
    }

    /// Call it now and then: writes what has waited too long.
    ///
    /// # Errors
    /// As [`Recording::push`].
    pub fn tick(&mut self) -> Result<(), WriteError> {
        if self.waiting.is_some_and(|since| since.elapsed() >= OLDEST) {
            let done = self.writer.flush();
            self.waiting = None;
            return self.whole(done);
        }
        Ok(())
    }

    /// Writes what is left, and waits until it is on the disk.
    ///
    /// # Errors
    /// As [`Recording::push`].
    pub fn finish(mut self) -> Result<Status, WriteError> {
        let done = self.writer.flush().and_then(|()| Ok(self.file.sync_all()?));
        self.whole(done)?;
        Ok(self.status())
    }

    /// What has become of it so far.
    pub fn status(&self) -> Status {
        Status { bytes: self.writer.written(), ..self.status }
    }

    fn try_push(&mut self, records: &[Record]) -> Result<(), WriteError> {
        for record in records {
            self.writer.push(record)?;
            self.status.records += 1;
        }
        self.waiting.get_or_insert_with(Instant::now);
        self.tick()?;
        if let Some(retain) = self.retain {
            self.retain(retain)?;
        }
        Ok(())
    }

    /// After a failure: takes away what was written of a block that did not fit.
    fn whole(&mut self, done: Result<(), WriteError>) -> Result<(), WriteError> {
        if done.is_err() {
            self.file.set_len(self.writer.written())?;
        }
        done
    }

    /// Drops the oldest blocks when the file has grown enough.
    fn retain(&mut self, retain: u64) -> Result<(), WriteError> {
        let third = retain / 3;
        let Some(from) = self.keep else {
            if self.writer.written() > third {
                let before = self.writer.written();
                self.writer.picture()?;
                self.keep = Some(self.writer.last_picture());
                let needed = (self.writer.written() - before) * 6;
                if needed > retain {
                    return Err(WriteError::Retain { needed });
                }
            }
            return Ok(());
        };
        if self.writer.written() <= 2 * third {
            return Ok(());
        }
        self.writer.flush()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut new = tempfile::Builder::new()
            .prefix(".vnet-")
            .permissions(fs::metadata(&self.path)?.permissions())
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        new.write_all(&header())?;
        self.file.seek(SeekFrom::Start(from))?;
        io::copy(&mut (&self.file).take(self.writer.written() - from), &mut new)?;
        new.as_file().sync_all()?;
        let path = new.into_temp_path();
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        path.persist(&self.path).map_err(|error| error.error)?;
        self.writer.go_on(file.try_clone()?, from);
        self.file = file;
        self.keep = None;
        self.status.dropped += 1;
        Ok(())
    }
}
