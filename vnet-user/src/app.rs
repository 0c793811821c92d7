//! Wires one source to the outputs.

mod marks;
mod notify;
mod output;
mod play;
mod progress;
mod record;
mod rules;
mod serve;
mod source;
mod trace;

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    runtime,
    signal::unix::{self, SignalKind},
    sync::{mpsc, watch},
    time::{Instant, interval, sleep_until},
};
use vnet::{
    live::{Options, prereq},
    record::Record,
    report::{Report, doctor, json, text},
    state::State,
    tui::{self, Playback, Timeline, TuiOptions},
};

use crate::cli::{Action, Command, Format, ReportOptions, SourceFrom};
use output::Output;
use progress::Progress;
use source::Source;

pub(crate) use serve::ServeOptions;

/// Does what is asked for.
///
/// # Errors
/// Anything that kept it from being done; the chain says what, where and what to do.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        bail!("this machine is not x86-64, the only kind that vnet can measure for now");
    }
    // A heap of a few megabytes would be rounded up to huge pages, at a time of the kernel's choosing.
    let _ = rustix::thread::disable_transparent_huge_pages(true); // without them as well
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the event loop")?;
    let options = Options {
        interval: command.interval,
        filter: command.filter,
        probe_stats: command.probe_stats,
        without: Vec::new(),
    };
    runtime.block_on(async {
        match command.action {
            Action::Top(show) => {
                let state = State::new(rules::thresholds(show.thresholds.as_deref())?);
                top(&show.source, options, state).await
            }
            Action::Record(record) => record::run(options, &record, command.verbose).await,
            Action::Trace(trace) => trace::run(options.filter, &trace),
            Action::PrintConfig(text) => {
                Output::Stdout.write(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Serve(serve) => serve::serve(options, &serve, command.verbose).await,
            Action::Report(report) => measure(options, &report, command.verbose).await,
            Action::Rules(action) => rules::tell(action),
            Action::Doctor => diagnose(options).await,
        }
    })
}

/// Says something on stderr that is no error. That nobody can read it is no error either.
fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "vnet: {text}");
}

async fn measure(options: Options, report: &ReportOptions, verbose: bool) -> Result<ExitCode> {
    let output = Output::prepare(report.output.as_deref())?;
    let mut state = State::new(rules::thresholds(report.thresholds.as_deref())?);
    match report.source {
        SourceFrom::Live => state = watch_host(state, options, report, verbose).await?,
        // Nothing has to be waited for.
        SourceFrom::Trace(_) | SourceFrom::Demo => {
            Source::open(&report.source, options)?.finish(|record| state.apply(record)).await?;
        }
    }
    if state.regressions() > 0 {
        note(format_args!(
            "{} counts went backwards and their larger values were kept: please report this",
            state.regressions()
        ));
    }
    finish(&state.report(), report, output)
}

/// Measures this host for as long as was asked for, or until a signal comes.
async fn watch_host(state: State, options: Options, report: &ReportOptions, verbose: bool) -> Result<State> {
    let mut interrupted = Interrupted::new()?;
    let mut source = Source::open(&SourceFrom::Live, options)?;
    let end = Instant::now() + report.duration;
    let mut progress = Progress::new();
    let until = async {
        tokio::select! {
            () = sleep_until(end) => {}
            () = interrupted.recv() => {}
        }
    };
    observe(state, &mut source, until, |state, fresh| {
        if fresh {
            announce(&state.report(), verbose);
        } else if progress.wanted() {
            progress.show(&state.report(), end.saturating_duration_since(Instant::now()));
        }
    })
    .await
}

/// Folds what the source yields until `until` is ready, and its end. `seen` is called after the first records (with
/// true), then with every change and every second.
async fn observe(
    mut state: State,
    source: &mut Source,
    until: impl Future<Output = ()>,
    mut seen: impl FnMut(&mut State, bool),
) -> Result<State> {
    fold(&mut state, &source.next().await?);
    seen(&mut state, true);
    let mut until = pin!(until);
    let mut second = interval(Duration::from_secs(1));
    'observing: loop {
        let mut next = pin!(source.next());
        loop {
            tokio::select! {
                biased;
                () = &mut until => break 'observing,
                records = &mut next => {
                    fold(&mut state, &records?);
                    seen(&mut state, false);
                    break;
                }
                _ = second.tick() => seen(&mut state, false),
            }
        }
    }
    source.finish(|record| state.apply(record)).await?;
    Ok(state)
}

fn fold(state: &mut State, records: &[Record]) {
    for record in records {
        state.apply(record);
    }
}

/// Says that counting has begun, and when asked how.
fn announce(report: &Report, verbose: bool) {
    let mut err = io::stderr().lock();
    // As for a note: nobody has to read it.
    let _ = match &report.source.started {
        Some(started) => writeln!(err, "counting since {started}"),
        None => Ok(()),
    };
    if verbose {
        let _ = doctor::signals(report, &mut err);
    }
}

fn finish(report: &Report, options: &ReportOptions, output: Output) -> Result<ExitCode> {
    let mut bytes = Vec::new();
    match options.format {
        Format::Text => text::write(report, options.all, &mut bytes),
        Format::Json => json::write(report, &mut bytes),
    }
    .context("cannot write the report")?;
    output.write(&bytes)?;
    let found = |level| report.findings.iter().any(|finding| finding.level >= level);
    Ok(if options.fail_on.is_some_and(found) { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

async fn diagnose(options: Options) -> Result<ExitCode> {
    let problems: Vec<_> = prereq::check().into_iter().map(|problem| problem.sentence).collect();
    let mut bytes = Vec::new();
    doctor::prerequisites(&problems, &mut bytes).context("cannot write the diagnosis")?;
    Output::Stdout.write(&bytes)?;
    let mut source = Source::open(&SourceFrom::Live, options)?;
    let mut state = State::default();
    fold(&mut state, &source.next().await?);
    drop(source);
    bytes.clear();
    doctor::write(&state.report(), &mut bytes).context("cannot write the diagnosis")?;
    Output::Stdout.write(&bytes)?;
    Ok(ExitCode::SUCCESS)
}

async fn top(from: &SourceFrom, options: Options, mut state: State) -> Result<ExitCode> {
    // Before anything is loaded: without a terminal there is nothing to load it for.
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!("vnet top needs a terminal; use vnet report instead");
    }
    let filter = options.filter.clone();
    let mut source = Source::open(from, options)?;
    fold(&mut state, &source.next().await?);
    let (sender, receiver) = watch::channel(Arc::new(state.report()));
    let (asked, mut asks) = mpsc::unbounded_channel();
    let length = source.length_s();
    let playback = length.map(|length| {
        let marks = marks::look_up(from, &filter, state.anew());
        Playback { timeline: Timeline::new(length), marks }
    });
    let feed = async {
        loop {
            // A sample of this host that is under way is not given up for a wish.
            while let Ok(ask) = asks.try_recv() {
                source.ask(ask, &mut state)?;
            }
            tokio::select! {
                Some(ask) = asks.recv(), if length.is_some() => source.ask(ask, &mut state)?,
                records = source.next() => fold(&mut state, &records?),
            }
            sender.send_replace(Arc::new(state.report()));
        }
    };
    let exit = tokio::select! {
        exit = tui::run(receiver, TuiOptions::from_env(), asked, playback) => exit?,
        // The screen is dropped, and with it restored, before this is told.
        failed = feed => return failed,
    };
    Ok(match exit {
        tui::Exit::Panicked => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    })
}

/// The signals that end a measurement early.
struct Interrupted {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Interrupted {
    fn new() -> Result<Self> {
        let listen = |kind| unix::signal(kind).context("cannot listen to signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
