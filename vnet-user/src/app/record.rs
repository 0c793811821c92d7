//! `vnet record`: this host into a file.

use std::{future, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use vnet::{
    live::Options,
    record::Record,
    report::format::si,
    state::State,
    trace::{Recording, Status},
};

use super::{Interrupted, Source, fold, note, progress::Progress};
use crate::cli::{RecordOptions, SourceFrom};

/// Records until the time is over or a signal comes.
pub(super) async fn run(options: Options, record: &RecordOptions, verbose: bool) -> Result<ExitCode> {
    let path = record.output.display();
    let mut interrupted = Interrupted::new()?;
    // Before anything is loaded: where nothing can be written there is nothing to load it for.
    let mut recording = match Recording::create(&record.output, record.retain) {
        Ok(recording) => recording,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{path} exists, and a recording replaces nothing: delete it or name another file")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {path}")),
    };
    let mut source = match Source::open(&SourceFrom::Live, options) {
        Ok(source) => source,
        Err(error) => {
            let _ = std::fs::remove_file(&record.output);
            return Err(error);
        }
    };
    let end = record.duration.map(|duration| Instant::now() + duration);
    let full = || format!("{path} is whole up to here, and incomplete");
    let mut progress = Progress::new();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        tokio::select! {
            biased;
            () = until(end) => break,
            () = interrupted.recv() => break,
            records = source.next() => {
                let records = records?;
                recording.push(&records).with_context(full)?;
                if std::mem::take(&mut first) {
                    began(&records, verbose);
                }
            }
            _ = second.tick() => {
                recording.tick().with_context(full)?;
                progress.say(|| line(recording.status(), end));
            }
        }
    }
    let mut rest = Vec::new();
    source.finish(|record| rest.push(record.clone())).await?;
    drop(progress);
    recording.push(&rest).with_context(full)?;
    let status = recording.finish().with_context(full)?;
    note(format_args!("{path}: {} records, {} bytes{}", status.records, status.bytes, dropped(status)));
    Ok(ExitCode::SUCCESS)
}

/// Says that counting has begun.
fn began(records: &[Record], verbose: bool) {
    let mut state = State::default();
    fold(&mut state, records);
    super::announce(&state.report(), verbose);
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => future::pending().await,
    }
}

fn line(status: Status, end: Option<Instant>) -> String {
    let left = end.map(|end| end.saturating_duration_since(Instant::now()).as_secs_f64().ceil());
    let left = left.map(|left| format!(", {left} s left")).unwrap_or_default();
    let (records, bytes) = (si(status.records as f64), si(status.bytes as f64));
    format!("{records} records, {bytes}B{}{left} (Ctrl-C ends it)", dropped(status))
}

fn dropped(status: Status) -> &'static str {
    if status.dropped > 0 { ", oldest part dropped" } else { "" }
}
