//! Builds vnet and shows this host's queues, or a recording where they cannot be measured.

use std::ffi::OsString;
use std::io::{IsTerminal as _, stdin, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
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

/// Builds, then becomes `vnet top`; without a terminal `vnet report`, which needs none. Where nothing can be measured it shows
/// the recording that is part of vnet, and says why.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<()> {
    let program = build::program(verbose)?;
    let mut vnet = Command::new(&program);
    command::scrub(&mut vnet);
    let obstacle = obstacle(&program)?;
    if stdin().is_terminal() && stdout().is_terminal() {
        vnet.arg("top");
    } else if obstacle.is_some() {
        vnet.arg("report");
    } else {
        progress::note("this is no terminal: a report of 5 seconds instead of the live screen");
        vnet.args(["report", "--for", "5s"]);
    }
    if let Some(why) = obstacle {
        progress::note(format_args!("this host cannot be measured, so this is a recording: {why}"));
        vnet.arg("--demo");
    }
    let error = vnet.args(&args.options).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Why this host cannot be measured, in vnet's own words; `None` where it can.
fn obstacle(program: &Path) -> Result<Option<String>> {
    let mut doctor = Command::new(program);
    command::scrub(&mut doctor);
    let output =
        doctor.arg("doctor").output().with_context(|| format!("cannot start {}", program.display()))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().last().unwrap_or("vnet doctor does not say why");
    Ok(Some(why.trim_start_matches("vnet: ").to_owned()))
}
