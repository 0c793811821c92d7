//! The files of the repository: those git knows or would take.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, paths};

/// A text file of the repository.
pub(super) struct File {
    /// Path from the workspace's root, with `/`.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
    /// Whether its owner may execute it.
    pub(super) executable: bool,
}

impl File {
    /// Whether it holds Rust.
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|kind| kind == "rs")
    }

    /// Whether it is a test, as a whole: then it may do what the program may not.
    pub(super) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// A file for a test of a rule.
    #[cfg(test)]
    pub(super) fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), executable: false }
    }
}

/// Every text file that is tracked, or new and not ignored.
///
/// # Errors
/// When git cannot tell them.
pub(super) fn tracked() -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(paths::root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = command::text(&mut git).context("git cannot list the repository's files")?;
    let files = list.split_terminator('\0').filter_map(|path| {
        let full = paths::root().join(path);
        // A tracked file may be deleted in the work tree, and a picture is no text.
        let text = String::from_utf8(fs::read(&full).ok()?).ok()?;
        let executable = fs::metadata(&full).is_ok_and(|meta| meta.permissions().mode() & 0o100 != 0);
        Some(File { path: path.to_owned(), text, executable })
    });
    Ok(files.collect())
}
