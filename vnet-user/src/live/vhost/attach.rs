//! Attaches the programs that see vhost, each to the first of its functions that this kernel has. There are two sets of them:
//! those that know the structures of vhost, and their twins, which do not ([`super::learned`]).

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
    record::{Known, Probe},
};

use super::{
    described::{ANYONES, DESCRIBED, functions},
    learned,
};

/// A function that a program can attach to: the module that it may be in, and its name.
pub(super) type Target = (&'static str, &'static str);

/// A program of the object, and the functions that it attaches to: one of each group, the first that this kernel has.
pub(super) struct Program {
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

pub(super) const fn program(
    name: &'static str,
    when: When,
    groups: &'static [&'static [Target]],
    args: usize,
    by: u32,
) -> Program {
    Program { name, when, groups, args, by, twice: true }
}

impl Program {
    /// All functions that it may attach to.
    pub(super) fn targets(&self) -> impl Iterator<Item = &'static Target> + use<> {
        self.groups.iter().copied().flatten()
    }

    /// One whose second run would count twice; it is seldom run where it can be interrupted by itself.
    pub(super) const fn once(self) -> Self {
        Self { twice: false, ..self }
    }
}

/// A set of programs that see vhost.
pub(super) struct Set {
    /// It needs a kernel that describes the functions that it attaches to.
    pub(super) described: bool,
    /// A new one is a row here and a function in the object.
    pub(super) programs: &'static [Program],
    /// A signal, and the programs without which it is not known.
    pub(super) signals: &'static [(&'static str, &'static [&'static str])],
    /// Why a signal is not known here whatever is attached.
    pub(super) unknown: fn(&str) -> Option<String>,
    /// Why there is nothing better than this set.
    pub(super) second_best: Option<&'static str>,
}

/// Handlers of kicks, by which one is told from another wake-up.
const HANDLERS: [Target; 2] = [("vhost_net", "handle_tx_kick"), ("vhost_net", "handle_rx_kick")];

/// A module that a host may do without.
const OPTIONAL: &str = "kvm";

/// Functions of the modules without which there is nothing to see.
pub(super) const NEEDED: [Target; 2] = [("vhost_net", "handle_rx"), ("tun", "tun_sendmsg")];

/// Names whose addresses are wanted.
fn names() -> impl Iterator<Item = &'static str> {
    functions().chain(HANDLERS).map(|(_, name)| name).chain(learned::names())
}

/// The programs that see vhost, attached. They are detached when this is dropped.
pub(crate) struct Vhost {
    set: &'static Set,
    /// Programs with their links, and what they are attached to.
    attached: Vec<Attached>,
    /// Why a program is not attached.
    failed: Vec<(&'static str, String)>,
    /// Why none is.
    absent: Option<String>,
}

pub(super) struct Attached {
    program: &'static str,
    via: String,
    fd: OwnedFd,
    _link: OwnedFd,
    /// Index of its group.
    group: usize,
    /// There is another one before it.
    second: bool,
}

impl Attached {
    /// The first one of its kind, on the first of its groups.
    pub(super) fn new(program: &'static str, when: When, function: &str, fd: OwnedFd, link: OwnedFd) -> Self {
        let via = format!("{}:{function}", when.name());
        Self { program, via, fd, _link: link, group: 0, second: false }
    }
}

impl Vhost {
    /// None are attached yet. `learning`: they are the twins.
    pub(crate) fn new(learning: bool) -> Self {
        let set = if learning { &learned::LEARNED } else { &DESCRIBED };
        Self { set, attached: Vec::new(), failed: Vec::new(), absent: None }
    }

    /// Whether there is something to attach to, and it is not attached to.
    pub(crate) fn is_due(&mut self, kernel: &Kernel, symbols: &Symbols) -> bool {
        let absent = if self.set.described {
            why_absent(kernel)
        } else {
            let missing = NEEDED.iter().find(|(_, name)| symbols.count(name) == Some(0));
            missing.map(|(module, _)| modules::why_absent(module))
        };
        if self.attached.is_empty() {
            self.absent.clone_from(&absent);
        }
        absent.is_none() && !self.is_complete()
    }

    /// Whether all is attached that can be.
    pub(crate) fn is_complete(&self) -> bool {
        !self.attached.is_empty() && self.failed.is_empty()
    }

    /// Whether all is attached that sees vhost itself; a host may do without KVM.
    pub(crate) fn sees_vhost(&self) -> bool {
        let targets = |program: &Program| program.groups.iter().flat_map(|group| group.iter());
        let optional = |name: &str| {
            let program = self.set.programs.iter().find(|program| program.name == name);
            program.is_some_and(|program| targets(program).all(|(module, _)| *module == OPTIONAL))
        };
        !self.attached.is_empty() && self.failed.iter().all(|(name, _)| optional(name))
    }

    /// None could be attached, for this reason.
    pub(crate) fn refused(&mut self, why: &str) {
        self.failed = self.set.programs.iter().map(|program| (program.name, why.to_owned())).collect();
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
        for program in self.set.programs.iter().rev() {
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
        self.set.signals.iter().map(|(signal, programs)| self.probe(signal, programs)).collect()
    }

    fn probe(&self, signal: &str, programs: &[&str]) -> Probe {
        let attached = |name: &&str| self.attached.iter().find(|found| found.program == *name);
        let via = programs.iter().rev().find_map(attached).map_or("fentry:vhost_net", |found| &found.via);
        let failed = programs.iter().find_map(|name| self.failed.iter().find(|(program, _)| program == name));
        let reason = failed.map(|(_, why)| why.clone()).or_else(|| self.absent.clone());
        match reason.or_else(|| (self.set.unknown)(signal)) {
            None => Probe::new(signal, via, Known::Exact, self.set.second_best.map(str::to_owned)),
            reason => Probe::exact_unless(signal, via, reason),
        }
    }

    /// Descriptors of the programs that are not second ones, and of which a run that is left out may be missed. Most runs of
    /// [`ANYONES`] are for interrupts that no virtqueue calls for, and those that are for one cannot be left out of both.
    pub(crate) fn programs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let counts = |attached: &&Attached| !attached.second && attached.program != ANYONES;
        self.attached.iter().filter(counts).map(|attached| attached.fd.as_fd())
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
    ["vhost_", "handle_", "tun_", "eventfd_", "irqfd_", "__apic_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
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
    if matches!(program.when, When::Kprobe | When::Kretprobe) {
        return learned::attach(code, program.name, program.when, group, symbols, without);
    }
    let known =
        |module: &str| functions().any(|(of, name)| of == module && kernel.function(of, name).is_some());
    if let Some((module, _)) = group.iter().find(|(module, _)| *module == OPTIONAL && !known(module)) {
        bail!("{}", modules::why_absent(module));
    }
    let (module, name) = group.iter().find(present).with_context(|| {
        format!("this kernel has no function {}, or does not describe it", names.join(" or "))
    })?;
    let Some(Function { module: owner, id, args }) = kernel.function(module, name) else {
        bail!("this kernel has no function {name}");
    };
    if args < program.args {
        bail!("function {name} has {args} arguments here, not {}", program.args);
    }
    only_one(symbols, name)?;
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
    Ok(Attached::new(program.name, program.when, name, fd, link))
}

/// Fails unless there is one function of this name, as far as that can be told.
pub(super) fn only_one(symbols: &Symbols, name: &str) -> Result<()> {
    match symbols.count(name) {
        Some(0) => bail!("this kernel has no code of its own for {name}: it was inlined"),
        Some(1) | None => Ok(()),
        Some(n) => bail!("this kernel has {n} functions {name}, and cannot be told which is meant"),
    }
}

#[cfg(test)]
mod shapes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_one_functions() {
        let kallsyms = "ff10 t twice\nff20 t once\nff30 t twice\t[vhost]\nff40 t inlined.isra.0\n";
        let symbols = Symbols::parse(kallsyms, |_| true);
        let refused = |name| only_one(&symbols, name).unwrap_err().to_string();
        assert!(only_one(&symbols, "once").is_ok());
        assert_eq!(refused("twice"), "this kernel has 2 functions twice, and cannot be told which is meant");
        assert!(refused("inlined").contains("it was inlined"));
    }

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
