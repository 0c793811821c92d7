//! The screen without a terminal: what it shows, what keys do, and that nothing breaks it.

mod build;
mod hosts;
mod mouse;
mod paths;
mod pictures;
mod places;
mod random;
mod sequences;
mod styles;
mod timeline;

use std::sync::Arc;

use ratatui::{Frame, Terminal, backend::TestBackend, buffer::Buffer};
use vnet::{
    report::Report,
    tui::{Key, Look, Ui, view},
};

/// A screen of this size that shows `report`.
fn ui(report: Report, width: u16, height: u16) -> Ui {
    Ui::new(Arc::new(report), width, height)
}

/// Types `keys`, each a character, or `\n` for Enter, `\x1b` for Esc, `\t` for Tab.
fn press(ui: &mut Ui, keys: &str) {
    for c in keys.chars() {
        ui.key(match c {
            '\n' => Key::Enter,
            '\x1b' => Key::Esc,
            '\t' => Key::Tab,
            c => Key::Char(c),
        });
    }
}

fn draw(ui: &Ui, look: Look, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("never fails");
    let draw = |frame: &mut Frame<'_>| {
        view::draw(ui, look, frame.area(), frame.buffer_mut());
    };
    terminal.draw(draw).expect("never fails");
    terminal.backend().buffer().clone()
}

/// The rows of the screen as text.
fn rows(buffer: &Buffer) -> Vec<String> {
    (buffer.area.top()..buffer.area.bottom())
        .map(|y| {
            let mut row = String::new();
            let mut x = buffer.area.left();
            while x < buffer.area.right() {
                let symbol = buffer[(x, y)].symbol();
                row += symbol;
                // A wide character hides the cells it covers.
                x += u16::try_from(vnet::tui::text::width(symbol)).expect("one character").max(1);
            }
            row.trim_end().to_owned()
        })
        .collect()
}

fn text(ui: &Ui, width: u16, height: u16) -> String {
    rows(&draw(ui, Look::FULL, width, height)).join("\n")
}

/// Place of the first row that holds `text`.
fn find(buffer: &Buffer, text: &str) -> u16 {
    let place = rows(buffer).iter().position(|row| row.contains(text));
    u16::try_from(place.unwrap_or_else(|| panic!("{text:?} is not on the screen"))).expect("a small screen")
}
