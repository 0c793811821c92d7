//! Files that users write: TOML, in which every mistake has its line.

use std::{fmt, ops::Range};

use serde::de::Error as _;
use toml::de::DeTable;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it, the key and what is allowed included.
    pub what: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for BadFile {}

/// What is wrong with the bytes in a range of a file.
pub type Mistake = (Range<usize>, String);

/// Reads a file's text, of which `take` makes something.
///
/// # Errors
/// It is no TOML, or `take` says what is wrong with it; nothing of it is taken then.
pub fn read<T>(text: &str, take: impl FnOnce(&DeTable<'_>) -> Result<T, Mistake>) -> Result<T, BadFile> {
    let document = DeTable::parse(text).map_err(|error| {
        let error = if error.message().is_empty() { toml::de::Error::custom("no TOML") } else { error };
        (error.span().unwrap_or_default(), error.message().replace('\n', ", "))
    });
    document.and_then(|document| take(document.get_ref())).map_err(|(place, what)| {
        let line = 1 + text.bytes().take(place.start).filter(|b| *b == b'\n').count();
        BadFile { line, what }
    })
}
