//! Debian's Rust packages unpacked into the cache: `rustc-web` on a stable release, else `rustc` if it is new enough.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::apt::{Apt, Package};
use super::rust::{Rust, at_least};
use super::{cache, libraries};
use crate::progress;

/// The cache entry. Its number changes when its content does.
const ENTRY: &str = concat!("debian-rust-", env!("CARGO_PKG_RUST_VERSION"), "-1");

/// The unpacked compiler, if it is in the cache.
pub(crate) fn ready() -> Option<Rust> {
    look(&cache::ready(ENTRY)?).ok()
}

/// Brings the compiler into the cache.
///
/// # Errors
/// When the machine has no apt, its sources offer no such packages, or they cannot be fetched.
pub(crate) fn fetch() -> Result<Rust> {
    let folder = cache::entry(ENTRY, |folder| {
        progress::note("fetching a Rust compiler for BPF from this machine's Debian sources into the cache");
        let private = folder.join("apt");
        let apt = Apt::new(&private)?;
        let updated = progress::step("fetch the package lists", || apt.update());
        let packages = match (plan(&apt), updated) {
            (None, Err(error)) => return Err(error.context("the package lists cannot be fetched")),
            (plan, _) => plan.with_context(|| {
                format!(
                    "no source of this machine offers rustc-web or rustc {} or later (on a stable Debian it is in \
                     the security suite)",
                    env!("CARGO_PKG_RUST_VERSION")
                )
            })?,
        };
        for package in &packages {
            unpack(&apt, package, folder)?;
        }
        prune(folder)?;
        libraries::complete(&apt, packages, folder)?;
        fs::remove_dir_all(private)?;
        look(folder).map(drop).context("the unpacked compiler does not work")
    })?;
    look(&folder)
}

/// Downloads one package and unpacks it, as a step that the user sees.
pub(crate) fn unpack(apt: &Apt, package: &Package, folder: &Path) -> Result<()> {
    let name = format!("fetch {} {} ({})", package.name, package.version, progress::size(package.size));
    progress::step(name, || apt.unpack(package, folder))
}

/// Folders below the cache entry in which the packages have their shared libraries.
pub(crate) fn library_folders(folder: &Path) -> Vec<PathBuf> {
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|part| folder.join(part))
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

fn look(folder: &Path) -> Result<Rust> {
    Rust::look(&folder.join("usr/bin/rustc"), library_folders(folder), "Debian's, in the cache")
}

/// The packages that make a compiler with sources: the names carry versions, which the dependencies tell.
fn plan(apt: &Apt) -> Option<Vec<Package>> {
    ["-web", ""].iter().find_map(|family| {
        let show = |name: &str| apt.show(name);
        let depends = |package: &Package, prefix: &str| {
            let versioned = |name: &&String| {
                name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            package.depends.iter().find(versioned).and_then(|name| show(name))
        };
        let rustc = show(&format!("rustc{family}"))?;
        if !at_least(&rustc.version, env!("CARGO_PKG_RUST_VERSION")) {
            return None;
        }
        let dev = show(&format!("libstd-rust{family}-dev"))?;
        let std = depends(&dev, &format!("libstd-rust{family}-"))?;
        let llvm = depends(&std, "libllvm")?;
        let source = show(&format!("rust{family}-src"))?;
        Some(vec![llvm, std, dev, rustc, source])
    })
}

/// Of the sources only those of the standard library are needed: a sixth.
fn prune(folder: &Path) -> Result<()> {
    for sources in fs::read_dir(folder.join("usr/src")).context("rust-src unpacked to nothing")? {
        for part in fs::read_dir(sources?.path())? {
            let part = part?;
            if part.file_type()?.is_dir() && part.file_name() != "library" {
                fs::remove_dir_all(part.path())?;
            }
        }
    }
    Ok(())
}
