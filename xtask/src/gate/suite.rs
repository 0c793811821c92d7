//! Runs `cargo test` and reads from its output what became of the tests.

use std::io::{BufRead as _, BufReader, pipe};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// What a run of tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Tests that passed.
    pub(super) passed: u64,
    /// Tests that failed; at least 1 when the run as a whole failed.
    pub(super) failed: u64,
    /// Tests that were ignored, by `#[ignore]`.
    pub(super) ignored: u64,
    /// What tests said they skip, and why: the lines that begin with `skipped:`.
    pub(super) skipped: Vec<String>,
    /// All that was written.
    pub(super) output: String,
}

/// Runs `cargo`, shows the lines that name a group of tests or its result, and counts.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(cargo: &mut Command, verbose: bool) -> Result<Outcome> {
    let (reader, writer) = pipe().context("cannot make a pipe")?;
    cargo.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = cargo.spawn().context("cannot start cargo")?;
    // The command holds the pipe's writing ends: without this the reading never ends.
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    let mut outcome = Outcome::default();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        outcome.take(text.trim_end());
        if verbose || is_telling(&text) {
            print!("{text}");
        }
        line.clear();
    }
    let status = child.wait()?;
    if !status.success() && outcome.failed == 0 {
        outcome.failed = 1; // a test that does not build, or a runner that died
    }
    Ok(outcome)
}

impl Outcome {
    fn take(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
        }
        if line.starts_with("skipped:") {
            self.skipped.push(line.to_owned());
        }
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> u64 {
    let part = counts.split([';', '.']).map(str::trim).find_map(|part| part.strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn is_telling(line: &str) -> bool {
    ["     Running ", "   Doc-tests ", "test result: "].iter().any(|start| line.starts_with(start))
        || (line.starts_with("test ") && line.trim_end().ends_with("FAILED"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut outcome = Outcome::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test a::b ... FAILED",
            "skipped: live tests: not root",
            "it was skipped: no",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            outcome.take(line);
        }
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (15, 2, 1));
        assert_eq!(outcome.skipped, ["skipped: live tests: not root"]);
        assert_eq!(outcome.output.lines().count(), 5);
    }

    #[test]
    fn a_run_that_dies_has_failed() {
        let outcome = run(Command::new("sh").args(["-c", "echo error: no >&2; exit 101"]), false).unwrap();
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert_eq!(outcome.output, "error: no\n");
    }
}
