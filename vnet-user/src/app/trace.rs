//! `vnet trace`: looking into a recording.

use std::process::ExitCode;

use anyhow::Result;
use vnet::{
    filter::Filter,
    perfetto::Perfetto,
    record::Record,
    state::State,
    trace::{Replay, export, info::Summary},
};

use super::{note, output::Output};
use crate::cli::{To, TraceAction, TraceOptions};

/// Does what is asked for with a recording.
pub(super) fn run(filter: Filter, options: &TraceOptions) -> Result<ExitCode> {
    let mut replay = Replay::open(&options.file, filter)?.as_recorded();
    match &options.what {
        TraceAction::Info => {
            let mut summary = Summary::default();
            replay.by_ref().for_each(|record| summary.take(&record));
            let seen = replay.seen();
            Output::Stdout.fill(|out| summary.write(seen, out))
        }
        TraceAction::Dump => {
            Output::Stdout.fill(|out| replay.try_for_each(|record| export::text::write(&record, out)))
        }
        TraceAction::Export(To::Ndjson, output) => Output::prepare(output.as_deref())?
            .fill(|out| replay.try_for_each(|record| export::ndjson::write(&record, out))),
        TraceAction::Export(To::Perfetto, output) => {
            let (mut state, mut perfetto) = (State::default(), Perfetto::default());
            Output::prepare(output.as_deref())?.fill(|out| {
                replay.try_for_each(|record| {
                    state.apply(&record);
                    // Rates are of the interval that a sample ends.
                    let sample = matches!(record, Record::Sample(_));
                    if sample { perfetto.write(&state.report(), out) } else { Ok(()) }
                })
            })
        }
    }?;
    replay.problems().into_iter().for_each(note);
    Ok(ExitCode::SUCCESS)
}
