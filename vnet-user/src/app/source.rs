//! The source that a command reads: the command picks the output, an option picks the source.

use anyhow::Result;
use vnet::{
    live::{Live, Options},
    record::Record,
    state::State,
    topology::DeviceKey,
    tui::Ask,
};

use super::play::Played;
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
            SourceFrom::Trace(_) | SourceFrom::Demo => {
                Ok(Self::Trace(Box::new(Played::new(from.clone(), options.filter)?)))
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

    /// Does what the user of the screen asks for, as far as this source can.
    ///
    /// # Errors
    /// The recording can no longer be read.
    pub(crate) fn ask(&mut self, ask: Ask, state: &mut State) -> Result<()> {
        match (self, ask) {
            (Self::Trace(played), ask) => played.ask(ask, state)?,
            // A kernel that times no programs leaves unknown what they cost, and the screen says so.
            (Self::Live(live), Ask::Time(wanted)) => drop(live.time(wanted)),
            _ => {}
        }
        Ok(())
    }

    /// Seconds since counting began at its end; `None` where that is not known yet.
    pub(crate) fn length_s(&self) -> Option<f64> {
        if let Self::Trace(played) = self { Some(played.length_s()) } else { None }
    }

    /// Forgets devices that are gone for good, for an observation without an end; see [`Live::forget_gone`].
    pub(crate) fn forget_gone(&mut self) -> Vec<DeviceKey> {
        match self {
            Self::Live(live) => live.forget_gone(),
            Self::Trace(_) => Vec::new(),
            #[cfg(test)]
            Self::Records(_) => Vec::new(),
        }
    }

    /// Hands on all that is left, without waiting for its time: of this host the last sample and the end, of a recording
    /// its rest. What is wrong with the recording is told on stderr.
    ///
    /// # Errors
    /// As [`Live::finish`].
    pub(crate) async fn finish(&mut self, each: impl FnMut(&Record)) -> Result<()> {
        match self {
            Self::Live(live) => live.finish().await?.iter().for_each(each),
            Self::Trace(played) => played.rest(each),
            #[cfg(test)]
            Self::Records(records) => records.drain(..).flatten().collect::<Vec<_>>().iter().for_each(each),
        }
        Ok(())
    }
}
