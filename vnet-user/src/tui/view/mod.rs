//! Drawing: functions of (ui, look, area). Nothing here changes the state.

mod chart;
mod counts;
mod detail;
mod findings;
mod footer;
mod header;
mod heat;
mod help;
mod host;
mod idle;
mod interrupts;
mod probes;
mod queue;
mod served;
mod table;
mod timeline;
mod verdict;
mod why;
mod wrap;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    widgets::{Clear, Paragraph, Widget, Wrap},
};

use super::{
    layout::{self, SMALLEST},
    look::Look,
    screen::Screen,
    text,
    ui::{Mode, Ui},
};

/// Draws the whole screen; returns by how many lines it can be scrolled, for [`Ui::drawn`].
///
/// ```text
/// vnet top · live · host · kernel                     counting 1 min 05 s   header
/// 3 devices, 1 gone · 9 queues                                 lost nothing
/// [1 Overview]  2 Queues                             2 signals unavailable…
/// ── Overview · 3 · by load ↓ ──────────────────────────────────────── 1/3 ──  title
///   device  kind      queues ──── TX ───── ──── RX ───── drops load            headings
/// ▶ tap0    tap          4/4 1.23 M 12.3 G  930 k 9.30 G     0 ▁▂▃▅█           body
/// ── tap0 ───────────────────────────────────────────────────────────────────  detail
/// TX  …
/// ? help  q quit  Enter open                                                   footer
/// ```
pub fn draw(ui: &Ui, look: Look, area: Rect, buffer: &mut Buffer) -> usize {
    let area = area.intersection(buffer.area);
    Clear.render(area, buffer);
    let mut pen = Pen { look, buffer, end: 0 };
    let Some(heights) = layout::heights(area.width, area.height) else {
        pen.too_small(area);
        return 0;
    };
    if ui.mode() == Mode::Help {
        help::draw(&mut pen, area);
        return 0;
    }
    let mut y = area.y;
    let mut part = |height: u16| {
        let part = Rect { y, height, ..area };
        y += height;
        part
    };
    let heights = heights.with(ui.screen() == Screen::Overview, ui.timeline().is_some());
    header::draw(ui, &mut pen, part(heights.header));
    match ui.screen() {
        Screen::Overview | Screen::Queues(_) => {
            verdict::draw(ui, &mut pen, part(heights.verdict));
            table::title(ui, &mut pen, part(heights.title));
            let (headings, body) = (part(heights.headings), part(heights.body));
            match ui.screen().table() {
                Some(table) if !ui.list().is_empty() => table::draw(ui, table, &mut pen, headings, body),
                _ => idle::draw(ui, &mut pen, body),
            }
            detail::draw(ui, &mut pen, part(heights.detail));
        }
        Screen::Queue(_) => queue::draw(ui, &mut pen, part(heights.middle())),
        Screen::Layout(_) => host::draw(ui, &mut pen, part(heights.middle())),
        Screen::Findings(open) => findings::draw(ui, &mut pen, part(heights.middle()), open),
        Screen::Probes => probes::draw(ui, &mut pen, part(heights.middle())),
    }
    if let Some(timeline) = ui.timeline() {
        let now = ui.latest().source.duration_s;
        timeline::draw(timeline, now, &mut pen, part(heights.timeline));
    }
    footer::draw(ui, &mut pen, part(heights.footer));
    pen.end
}

/// What drawing needs.
struct Pen<'a> {
    look: Look,
    buffer: &'a mut Buffer,
    /// Lines that can be scrolled by.
    end: usize,
}

impl Pen<'_> {
    /// Writes `text`, cut to `columns`; returns the columns used.
    fn put(&mut self, x: u16, y: u16, text: &str, columns: u16, style: Style) -> u16 {
        let text = text::cut(text, usize::from(columns), self.look.glyphs().cut);
        if self.buffer.area.contains((x, y).into()) {
            self.buffer.set_stringn(x, y, &text, usize::from(columns), style);
        }
        narrow(text::width(&text))
    }

    /// Writes parts one after the other, as far as they fit `area`'s first row; returns the columns used.
    fn parts(&mut self, area: Rect, parts: &[(String, Style)]) -> u16 {
        let mut used = 0;
        for (text, style) in parts {
            used += self.put(area.x + used, area.y, text, area.width - used, *style);
        }
        used
    }

    /// Writes `text` at the right end of `area`'s first row.
    fn right(&mut self, area: Rect, text: &str, style: Style) {
        let width = narrow(text::width(text)).min(area.width);
        self.put(area.x + area.width - width, area.y, text, width, style);
    }

    /// Fills `area`'s first row with a rule.
    fn rule(&mut self, area: Rect) {
        let rule = self.look.glyphs().rule.to_string().repeat(usize::from(area.width));
        self.put(area.x, area.y, &rule, area.width, self.look.faint());
    }

    fn too_small(&mut self, area: Rect) {
        let times = if self.look.ascii { 'x' } else { '×' };
        let ((columns, rows), Rect { width, height, .. }) = (SMALLEST, area);
        let text = format!("terminal too small: {columns}{times}{rows} needed, now {width}{times}{height}");
        Paragraph::new(text).wrap(Wrap { trim: true }).render(area, self.buffer);
    }
}

fn narrow(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}
