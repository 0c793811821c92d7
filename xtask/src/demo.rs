//! Makes the recording that `--demo` opens, anew.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{build, command, paths, progress};

/// How long it is, in seconds.
const SECONDS: &str = "90";

/// Builds vnet, then records real taps of this host's kernel with a bad layout: `vnet-user/examples/demo.rs`.
pub(crate) fn run(verbose: bool) -> Result<()> {
    let program = build::program(verbose)?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let recording = folder.path().join("demo.vnet");
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root());
    cargo.args([
        "run",
        "--locked",
        "--quiet",
        "--release",
        "--package",
        "vnet-user",
        "--example",
        "demo",
        "--",
    ]);
    cargo.arg(program).arg(&recording).arg(SECONDS);
    progress::step("record real taps for 90 s", || command::run(&mut cargo, verbose))
        .context("nothing could be recorded: it needs root and /dev/net/tun")?;
    let demo = paths::root().join("vnet-user/demo/demo.vnet");
    std::fs::copy(&recording, &demo).with_context(|| format!("cannot write {}", demo.display()))?;
    println!("{}", demo.display());
    Ok(())
}
