//! Shared libraries of unpacked programs: which are missing, and which packages bring them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, Package};
use super::debian;
use crate::command;

/// Rounds of looking for what is missing; a library's library may miss one too.
const ROUNDS: usize = 8;

/// Fetches what the unpacked compiler misses on this machine, and nothing that the machine has.
///
/// # Errors
/// When a library stays missing.
pub(crate) fn complete(apt: &Apt, packages: Vec<Package>, folder: &Path) -> Result<()> {
    let rustc = folder.join("usr/bin/rustc");
    let mut tried: BTreeSet<String> = packages.iter().map(|package| package.name.clone()).collect();
    let mut names: Vec<String> = packages.into_iter().flat_map(|package| package.depends).collect();
    for _ in 0..ROUNDS {
        let linked = linked(&rustc, &debian::library_folders(folder))?;
        let missing = missing(&linked);
        if missing.is_empty() {
            return Ok(());
        }
        let wanted: Vec<Package> = names
            .drain(..)
            .filter(|name| name.starts_with("lib") && tried.insert(name.clone()) && !is_installed(name))
            .filter_map(|name| apt.show(&name))
            .collect();
        if wanted.is_empty() {
            bail!("the compiler misses {} and no package brings it", missing.join(", "));
        }
        for package in wanted {
            debian::unpack(apt, &package, folder)?;
            names.extend(package.depends);
        }
    }
    bail!("the compiler's libraries are not complete after {ROUNDS} rounds")
}

/// What `ldd` says of a program.
pub(crate) fn linked(program: &Path, folders: &[PathBuf]) -> Result<String> {
    let mut ldd = Command::new("ldd");
    ldd.env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH").arg(program);
    if !folders.is_empty() {
        ldd.env("LD_LIBRARY_PATH", std::env::join_paths(folders)?);
    }
    command::text(&mut ldd).context("cannot see which libraries it needs")
}

/// The libraries `ldd` did not find.
fn missing(linked: &str) -> Vec<&str> {
    let name = |line: &'_ str| line.trim().strip_suffix("=> not found").is_some();
    linked.lines().filter(|line| name(line)).filter_map(|line| line.split_whitespace().next()).collect()
}

/// Path and major version of the `libLLVM` that `ldd` found.
pub(crate) fn llvm(linked: &str) -> Option<(PathBuf, u32)> {
    let (name, path) = linked.lines().find_map(|line| {
        let (name, rest) = line.trim().split_once(" => ")?;
        name.starts_with("libLLVM").then_some((name, rest.split(" (0x").next()?))
    })?;
    // libLLVM.so.22.1, libLLVM.so.22.1-rust-1.95.0-stable, libLLVM-15.so.1
    let major = name.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
    Some((PathBuf::from(path), major.parse().ok()?)).filter(|(path, _)| path.is_absolute())
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ", package]);
    command::text(&mut query).is_ok_and(|status| status.split_whitespace().any(|word| word == "installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LDD: &str = "\tlibLLVM.so.22.1-rust-1.95.0-stable => /a b/lib/libLLVM.so.22.1 (0x00007f)\n\
                       \tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\tlibz3.so.4 => not found\n";

    #[test]
    fn the_missing_are_named() {
        assert_eq!(missing(LDD), ["libz3.so.4"]);
    }

    #[test]
    fn llvm_is_found_with_its_version() {
        assert_eq!(llvm(LDD), Some((PathBuf::from("/a b/lib/libLLVM.so.22.1"), 22)));
        assert_eq!(llvm("\tlibLLVM-15.so.1 => /l/libLLVM-15.so.1 (0x1)\n").unwrap().1, 15);
        assert_eq!(llvm("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(llvm("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n"), None);
    }
}
