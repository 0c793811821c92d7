//! Attaches the programs that see vhost, each to the first of its functions that this kernel has.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use vnet_ebpf::{offsets::by, vhost::VhostCode};

use crate::{
    live::{
        bpf::{self, Code, When},
        kernel::{Function, Kernel, MODULES},
        modules,
        symbols::Symbols,
    },
    record::Probe,
};

/// A function that a program can attach to: the module that it may be in, and its name.
type Target = (&'static str, &'static str);

/// A program of the object, and the functions that it attaches to: one of each group, the first that this kernel has.
struct Program {
    name: &'static str,
    when: When,
    groups: &'static [&'static [Target]],
    /// Arguments that the program reads.
    args: usize,
    /// Its bit in the table of offsets.
    by: u32,
    /// A second one finds nothing left to do unless the first was left out (see the probes' `vhost::again`).
    twice: bool,
}

const fn program(
    name: &'static str,
    when: When,
    groups: &'static [&'static [Target]],
    args: usize,
    by: u32,
) -> Program {
    Program { name, when, groups, args, by, twice: true }
}

impl Program {
    /// One whose second run would count twice; it is seldom run where it can be interrupted by itself.
    const fn once(self) -> Self {
        Self { twice: false, ..self }
    }
}

/// Not in a module of its own.
const CORE: &str = "vmlinux";

/// All programs. A new one is a row here and a function in the object.
const PROGRAMS: [Program; 16] = [
    program("tx_copy", When::Entry, &[&[("vhost_net", "handle_tx_copy")]], 2, by::VHOST),
    program("tx_zerocopy", When::Entry, &[&[("vhost_net", "handle_tx_zerocopy")]], 2, by::VHOST),
    program(
        "tx_end",
        When::Exit,
        &[&[("vhost_net", "handle_tx_copy")], &[("vhost_net", "handle_tx_zerocopy")]],
        2,
        by::VHOST,
    ),
    program("rx_begin", When::Entry, &[&[("vhost_net", "handle_rx")]], 1, by::VHOST),
    program("rx_end", When::Exit, &[&[("vhost_net", "handle_rx")]], 1, by::VHOST),
    program("poll_begin", When::Entry, &[&[("vhost_net", "vhost_net_busy_poll")]], 1, by::VHOST),
    program("poll_end", When::Exit, &[&[("vhost_net", "vhost_net_busy_poll")]], 1, by::VHOST),
    program("sendmsg", When::Entry, &[&[("tun", "tun_sendmsg")]], 3, by::VHOST),
    program("recvmsg", When::Entry, &[&[("tun", "tun_recvmsg")]], 3, by::VHOST),
    program("used_begin", When::Entry, USED, 2, by::VHOST),
    program("used_end", When::Exit, USED, 2, by::VHOST),
    program(
        "eventfd",
        When::Entry,
        &[&[(CORE, "eventfd_signal_mask"), (CORE, "eventfd_signal")]],
        1,
        by::VHOST,
    ),
    program("wakeup", When::Entry, &[&[("vhost", "vhost_poll_wakeup")]], 1, by::KICK).once(),
    program(
        "completed",
        When::Exit,
        &[&[("vhost_net", "vhost_zerocopy_complete"), ("vhost_net", "vhost_zerocopy_callback")]],
        3,
        by::ZEROCOPY,
    )
    .once(),
    // First to be attached: what ends is noticed of all that is seen to begin.
    program("vhost_close", When::Entry, &[&[("vhost", "vhost_dev_cleanup")]], 1, by::NONE).once(),
    program("backend", When::Entry, &[&[("vhost", "vhost_vq_init_access")]], 1, by::KICK).once(),
];

const USED: &[&[Target]] =
    &[&[("vhost", "vhost_add_used_and_signal_n")], &[("vhost", "vhost_add_used_and_signal")]];

/// A signal, and the programs without which it is not known.
const SIGNALS: [(&str, &[&str]); 8] = [
    ("vhost.tx", &["vhost_close", "tx_copy", "tx_zerocopy", "tx_end", "sendmsg", "used_begin"]),
    ("vhost.rx", &["vhost_close", "rx_begin", "rx_end", "recvmsg", "used_begin"]),
    (
        "vhost.copies",
        &["vhost_close", "tx_copy", "tx_zerocopy", "tx_end", "sendmsg", "used_begin", "completed"],
    ),
    ("vhost.calls", &["tx_copy", "tx_zerocopy", "rx_begin", "used_begin", "used_end", "eventfd"]),
    ("vhost.kicks", &["vhost_close", "backend", "wakeup"]),
    ("vhost.runs", &["tx_copy", "tx_zerocopy", "tx_end", "rx_begin", "rx_end"]),
    ("vhost.worker", &["tx_copy", "tx_zerocopy", "rx_begin"]),
    ("vhost.busy_poll", &["vhost_close", "tx_copy", "tx_zerocopy", "rx_begin", "poll_begin", "poll_end"]),
];

/// Handlers of kicks, by which one is told from another wake-up.
const HANDLERS: [Target; 2] = [("vhost_net", "handle_tx_kick"), ("vhost_net", "handle_rx_kick")];

/// Modules without which there is nothing to see.
const NEEDED: [Target; 2] = [("vhost_net", "handle_rx"), ("tun", "tun_sendmsg")];

/// All functions that a program may attach to.
pub(crate) fn functions() -> impl Iterator<Item = Target> {
    PROGRAMS.iter().flat_map(|program| program.groups).copied().flatten().copied()
}

/// Names whose addresses are wanted.
fn names() -> impl Iterator<Item = &'static str> {
    functions().chain(HANDLERS).map(|(_, name)| name)
}

/// The programs that see vhost, attached. They are detached when this is dropped.
pub(crate) struct Vhost {
    /// Programs with their links, and what they are attached to.
    attached: Vec<Attached>,
    /// Why a program is not attached.
    failed: Vec<(&'static str, String)>,
    /// Why none is.
    absent: Option<String>,
}

struct Attached {
    program: &'static str,
    via: String,
    fd: OwnedFd,
    _link: OwnedFd,
    /// Index of its group.
    group: usize,
    /// There is another one before it.
    second: bool,
}

impl Vhost {
    /// None are attached yet.
    pub(crate) fn new() -> Self {
        Self { attached: Vec::new(), failed: Vec::new(), absent: None }
    }

    /// Whether there is something to attach to, and it is not attached to.
    pub(crate) fn is_due(&mut self, kernel: &Kernel) -> bool {
        let absent = why_absent(kernel);
        if self.attached.is_empty() {
            self.absent.clone_from(&absent);
        }
        absent.is_none() && !self.is_complete()
    }

    /// Whether all is attached that can be.
    pub(crate) fn is_complete(&self) -> bool {
        !self.attached.is_empty() && self.failed.is_empty()
    }

    /// None could be attached, for this reason.
    pub(crate) fn refused(&mut self, why: &str) {
        self.failed = PROGRAMS.iter().map(|program| (program.name, why.to_owned())).collect();
    }

    /// Attaches what this kernel allows, to functions that exist once. `objects` are the programs, and on a kernel that
    /// takes tasks off the CPU within itself the second ones. What is attached already stays.
    pub(crate) fn attach(
        &mut self,
        objects: &[Vec<u8>],
        maps: &[(String, BorrowedFd<'_>)],
        kernel: &Kernel,
        symbols: &Symbols,
        without: &[String],
    ) -> Result<()> {
        let codes: Vec<_> = objects.iter().map(|bytes| Code::new(bytes, maps)).collect::<Result<_>>()?;
        let modules = MODULES.map(|module| (module, bpf::module_btf(module)));
        self.failed.clear();
        // What is seen in passing comes first, what it belongs to last: nothing is then seen by halves.
        for program in PROGRAMS.iter().rev() {
            for (group, targets) in program.groups.iter().enumerate() {
                for (index, code) in
                    codes.iter().enumerate().filter(|(index, _)| *index == 0 || program.twice)
                {
                    let second = index > 0;
                    if self.has(program.name, group, second) {
                        continue;
                    }
                    match attach(code, program, targets, kernel, &modules, symbols, without) {
                        Ok(attached) => self.attached.push(Attached { group, second, ..attached }),
                        Err(error) => self.failed.push((program.name, format!("{error:#}"))),
                    }
                }
            }
        }
        Ok(())
    }

    fn has(&self, program: &str, group: usize, second: bool) -> bool {
        let is = |found: &Attached| (found.program, found.group, found.second) == (program, group, second);
        self.attached.iter().any(is)
    }

    /// How each signal is known.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        SIGNALS.iter().map(|(signal, programs)| self.probe(signal, programs)).collect()
    }

    fn probe(&self, signal: &str, programs: &[&str]) -> Probe {
        let attached = |name: &&str| self.attached.iter().find(|found| found.program == *name);
        let via = programs.iter().rev().find_map(attached).map_or("fentry:vhost_net", |found| &found.via);
        let failed = programs.iter().find_map(|name| self.failed.iter().find(|(program, _)| program == name));
        let reason = failed.map(|(_, why)| why.clone()).or_else(|| self.absent.clone());
        Probe::exact_unless(signal, via, reason)
    }

    /// Descriptors of the programs that are not second ones.
    pub(crate) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.attached.iter().filter(|attached| !attached.second).map(|attached| attached.fd.as_fd())
    }
}

/// Why there is nothing to see, if so.
pub(crate) fn why_absent(kernel: &Kernel) -> Option<String> {
    let absent = NEEDED.iter().find(|(module, name)| kernel.function(module, name).is_none());
    absent.map(|(module, _)| modules::why_absent(module))
}

/// Whether this kernel takes tasks off the CPU within itself, so that a program may be asked to run while it is running.
pub(crate) fn preemptible() -> bool {
    let version = fs::read_to_string("/proc/version").unwrap_or_default();
    let mode = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok();
    is_preemptible(&version, mode.as_deref())
}

/// From `/proc/version` and, where it is chosen at boot, from `sched/preempt` in debugfs; where that cannot be read it may be.
fn is_preemptible(version: &str, mode: Option<&str>) -> bool {
    let never = |mode: &str| mode.contains("(none)") || mode.contains("(voluntary)");
    version.contains("PREEMPT") && !mode.is_some_and(never)
}

/// Where the handlers of kicks are.
pub(crate) fn handlers(symbols: &Symbols) -> VhostCode {
    let address = |name| symbols.address(name).unwrap_or(0);
    VhostCode { tx_kick: address(HANDLERS[0].1), rx_kick: address(HANDLERS[1].1) }
}

/// What symbols are wanted of `/proc/kallsyms`.
pub(crate) fn wanted(name: &str) -> bool {
    // The first test spares nearly all of 200,000 symbols the second.
    ["vhost_", "handle_", "tun_", "eventfd_"].iter().any(|prefix| name.starts_with(prefix))
        && names().any(|wanted| wanted == name)
}

fn attach(
    code: &Code,
    program: &Program,
    group: &[Target],
    kernel: &Kernel,
    modules: &[(&str, Result<OwnedFd>)],
    symbols: &Symbols,
    without: &[String],
) -> Result<Attached> {
    let present = |(module, name): &&Target| {
        kernel.function(module, name).is_some() && !without.iter().any(|absent| absent == name)
    };
    let names: Vec<_> = group.iter().map(|(_, name)| *name).collect();
    let (module, name) = group.iter().find(present).with_context(|| {
        format!("this kernel has no function {}, or does not describe it", names.join(" or "))
    })?;
    let Some(Function { module: owner, id, args }) = kernel.function(module, name) else {
        bail!("this kernel has no function {name}");
    };
    if args < program.args {
        bail!("function {name} has {args} arguments here, not {}", program.args);
    }
    match symbols.count(name) {
        Some(0) => bail!("this kernel has no code of its own for {name}: it was inlined"),
        Some(1) | None => {}
        Some(n) => bail!("this kernel has {n} functions {name}, and cannot be told which is meant"),
    }
    if let Some(error) = kernel.lacks(program.by) {
        bail!("{error}");
    }
    if program.by == by::KICK && HANDLERS.iter().any(|(_, handler)| symbols.address(handler).is_none()) {
        bail!("kicks cannot be told from other wake-ups: the handlers of kicks are not in /proc/kallsyms");
    }
    let btf = match modules.iter().find(|(module, _)| Some(*module) == owner) {
        Some((_, Ok(btf))) => Some(btf),
        Some((_, Err(error))) => bail!("{error:#}"),
        None => None,
    };
    let fd = code.load(program.name, program.when, btf, id)?;
    let link = match bpf::attach(&fd) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{}", bpf::untraceable(&error))
        }
        link => link.with_context(|| format!("the program cannot be attached to {name}"))?,
    };
    let when = if program.when == When::Entry { "fentry" } else { "fexit" };
    Ok(Attached {
        program: program.name,
        via: format!("{when}:{name}"),
        fd,
        _link: link,
        group: 0,
        second: false,
    })
}

#[cfg(test)]
mod shapes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_whether_tasks_are_taken_off_the_cpu() {
        let dynamic = "Linux version 6.12.117 #1 SMP PREEMPT_DYNAMIC Debian";
        assert!(!is_preemptible(dynamic, Some("none (voluntary) full lazy")));
        assert!(is_preemptible(dynamic, Some("none voluntary full (lazy)")));
        assert!(is_preemptible(dynamic, None));
        assert!(!is_preemptible("Linux version 5.10.0 #1 SMP Debian", None));
        assert!(is_preemptible("Linux version 6.18 #1 SMP PREEMPT_RT", None));
    }
}
