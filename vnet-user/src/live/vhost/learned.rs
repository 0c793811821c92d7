//! The twins: kprobes on the functions of vhost and tun, where the kernel does not describe these.
//!
//! A kprobe gets arguments, and structures of the kernel itself are known. Which tap queue a worker serves is learned from
//! the packets that pass while it works. What only the structures of vhost tell is not known.

use std::fs;

use anyhow::{Context as _, Result, bail};
use vnet_ebpf::offsets::by;

use super::{
    attach::{Attached, NEEDED, Program, Set, Target, only_one, program},
    described::CORE,
};
use crate::live::{
    bpf::{self, Code, When},
    kernel::Kernel,
    symbols::Symbols,
};

/// Whether the twins are used: nothing describes what the others need, and this kernel has kprobes.
pub(crate) fn learns(kernel: &Kernel) -> bool {
    let described = NEEDED.iter().all(|(module, name)| kernel.function(module, name).is_some());
    !described && !kernel.describes_modules && bpf::has_kprobes()
}

/// A function of kernels whose `vhost_add_used_and_signal_n` has an argument more: they came in one change.
const NHEADS: &str = "vhost_get_vq_desc_n";

/// Whether `vhost_add_used_and_signal_n` has it.
pub(crate) fn used_has_nheads(symbols: &Symbols) -> bool {
    symbols.count(NHEADS).is_some_and(|count| count > 0)
}

/// Names whose addresses are wanted beside those of functions that programs attach to.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let own = LEARNED.programs.iter().flat_map(Program::targets).map(|(_, name)| *name);
    own.chain([NHEADS])
}

/// The set of twins.
pub(super) static LEARNED: Set = Set {
    described: false,
    programs: &PROGRAMS,
    signals: &SIGNALS,
    unknown,
    second_best: Some(
        "not through fentry: this kernel does not describe the functions of modules (that takes Linux 5.11 with \
         CONFIG_DEBUG_INFO_BTF_MODULES=y)",
    ),
};

const fn twin(name: &'static str, when: When, groups: &'static [&'static [Target]]) -> Program {
    program(name, when, groups, 0, by::NONE).once()
}

const PROGRAMS: [Program; 11] = [
    twin("k_close", When::Kprobe, &[&[("vhost", "vhost_dev_cleanup")]]),
    twin("k_tx_copy", When::Kprobe, &[&[("vhost_net", "handle_tx_copy")]]),
    twin("k_tx_zerocopy", When::Kprobe, &[&[("vhost_net", "handle_tx_zerocopy")]]),
    twin("k_rx", When::Kprobe, &[&[("vhost_net", "handle_rx")]]),
    twin("k_sendmsg", When::Kprobe, &[&[("tun", "tun_sendmsg")]]),
    twin("k_recvmsg", When::Kprobe, &[&[("tun", "tun_recvmsg")]]),
    twin("k_weight", When::Kprobe, &[&[("vhost", "vhost_exceeds_weight")]]),
    twin("k_used", When::Kprobe, &[&[("vhost", "vhost_add_used_and_signal_n")]]),
    twin("k_used_one", When::Kprobe, &[&[("vhost", "vhost_add_used_and_signal")]]),
    twin(
        "k_used_end",
        When::Kretprobe,
        &[&[("vhost", "vhost_add_used_and_signal_n")], &[("vhost", "vhost_add_used_and_signal")]],
    ),
    // Where both exist the first is what vhost calls.
    twin("k_eventfd", When::Kprobe, &[&[(CORE, "eventfd_signal"), (CORE, "eventfd_signal_mask")]]),
];

const SIGNALS: [(&str, &[&str]); 8] = [
    ("vhost.tx", &["k_close", "k_rx", "k_tx_zerocopy", "k_tx_copy"]),
    ("vhost.rx", &["k_close", "k_tx_copy", "k_tx_zerocopy", "k_rx", "k_weight", "k_recvmsg"]),
    ("vhost.copies", &["k_close", "k_tx_copy", "k_tx_zerocopy", "k_rx", "k_weight", "k_used", "k_sendmsg"]),
    (
        "vhost.calls",
        &[
            "k_close",
            "k_tx_copy",
            "k_tx_zerocopy",
            "k_rx",
            "k_sendmsg",
            "k_recvmsg",
            "k_eventfd",
            "k_used_one",
            "k_used_end",
            "k_used",
        ],
    ),
    ("vhost.kicks", &[]),
    ("vhost.runs", &[]),
    ("kvm.interrupts", &[]),
    ("vhost.worker", &["k_close", "k_tx_copy", "k_tx_zerocopy", "k_recvmsg", "k_sendmsg", "k_rx"]),
];

/// What arguments and nesting do not tell.
fn unknown(signal: &str) -> Option<String> {
    let what = match signal {
        "vhost.kicks" => "which virtqueue is kicked",
        "kvm.interrupts" => "which vCPU a call interrupts",
        "vhost.runs" => "why a run of the worker ended",
        "vhost.copies" if zerocopy() => "how a zero-copy packet ended",
        _ => return None,
    };
    let why = "is in structures of vhost, which this kernel does not describe";
    Some(format!("{what} {why} (that takes Linux 5.11 with CONFIG_DEBUG_INFO_BTF_MODULES=y)"))
}

/// Whether vhost may send without a copy.
fn zerocopy() -> bool {
    let parameter = fs::read_to_string("/sys/module/vhost_net/parameters/experimental_zcopytx");
    parameter.is_ok_and(|value| value.trim() != "0")
}

/// Attaches a twin to the first function of the group that this kernel has.
pub(super) fn attach(
    code: &Code,
    program: &'static str,
    when: When,
    group: &[Target],
    symbols: &Symbols,
    without: &[String],
) -> Result<Attached> {
    let present = |name: &&str| {
        symbols.count(name) != Some(0) && !without.iter().any(|absent| absent.as_str() == *name)
    };
    let names: Vec<_> = group.iter().map(|(_, name)| *name).collect();
    let name = names.iter().copied().find(present);
    let name = name.with_context(|| format!("this kernel has no function {}", names.join(" or ")))?;
    if symbols.count(name).is_none() {
        bail!("whether there is one function {name} cannot be told: /proc/kallsyms hides addresses");
    }
    only_one(symbols, name)?;
    let fd = code.load(program, when, None, 0)?;
    let link = bpf::attach_kprobe(&fd, name, when == When::Kretprobe)
        .with_context(|| format!("the program cannot be attached to {name}"))?;
    Ok(Attached::new(program, when, name, fd, link))
}
