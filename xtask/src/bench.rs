//! Measures what counting costs.

use anyhow::{Result, bail};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The measurement: `probes`
    what: String,
}

/// Runs the measurement.
pub(crate) fn run(args: &Args) -> Result<()> {
    bail!("the measurement `{}` is not written yet", args.what)
}
