//! What the user sees while something long is done: one line per step, with its seconds.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

/// A style of the terminal, as an ANSI "select graphic rendition" number.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Red = 31,
    Green = 32,
}

/// Whether styles may be written to a stream: a terminal, and the user has not set `NO_COLOR`.
pub(crate) fn coloured(terminal: bool) -> bool {
    terminal && crate::paths::var("NO_COLOR").is_none()
}

/// `text` in a style, when `colour` says so.
pub(crate) fn paint(text: impl Display, style: Style, colour: bool) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", style as u8) } else { text.to_string() }
}

/// Writes one plain line.
pub(crate) fn note(text: impl Display) {
    eprintln!("{text}");
}

/// Writes an error once, with its causes.
pub(crate) fn error(error: &Error) {
    eprintln!("{} {error:#}", paint("error:", Style::Red, coloured(stderr().is_terminal())));
}

/// Does one step, shows its name at once and its seconds when it is done.
pub(crate) fn step<T>(name: impl Display, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let ticker = Ticker::start(&name.to_string(), started);
    let done = work();
    drop(ticker);
    let verdict = if done.is_ok() { ("ok", Style::Green) } else { ("failed", Style::Red) };
    line(&name, verdict, started.elapsed());
    done
}

/// Writes the line of a finished step.
pub(crate) fn line(name: impl Display, (word, style): (&str, Style), took: Duration) {
    let word = paint(format_args!("{word:>7}"), style, coloured(stderr().is_terminal()));
    eprintln!("{word} {:>6.1} s  {name}", took.as_secs_f64());
}

/// A size in the unit that suits it: `29.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e6 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} kB", bytes / 1e3) }
}

/// Keeps a running step's line on a terminal alive; writes nothing elsewhere.
struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Ticker {
    fn start(name: &str, started: Instant) -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = channel();
        let name = name.to_owned();
        let thread = thread::spawn(move || {
            loop {
                let seconds = started.elapsed().as_secs();
                let _ = write!(stderr(), "\r\x1b[K{:>7} {seconds:>4}   s  {name}", "…");
                if stopped.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    let _ = write!(stderr(), "\r\x1b[K");
                    return;
                }
            }
        });
        Self(Some((stop, thread)))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}
