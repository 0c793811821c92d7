//! A test of this repository as a program: built by cargo, with the programs that it starts.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{command, ebpf, paths, progress};

/// The package whose build takes the probes.
const PROGRAM: &str = "vnet-user";

/// A built test.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its program, with libtest's harness.
    pub(crate) program: PathBuf,
    /// The programs of its package: a test knows them by these very paths.
    pub(crate) beside: Vec<PathBuf>,
}

/// What a target is to cargo.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Test,
    Bench,
    /// The unit tests of a library.
    Units,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Bench => "bench",
            Self::Units => "lib",
        }
    }
}

/// Builds an integration test, a bench or the unit tests of `package`; what belongs to vnet itself with the probes inside.
///
/// # Errors
/// When the probes or the target do not build.
pub(crate) fn build(package: &str, kind: Kind, name: &str, verbose: bool) -> Result<Built> {
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root());
    if package == PROGRAM {
        cargo.env("VNET_BPF_OBJECT", ebpf::object(&ebpf::Args::default(), verbose)?);
    }
    cargo.args(["test", "--locked", "--no-run", "--package", package]);
    cargo.arg(format!("--{}", kind.name()));
    if kind != Kind::Units {
        cargo.arg(name);
    }
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let said = progress::step(format!("build {} {name}", kind.name()), || command::text(&mut cargo))?;
    artifacts(&said, kind, name)
}

/// The programs that cargo's messages tell of.
fn artifacts(said: &str, wanted: Kind, name: &str) -> Result<Built> {
    let (mut program, mut beside) = (None, Vec::new());
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cannot read what cargo says")?;
        let Some(path) = message["executable"].as_str() else { continue };
        let is =
            |kind: &str| message["target"]["kind"].as_array().is_some_and(|k| k.iter().any(|k| k == kind));
        // Of a library only its tests are a program.
        if is(wanted.name()) && (message["target"]["name"] == name || wanted == Kind::Units) {
            program = Some(PathBuf::from(path));
        } else if is("bin") {
            beside.push(PathBuf::from(path));
        }
    }
    Ok(Built {
        program: program.with_context(|| format!("cargo built no {} {name}", wanted.name()))?,
        beside,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_messages_of_cargo() {
        let said = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"vnet"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"vnet"},"executable":"/t/debug/vnet"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"vhost"},"executable":"/t/debug/deps/vhost-1"}
{"reason":"build-finished","success":true}
"#;
        let built = artifacts(said, Kind::Test, "vhost").unwrap();
        assert_eq!(built.program, PathBuf::from("/t/debug/deps/vhost-1"));
        assert_eq!(built.beside, [PathBuf::from("/t/debug/vnet")]);
        let said = said.replace(
            r#""name":"vnet"},"executable":null"#,
            r#""name":"vnet"},"executable":"/t/deps/vnet-2""#,
        );
        assert_eq!(
            artifacts(&said, Kind::Units, "vnet-user").unwrap().program,
            PathBuf::from("/t/deps/vnet-2")
        );
        assert!(artifacts(&said, Kind::Test, "live").unwrap_err().to_string().contains("no test live"));
    }
}
