//! What probes cost while somebody looks.

use std::sync::Arc;

use super::{super::screen::Screen, Ui};
use crate::report::Report;

impl Ui {
    /// Programs are to be timed: what they cost is on the screen.
    pub fn wants_costs(&self) -> bool {
        self.screen == Screen::Probes
    }

    /// Share of a core that the program behind this signal took while the screen with it was open, 0 to 1; `None` where it was not timed.
    pub fn core(&self, signal: &str) -> Option<f64> {
        let spent = |report: &Report| report.probes.iter().find(|probe| probe.signal == signal)?.run_seconds;
        let (from, now) = (self.costs_from.as_ref()?, &self.facts.report);
        let seconds = now.source.duration_s - from.source.duration_s;
        (seconds > 0.0).then(|| Some((spent(now)? - spent(from)?).max(0.0) / seconds))?
    }

    /// Programs may be timed only since the screen was opened, and a recording may have gone back: begins anew where it has to.
    pub(super) fn follow_costs(&mut self) {
        let now = &self.facts.report;
        let timed = now.probes.iter().any(|probe| probe.run_seconds.is_some());
        let holds = |from: &Arc<Report>| from.source.duration_s <= now.source.duration_s;
        self.costs_from = match self.costs_from.take() {
            _ if !timed || !self.wants_costs() => None,
            Some(from) if holds(&from) => Some(from),
            _ => Some(Arc::clone(now)),
        };
    }
}
