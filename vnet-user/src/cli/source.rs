//! Where a command takes its records from: `(live) | --trace FILE | --demo`.

use std::path::PathBuf;

/// The options that pick a source; flattened into every command that shows one.
#[derive(clap::Args)]
#[command(next_help_heading = "Where it comes from")]
pub(super) struct SourceArgs {
    /// A recording that `vnet record` made, instead of this host now
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// A recording of a bad layout that is part of vnet
    #[arg(long, conflicts_with = "trace")]
    demo: bool,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// This host, now.
    Live,
    /// A recording.
    Trace(PathBuf),
    /// The recording that is part of the program.
    Demo,
}

impl SourceArgs {
    /// What was picked.
    pub(super) fn from(self) -> From {
        match self.trace {
            Some(path) => From::Trace(path),
            None if self.demo => From::Demo,
            None => From::Live,
        }
    }
}
