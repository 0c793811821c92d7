//! `vnet trace`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

pub(super) const EXAMPLES: &str = "\
Examples:
  vnet trace info r.vnet                        what is in it, and whether it is whole
  vnet trace dump r.vnet                        every record as text
  vnet trace export r.vnet | jq 'select(.record == \"sample\") | .at_ns'
  vnet trace export r.vnet --to perfetto -o r.pftrace     open it with ui.perfetto.dev";

/// What is done with the file. All read it from its beginning to its end.
#[derive(Subcommand)]
pub(super) enum TraceVerb {
    /// Tell what a recording holds, and whether it is whole
    Info(FileArgs),
    /// Print its records as text
    Dump(FileArgs),
    /// Write its records for other programs
    Export(ExportArgs),
}

#[derive(clap::Args)]
pub(super) struct FileArgs {
    /// The recording
    file: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// The recording
    file: PathBuf,
    /// Format
    #[arg(long, value_enum, default_value_t = To::Ndjson)]
    to: To,
    /// File to write, `-` for standard output; replaced whole, or left as it was
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

// Plain comments below: clap prints documentation of values, and with it a help of twice the length.
/// For whom a recording is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    // One JSON object per line.
    Ndjson,
    // What ui.perfetto.dev opens.
    Perfetto,
}

/// What to do with a recording.
#[derive(Debug)]
pub(crate) struct TraceOptions {
    /// The file.
    pub(crate) file: PathBuf,
    /// What.
    pub(crate) what: TraceAction,
}

/// What is done with a recording.
#[derive(Debug)]
pub(crate) enum TraceAction {
    /// Tell what it holds.
    Info,
    /// Print it.
    Dump,
    /// Write it for another program, to a file or standard output.
    Export(To, Option<PathBuf>),
}

impl From<TraceVerb> for TraceOptions {
    fn from(typed: TraceVerb) -> Self {
        match typed {
            TraceVerb::Info(FileArgs { file }) => Self { file, what: TraceAction::Info },
            TraceVerb::Dump(FileArgs { file }) => Self { file, what: TraceAction::Dump },
            TraceVerb::Export(ExportArgs { file, to, output }) => {
                let output = Some(output).filter(|path| path.as_os_str() != "-");
                Self { file, what: TraceAction::Export(to, output) }
            }
        }
    }
}
