//! The one line on stderr that says that something is going on, on a terminal only.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use vnet::report::{Report, format::si};

/// A line that is written over and over; removed when dropped.
pub(crate) struct Progress {
    terminal: bool,
    shown: bool,
}

impl Progress {
    /// Shows something only where stderr is a terminal.
    pub(crate) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), shown: false }
    }

    /// Whether anybody looks.
    pub(crate) fn wanted(&self) -> bool {
        self.terminal
    }

    /// What was seen so far, and how long it still takes.
    pub(crate) fn show(&mut self, report: &Report, left: Duration) {
        self.say(|| line(report, left));
    }

    /// Says something else; at most 60 columns, so that it does not wrap.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if self.terminal {
            self.shown = true;
            // Nobody is to be told that the progress could not be.
            let _ = write!(io::stderr(), "\r\x1b[K{}", line());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// At most 60 columns, so that it does not wrap.
fn line(report: &Report, left: Duration) -> String {
    let packets = report.queues.iter().flat_map(|queue| [queue.tx.packets, queue.rx.packets]).flatten();
    let packets = packets.fold(0u64, u64::saturating_add);
    // The second that has begun counts.
    let left = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    format!("{left} s left, {} packets seen (Ctrl-C ends early)", si(packets as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_left_and_what_was_seen() {
        let mut report = vnet::state::State::default().report();
        assert_eq!(
            line(&report, Duration::from_millis(4100)),
            "5 s left, 0 packets seen (Ctrl-C ends early)"
        );
        report.queues = vec![vnet::report::QueueReport::default()];
        report.queues[0].tx.packets = Some(12_345);
        assert_eq!(line(&report, Duration::ZERO), "0 s left, 12.3k packets seen (Ctrl-C ends early)");
    }
}
