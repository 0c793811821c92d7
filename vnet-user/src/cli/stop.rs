//! Why there is no command.

use std::{fmt, io, process::ExitCode};

/// Why there is no command: help was asked for, or what was typed makes no sense.
#[derive(Debug)]
pub(crate) struct Stop(pub(super) clap::Error);

impl Stop {
    /// Tells the user; 0 for help, 2 for an error.
    pub(crate) fn tell(&self) -> ExitCode {
        let wrong = match self.0.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => true,
            _ => self.0.use_stderr(),
        };
        if wrong { ExitCode::from(2) } else { ExitCode::SUCCESS }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
