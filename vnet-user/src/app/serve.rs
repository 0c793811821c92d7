//! `vnet serve`: a source, folded as it goes, and an exporter of what is known.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, sync::watch};
use vnet::{
    export::{Exporter, PerQueue, Web},
    live::Options,
    state::State,
};

use super::{Interrupted, announce, fold, note, notify::Supervisor, rules, source::Source};
use crate::cli::SourceFrom;

/// How and to whom to answer.
#[derive(Debug)]
pub(crate) struct ServeOptions {
    /// Where numbers come from.
    pub(crate) source: SourceFrom,
    /// File with thresholds; `None` is the defaults.
    pub(crate) thresholds: Option<PathBuf>,
    /// Where.
    pub(crate) listen: SocketAddr,
    /// Which devices have series per queue pair.
    pub(crate) per_queue: PerQueue,
    /// A file that says who may ask, and with which certificate to answer.
    pub(crate) web: Option<PathBuf>,
}

/// Answers until a signal ends it.
pub(super) async fn serve(options: Options, serve: &ServeOptions, verbose: bool) -> Result<ExitCode> {
    // Before anything is loaded: without an address there is nothing to load it for.
    let listener = TcpListener::bind(serve.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", serve.listen))?;
    let web = serve.web.as_deref().map(Web::read).transpose()?.unwrap_or_default();
    let scheme = web.scheme();
    let mut interrupted = Interrupted::new()?;
    let supervisor = Supervisor::from_env();
    let interval = options.interval;
    let mut state = State::new(rules::thresholds(serve.thresholds.as_deref())?);
    let mut source = Source::open(&serve.source, options)?;
    fold(&mut state, &source.next().await?);
    let report = state.report();
    announce(&report, verbose);
    let (sender, receiver) = watch::channel(Arc::new(report));
    let exporter = Exporter::new(receiver, serve.per_queue, interval, web)?;
    note(format_args!("listening at {scheme}://{}/", listener.local_addr().context("no address")?));
    supervisor.tell("READY=1");
    let feed = async {
        loop {
            fold(&mut state, &source.next().await?);
            sender.send_replace(Arc::new(state.report()));
            state.forget(&source.forget_gone());
            supervisor.alive();
        }
    };
    let stop = async {
        interrupted.recv().await;
        supervisor.tell("STOPPING=1");
    };
    tokio::select! {
        done = exporter.serve(listener, stop) => done.map(|()| ExitCode::SUCCESS),
        failed = feed => failed,
    }
}
