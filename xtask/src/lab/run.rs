//! Any program, in a machine with any kernel of the lab.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    guest::Guest,
    kernel,
    machine::{self, Machine},
    nested::Nested,
    qemu::Qemu,
    verdict::Verdict,
};
use crate::progress;

/// Modules of a machine when nobody says others.
pub(crate) const MODULES: [&str; 3] = ["tun", "vhost_net", "vhost_vsock"];

/// Which kernels.
#[derive(clap::Args, Clone)]
pub(crate) struct Kernels {
    /// Kernel series: 5.10, 6.1, 6.12, 6.18 or 7.2; may be given more than once
    #[arg(long, value_name = "SERIES")]
    pub(crate) kernel: Vec<String>,
    /// Every kernel series
    #[arg(long, conflicts_with = "kernel")]
    pub(crate) all: bool,
}

impl Kernels {
    /// Their series, `otherwise` when the user names none.
    pub(crate) fn series(&self, otherwise: &[&str]) -> Vec<String> {
        match (self.all, self.kernel.is_empty()) {
            (true, _) => kernel::series().into_iter().map(str::to_owned).collect(),
            (_, true) => otherwise.iter().map(ToString::to_string).collect(),
            (_, false) => self.kernel.clone(),
        }
    }
}

/// Modules of its kernel.
#[derive(clap::Args)]
struct Loaded {
    /// Modules to load, with all that they need
    #[arg(long, value_delimiter = ',', default_values_t = MODULES.map(str::to_owned))]
    modules: Vec<String>,
    /// Only bring the modules; the program loads them by `sh /modules/load`
    #[arg(long)]
    later: bool,
    /// A module's parameter, as `vhost_net.experimental_zcopytx=1`; may be given more than once
    #[arg(long, value_name = "MODULE.NAME=VALUE", value_parser = parameter)]
    set: Vec<(String, String)>,
}

/// A machine and a program, as a user says them.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    kernels: Kernels,
    #[command(flatten)]
    loaded: Loaded,
    /// CPUs, as QEMU's -smp takes them: 8, or 8,sockets=4,cores=1,threads=2
    #[arg(long, default_value = "2")]
    cpus: String,
    /// Memory in MiB; 1 GiB more than the files need, unless said
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// More words on the kernel's command line; may be given more than once
    #[arg(long, allow_hyphen_values = true)]
    append: Vec<String>,
    /// Let the clock count instructions (use it with --cpus 1): costs are then the same in every run
    #[arg(long)]
    icount: bool,
    /// One more argument for QEMU; may be given more than once
    #[arg(long, allow_hyphen_values = true, value_name = "ARG")]
    qemu: Vec<String>,
    /// A file, program or folder to bring, to a place in the guest or to /lab; may be given more than once
    #[arg(long, value_name = "SRC[:DEST]", value_parser = file)]
    file: Vec<(PathBuf, String)>,
    /// Bring what boots guests inside the machine: QEMU, a kernel, an initramfs (in /nested), and KVM
    #[arg(long)]
    guests: bool,
    /// A variable of the program's environment; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// How long the program may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// A shell on this terminal, after the program if there is one; `exit` ends the machine
    #[arg(long)]
    shell: bool,
    /// The program, of this machine or a command of busybox, and its arguments
    #[arg(last = true, required_unless_present = "shell", value_name = "PROGRAM")]
    command: Vec<String>,
}

fn parameter(text: &str) -> Result<(String, String)> {
    let (module, rest) = text.split_once('.').context("a parameter is MODULE.NAME=VALUE")?;
    ensure!(rest.contains('=') && !module.is_empty(), "a parameter is MODULE.NAME=VALUE");
    Ok((module.to_owned(), rest.to_owned()))
}

fn variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("a variable is NAME=VALUE")?;
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    ensure!(!name.is_empty() && name.chars().all(word), "`{name}` is no name of a variable");
    Ok((name.to_owned(), value.to_owned()))
}

fn file(text: &str) -> Result<(PathBuf, String)> {
    let (from, to) = text.split_once(':').unwrap_or((text, ""));
    let from = PathBuf::from(from);
    ensure!(from.exists(), "no file {}", from.display());
    ensure!(to.is_empty() || to.starts_with('/'), "a place in the guest begins with /");
    Ok((from, to.to_owned()))
}

/// Runs the program on each kernel, and ends as the first did that failed.
///
/// # Errors
/// When a machine cannot be had, or does not come to the program's end.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let kvm = args.guests.then(|| "kvm_amd".to_owned());
    let mut guest = Guest {
        modules: args.loaded.modules.iter().filter(|name| !name.is_empty()).cloned().chain(kvm).collect(),
        later: args.loaded.later,
        parameters: args.loaded.set.clone(),
        environment: args.env.clone(),
        files: args.file.clone(),
        nested: None,
        command: args.command.clone(),
        shell: args.shell,
    };
    let machine = Machine {
        cpus: args.cpus.clone(),
        memory: args.memory,
        append: args.append.clone(),
        icount: args.icount,
        qemu: args.qemu.clone(),
        limit: Duration::from_secs(args.timeout),
    };
    let qemu = Qemu::fetch().context("cannot have QEMU")?;
    let mut first = 0;
    for series in args.kernels.series(&["6.1"]) {
        let kernel = kernel::fetch(&series).with_context(|| format!("cannot have kernel {series}"))?;
        if args.guests {
            guest.nested = Some(Nested::fetch(&qemu, &series)?);
        }
        let verdict = machine::run(&qemu, &kernel, &machine, &guest, &mut |bytes| {
            stdout().write_all(bytes)?;
            Ok(stdout().flush()?)
        })?;
        tell(&verdict);
        first = if first == 0 { verdict.status } else { first };
    }
    Ok(ExitCode::from(first))
}

/// Says what became of a program, and what the kernel complained of.
pub(crate) fn tell(verdict: &Verdict) {
    for line in &verdict.complaints {
        progress::note(format_args!("kernel: {line}"));
    }
    progress::note(format_args!(
        "{}: exit status {}, {:.1} s to boot, {:.1} s for the program",
        verdict.release,
        verdict.status,
        verdict.boot.as_secs_f64(),
        verdict.program.as_secs_f64()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            parameter("vhost_net.experimental_zcopytx=1").unwrap(),
            pair("vhost_net", "experimental_zcopytx=1")
        );
        assert!(parameter("vhost_net=1").is_err() && parameter("vhost_net.x").is_err());
        assert_eq!(variable("A=b=c").unwrap(), pair("A", "b=c"));
        assert!(variable("A B=c").is_err() && variable("=c").is_err());
        assert_eq!(file("/dev/null:/x").unwrap(), (PathBuf::from("/dev/null"), "/x".to_owned()));
        assert!(file("/nowhere/at/all").is_err() && file("/dev/null:x").is_err());
    }

    #[test]
    fn kernels_are_those_the_user_names() {
        let kernels =
            |kernel: &[&str], all| Kernels { kernel: kernel.iter().map(ToString::to_string).collect(), all };
        assert_eq!(kernels(&[], false).series(&["6.1"]), ["6.1"]);
        assert_eq!(kernels(&["7.2", "5.10"], false).series(&["6.1"]), ["7.2", "5.10"]);
        assert_eq!(kernels(&[], true).series(&["6.1"]), kernel::series());
    }
}
