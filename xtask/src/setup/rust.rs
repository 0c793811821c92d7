//! A Rust compiler that can build `core` for BPF: what it is, and which LLVM it uses.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;

/// A rustc with the sources of the standard library.
pub(crate) struct Rust {
    /// What the user is told: version and origin.
    pub(crate) label: String,
    /// Unlike for any other build of rustc.
    pub(crate) id: String,
    /// Path of rustc.
    pub(crate) rustc: PathBuf,
    /// Folder under which `lib/rustlib/src/rust` lies.
    pub(crate) sysroot: PathBuf,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
    /// Folders beside the system's own in which its shared libraries lie.
    pub(crate) libraries: Vec<PathBuf>,
}

impl Rust {
    /// Looks at a rustc.
    ///
    /// # Errors
    /// When it does not run, is too old for this workspace or has no `rust-src`.
    pub(crate) fn look(rustc: &Path, libraries: Vec<PathBuf>, origin: &str) -> Result<Self> {
        let run = |args: &[&str]| {
            let mut command = Command::new(rustc);
            command::scrub(&mut command).args(args);
            if !libraries.is_empty() {
                command.env("LD_LIBRARY_PATH", env::join_paths(&libraries)?);
            }
            command::text(&mut command)
        };
        let about = About::parse(&run(&["-vV"])?)?;
        let sysroot = PathBuf::from(run(&["--print", "sysroot"])?.trim());
        let least = env!("CARGO_PKG_RUST_VERSION");
        if !at_least(&about.release, least) {
            bail!("it is {}, this workspace needs {least}", about.release);
        }
        if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() {
            bail!("it has no rust-src");
        }
        let label = format!("rustc {} ({origin})", about.release);
        let id = format!("rustc-{}-{}", about.release, about.commit.get(..9).unwrap_or("unknown"));
        Ok(Self { label, id, rustc: rustc.to_owned(), sysroot, llvm: about.llvm, libraries })
    }

    /// The `LD_LIBRARY_PATH` for this compiler and, in `more`, for what is used with it.
    pub(crate) fn search_path(&self, more: Option<&Path>) -> Result<OsString> {
        let folders = self.libraries.iter().map(PathBuf::as_path).chain(more);
        env::join_paths(folders).context("a folder's name has a colon: it cannot be searched for libraries")
    }
}

/// Whether version `have` (as `1.97.0-nightly` or Debian's `1.96.0+dfsg1-1`) is `least` or later.
pub(crate) fn at_least(have: &str, least: &str) -> bool {
    let key = |text: &str| {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
        numbers.next().flatten().zip(numbers.next().flatten())
    };
    key(have).is_some_and(|have| key(least).is_some_and(|least| have >= least))
}

/// What `rustc -vV` says of itself.
struct About {
    release: String,
    commit: String,
    llvm: u32,
}

impl About {
    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            value.with_context(|| format!("`rustc -vV` does not say its `{name}`"))
        };
        let llvm = field("LLVM version:")?;
        let major = llvm.split('.').next().and_then(|major| major.parse().ok());
        Ok(Self {
            release: field("release:")?.to_owned(),
            commit: field("commit-hash:")?.to_owned(),
            llvm: major.with_context(|| format!("`rustc -vV` has an LLVM version `{llvm}`"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(at_least("1.97.0-nightly", "1.95"));
        assert!(at_least("1.96.0+dfsg1-1~deb12u2", "1.95"));
        assert!(at_least("1.100.0", "1.95"));
        assert!(at_least("1.95.0", "1.95"));
        assert!(!at_least("1.85.0+dfsg3-1", "1.95"));
        assert!(!at_least("", "1.95"));
    }

    #[test]
    fn rustc_tells_what_it_is() {
        let text = "rustc 1.96.0\ncommit-hash: ac68faa20c58\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let about = About::parse(text).unwrap();
        assert_eq!(
            (about.release.as_str(), about.commit.as_str(), about.llvm),
            ("1.96.0", "ac68faa20c58", 22)
        );
        assert!(About::parse("release: 1.96.0\n").is_err());
    }
}
