//! Builds vnet and shows this host's queues.

use std::ffi::OsString;
use std::io::{IsTerminal as _, stdin, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{build, command, progress};

/// What vnet is started with.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Options of `vnet top`, as `-- --device 'tap*'`
    #[arg(last = true)]
    options: Vec<OsString>,
}

/// Builds, then becomes `vnet top`; without a terminal `vnet report`, which needs none.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<()> {
    let program = build::program(verbose)?;
    let mut vnet = Command::new(&program);
    command::scrub(&mut vnet);
    if stdin().is_terminal() && stdout().is_terminal() {
        vnet.arg("top");
    } else {
        progress::note("this is no terminal: a report of 5 seconds instead of the live screen");
        vnet.args(["report", "--for", "5s"]);
    }
    let error = vnet.args(&args.options).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
