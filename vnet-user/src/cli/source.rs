//! Where a command takes its records from: `(live) | --trace FILE`.

use std::path::PathBuf;

/// The options that pick a source; flattened into every command that shows one.
#[derive(clap::Args)]
#[command(next_help_heading = "Where it comes from")]
pub(super) struct SourceArgs {
    /// A recording that `vnet record` made, instead of this host now
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// This host, now.
    Live,
    /// A recording.
    Trace(PathBuf),
}

impl SourceArgs {
    /// What was picked.
    pub(super) fn from(self) -> From {
        self.trace.map_or(From::Live, From::Trace)
    }
}
