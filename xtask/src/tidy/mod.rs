//! Holds what this repository promises about itself and no compiler checks: who may import whom, where `unsafe` may
//! stand, how long a file may be, and what no file may name.
//!
//! Every rule is a function from one file to what it finds there, tried in its own tests on a file that breaks it.

mod files;
mod layers;
mod lints;
mod text;
mod tokens;

use std::fmt::{self, Display, Formatter};

use anyhow::{Result, bail};

use self::files::File;
use crate::progress;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path from the workspace's root.
    path: String,
    /// Line, from 1; 0 means the file as a whole.
    line: usize,
    /// What is wrong and what would be right.
    what: String,
}

impl Display for Finding {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A rule looks at one file.
type Rule = fn(&File) -> Vec<Finding>;

/// All rules, with the name they are known by.
const RULES: &[(&str, Rule)] = &[
    ("each module imports only what its layer may see", layers::imports),
    ("each outside crate has its one place", layers::crates),
    ("model, state and advisor have no clock, thread or I/O", layers::purity),
    ("unsafe has its few places", lints::unsafety),
    ("an exception to a lint has a reason", lints::reasons),
    ("a file has at most 400 lines", text::length),
    ("no file names a package registry", text::registries),
    ("no file names a place of one machine", text::places),
    ("the README gives the two commands", text::readme),
    ("the landing gate runs the tests", text::gate),
];

/// Checks the whole repository.
///
/// # Errors
/// When a rule is broken; every place is named before.
pub(crate) fn run() -> Result<()> {
    let files = files::tracked()?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|(_, rule)| files.iter().flat_map(rule)).collect();
    findings.extend(text::missing(&files));
    findings.sort();
    findings.dedup();
    for finding in &findings {
        progress::note(finding);
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy: one place breaks a rule"),
        count => bail!("tidy: {count} places break a rule"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_every_rule() {
        let files = files::tracked().unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy/mod.rs"), "the files are not seen");
        let broken: Vec<String> = RULES
            .iter()
            .flat_map(|(name, rule)| {
                files.iter().flat_map(rule).map(move |found| format!("{found} ({name})"))
            })
            .chain(text::missing(&files).iter().map(ToString::to_string))
            .collect();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}
