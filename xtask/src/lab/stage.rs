//! What the lab shows: one row of a table per stage, run on any kernel.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{
    guest::Guest,
    kernel::{self, Kernel},
    machine::{self, Machine},
    nested::Nested,
    nic,
    qemu::{self, Qemu},
    run::tell,
    target::{self, Kind},
};
use crate::{
    libtest::{Listener, Outcome},
    paths,
    progress::{self, Style},
};

/// A stage of the lab.
pub(crate) struct Stage {
    /// How a user names it.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) about: &'static str,
    /// Kernels on which the gate runs it.
    pub(crate) gate: &'static [&'static str],
    /// Modules that the machine loads.
    modules: &'static [&'static str],
    /// Their parameters: module, `name=value`.
    parameters: &'static [(&'static str, &'static str)],
    /// CPUs of the machine, as QEMU's `-smp` takes them.
    cpus: &'static str,
    /// It has guests of its own, which need `kvm_amd`.
    guests: bool,
    /// Nodes of the machine, by their CPUs; none: one, of all CPUs.
    nodes: &'static [&'static str],
    program: Program,
}

/// What a machine is made of.
struct Parts {
    qemu: Qemu,
    kernel: Kernel,
    nested: Option<Nested>,
}

/// What runs in the machine.
enum Program {
    /// `vnet-guest` and vnet, against a NIC of the machine.
    Nic,
    /// An integration test: package, name, arguments for its harness.
    Test(&'static str, &'static str, &'static [&'static str]),
    /// Unit tests of a library: package, arguments for their harness.
    Units(&'static str, &'static [&'static str]),
}

/// What the tests of vhost need: taps, `vhost_net` and another user of vhost, and what holds, forwards or takes packets.
const VHOST_MODULES: &[&str] =
    &["tun", "vhost_net", "vhost_vsock", "bridge", "veth", "sch_plug", "sch_ingress", "cls_bpf"];

/// The module parameter that has packets sent without a copy.
pub(super) const ZEROCOPY: &[(&str, &str)] = &[("vhost_net", "experimental_zcopytx=1")];

/// The driver alone.
const DRIVER: Stage = Stage {
    name: "driver",
    about: "the driver that plays a guest, against the real vhost_net: golden counts, and the tap's own",
    gate: &["6.1", "7.2"],
    modules: &["tun", "vhost_net", "vhost_vsock", "bridge"],
    parameters: &[],
    cpus: "2",
    guests: false,
    nodes: &[],
    program: Program::Test("vnet-driver", "vhost", &["--test-threads=1"]),
};

/// vnet beside it.
const VHOST: Stage = Stage {
    name: "vhost",
    about: "vnet beside that driver: every count it reports against what the driver knows",
    gate: &["6.1", "7.2"],
    modules: VHOST_MODULES,
    parameters: &[],
    cpus: "8",
    guests: false,
    nodes: &[],
    program: Program::Test("vnet-user", "vhost", &["--test-threads=1", "--skip", "learned"]),
};

/// Real guests.
const GUEST: Stage = Stage {
    name: "guests",
    about: "real guests that start and stop, and that are laid out in known ways",
    gate: &[],
    modules: &["tun", "vhost_net", "kvm_amd"],
    parameters: &[],
    cpus: "4",
    guests: true,
    nodes: &[],
    program: Program::Test("vnet-user", "guest", &["--test-threads=1", "--skip", "once"]),
};

/// All stages, in the order in which they run.
pub(crate) const STAGES: &[Stage] = &[
    Stage {
        name: "nic",
        about: "vnet in a machine with a virtio NIC of 4 pairs, against the counters of the NIC's driver",
        gate: &["6.1"],
        modules: &["virtio_pci", "virtio_net", "af_packet"],
        parameters: &[],
        cpus: "2",
        guests: false,
        nodes: &[],
        program: Program::Nic,
    },
    Stage {
        name: "shapes",
        about: "every shape that the programs take, loaded, and how much the verifier has to do with it",
        gate: &[],
        modules: &["tun"],
        parameters: &[],
        cpus: "2",
        guests: false,
        nodes: &[],
        program: Program::Units("vnet-user", &["shapes", "--test-threads=1"]),
    },
    DRIVER,
    Stage {
        name: "driver-zerocopy",
        about: "the same with experimental_zcopytx=1",
        parameters: ZEROCOPY,
        ..DRIVER
    },
    VHOST,
    Stage {
        name: "vhost-zerocopy",
        about: "the same with experimental_zcopytx=1",
        parameters: ZEROCOPY,
        ..VHOST
    },
    Stage {
        name: "learned",
        about: "the same through kprobes, as on a kernel that does not describe its modules",
        gate: &["6.1"],
        program: Program::Test("vnet-user", "vhost", &["--test-threads=1", "learned"]),
        ..VHOST
    },
    Stage {
        name: "guest",
        about: "vnet beside a real guest under QEMU and KVM that changes its queues, against what it counts itself",
        gate: &[],
        program: Program::Test("vnet-user", "guest", &["--test-threads=1", "once"]),
        ..GUEST
    },
    GUEST,
    Stage {
        name: "kvm",
        about: "which vCPU each call interrupts and from how far, against VMs of a few instructions that count themselves",
        gate: &["7.2"],
        modules: &["tun", "vhost_net", "bridge", "kvm_amd"],
        // Cores of a socket, sockets of a node, and a second node. The kernel knows no threads of an emulated AMD core.
        cpus: "8,sockets=4,cores=2,threads=1",
        nodes: &["0-3", "4-7"],
        program: Program::Test("vnet-user", "kvm", &["--test-threads=1"]),
        ..VHOST
    },
];

impl Stage {
    /// Runs it on kernel `series`, `arguments` are for the harness of its test; says the result in a line of its own. A
    /// thorough run takes as long as it takes: see [`THOROUGH`].
    ///
    /// # Errors
    /// When what it shows is not so, or the machine fails. Tests that fail are in the outcome.
    pub(crate) fn run(
        &self,
        series: &str,
        arguments: &[String],
        thorough: bool,
        verbose: bool,
    ) -> Result<Outcome> {
        let parts = match self.have(series) {
            Ok(parts) => parts,
            Err(error) => return Ok(Outcome::skip(format!("{} on {series}: {error:#}", self.name))),
        };
        let (package, kind, test, own) = match self.program {
            Program::Test(package, test, own) => (package, Kind::Test, test, own),
            Program::Units(package, own) => (package, Kind::Units, "its library", own),
            Program::Nic => {
                return match nic::run(&parts.qemu, &parts.kernel, self.modules, self.cpus, verbose)? {
                    Some(why) => {
                        Ok(Outcome::skip(format!("{} on {}: {why}", self.name, parts.kernel.release)))
                    }
                    None => Ok(Outcome { passed: 1, ..Outcome::default() }),
                };
            }
        };
        let own: Vec<_> = own.iter().map(ToString::to_string).chain(arguments.iter().cloned()).collect();
        let built = target::build(package, kind, test, verbose)?;
        self.test(parts, &built, &own, thorough, verbose)
    }

    /// What its machine is made of.
    fn have(&self, series: &str) -> Result<Parts> {
        let qemu = Qemu::fetch()?;
        qemu::busybox()?;
        let nested = self.guests.then(|| Nested::fetch(&qemu, series)).transpose()?;
        Ok(Parts { qemu, kernel: kernel::fetch(series)?, nested })
    }

    fn test(
        &self,
        parts: Parts,
        built: &target::Built,
        arguments: &[String],
        thorough: bool,
        verbose: bool,
    ) -> Result<Outcome> {
        let started = Instant::now();
        let mut command = vec![built.program.to_string_lossy().into_owned(), "--show-output".to_owned()];
        command.extend_from_slice(arguments);
        let own = |path: &std::path::PathBuf| (path.clone(), path.to_string_lossy().into_owned());
        let guest = Guest {
            modules: self.modules.iter().map(ToString::to_string).collect(),
            later: false,
            parameters: self.parameters.iter().map(|(m, p)| ((*m).to_owned(), (*p).to_owned())).collect(),
            environment: environment(thorough),
            files: built.beside.iter().map(own).collect(),
            nested: parts.nested,
            command,
            shell: false,
        };
        let machine = Machine {
            cpus: self.cpus.to_owned(),
            limit: Duration::from_mins(if thorough { 60 } else { 20 }),
            ..machine::of_nodes(self.nodes)
        };
        progress::note(format_args!("        {} on {}", self.name, parts.kernel.release));
        let mut listener = Listener::new(verbose);
        let verdict = machine::run(&parts.qemu, &parts.kernel, &machine, &guest, &mut |bytes| {
            listener.hear(bytes);
            Ok(())
        })?;
        tell(&verdict);
        let outcome = listener.end(verdict.status == 0);
        ensure!(
            outcome.failed > 0 || outcome.groups > 0,
            "{} on {}: the test ended well and told no result:\n{}",
            self.name,
            verdict.release,
            outcome.output
        );
        let word = if outcome.failed == 0 { ("ok", Style::Green) } else { ("failed", Style::Red) };
        progress::line(format_args!("{} on {}", self.name, verdict.release), word, started.elapsed());
        Ok(outcome)
    }
}

/// Variables by which a user tells tests how much to do; they reach the machine.
const TOLD: [&str; 3] = ["VNET_SEED", "VNET_CASES", "VNET_CYCLES"];

/// What a thorough run does, unless the user tells otherwise: guests that come and go.
const THOROUGH: [(&str, &str); 1] = [("VNET_CYCLES", "1000")];

fn environment(thorough: bool) -> Vec<(String, String)> {
    let usual = |name| THOROUGH.iter().find(|(it, _)| thorough && *it == name).map(|(_, n)| (*n).to_owned());
    let said = |name| paths::var(name).and_then(|text| text.into_string().ok());
    let told = TOLD.iter().filter_map(|name| Some((*name, said(name).or_else(|| usual(*name))?)));
    [("RUST_BACKTRACE", "1".to_owned())]
        .into_iter()
        .chain(told)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_stage_once_and_only_kernels_that_exist() {
        for (row, stage) in STAGES.iter().enumerate() {
            assert!(STAGES[..row].iter().all(|other| other.name != stage.name), "{} twice", stage.name);
            assert!(stage.gate.iter().all(|series| kernel::series().contains(series)), "{}", stage.name);
        }
    }
}
