//! The programs that know the structures of vhost and KVM, and what is known through them: tables alone.

use vnet_ebpf::offsets::by;

use super::attach::{Program, Set, Target, program};
use crate::live::bpf::When;

/// The set that needs a kernel that describes its modules.
pub(super) static DESCRIBED: Set =
    Set { described: true, programs: &PROGRAMS, signals: &SIGNALS, unknown: |_| None, second_best: None };

/// Not in a module of its own.
pub(super) const CORE: &str = "vmlinux";

/// Its programs.
pub(super) const PROGRAMS: [Program; 19] = [
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
    program("irqfd_end", When::Exit, &[&[("kvm", "irqfd_wakeup")]], 1, by::KVM).once(),
    program("irqfd_begin", When::Entry, &[&[("kvm", "irqfd_wakeup")]], 1, by::KVM).once(),
    program(ANYONES, When::Entry, &[&[("kvm", "__apic_accept_irq")]], 3, by::KVM),
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

/// Its signals.
const SIGNALS: [(&str, &[&str]); 9] = [
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
    (
        "kvm.interrupts",
        &[
            "tx_copy",
            "tx_zerocopy",
            "rx_begin",
            "used_begin",
            "used_end",
            "irqfd_begin",
            "irqfd_end",
            "apic_accept",
        ],
    ),
];

/// The program that is run for every interrupt of every vCPU.
pub(super) const ANYONES: &str = "apic_accept";

/// All functions that a program may attach to.
pub(crate) fn functions() -> impl Iterator<Item = Target> {
    PROGRAMS.iter().flat_map(Program::targets).copied()
}
