//! Everything that is done to this repository: set up, build, run, test, measure.
//!
//! `cargo xtask --help` lists the commands. Progress goes to stderr, results to stdout; an error ends with status 2.

mod bench;
mod build;
mod command;
mod demo;
mod ebpf;
mod gate;
mod lab;
mod libtest;
mod paths;
mod progress;
mod prometheus;
mod run;
mod setup;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is done to this repository, in one place.
///
/// `cargo xtask run` on a fresh clone brings the BPF toolchain, builds vnet and shows this host's queues.
/// `cargo xtask test` is the gate every change passes.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    /// Show the whole output of the programs that are called
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the BPF toolchain into the user's cache folder; instant when it is there
    ///
    /// Needs no root and changes no installed package. The first that works is taken:
    /// a prebuilt object named by `VNET_BPF_OBJECT` (then there is nothing to set up),
    /// a Rust toolchain with rust-src (rustup's nightly first), Debian's rustc-web packages unpacked into the cache.
    /// `VNET_BPF_TOOLCHAIN` takes `installed` or `debian` to allow only one kind.
    Setup,
    /// Build the probes: target/bpf/vnet-probes.bpf.o
    Ebpf(ebpf::Args),
    /// Set up, build the probes, and build target/release/vnet with the object inside
    Build,
    /// Build, then show this host's queues live, or a recording where that is not possible
    ///
    /// Without a terminal it is a report of 5 seconds.
    Run(run::Args),
    /// Make the recording that `vnet top --demo` opens, anew: real taps with a bad layout, on this kernel
    ///
    /// Needs root. Takes a minute and a half, in a network namespace of its own.
    Demo,
    /// The gate: format, lints, documentation, conventions, probes, program, all tests
    ///
    /// Tests that need root or a kernel feature say `skipped: why` without it; these lines are repeated at the end.
    Test,
    /// Check the conventions that no compiler checks: imports, unsafe, lengths, names
    Tidy,
    /// Measure what counting costs, with the limit beside each figure
    ///
    /// Needs root. `bench probes` loads a live tap at full rate, `bench scale` makes 500 taps; both in network
    /// namespaces of their own. `bench scrape` needs neither. Run it on a quiet machine: other load is measured with it.
    Bench(bench::Args),
    /// Bring a Prometheus for the tests into the cache and tell its folder: `VNET_PROMETHEUS=$(cargo xtask prometheus)`
    Prometheus,
    /// Boot emulated machines: vnet against their kernels, or any program
    Lab(lab::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let verbose = cli.verbose;
    let done = match cli.command {
        Command::Lab(args) => return end(lab::run(&args, verbose)),
        Command::Setup => setup::run(verbose),
        Command::Ebpf(args) => ebpf::run(&args, verbose),
        Command::Build => build::run(verbose),
        Command::Run(args) => run::run(&args, verbose),
        Command::Demo => demo::run(verbose),
        Command::Test => gate::run(verbose),
        Command::Tidy => tidy::run(),
        Command::Prometheus => prometheus::run(),
        Command::Bench(args) => bench::run(&args, verbose),
    };
    end(done.map(|()| ExitCode::SUCCESS))
}

fn end(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            progress::error(&error);
            ExitCode::from(2)
        }
    }
}
