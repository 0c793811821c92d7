//! A recording that is being played.

use super::{
    super::timeline::{Ask, Mark, Timeline},
    Effect, Ui,
};

impl Ui {
    /// The same of a recording that is being played.
    #[must_use]
    pub fn playing(self, timeline: Timeline) -> Self {
        Self { timeline: Some(timeline), ..self }
    }

    /// The recording that is being played.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Where findings are in the recording.
    pub fn marks(&mut self, marks: Vec<Mark>) -> Effect {
        let Some(timeline) = &mut self.timeline else { return Effect::None };
        timeline.marks = Some(marks);
        Effect::Redraw
    }

    pub(super) fn seek(&self, steps: f64) -> Effect {
        self.ask(|timeline, now| Some(timeline.seek(now, steps)))
    }

    pub(super) fn seek_mark(&self, forward: bool) -> Effect {
        self.ask(|timeline, now| timeline.seek_mark(now, forward))
    }

    pub(super) fn ask(&self, wish: impl FnOnce(&Timeline, f64) -> Option<Ask>) -> Effect {
        let now = self.latest().source.duration_s;
        self.timeline.as_ref().and_then(|timeline| wish(timeline, now)).map_or(Effect::None, Effect::Ask)
    }

    pub(super) fn faster(&mut self, doublings: i32) -> Effect {
        self.timeline
            .as_mut()
            .and_then(|timeline| timeline.faster(doublings))
            .map_or(Effect::None, Effect::Ask)
    }
}
