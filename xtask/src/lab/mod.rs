//! The lab: emulated machines with Debian's kernels, where vnet is compared with what the kernel itself counts.

mod closure;
mod guest;
mod initramfs;
mod kernel;
mod machine;
pub(crate) mod measure;
mod nested;
mod nic;
pub(crate) mod packages;
mod qemu;
mod run;
mod stage;
mod target;
mod verdict;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{
    Subcommand,
    builder::{PossibleValue, PossibleValuesParser},
};

use self::{
    run::Kernels,
    stage::{STAGES, Stage},
};
use crate::{libtest::Outcome, progress};

/// What the lab shows: stages, or a program of the user.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    scene: Option<Scene>,
    /// Stages to run; all of them, unless said
    #[arg(value_parser = names())]
    stage: Vec<String>,
    #[command(flatten)]
    kernels: Kernels,
    /// Arguments for the harness of a stage's tests: a part of their names, --test-threads=1
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

#[derive(Subcommand)]
enum Scene {
    /// Any program in a machine: its output here, its exit status is this command's
    ///
    /// It starts as root in /lab, with /proc, /sys, tracefs, debugfs and the BPF file system mounted and lo up.
    Run(Box<run::Args>),
}

fn names() -> PossibleValuesParser {
    STAGES.iter().map(|stage| PossibleValue::new(stage.name).help(stage.about)).collect::<Vec<_>>().into()
}

/// Runs what the user names; without a kernel a stage runs on those of the gate.
///
/// # Errors
/// When what the lab shows is not so.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<ExitCode> {
    if let Some(Scene::Run(args)) = &args.scene {
        return run::run(args);
    }
    let (mut sum, mut failed) = (Outcome::default(), Vec::new());
    for stage in
        STAGES.iter().filter(|s| args.stage.is_empty() || args.stage.iter().any(|name| name == s.name))
    {
        let otherwise = if stage.gate.is_empty() { &GATE } else { stage.gate };
        for series in args.kernels.series(otherwise) {
            let outcome =
                stage.run(&series, &args.arguments, args.kernels.all, verbose).unwrap_or_else(|error| {
                    progress::error(&error);
                    Outcome { failed: 1, ..Outcome::default() }
                });
            if outcome.failed > 0 {
                failed.push(format!("{} on {series}", stage.name));
                if !verbose {
                    println!("{}", outcome.output);
                }
            }
            sum.passed += outcome.passed;
            sum.failed += outcome.failed;
            sum.ignored += outcome.ignored;
            sum.skipped.extend(outcome.skipped);
        }
    }
    sum.skipped.iter().for_each(|line| println!("{line}"));
    let skipped = sum.skipped.len() as u64 + sum.ignored;
    println!("lab: {} passed, {} failed, {skipped} skipped", sum.passed, sum.failed);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// The kernel for a stage that is not in the gate, when the user names none.
const GATE: [&str; 1] = ["6.1"];

/// Runs the stages that belong to the gate, on its kernels; gives what each came to.
pub(crate) fn gate(verbose: bool, mut tell: impl FnMut(&str, Result<Outcome>)) {
    let rows = STAGES.iter().flat_map(|stage: &Stage| stage.gate.iter().map(move |series| (stage, *series)));
    for (stage, series) in rows {
        tell(&format!("lab {} on {series}", stage.name), stage.run(series, &[], false, verbose));
    }
}
