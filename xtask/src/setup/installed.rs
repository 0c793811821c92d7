//! Rust toolchains that the machine has already, and the one thing rustup is asked for: `rust-src`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::rust::Rust;
use crate::{command, paths, progress};

/// How long rustup may take to bring `rust-src` (3 MB) before it counts as out of reach.
const PATIENCE: Duration = Duration::from_mins(1);

/// The first installed rustc that can build the probes: rustup's nightly, the one in use, the system's.
///
/// Why the others cannot goes to `missing`.
pub(crate) fn find(missing: &mut Vec<String>) -> Option<Rust> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let candidates = [
        ("rustup's nightly", nightly()),
        ("the toolchain in use", paths::host_rustc()),
        ("rustc on PATH", paths::on_path("rustc").filter(|path| !is_rustup(path))),
        ("the system's rustc", Some(PathBuf::from("/usr/bin/rustc")).filter(|path| path.is_file())),
    ];
    for (origin, rustc) in candidates {
        let Some(rustc) = rustc.filter(|path| !seen.contains(path)) else { continue };
        match Rust::look(&rustc, Vec::new(), origin) {
            Ok(rust) => return Some(rust),
            Err(error) => missing.push(format!("{origin}: {error:#}")),
        }
        seen.push(rustc);
    }
    None
}

/// Asks rustup for the sources of its nightly, quietly and within a time limit.
pub(crate) fn add_source() -> Result<Rust> {
    let rustc = nightly().context("rustup has no toolchain of that name")?;
    let mut rustup = Command::new("rustup");
    command::scrub(&mut rustup).args(["+nightly", "component", "add", "rust-src"]);
    progress::step("ask rustup for rust-src", || command::text_within(&mut rustup, PATIENCE))?;
    Rust::look(&rustc, Vec::new(), "rustup's nightly")
}

/// Path of the nightly rustc, if rustup has one; a toolchain is never installed for it.
fn nightly() -> Option<PathBuf> {
    let rustup = paths::on_path("rustup")?;
    let mut which = Command::new(rustup);
    command::scrub(&mut which).env("RUSTUP_AUTO_INSTALL", "0");
    let answer =
        command::text_within(which.args(["which", "--toolchain", "nightly", "rustc"]), PATIENCE).ok()?;
    Some(PathBuf::from(answer.trim())).filter(|path| path.is_file())
}

/// Whether a program is rustup under another name, which would choose a toolchain by itself.
fn is_rustup(program: &Path) -> bool {
    let target = program.canonicalize().unwrap_or_default();
    target.file_name().is_some_and(|name| name == "rustup") || program.with_file_name("rustup").is_file()
}
