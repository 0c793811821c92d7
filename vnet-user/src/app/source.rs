//! The source that a command reads: the command picks the output, an option picks the source.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep_until};
use vnet::{
    live::{Live, Options},
    record::{Nanos, Record},
    trace::Replay,
};

use crate::cli::SourceFrom;

/// Any source.
pub(crate) enum Source {
    /// This host.
    Live(Box<Live>),
    /// A recording.
    Trace(Box<Played>),
    /// Prepared records, to test what is done with them.
    #[cfg(test)]
    Records(std::collections::VecDeque<Vec<Record>>),
}

/// A recording that is played as fast as it was made.
pub(crate) struct Played {
    replay: Replay,
    /// What comes next, once its time has come.
    ahead: Vec<Record>,
    /// When the first sample was told, and its instant.
    began: Option<(Instant, Nanos)>,
}

impl Source {
    /// Opens what the user picked. What is not as it should be is told on stderr.
    ///
    /// # Errors
    /// This host cannot be measured, or the recording not read; says what to do about it.
    pub(crate) fn open(from: &SourceFrom, options: Options) -> Result<Self> {
        match from {
            SourceFrom::Live => {
                let live = Live::start(options)?;
                for problem in live.problems() {
                    super::note(problem);
                }
                Ok(Self::Live(Box::new(live)))
            }
            SourceFrom::Trace(path) => {
                let replay = Replay::open(path, options.filter)?;
                Ok(Self::Trace(Box::new(Played { replay, ahead: Vec::new(), began: None })))
            }
        }
    }

    /// The next records, when their time has come: those that say what the source is first, then a sample at a time. Never
    /// ends: a recording that is over stays as it was. See [`Live::next`].
    ///
    /// # Errors
    /// As [`Live::next`].
    pub(crate) async fn next(&mut self) -> Result<Vec<Record>> {
        match self {
            Self::Live(live) => live.next().await,
            Self::Trace(played) => Ok(played.next().await),
            #[cfg(test)]
            Self::Records(records) => match records.pop_front() {
                Some(records) => Ok(records),
                None => std::future::pending().await,
            },
        }
    }

    /// Hands on all that is left, without waiting for its time: of this host the last sample and the end, of a recording
    /// its rest. What is wrong with the recording is told on stderr.
    ///
    /// # Errors
    /// As [`Live::finish`].
    pub(crate) async fn finish(&mut self, mut each: impl FnMut(&Record)) -> Result<()> {
        match self {
            Self::Live(live) => live.finish().await?.iter().for_each(each),
            Self::Trace(played) => {
                played.ahead.drain(..).for_each(|record| each(&record));
                played.replay.by_ref().for_each(|record| each(&record));
                played.replay.problems().into_iter().for_each(super::note);
            }
            #[cfg(test)]
            Self::Records(records) => records.drain(..).flatten().for_each(|record| each(&record)),
        }
        Ok(())
    }
}

impl Played {
    async fn next(&mut self) -> Vec<Record> {
        if self.ahead.is_empty() {
            self.ahead = self.replay.batch();
        }
        let sample = self.ahead.iter().find_map(|record| match record {
            Record::Sample(sample) => Some(sample.at),
            _ => None,
        });
        if let Some(at) = sample {
            let (began, first) = *self.began.get_or_insert((Instant::now(), at));
            sleep_until(began + Duration::from_nanos(at.0.saturating_sub(first.0))).await;
        }
        if self.ahead.is_empty() {
            std::future::pending::<()>().await;
        }
        std::mem::take(&mut self.ahead)
    }
}
