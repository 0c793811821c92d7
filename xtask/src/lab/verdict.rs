//! What a machine says on its third serial port, and what that comes to.

use std::time::{Duration, Instant};

/// Lines of the console that an error shows.
const TAIL: usize = 40;

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The kernel's release, as it says itself.
    pub(crate) release: String,
    /// From QEMU's start to the program's.
    pub(crate) boot: Duration,
    /// What the program took.
    pub(crate) program: Duration,
    /// Its exit status; 128 and the signal's number when it was killed.
    pub(crate) status: u8,
    /// What the kernel complained of: warnings and faults of its own.
    pub(crate) complaints: Vec<String>,
}

/// Why there is no verdict.
#[derive(Debug)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) why: String,
    /// Emulation may be to blame, and a second try may go well.
    pub(crate) again: bool,
}

/// What a line of the guest's script begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The program runs.
    Program,
    /// It has ended; the machine is about to.
    End,
    /// A user has a shell.
    Shell,
}

/// What was heard of a machine.
#[derive(Default)]
pub(crate) struct Progress {
    started: Option<(String, Instant)>,
    ended: Option<(u8, Instant)>,
    fault: Option<String>,
    /// What QEMU itself complained of.
    qemu: Vec<String>,
    /// The machine was killed because it took too long.
    pub(crate) timed_out: bool,
}

impl Progress {
    /// Takes a line that came at `now`.
    pub(crate) fn take(&mut self, line: &str, now: Instant) -> Option<Phase> {
        let Some(said) = line.trim().strip_prefix("lab: ") else {
            self.qemu.push(line.trim().to_owned());
            return None;
        };
        match said.split_once(' ').unwrap_or((said, "")) {
            ("start", release) => {
                self.started = Some((release.to_owned(), now));
                Some(Phase::Program)
            }
            ("exit", status) => {
                self.ended = status.parse().ok().map(|status| (status, now));
                Some(Phase::End)
            }
            ("shell", _) => Some(Phase::Shell),
            (_, why) => {
                self.fault.get_or_insert_with(|| why.to_owned());
                Some(Phase::End)
            }
        }
    }

    /// The verdict on a machine whose QEMU, started at `booted`, has ended.
    ///
    /// # Errors
    /// When the program did not come to its end.
    pub(crate) fn verdict(self, booted: Instant, limit: Duration) -> Result<Verdict, Fault> {
        let again = self.started.is_none() && self.fault.is_none();
        let fault = |why: String| {
            let said = self.qemu.iter().fold(String::new(), |all, line| all + "\nQEMU: " + line);
            Err(Fault { why: why + &said, again: again && self.qemu.is_empty() })
        };
        match (&self.started, self.ended, &self.fault) {
            (_, _, Some(why)) => fault(why.clone()),
            (Some((release, started)), Some((status, ended)), None) => Ok(Verdict {
                release: release.clone(),
                boot: *started - booted,
                program: ended - *started,
                status,
                complaints: Vec::new(),
            }),
            (None, ..) if self.timed_out => fault("it did not boot in time".to_owned()),
            (None, ..) => fault("it died before the program started".to_owned()),
            (Some(_), None, _) if self.timed_out => {
                fault(format!("the program did not end in {} s", limit.as_secs()))
            }
            (Some(_), None, _) => fault("it died while the program ran".to_owned()),
        }
    }
}

/// The lines of a console in which the kernel complains of itself.
pub(crate) fn complaints(console: &str) -> Vec<String> {
    console.lines().filter(|line| is_complaint(line)).map(|line| line.trim().to_owned()).collect()
}

fn is_complaint(line: &str) -> bool {
    ["WARNING:", "BUG:", "Oops", "Kernel panic", "rcu: INFO:"].iter().any(|sign| line.contains(sign))
}

/// The end of a console, as an error shows it: from the first complaint on, or the last lines.
pub(crate) fn tail(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    let last = lines.len().saturating_sub(TAIL);
    let start = lines.iter().position(|line| is_complaint(line)).map_or(last, |at| at.min(last));
    match &lines[start..] {
        [] => "\nits console is empty".to_owned(),
        lines => format!("\nits console ends with:\n{}", lines.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(9);

    fn verdict(lines: &[&str], timed_out: bool) -> Result<Verdict, Fault> {
        let booted = Instant::now();
        let mut progress = Progress { timed_out, ..Progress::default() };
        for (second, line) in (1..).zip(lines) {
            progress.take(line, booted + Duration::from_secs(second));
        }
        progress.verdict(booted, LIMIT)
    }

    #[test]
    fn a_program_that_ends_has_a_verdict() {
        let verdict =
            verdict(&["lab: start 6.1.0-56-cloud-amd64\r", "warning: x", "lab: exit 139"], false).unwrap();
        assert_eq!((verdict.release.as_str(), verdict.status), ("6.1.0-56-cloud-amd64", 139));
        assert_eq!((verdict.boot.as_secs(), verdict.program.as_secs()), (1, 2));
    }

    #[test]
    fn only_a_boot_that_fails_is_worth_a_second_try() {
        for (lines, timed_out, why, again) in [
            (&[][..], false, "it died before the program started", true),
            (&[], true, "it did not boot in time", true),
            (
                &["qemu: no such option"],
                false,
                "it died before the program started\nQEMU: qemu: no such option",
                false,
            ),
            (&["lab: fault cannot load vhost.ko: bad"], false, "cannot load vhost.ko: bad", false),
            (&["lab: start 6.1"], false, "it died while the program ran", false),
            (&["lab: start 6.1"], true, "the program did not end in 9 s", false),
            (&["lab: start 6.1", "lab: exit"], false, "it died while the program ran", false),
        ] {
            let fault = verdict(lines, timed_out).unwrap_err();
            assert_eq!((fault.why.as_str(), fault.again), (why, again));
        }
    }

    #[test]
    fn a_console_is_told_by_its_end_and_its_complaints() {
        let console =
            "line\n".repeat(60) + "first\nsecond\n" + &"line\n".repeat(38) + "[1.0] WARNING: CPU: 0\n";
        assert!(tail(&console).contains("second\n") && !tail(&console).contains("first"));
        assert_eq!(complaints(&console), ["[1.0] WARNING: CPU: 0"]);
        let early = "WARNING: early\n".to_owned() + &console;
        assert!(tail(&early).contains("WARNING: early\n") && tail(&early).contains("first"));
        assert_eq!(tail(""), "\nits console is empty");
    }
}
