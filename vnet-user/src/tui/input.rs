//! Keys, the mouse and sizes from the terminal.

use std::{io, thread};

use crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use tokio::sync::mpsc;

use super::{keys::Key, mouse::Mouse};

/// What the terminal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A key was pressed.
    Key(Key),
    /// Something was done with the mouse.
    Mouse(Mouse),
    /// The size changed.
    Resize(u16, u16),
}

/// Reads the terminal on a thread of its own for the rest of the process.
///
/// Not crossterm's `EventStream`: that reads on the task that polls it, and once the terminal has hung up its read loop
/// never returns, which would keep the task from seeing the signal that says so. A thread may spin there; the task ends.
pub(super) fn start() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(64);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(input) = decode(&event)
                && sender.blocking_send(input).is_err()
            {
                break;
            }
        }
    })?;
    Ok(receiver)
}

fn decode(event: &Event) -> Option<Input> {
    match *event {
        Event::Resize(width, height) => Some(Input::Resize(width, height)),
        Event::Key(key) if key.kind != KeyEventKind::Release => decode_key(key).map(Input::Key),
        Event::Mouse(mouse) => decode_mouse(mouse).map(Input::Mouse),
        _ => None,
    }
}

fn decode_mouse(mouse: MouseEvent) -> Option<Mouse> {
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Mouse::Click(mouse.column, mouse.row)),
        MouseEventKind::ScrollUp => Some(Mouse::WheelUp),
        MouseEventKind::ScrollDown => Some(Mouse::WheelDown),
        _ => None,
    }
}

fn decode_key(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Char(c) if control => Key::Ctrl(c.to_ascii_lowercase()),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded() {
        let key = |code, modifiers| decode(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('C'), KeyModifiers::CONTROL), Some(Input::Key(Key::Ctrl('c'))));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Input::Key(Key::Char('G'))));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::ALT), None);
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        assert_eq!(decode(&Event::Resize(1, 2)), Some(Input::Resize(1, 2)));
        let mouse = |kind| {
            let modifiers = KeyModifiers::NONE;
            decode(&Event::Mouse(MouseEvent { kind, column: 3, row: 4, modifiers }))
        };
        assert_eq!(mouse(MouseEventKind::Down(MouseButton::Left)), Some(Input::Mouse(Mouse::Click(3, 4))));
        assert_eq!(mouse(MouseEventKind::ScrollUp), Some(Input::Mouse(Mouse::WheelUp)));
        assert_eq!(mouse(MouseEventKind::Moved), None);
        assert_eq!(mouse(MouseEventKind::Down(MouseButton::Right)), None);
    }
}
