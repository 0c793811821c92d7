//! Measurements in a machine of one CPU whose clock counts instructions: the same in every run, whatever else this one does.

use std::{
    io::{Write as _, stdout},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    guest::Guest,
    kernel,
    machine::{self, Machine},
    qemu::Qemu,
    run::tell,
    stage::ZEROCOPY,
    target,
};

/// The kernels of a measurement, when the user names none.
const KERNELS: [&str; 1] = ["6.1"];

/// Runs a bench of `vnet-user` on kernels, in copy mode and with zero-copy.
///
/// # Errors
/// When a machine cannot be had, or the bench fails.
pub(crate) fn run(bench: &str, kernels: &[String], verbose: bool) -> Result<()> {
    let built = target::build("vnet-user", target::Kind::Bench, bench, verbose)?;
    let qemu = Qemu::fetch().context("cannot have QEMU")?;
    let kernels = if kernels.is_empty() { KERNELS.map(str::to_owned).to_vec() } else { kernels.to_vec() };
    for series in kernels {
        let kernel = kernel::fetch(&series).with_context(|| format!("cannot have kernel {series}"))?;
        for parameters in [&[][..], ZEROCOPY] {
            let own = |(module, value): &(&str, &str)| ((*module).to_owned(), (*value).to_owned());
            let guest = Guest {
                modules: ["tun", "vhost_net", "sch_ingress", "cls_bpf"].map(str::to_owned).to_vec(),
                parameters: parameters.iter().map(own).collect(),
                environment: vec![("VNET_COUNTS_INSTRUCTIONS".to_owned(), "1".to_owned())],
                command: vec![built.program.to_string_lossy().into_owned()],
                ..Guest::default()
            };
            let limit = Duration::from_mins(10);
            let machine = Machine { cpus: "1".to_owned(), icount: true, limit, ..Machine::default() };
            let verdict = machine::run(&qemu, &kernel, &machine, &guest, &mut |bytes| {
                stdout().write_all(bytes)?;
                Ok(stdout().flush()?)
            })?;
            tell(&verdict);
            ensure!(verdict.status == 0, "{bench} on {} failed", verdict.release);
        }
    }
    Ok(())
}
