//! What the mouse does: a click selects a row, or opens it where it is selected; on a heading it sorts, on a tab it opens that screen.

use super::{
    super::{
        columns,
        layout::{self, Heights, MARGIN},
        mouse::Mouse,
        screen::{self, SCREENS, Screen},
        text,
    },
    Effect, Mode, Ui,
};

/// Rows of one step of the wheel.
const WHEEL: isize = 3;

impl Ui {
    /// The mouse is wanted. Where there are commands to copy it is left to the terminal, which selects text with it.
    pub fn wants_mouse(&self) -> bool {
        self.screen != Screen::Findings(true)
    }

    /// Something was done with the mouse.
    pub fn mouse(&mut self, mouse: Mouse) -> Effect {
        if self.mode == Mode::Help {
            return Effect::None;
        }
        match mouse {
            Mouse::WheelUp => self.wheel(-1),
            Mouse::WheelDown => self.wheel(1),
            Mouse::Click(x, y) => self.click(x, y),
        }
    }

    fn wheel(&mut self, direction: isize) -> Effect {
        match self.screen {
            Screen::Overview | Screen::Queues(_) | Screen::Probes | Screen::Findings(true) => {
                self.step(direction * WHEEL)
            }
            Screen::Queue(_) => self.scroll(direction * WHEEL),
            Screen::Layout(_) | Screen::Findings(false) => self.step(direction),
        }
    }

    fn click(&mut self, x: u16, y: u16) -> Effect {
        let Some(heights) = layout::heights(self.size.0, self.size.1) else { return Effect::None };
        let heights = heights.with(self.screen == Screen::Overview, self.timeline.is_some());
        let Some(below) = y.checked_sub(heights.header) else {
            return if y + 1 == heights.header { self.click_tab(x) } else { Effect::None };
        };
        if heights.timeline > 0 && y + heights.footer + heights.timeline == self.size.1 {
            let columns = layout::timeline_columns(self.size.0);
            let hit = usize::from(x) < columns;
            return self.ask(|timeline, _| hit.then(|| timeline.seek_column(x.into(), columns)));
        }
        match self.screen {
            Screen::Overview | Screen::Queues(_) => self.click_table(x, below, heights),
            Screen::Findings(false) => self.click_finding(below, heights),
            _ => Effect::None,
        }
    }

    fn click_tab(&mut self, x: u16) -> Effect {
        let (open, found) = (self.screen.place(), self.latest().findings.len());
        let mut end = 0;
        let hit = (0..SCREENS.len()).find(|place| {
            end += text::width(&screen::tab(*place, *place == open, found));
            usize::from(x) < end
        });
        match hit {
            Some(place) if place != open => self.go(SCREENS[place].2),
            _ => Effect::None,
        }
    }

    fn click_table(&mut self, x: u16, y: u16, heights: Heights) -> Effect {
        if y < heights.verdict {
            return self.open_nth_finding(y.into());
        }
        let Some(y) = y.checked_sub(heights.verdict + heights.title) else { return Effect::None };
        let Some(row) = y.checked_sub(heights.headings) else { return self.click_heading(x) };
        if row >= heights.body {
            return Effect::None;
        }
        let place = self.list().top() + usize::from(row);
        let open = place == self.list().row();
        let page = self.page();
        let (list, facts) = self.list_mut();
        match list.pick(facts, place, page) {
            true if open => self.open_selected(),
            true => Effect::Redraw,
            false => Effect::None,
        }
    }

    fn click_heading(&mut self, x: u16) -> Effect {
        let Some(table) = self.screen.table() else { return Effect::None };
        let width = layout::table_width(self.size.0);
        let columns = columns::place(table, MARGIN, width, self.facts.vhost());
        let Some(hit) = columns.iter().find(|column| (column.x..column.x + column.width).contains(&x)) else {
            return Effect::None;
        };
        self.list_mut().0.sort_by(hit.column);
        self.arrange()
    }

    fn click_finding(&mut self, y: u16, heights: Heights) -> Effect {
        let rows = usize::from(layout::FINDINGS.min(heights.middle() - 1));
        let Some(row) = y.checked_sub(1).map(usize::from).filter(|row| *row < rows) else {
            return Effect::None;
        };
        let place = self.findings.top(rows) + row;
        if place == self.findings.row() {
            return self.open_selected();
        }
        match self.facts.report.findings.get(place).cloned() {
            Some(finding) => {
                self.findings.choose(&finding);
                self.arrange()
            }
            None => Effect::None,
        }
    }
}
