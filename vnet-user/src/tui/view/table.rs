//! The table: its title, headings and the rows in view.

use ratatui::layout::Rect;

use super::{Pen, narrow};
use crate::tui::{
    cell::Cell,
    columns::{self, COLUMNS, Placed, Table},
    facts::Row,
    layout::{MARGIN, table_width},
    screen::Screen,
    text,
    ui::Ui,
};

/// ```text
/// ── Queues of tap0 · 4 · by load ↓ · filter "tap" ───────────────── 1/4 ──
/// ```
pub(super) fn title(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let (look, glyphs) = (pen.look, pen.look.glyphs());
    pen.rule(area);
    let list = ui.list();
    let what = match (ui.screen(), ui.screen().scope()) {
        (Screen::Overview, _) => "Devices".to_owned(),
        (_, None) => "Queues of all devices".to_owned(),
        (_, Some(device)) => {
            let named = ui.facts().report.devices.iter().find(|d| d.key() == device);
            let name = named.map_or(glyphs.unknown, |device| &device.name);
            format!("Queues of {}", text::clean(name, look.ascii))
        }
    };
    let (sort, descending) = list.sorted_by();
    let arrow = if descending { glyphs.descending } else { glyphs.ascending };
    let mut parts = vec![what, format!("by {} {arrow}", COLUMNS[sort].full_title())];
    if !ui.filter().is_empty() {
        parts.push(format!("filter \"{}\"", text::clean(ui.filter(), look.ascii)));
    }
    let title = format!(" {} ", parts.join(glyphs.dot));
    let place =
        if list.is_empty() { " 0 ".to_owned() } else { format!(" {}/{} ", list.row() + 1, list.len()) };
    let end = narrow(place.len()) + 2;
    pen.put(area.x + 2, area.y, &title, area.width.saturating_sub(end + 4), look.strong());
    pen.put(area.x + area.width.saturating_sub(end), area.y, &place, end, look.plain());
}

/// ```text
///                   ──────── TX ──────── ──────── RX ────────  drops
///   device        q    pps  bit/s  size    pps  bit/s  size      /s  share load
/// ▶ tap0          0 1.23 M 12.3 G  1514  930 k 9.30 G  1514       0  98.1% ▁▂▃▅█
///   tap3 gone     0      —      —     —      —      —     —       —      —
/// ```
pub(super) fn draw(ui: &Ui, table: Table, pen: &mut Pen<'_>, headings: Rect, body: Rect) {
    let columns = columns::place(table, body.x + MARGIN, table_width(body.width), ui.facts().vhost());
    draw_headings(ui, pen, headings, &columns);
    let list = ui.list();
    for (y, i) in (body.y..body.bottom()).zip(list.top()..) {
        let Some(row) = list.get(ui.facts(), i) else { break };
        draw_row(pen, row, Rect { y, height: 1, ..body }, &columns, i == list.row());
    }
}

fn draw_headings(ui: &Ui, pen: &mut Pen<'_>, area: Rect, columns: &[Placed]) {
    let (look, glyphs) = (pen.look, pen.look.glyphs());
    let group = |placed: &Placed| COLUMNS[placed.column].group;
    for columns in columns.chunk_by(|a, b| group(a) == group(b)) {
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else { continue };
        let title = group(first);
        let width = last.x + last.width - first.x;
        if !title.is_empty() {
            pen.rule(Rect { x: first.x, width, ..area });
            let title = format!(" {title} ");
            let title = if title.len() > usize::from(width) { title.trim() } else { &title };
            let indent = width.saturating_sub(narrow(title.len())) / 2;
            pen.put(first.x + indent, area.y, title, width, look.strong());
        }
    }
    let (sort, descending) = ui.list().sorted_by();
    for placed in columns {
        let column = &COLUMNS[placed.column];
        let mut title = column.title.to_owned();
        let mut style = look.strong();
        if placed.column == sort {
            let arrow = if descending { glyphs.descending } else { glyphs.ascending };
            title.insert(if column.left() { title.len() } else { 0 }, arrow);
            style = look.accent();
        }
        put_cell(pen, placed, area.y + 1, &title, style);
    }
}

fn draw_row(pen: &mut Pen<'_>, row: Row<'_>, area: Rect, columns: &[Placed], selected: bool) {
    let look = pen.look;
    let plain = if row.gone() { look.faint() } else { look.plain() };
    for placed in columns {
        let cell = Cell::of(COLUMNS[placed.column].value, row, look, usize::from(placed.width));
        let style = if cell.warning { look.warning() } else { plain };
        put_cell(pen, placed, area.y, &cell.text, style);
    }
    if selected {
        pen.put(area.x, area.y, &look.glyphs().marker.to_string(), 1, look.strong());
        pen.buffer.set_style(area, look.selected());
    }
}

fn put_cell(pen: &mut Pen<'_>, placed: &Placed, y: u16, text: &str, style: ratatui::style::Style) {
    if COLUMNS[placed.column].left() {
        pen.put(placed.x, y, text, placed.width, style);
    } else {
        pen.right(Rect { x: placed.x, y, width: placed.width, height: 1 }, text, style);
    }
}
