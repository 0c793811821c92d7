//! The state of the screen: a key or a report in, an effect out. No terminal, no clock, no I/O.

mod cost;
mod mouse;
mod open;
mod play;

use std::sync::Arc;

use super::{
    chart::SPANS,
    columns::{self, Table},
    facts::{Facts, Row},
    findings::Chosen,
    keys::{Action, Context, Key, action},
    layout,
    list::List,
    screen::{SCREENS, Screen},
    timeline::{Ask, Timeline},
};
use crate::report::Report;

/// Longest filter, in characters.
const FILTER_LONGEST: usize = 64;

/// What the caller does after a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Nothing changed.
    None,
    /// Draw.
    Redraw,
    /// Tell the player of the recording, and draw.
    Ask(Ask),
    /// Forget what the terminal shows and draw.
    Repaint,
    /// Give the terminal back and stop the process until it is continued.
    Suspend,
    /// End.
    Quit,
}

/// What keys mean beside the open screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The screen's keys.
    Browse,
    /// The filter is being typed.
    Filter,
    /// The help is open.
    Help,
}

/// The state of the screen.
#[derive(Clone, Debug)]
pub struct Ui {
    facts: Facts,
    /// Report that came while paused; `facts` stays.
    newer: Option<Arc<Report>>,
    paused: bool,
    /// What is shown is a recording being played.
    timeline: Option<Timeline>,
    mode: Mode,
    screen: Screen,
    /// Where Esc goes to instead of what is usual.
    came_from: Option<Screen>,
    /// Lines above the first in view, on a screen without a table.
    scrolled: usize,
    /// Lines that it can be scrolled by, as it was drawn last.
    end: usize,
    /// Place in [`SPANS`].
    zoom: usize,
    /// The report from which on costs of probes are counted.
    costs_from: Option<Arc<Report>>,
    filter: String,
    devices: List,
    queues: List,
    findings: Chosen,
    size: (u16, u16),
}

impl Ui {
    /// Opens on the overview.
    pub fn new(report: Arc<Report>, width: u16, height: u16) -> Self {
        let mut ui = Self {
            facts: Facts::new(report),
            newer: None,
            paused: false,
            timeline: None,
            mode: Mode::Browse,
            screen: Screen::Overview,
            came_from: None,
            scrolled: 0,
            end: usize::MAX,
            zoom: 1,
            costs_from: None,
            filter: String::new(),
            devices: List::new(Table::Devices),
            queues: List::new(Table::Queues),
            findings: Chosen::default(),
            size: (width, height),
        };
        ui.arrange();
        ui
    }

    /// What is shown.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is known; newer than what is shown while paused.
    pub fn latest(&self) -> &Report {
        self.newer.as_ref().unwrap_or(&self.facts.report)
    }

    /// Seconds of counting since what is shown; `None` when not paused.
    pub fn paused_for(&self) -> Option<f64> {
        self.paused.then(|| self.latest().source.duration_s - self.facts.report.source.duration_s)
    }

    /// What keys mean now.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The open screen.
    pub fn screen(&self) -> Screen {
        self.screen
    }

    /// What rows are filtered by; empty for nothing.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The open screen's rows; the overview's where it has no table.
    pub fn list(&self) -> &List {
        match self.screen.table() {
            Some(Table::Queues) => &self.queues,
            Some(Table::Devices) | None => &self.devices,
        }
    }

    /// It was drawn, and can be scrolled by so many lines.
    pub fn drawn(&mut self, end: usize) {
        self.end = end;
        self.scrolled = self.scrolled.min(end);
        self.findings.drawn(end);
    }

    /// Lines above the first in view, on a screen without a table; may be more than there are.
    pub fn scrolled(&self) -> usize {
        self.scrolled
    }

    /// Intervals that the history of a queue shows.
    pub fn span(&self) -> usize {
        SPANS[self.zoom]
    }

    /// The chosen finding, and how far it is scrolled.
    pub fn chosen(&self) -> &Chosen {
        &self.findings
    }

    /// The selected row of the open screen.
    pub fn selected(&self) -> Option<Row<'_>> {
        self.list().selected(&self.facts)
    }

    /// Where keys are looked up now.
    pub fn context(&self) -> Context {
        match (self.mode, self.screen) {
            (Mode::Filter, _) => Context::Filter,
            (Mode::Help, _) => Context::Help,
            (Mode::Browse, Screen::Overview) => Context::Overview,
            (Mode::Browse, Screen::Queues(_)) => Context::Queues,
            (Mode::Browse, Screen::Queue(_)) => Context::Queue,
            (Mode::Browse, Screen::Layout(_)) => Context::Layout,
            (Mode::Browse, Screen::Findings(_)) => Context::Findings,
            (Mode::Browse, Screen::Probes) => Context::Probes,
        }
    }

    /// A new report came.
    pub fn report(&mut self, report: Arc<Report>) -> Effect {
        if self.paused {
            self.newer = Some(report);
        } else {
            self.facts = Facts::new(report);
            self.arrange();
        }
        Effect::Redraw
    }

    /// The terminal has this size now.
    pub fn resize(&mut self, width: u16, height: u16) -> Effect {
        if self.size == (width, height) {
            return Effect::None;
        }
        self.size = (width, height);
        let page = self.page();
        self.devices.scroll(page);
        self.queues.scroll(page);
        Effect::Redraw
    }

    /// A key was pressed.
    pub fn key(&mut self, key: Key) -> Effect {
        match (action(key, self.context()), key) {
            (Some(action), _) => self.act(action, key),
            (None, Key::Char(c)) if self.mode == Mode::Filter => self.edit(|filter| {
                if !c.is_control() && filter.chars().count() < FILTER_LONGEST {
                    filter.push(c);
                }
            }),
            _ => Effect::None,
        }
    }

    fn act(&mut self, action: Action, key: Key) -> Effect {
        match action {
            Action::Quit => Effect::Quit,
            Action::Suspend => Effect::Suspend,
            Action::Repaint => Effect::Repaint,
            Action::Help if self.mode == Mode::Help => self.enter(Mode::Browse),
            Action::Help => self.enter(Mode::Help),
            Action::Back => self.back(),
            Action::NextScreen => self.go(self.screen.step(1)),
            Action::PreviousScreen => self.go(self.screen.step(SCREENS.len() - 1)),
            Action::Jump => self.jump(key),
            Action::Open => self.open_selected(),
            Action::ZoomIn => self.zoom(1),
            Action::ZoomOut => self.zoom(-1),
            Action::Pause => self.pause(),
            Action::SeekBack => self.seek(-1.0),
            Action::SeekOn => self.seek(1.0),
            Action::NextMark => self.seek_mark(true),
            Action::PreviousMark => self.seek_mark(false),
            Action::Faster => self.faster(1),
            Action::Slower => self.faster(-1),
            Action::SortNext => self.sort(true),
            Action::SortPrevious => self.sort(false),
            Action::Reverse => {
                self.list_mut().0.reverse();
                self.arrange()
            }
            Action::Filter => self.enter(Mode::Filter),
            Action::FilterKeep => self.enter(Mode::Browse),
            Action::FilterClear => {
                self.mode = Mode::Browse;
                self.edit(String::clear)
            }
            Action::Erase => self.edit(|filter| {
                filter.pop();
            }),
            Action::EraseAll => self.edit(String::clear),
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.turn(-self.page().cast_signed()),
            Action::PageDown => self.turn(self.page().cast_signed()),
            Action::First if self.screen.table().is_none() => self.step(isize::MIN),
            Action::First => self.select(|list, _, page| list.first(page)),
            Action::Last if self.screen.table().is_none() => self.step(isize::MAX),
            Action::Last => self.select(|list, facts, page| list.step(facts, isize::MAX, page)),
        }
    }

    fn enter(&mut self, mode: Mode) -> Effect {
        self.mode = mode;
        Effect::Redraw
    }

    fn zoom(&mut self, steps: isize) -> Effect {
        let before = self.zoom;
        self.zoom = before.saturating_add_signed(steps).min(SPANS.len() - 1);
        if self.zoom == before { Effect::None } else { Effect::Redraw }
    }

    fn pause(&mut self) -> Effect {
        if let Some(timeline) = &mut self.timeline {
            return Effect::Ask(timeline.pause());
        }
        self.paused = !self.paused;
        if let Some(newer) = self.newer.take_if(|_| !self.paused) {
            self.facts = Facts::new(newer);
        }
        self.arrange()
    }

    fn sort(&mut self, forward: bool) -> Effect {
        let Some(table) = self.screen.table() else { return Effect::None };
        let shown = columns::fit(table, layout::table_width(self.size.0), self.facts.vhost());
        self.list_mut().0.sort_step(&shown, forward);
        self.arrange()
    }

    fn edit(&mut self, change: impl FnOnce(&mut String)) -> Effect {
        change(&mut self.filter);
        self.arrange()
    }

    /// A page; what has one row selected that is not in a table scrolls instead.
    fn turn(&mut self, rows: isize) -> Effect {
        if matches!(self.screen, Screen::Queue(_)) { self.scroll(rows) } else { self.step(rows) }
    }

    fn scroll(&mut self, lines: isize) -> Effect {
        let before = self.scrolled;
        self.scrolled = before.saturating_add_signed(lines).min(self.end);
        if self.scrolled == before { Effect::None } else { Effect::Redraw }
    }

    fn step(&mut self, rows: isize) -> Effect {
        if let Screen::Findings(open) = self.screen {
            let end = open.then_some(self.end);
            let moved = self.findings.step(&self.facts.report.findings, rows, end);
            return if moved { Effect::Redraw } else { Effect::None };
        }
        if self.screen == Screen::Probes {
            return self.scroll(rows);
        }
        self.select(|list, facts, page| list.step(facts, rows, page))
    }

    fn select(&mut self, change: impl FnOnce(&mut List, &Facts, usize)) -> Effect {
        let page = self.page();
        let (list, facts) = self.list_mut();
        let before = list.position();
        change(list, facts, page);
        if list.position() == before { Effect::None } else { Effect::Redraw }
    }

    /// Rows of the table that are in view at once.
    fn page(&self) -> usize {
        layout::heights(self.size.0, self.size.1).map_or(1, |heights| usize::from(heights.body))
    }

    fn list_mut(&mut self) -> (&mut List, &Facts) {
        let list = match self.screen.table() {
            Some(Table::Queues) => &mut self.queues,
            Some(Table::Devices) | None => &mut self.devices,
        };
        (list, &self.facts)
    }

    fn arrange(&mut self) -> Effect {
        let page = self.page();
        let filter = self.filter.to_lowercase();
        let scope = self.screen.scope();
        self.findings.arrange(&self.facts.report.findings);
        self.follow_costs();
        let (list, facts) = self.list_mut();
        list.arrange(facts, scope, &filter, page);
        Effect::Redraw
    }
}
