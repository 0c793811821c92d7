//! Runs `cargo test` and hears from its output what became of the tests.

use std::io::{Read as _, pipe};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::libtest::{Listener, Outcome};

/// Runs `cargo`, shows the lines that name a group of tests or its result, and counts.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(cargo: &mut Command, verbose: bool) -> Result<Outcome> {
    let (mut reader, writer) = pipe().context("cannot make a pipe")?;
    cargo.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = cargo.spawn().context("cannot start cargo")?;
    // The command holds the pipe's writing ends: without this the reading never ends.
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    let mut listener = Listener::new(verbose);
    let mut bytes = vec![0; 1 << 16];
    loop {
        match reader.read(&mut bytes)? {
            0 => break,
            n => listener.hear(&bytes[..n]),
        }
    }
    Ok(listener.end(child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_dies_has_failed() {
        let outcome = run(Command::new("sh").args(["-c", "echo error: no >&2; exit 101"]), false).unwrap();
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert_eq!(outcome.output, "error: no\n");
    }
}
