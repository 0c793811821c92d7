//! Where a recording is played, where findings begin and end in it, and what the user wishes. Arithmetic alone.

use crate::report::Level;

/// How far one key goes.
const STEP_S: f64 = 10.0;

/// Nearer than this to a mark is at it.
const NEAR_S: f64 = 1.5;

/// Doublings of the speed, slowest and fastest.
const SPEEDS: std::ops::RangeInclusive<i32> = -2..=6;

/// What the source is asked for; only a recording is played, and only of this host programs are timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// Stand still, or go on.
    Pause(bool),
    /// So many seconds of the recording a second.
    Speed(f64),
    /// Go to this many seconds since counting began.
    Seek(f64),
    /// Have programs timed, or no longer.
    Time(bool),
}

/// A finding in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// How bad it is.
    pub level: Level,
    /// Seconds since counting began at which it begins.
    pub from: f64,
    /// Likewise, at which it ends; the recording's end where it does not.
    pub to: f64,
}

/// What a part of the recording has of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// There is none.
    Fine,
    /// One or more last.
    Lasts,
    /// One begins; the worst is of this level.
    Begins(Level),
}

/// A recording that is being played.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Seconds since counting began at the recording's end.
    pub length_s: f64,
    /// It stands still.
    pub paused: bool,
    /// Where findings are, by their beginning; `None` while that is being looked up.
    pub marks: Option<Vec<Mark>>,
    doublings: i32,
}

impl Timeline {
    /// One that plays as fast as it was recorded.
    pub fn new(length_s: f64) -> Self {
        Self { length_s, paused: false, marks: None, doublings: 0 }
    }

    /// Seconds of the recording a second.
    pub fn speed(&self) -> f64 {
        f64::from(self.doublings).exp2()
    }

    /// It plays as fast as it was recorded.
    pub fn as_recorded(&self) -> bool {
        self.doublings == 0
    }

    /// Stands still, or goes on.
    pub fn pause(&mut self) -> Ask {
        self.paused = !self.paused;
        Ask::Pause(self.paused)
    }

    /// Twice as fast, or half; `None` at the limit.
    pub fn faster(&mut self, doublings: i32) -> Option<Ask> {
        let new = (self.doublings + doublings).clamp(*SPEEDS.start(), *SPEEDS.end());
        let changed = new != self.doublings;
        self.doublings = new;
        changed.then(|| Ask::Speed(self.speed()))
    }

    /// So many steps on from `now`, within the recording.
    pub fn seek(&self, now: f64, steps: f64) -> Ask {
        Ask::Seek((now + steps * STEP_S).clamp(0.0, self.length_s.max(0.0)))
    }

    /// To where the next finding begins, or the one before; `None` where there is none.
    pub fn seek_mark(&self, now: f64, forward: bool) -> Option<Ask> {
        let mut begins = self.marks.iter().flatten().map(|mark| mark.from);
        // What is shown may be a little before or behind what was asked for.
        let found = if forward {
            begins.find(|from| *from > now + NEAR_S)
        } else {
            begins.rfind(|from| *from < now - NEAR_S)
        };
        found.map(Ask::Seek)
    }

    /// To a column of a bar that is this many wide.
    pub fn seek_column(&self, column: usize, columns: usize) -> Ask {
        Ask::Seek(self.length_s.max(0.0) * (column as f64 + 0.5) / columns.max(1) as f64)
    }

    /// The recording in so many parts of the same length.
    pub fn parts(&self, columns: usize) -> Vec<Part> {
        let at = |seconds: f64| column(seconds, self.length_s, columns);
        let mut parts = vec![Part::Fine; columns];
        for mark in self.marks.iter().flatten() {
            let (from, to) = (at(mark.from), at(mark.to));
            for part in parts.iter_mut().take(to + 1).skip(from).filter(|part| **part == Part::Fine) {
                *part = Part::Lasts;
            }
            if let Some(part) = parts.get_mut(from) {
                *part = match *part {
                    Part::Begins(worse) if worse > mark.level => *part,
                    _ => Part::Begins(mark.level),
                };
            }
        }
        parts
    }

    /// The column of a bar in which it is.
    pub fn column(&self, now: f64, columns: usize) -> usize {
        column(now, self.length_s, columns)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates; clamped just after"
)]
fn column(seconds: f64, length_s: f64, columns: usize) -> usize {
    let part = if length_s > 0.0 { seconds / length_s } else { 0.0 };
    ((part * columns as f64) as usize).min(columns.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked() -> Timeline {
        let mark = |level, from, to| Mark { level, from, to };
        let marks = vec![
            mark(Level::Warning, 20.0, 50.0),
            mark(Level::Critical, 25.0, 30.0),
            mark(Level::Info, 90.0, 100.0),
        ];
        Timeline { marks: Some(marks), ..Timeline::new(100.0) }
    }

    #[test]
    fn findings_begin_last_and_end() {
        let letters = |columns| {
            let letter = |part: &Part| match part {
                Part::Fine => '.',
                Part::Lasts => '=',
                Part::Begins(Level::Info) => 'i',
                Part::Begins(Level::Warning) => 'w',
                Part::Begins(Level::Critical) => 'c',
            };
            marked().parts(columns).iter().map(letter).collect::<String>()
        };
        assert_eq!(letters(20), "....wc=====.......i=");
        assert_eq!(letters(10), "..c===...i", "the worst of two");
        assert_eq!(letters(0), "");
    }

    #[test]
    fn marks_are_walked_both_ways() {
        let timeline = marked();
        assert_eq!(timeline.seek_mark(0.0, true), Some(Ask::Seek(20.0)));
        assert_eq!(timeline.seek_mark(20.2, true), Some(Ask::Seek(25.0)), "not to where it is");
        assert_eq!(timeline.seek_mark(95.0, true), None);
        assert_eq!(timeline.seek_mark(25.0, false), Some(Ask::Seek(20.0)));
        assert_eq!(timeline.seek_mark(5.0, false), None);
        assert_eq!(Timeline::new(100.0).seek_mark(0.0, true), None, "not looked up yet");
    }

    #[test]
    fn a_column_is_a_place_in_time() {
        let timeline = Timeline::new(100.0);
        assert_eq!(timeline.seek_column(0, 10), Ask::Seek(5.0));
        assert_eq!(timeline.seek_column(9, 10), Ask::Seek(95.0));
        assert_eq!([0.0, 5.0, 99.0, 100.0, 1e9].map(|now| timeline.column(now, 10)), [0, 0, 9, 9, 9]);
        assert_eq!(Timeline::new(0.0).column(5.0, 10), 0);
    }

    #[test]
    fn speed_doubles_within_its_limits() {
        let mut timeline = Timeline::new(60.0);
        assert_eq!(timeline.faster(1), Some(Ask::Speed(2.0)));
        assert_eq!(timeline.faster(-1), Some(Ask::Speed(1.0)));
        assert_eq!(
            (timeline.faster(-1), timeline.faster(-1)),
            (Some(Ask::Speed(0.5)), Some(Ask::Speed(0.25)))
        );
        assert_eq!(timeline.faster(-1), None);
        assert_eq!((0..9).filter_map(|_| timeline.faster(1)).last(), Some(Ask::Speed(64.0)));
    }

    #[test]
    fn seeking_stays_within_the_recording() {
        let timeline = Timeline::new(25.0);
        assert_eq!(timeline.seek(3.0, -1.0), Ask::Seek(0.0));
        assert_eq!(timeline.seek(3.0, 1.0), Ask::Seek(13.0));
        assert_eq!(timeline.seek(20.0, 1.0), Ask::Seek(25.0));
    }
}
