//! The lab: emulated machines with Debian's kernels, where vnet is compared with what the kernel itself counts.

mod initramfs;
mod kernel;
mod nic;
mod packages;
mod vm;

use anyhow::Result;
use clap::Subcommand;

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
        /// Kernel series: 6.1 or 6.12
        #[arg(long, default_value = "6.1")]
        kernel: String,
    },
}

/// Runs it.
///
/// # Errors
/// When what the lab shows is not so.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<()> {
    match &args.scene {
        Scene::Nic { kernel } => nic::run(kernel, verbose),
    }
}
