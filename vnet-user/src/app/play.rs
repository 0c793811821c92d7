//! A recording, played at the speed at which it was made or another.

use std::{mem, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep_until};
use vnet::{
    filter::Filter,
    record::{Nanos, Record},
    state::State,
    trace::Replay,
    tui::Ask,
};

use crate::cli::SourceFrom;

/// A recording that is being played.
pub(crate) struct Played {
    from: SourceFrom,
    filter: Filter,
    replay: Replay,
    /// What comes next, once its time has come.
    ahead: Vec<Record>,
    /// An instant of the recording, and when it was or will be; set by the first sample.
    anchor: Option<(Nanos, Instant)>,
    speed: f64,
    paused: bool,
}

impl Played {
    /// Opens a recording.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn new(from: SourceFrom, filter: Filter) -> Result<Self> {
        let replay = open(&from, filter.clone())?;
        Ok(Self { from, filter, replay, ahead: Vec::new(), anchor: None, speed: 1.0, paused: false })
    }

    /// Seconds since counting began at its end.
    pub(super) fn length_s(&self) -> f64 {
        self.replay.length().seconds()
    }

    /// The next records, when their time has come. Never ends: when it is over it stays as it was.
    pub(super) async fn next(&mut self) -> Vec<Record> {
        if self.ahead.is_empty() {
            self.ahead = self.replay.batch();
        }
        if self.ahead.is_empty() || self.paused {
            std::future::pending::<()>().await;
        }
        if let Some(at) = instant(&self.ahead) {
            let (mark, when) = *self.anchor.get_or_insert((at, Instant::now()));
            let wait = Nanos(at.0.saturating_sub(mark.0)).seconds() / self.speed;
            // What is longer than a timer can wait never comes.
            sleep_until(when + Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX / 4)).await;
        }
        mem::take(&mut self.ahead)
    }

    /// Hands on all that is left at once, and tells on stderr what is wrong with it.
    pub(super) fn rest(&mut self, mut each: impl FnMut(&Record)) {
        self.ahead.drain(..).for_each(|record| each(&record));
        self.replay.by_ref().for_each(|record| each(&record));
        self.replay.problems().into_iter().for_each(super::note);
    }

    /// Does what the user asks for; `state` is what was told so far.
    ///
    /// # Errors
    /// The recording can no longer be read.
    pub(super) fn ask(&mut self, ask: Ask, state: &mut State) -> Result<()> {
        match ask {
            Ask::Seek(seconds) => self.seek(seconds, state)?,
            Ask::Speed(speed) => {
                self.anchor = self.now();
                self.speed = speed;
            }
            Ask::Pause(paused) => {
                self.anchor = self.now();
                self.paused = paused;
            }
            Ask::Time(_) => {}
        }
        Ok(())
    }

    /// Where it is now, and that it is now.
    fn now(&self) -> Option<(Nanos, Instant)> {
        let (mark, when) = self.anchor?;
        let passed = if self.paused { 0.0 } else { when.elapsed().as_secs_f64() * self.speed };
        Some((Nanos(mark.0.saturating_add(nanos(passed).0)), Instant::now()))
    }

    /// Begins anew and reads on to there: what is shown is what it would be had it been played.
    fn seek(&mut self, seconds: f64, state: &mut State) -> Result<()> {
        let target = nanos(seconds);
        self.replay = open(&self.from, self.filter.clone())?;
        *state = state.anew();
        let mut first = true;
        loop {
            self.ahead = self.replay.batch();
            // The first sample is shown in any case: before it nothing is known.
            if self.ahead.is_empty() || !first && instant(&self.ahead).is_some_and(|at| at > target) {
                break;
            }
            first &= instant(&self.ahead).is_none();
            self.ahead.iter().for_each(|record| state.apply(record));
        }
        self.anchor = Some((target, Instant::now()));
        Ok(())
    }
}

pub(super) fn open(from: &SourceFrom, filter: Filter) -> Result<Replay> {
    match from {
        SourceFrom::Trace(path) => Replay::open(path, filter),
        SourceFrom::Demo => Replay::demo(filter),
        SourceFrom::Live => bail!("this host is not a recording"),
    }
}

/// What is negative, or longer than a recording can be, is the nearest that can be.
fn nanos(seconds: f64) -> Nanos {
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn instant(records: &[Record]) -> Option<Nanos> {
    records.iter().find_map(|record| match record {
        Record::Sample(sample) => Some(sample.at),
        _ => None,
    })
}
