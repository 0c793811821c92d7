//! The terminal: taken over in one function, given back in one function.

use std::{
    io::{self, Write},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use crossterm::{
    QueueableCommand, cursor,
    style::{Attribute, SetAttribute},
    terminal,
};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    layout::{Position, Rect},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, write},
};

/// The terminal is ours: raw, on its alternate screen.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Presses and the wheel are told, in a form that knows any size; movements are not, which would only wake us.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// The terminal while it is ours; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Screen {
    /// What draws.
    pub(super) terminal: Terminal<CrosstermBackend<Output>>,
    /// The mouse is ours too.
    mouse: bool,
}

impl Screen {
    /// Takes the terminal over. It is given back on a panic anywhere, too, before the panic's message is printed.
    pub(super) fn take() -> anyhow::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                previous(info);
            }));
        });
        let terminal = Terminal::new(CrosstermBackend::new(Output::default()));
        let terminal = terminal.context("the terminal does not tell its size")?;
        let screen = Self { terminal, mouse: false };
        take().context("the terminal cannot be switched to raw mode")?;
        Ok(screen)
    }

    /// Takes the terminal over again after it was given back, or after others may have changed it.
    pub(super) fn retake(&mut self) -> io::Result<()> {
        // crossterm would not set raw mode again while it believes that it is set.
        terminal::disable_raw_mode()?;
        take()?;
        self.mouse = false;
        // Clears and forgets what was shown. Not `clear`, which asks the terminal where the cursor is: the thread that
        // reads keys would take the answer, and some terminals never give one.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Screen {
    /// Takes the mouse, or leaves it to the terminal.
    pub(super) fn mouse(&mut self, wanted: bool) -> io::Result<()> {
        if self.mouse != wanted && taken() {
            write_all(if wanted { MOUSE_ON } else { MOUSE_OFF })?;
            self.mouse = wanted;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// The terminal is still ours: nobody gave it back meanwhile.
pub(super) fn taken() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

fn take() -> io::Result<()> {
    // First, so that a failure half-way is undone by `restore`.
    TAKEN.store(true, Ordering::SeqCst);
    terminal::enable_raw_mode()?;
    let mut bytes = Vec::new();
    bytes.queue(terminal::EnterAlternateScreen)?.queue(cursor::Hide)?;
    write_all(&bytes)
}

/// Gives the terminal back as it was; does nothing when that is done already. Errors cannot be helped here: either the
/// terminal is gone or nothing more can be done about it.
pub(super) fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut bytes = MOUSE_OFF.to_vec();
    let queued = bytes
        .queue(SetAttribute(Attribute::Reset))
        .and_then(|bytes| bytes.queue(terminal::LeaveAlternateScreen))
        .and_then(|bytes| bytes.queue(cursor::Show));
    if queued.is_ok() {
        let _ = write_all(&bytes);
    }
    let _ = terminal::disable_raw_mode();
}

/// Standard output, one frame at a time. Once the terminal is given back, nothing more is written, so that a frame that
/// was under way cannot spill over what follows.
#[derive(Debug, Default)]
pub(super) struct Output {
    frame: Vec<u8>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = if taken() { write_all(&self.frame) } else { Ok(()) };
        self.frame.clear();
        result
    }
}

/// Straight to the descriptor: no lock that a panicking thread could hold, and no line buffer.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    while !bytes.is_empty() {
        match write(stdout, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process can have made the shared terminal non-blocking.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
