//! Builds the program with the probes inside.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, ebpf, paths, progress};

/// Builds all and says where the program is.
pub(crate) fn run(verbose: bool) -> Result<()> {
    println!("{}", program(verbose)?.display());
    Ok(())
}

/// Path of `target/release/vnet`, built now with the probes inside.
///
/// # Errors
/// When the probes or the program do not build.
pub(crate) fn program(verbose: bool) -> Result<PathBuf> {
    let object = ebpf::object(&ebpf::Args::default(), verbose)?;
    let mut cargo = Command::new(paths::cargo());
    cargo
        .current_dir(paths::root())
        .args(["build", "--locked", "--release", "--package", "vnet-user"])
        .env("VNET_BPF_OBJECT", object);
    progress::step("build vnet", || command::run(&mut cargo, verbose)).context("vnet does not build")?;
    Ok(paths::target().join("release/vnet"))
}
