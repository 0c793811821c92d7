//! Where a recording is played: the user's wishes, and how they are shown. Arithmetic alone.

/// How far one key goes.
const STEP_S: f64 = 10.0;

/// Doublings of the speed, slowest and fastest.
const SPEEDS: std::ops::RangeInclusive<i32> = -2..=6;

/// What the player is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    /// Stand still, or go on.
    Pause(bool),
    /// So many seconds of the recording a second.
    Speed(f64),
    /// Go to this many seconds since counting began.
    Seek(f64),
}

/// A recording that is being played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    /// Seconds since counting began at the recording's end.
    pub length_s: f64,
    /// It stands still.
    pub paused: bool,
    doublings: i32,
}

impl Timeline {
    /// One that plays as fast as it was recorded.
    pub fn new(length_s: f64) -> Self {
        Self { length_s, paused: false, doublings: 0 }
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
