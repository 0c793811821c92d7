//! From screen to screen.

use super::{
    super::{
        facts::Row,
        keys::Key,
        screen::{SCREENS, Screen},
    },
    Effect, Mode, Ui,
};

use crate::report::Finding;

impl Ui {
    pub(super) fn back(&mut self) -> Effect {
        if self.mode == Mode::Help {
            self.enter(Mode::Browse)
        } else if let Some(screen) = self.came_from.or(self.screen.back()) {
            self.open(screen)
        } else if !self.filter.is_empty() {
            self.edit(String::clear)
        } else {
            Effect::None
        }
    }

    fn open(&mut self, screen: Screen) -> Effect {
        if self.screen == screen {
            return Effect::None;
        }
        (self.screen, self.came_from) = (screen, None);
        (self.scrolled, self.end) = (0, usize::MAX);
        if let Some(device) = screen.scope()
            && !self.queues.follows(device)
        {
            self.queues.first(self.page());
        }
        let effect = self.arrange();
        if matches!(screen, Screen::Queue(_) | Screen::Layout(_)) {
            // What is looked at closely does not change with the order of a table.
            self.queues.hold(&self.facts);
        }
        effect
    }

    /// Opens a screen by its tab. What is about one queue shows one of the device that is selected or open.
    pub(super) fn go(&mut self, screen: Screen) -> Effect {
        let device = match self.screen {
            Screen::Overview => self.selected().and_then(Row::key).map(|key| key.device),
            other => other.scope(),
        };
        self.open(screen.of(device))
    }

    pub(super) fn jump(&mut self, key: Key) -> Effect {
        match SCREENS.iter().find(|(digit, ..)| key == Key::Char(*digit)) {
            Some(&(_, _, screen)) if screen.place() != self.screen.place() || screen.table().is_none() => {
                self.go(screen)
            }
            // The table of one device becomes that of all.
            Some(&(_, _, screen @ Screen::Queues(_))) => self.open(screen),
            _ => Effect::None,
        }
    }

    pub(super) fn open_selected(&mut self) -> Effect {
        match self.screen {
            Screen::Overview => match self.selected().and_then(Row::key) {
                Some(key) => self.open(Screen::Queues(Some(key.device))),
                None => Effect::None,
            },
            Screen::Queues(device) | Screen::Layout(device) if self.selected().is_some() => {
                self.open(Screen::Queue(device))
            }
            Screen::Queue(_) => self.open_finding_of_queue(),
            Screen::Findings(false) if !self.facts.report.findings.is_empty() => {
                self.open(Screen::Findings(true))
            }
            Screen::Findings(true) => self.open_queue_of_finding(),
            _ => Effect::None,
        }
    }

    /// The finding at this place, in full.
    pub(super) fn open_nth_finding(&mut self, place: usize) -> Effect {
        let Some(finding) = self.facts.report.findings.get(place).cloned() else { return Effect::None };
        self.open_finding(&finding)
    }

    /// The worst finding about the queue that is shown.
    fn open_finding_of_queue(&mut self) -> Effect {
        let worst = self.selected().and_then(|row| row.findings().next()).cloned();
        worst.map_or(Effect::None, |worst| self.open_finding(&worst))
    }

    fn open_finding(&mut self, finding: &Finding) -> Effect {
        let from = self.screen;
        self.findings.choose(finding);
        self.open(Screen::Findings(true));
        self.came_from = Some(from);
        Effect::Redraw
    }

    /// The queue that the chosen finding is about, shown whatever rows are filtered by.
    fn open_queue_of_finding(&mut self) -> Effect {
        let chosen = self.facts.report.findings.get(self.findings.row());
        let place = chosen.and_then(|finding| self.facts.queue_of(finding));
        let Some(key) = place.and_then(|place| self.facts.queue(place).key()) else { return Effect::None };
        let from = self.screen;
        self.queues.choose(key);
        self.open(Screen::Queue(Some(key.device)));
        if self.selected().and_then(Row::key) != Some(key) {
            self.edit(String::clear);
        }
        self.came_from = Some(from);
        Effect::Redraw
    }
}
