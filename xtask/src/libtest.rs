//! What libtest, the harness of Rust's tests, says: counted as it comes, its telling lines shown.

/// What a run of tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed; at least 1 when the run as a whole failed.
    pub(crate) failed: u64,
    /// Tests that were ignored, by `#[ignore]`.
    pub(crate) ignored: u64,
    /// What tests said they skip, and why: the lines that begin with `skipped:`.
    pub(crate) skipped: Vec<String>,
    /// Groups of tests that came to their end.
    pub(crate) groups: u64,
    /// All that was written.
    pub(crate) output: String,
}

impl Outcome {
    /// Something that is not done, and why.
    pub(crate) fn skip(what: impl std::fmt::Display) -> Self {
        Self { skipped: vec![format!("skipped: {what}")], ..Self::default() }
    }

    fn take(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
            self.groups += 1;
        }
        // With --nocapture it comes after the test's name, on its line.
        let said = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
            .map_or(line, |(_, said)| said);
        if said.starts_with("skipped:") {
            self.skipped.push(said.to_owned());
        }
    }
}

/// Hears what tests write.
pub(crate) struct Listener {
    verbose: bool,
    /// What shows a line.
    show: fn(&str),
    outcome: Outcome,
    begun: Vec<u8>,
}

impl Listener {
    /// One that shows every line, or those that name a group of tests, its result, or a test that failed.
    pub(crate) fn new(verbose: bool) -> Self {
        Self { verbose, show: |line| println!("{line}"), outcome: Outcome::default(), begun: Vec::new() }
    }

    /// Takes what was written, in pieces of any size.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.begun.extend(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            self.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        self.outcome.take(text);
        if self.verbose || is_telling(text) {
            (self.show)(text);
        }
    }

    /// What it came to; `success` is what the program's exit status says.
    pub(crate) fn end(mut self, success: bool) -> Outcome {
        if !self.begun.is_empty() {
            let line = std::mem::take(&mut self.begun);
            self.line(&line);
        }
        if !success && self.outcome.failed == 0 {
            self.outcome.failed = 1; // a test that does not build, or a runner that died
        }
        self.outcome
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> u64 {
    let part = counts.split([';', '.']).map(str::trim).find_map(|part| part.strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn is_telling(line: &str) -> bool {
    ["     Running ", "   Doc-tests ", "test result: "].iter().any(|start| line.starts_with(start))
        || (line.starts_with("test ") && line.ends_with("FAILED"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_whatever_the_pieces_are() {
        let text = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\r\n\
                    test a::b ... FAILED\n\
                    skipped: live tests: not root\n\
                    it was skipped: no\n\
                    test a::c ... skipped: no bridge\nok\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        for size in [1, 7, 1000] {
            // Shown, these lines would be heard by whoever listens to this test.
            let mut listener = Listener { show: |_| {}, ..Listener::new(false) };
            text.as_bytes().chunks(size).for_each(|piece| listener.hear(piece));
            let outcome = listener.end(false);
            assert_eq!((outcome.passed, outcome.failed, outcome.ignored, outcome.groups), (15, 2, 1, 2));
            assert_eq!(outcome.skipped, ["skipped: live tests: not root", "skipped: no bridge"]);
            assert_eq!(outcome.output.lines().count(), 7);
        }
    }
}
