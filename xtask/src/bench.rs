//! Measures what counting costs.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, ebpf, lab, paths, progress};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The measurement; all of them when left out
    #[arg(value_enum)]
    what: Option<What>,
    /// Kernel series for `vhost`: 6.1 unless said; may be given more than once
    #[arg(long, value_name = "SERIES")]
    kernel: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// CPU time that the probes add to a packet, beside an empty program's
    Probes,
    /// Start, report, memory and live screen on a host with 500 taps of 8 queues
    Scale,
    /// Instructions that vnet adds to a packet through vhost, in emulated machines; runs of each program per packet
    Vhost,
    /// Time and memory of scrapes of a host with 100 VMs, and of 4 and 16 times as many
    Scrape,
    /// Frames of the live screen with 3,200 queues
    Screen,
}

impl What {
    /// The bench target of `vnet-user`.
    fn target(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Scale => "scale",
            Self::Vhost => "vhost",
            Self::Scrape => "scrape",
            Self::Screen => "screen",
        }
    }
}

/// Builds the probes and everything else, then measures: nothing is compiled meanwhile.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<()> {
    let all = vec![What::Probes, What::Scale, What::Scrape, What::Screen, What::Vhost];
    let mut wanted = args.what.map_or(all, |what| vec![what]);
    let emulated: Vec<_> = wanted.extract_if(.., |what| *what == What::Vhost).collect();
    if !wanted.is_empty() {
        here(&wanted, verbose)?;
    }
    emulated.iter().try_for_each(|what| lab::measure::run(what.target(), &args.kernel, verbose))
}

/// Those that are measured on this machine.
fn here(wanted: &[What], verbose: bool) -> Result<()> {
    let object = ebpf::object(&ebpf::Args::default(), verbose)?;
    let cargo = || {
        let mut cargo = Command::new(paths::cargo());
        cargo.current_dir(paths::root()).args(["bench", "--locked", "--package", "vnet-user"]);
        for what in wanted {
            cargo.args(["--bench", what.target()]);
        }
        cargo.env("VNET_BPF_OBJECT", &object);
        cargo
    };
    progress::step("build the measurements", || command::run(cargo().arg("--no-run"), verbose))
        .context("the measurements do not build")?;
    command::run(cargo().arg("--quiet"), true).context("a measurement failed")
}
