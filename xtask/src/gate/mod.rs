//! The one gate: every check there is, in steps, with true numbers at the end.

mod report;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Error, Result, bail};

use self::report::Report;
use crate::ebpf::{self, object};
use crate::progress::{self, Style};
use crate::setup::{self, Probes};
use crate::{command, lab, paths, prometheus, tidy};

/// Runs all steps, also after one has failed, and says what became of them.
///
/// # Errors
/// When a step or a test failed.
pub(crate) fn run(verbose: bool) -> Result<()> {
    let mut report = Report::new(verbose);
    report.step("format", || quiet(cargo(&["fmt", "--all", "--check"])));
    report.step("tidy", tidy::run);
    report.step("lints", || quiet(clippy(&["--workspace", "--all-targets"])));
    report.step("lints with probe-log", || {
        quiet(clippy(&["--package", "vnet-user", "--features", "probe-log", "--all-targets"]))
    });
    report.step("lints of the probes", || {
        // As a program of this machine: clippy looks at the source, and a BPF toolchain has none. Only the feature
        // gates and the panic strategy of a program without std are what BPF has.
        let mut clippy =
            clippy(&["--package", "vnet-ebpf", "--features", "bpf,probe-log", "--bin", "vnet-probes"]);
        clippy.env("RUSTC_BOOTSTRAP", "1").env("CARGO_PROFILE_DEV_PANIC", "abort");
        clippy.env("CARGO_TARGET_DIR", paths::target().join("probe-lints"));
        quiet(clippy)
    });
    report.step("documentation", || {
        let mut doc = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        quiet(doc)
    });
    match report.step("BPF toolchain", || setup::probes(verbose)) {
        Some(Probes::Prebuilt(_)) => {
            report.skip("probes with probe-log: VNET_BPF_OBJECT names a built object");
        }
        Some(Probes::Built(_)) => {
            report.note("probes with probe-log", probes(&["probe-log"]));
        }
        None => {}
    }
    match report.note("probes", probes(&[])) {
        Some(object) => {
            report.step("program", || program(&object));
            tests(&mut report, &object);
            lab::gate(verbose, |name, done| match done {
                Ok(outcome) => report.tests(name, outcome),
                Err(error) => drop(report.note::<()>(name, Err(error))),
            });
        }
        None => report.skip("program and tests: there are no probes"),
    }
    if report.finish() { Ok(()) } else { bail!("the gate is shut: see above what failed") }
}

fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root()).args(args);
    cargo
}

fn clippy(args: &[&str]) -> Command {
    let mut clippy = cargo(&["clippy", "--locked"]);
    clippy.args(args).args(["--", "-D", "warnings"]);
    clippy
}

fn quiet(mut command: Command) -> Result<()> {
    command::text(&mut command).map(drop)
}

fn probes(features: &[&str]) -> Result<PathBuf> {
    let features = features.iter().map(ToString::to_string).collect();
    object(&ebpf::Args { features, deny_warnings: true }, false)
}

fn program(object: &Path) -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--release", "--package", "vnet-user"]);
    build.env("VNET_BPF_OBJECT", object);
    quiet(build)
}

/// Runs the tests of the workspace; their own lines are shown as they come.
fn tests(report: &mut Report, object: &Path) {
    let mut cargo = cargo(&["test", "--locked", "--workspace", "--no-fail-fast", "--", "--show-output"]);
    cargo.env("VNET_BPF_OBJECT", object);
    match prometheus::programs() {
        Ok(folder) => drop(cargo.env("VNET_PROMETHEUS", folder)),
        Err(error) => report.skip(format!("a Prometheus for the tests: {error:#}")),
    }
    let started = Instant::now();
    let outcome = suite::run(&mut cargo, report.verbose());
    match outcome {
        Ok(outcome) => {
            let word = if outcome.failed == 0 { ("ok", Style::Green) } else { ("failed", Style::Red) };
            progress::line("tests", word, started.elapsed());
            report.tests("tests", outcome);
        }
        Err(error) => {
            report.failed("tests", &Error::context(error, "the tests cannot be run"), started.elapsed());
        }
    }
}
