//! The lab: emulated machines with Debian's kernels, where vnet is compared with what the kernel itself counts.

mod closure;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod nic;
mod packages;
mod qemu;
mod run;
mod verdict;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// The kernel series that the gate boots.
const GATE_KERNEL: &str = "6.1";

/// What the lab shows.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    scene: Scene,
}

#[derive(Subcommand)]
enum Scene {
    /// vnet inside a machine with a 4-pair virtio NIC, against the counters of the NIC's own driver
    ///
    /// Needs root for a tap in a network namespace of its own. QEMU and the kernel are fetched once.
    Nic {
        /// Kernel series
        #[arg(long, default_value = GATE_KERNEL)]
        kernel: String,
    },
    /// Any program in a machine: its output here, its exit status is this command's
    Run(Box<run::Args>),
}

/// Runs it.
///
/// # Errors
/// When what the lab shows is not so.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<ExitCode> {
    match &args.scene {
        Scene::Nic { kernel } => {
            if let Some(why) = nic::run(kernel, verbose)? {
                println!("skipped: {why}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Scene::Run(args) => run::run(args),
    }
}

/// The scene that belongs to the gate; why it cannot be shown here.
///
/// # Errors
/// When what it shows is not so.
pub(crate) fn gate(verbose: bool) -> Result<Option<String>> {
    nic::run(GATE_KERNEL, verbose)
}
