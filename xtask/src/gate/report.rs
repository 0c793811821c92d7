//! What the gate says: a line per step, the whole output of what failed, what was skipped, one closing line.

use std::fmt::Display;
use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use crate::libtest::Outcome;
use crate::progress::{Style, coloured, line, paint};

/// The counts so far.
pub(super) struct Report {
    verbose: bool,
    started: Instant,
    passed: u64,
    /// Names of what failed: steps, and runs of tests.
    failed: Vec<String>,
    failures: u64,
    ignored: u64,
    skipped: Vec<String>,
}

impl Report {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            verbose,
            started: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            failures: 0,
            ignored: 0,
            skipped: Vec::new(),
        }
    }

    pub(super) fn verbose(&self) -> bool {
        self.verbose
    }

    /// Does a step; `None` when it failed, which is told at once and does not end the run.
    pub(super) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        let done = crate::progress::step(name, work);
        self.note(name, done)
    }

    /// Notes what became of a step that shows its own line.
    pub(super) fn note<T>(&mut self, name: &str, done: Result<T>) -> Option<T> {
        match done {
            Ok(done) => {
                self.passed += 1;
                Some(done)
            }
            Err(error) => {
                self.note_failure(name, &error);
                None
            }
        }
    }

    /// Notes that a step failed which tells its own line.
    pub(super) fn failed(&mut self, name: &str, error: &Error, took: Duration) {
        line(name, ("failed", Style::Red), took);
        self.note_failure(name, error);
    }

    fn note_failure(&mut self, name: &str, error: &Error) {
        eprintln!("{error:#}\n");
        self.failed.push(name.to_owned());
        self.failures += 1;
    }

    /// Notes what was not done, and why.
    pub(super) fn skip(&mut self, what: impl Display) {
        self.skipped.push(format!("skipped: {what}"));
    }

    /// Notes what became of a run of tests, which tells its own line.
    pub(super) fn tests(&mut self, name: &str, outcome: Outcome) {
        if outcome.failed > 0 {
            self.failed.push(name.to_owned());
            if !self.verbose {
                println!("{}", outcome.output);
            }
        }
        self.passed += outcome.passed;
        self.failures += outcome.failed;
        self.ignored += outcome.ignored;
        self.skipped.extend(outcome.skipped);
    }

    /// Writes the end of it; true when nothing failed.
    pub(super) fn finish(&self) -> bool {
        for skipped in &self.skipped {
            println!("{skipped}");
        }
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        let good = self.is_good();
        let took = self.started.elapsed().as_secs();
        println!("the gate took {} min {} s", took / 60, took % 60);
        let style = if good { Style::Green } else { Style::Red };
        println!("{}", paint(self.closing(), style, coloured(stdout().is_terminal())));
        good
    }

    fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    /// Steps and tests together.
    fn closing(&self) -> String {
        let skipped = self.skipped.len() as u64 + self.ignored;
        format!("vnet: {} passed, {} failed, {skipped} skipped", self.passed, self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn the_closing_line_has_true_numbers() {
        let mut report = Report::new(false);
        report.step("a", || Ok(()));
        report.step::<()>("b", || Err(anyhow!("broken on purpose by a test of the gate")));
        report.skip("c: no reason");
        assert_eq!(report.closing(), "vnet: 1 passed, 1 failed, 1 skipped");
        let outcome = Outcome { passed: 5, failed: 2, ignored: 1, ..Outcome::skip("d") };
        report.tests("tests", outcome);
        assert_eq!(report.closing(), "vnet: 6 passed, 3 failed, 3 skipped");
        assert!(!report.is_good());
    }

    #[test]
    fn tests_that_cannot_run_count_as_one_failure() {
        let mut report = Report::new(false);
        report.failed("tests", &anyhow!("cannot start, on purpose, in a test of the gate"), Duration::ZERO);
        assert_eq!(report.closing(), "vnet: 0 passed, 1 failed, 0 skipped");
    }
}
