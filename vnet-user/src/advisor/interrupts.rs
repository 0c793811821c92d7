//! Which vCPU a queue interrupts, and what that vCPU was doing.

use std::collections::BTreeMap;

use super::{
    fix,
    limits::{Limits, number, per_second, ratio},
    rules::{Check, Mend, Rule, Subjects, Verdict},
    scene::{Device, Place, Queue, fact},
};
use crate::report::{Level, Where};

const SCALING: &str = "https://docs.kernel.org/networking/scaling.html";
const UNSEEN: &str = "its interrupts are not observed";
const NO_VCPUS: &str = "the vCPUs of its VM are not known";

/// Interrupts of a queue in a second that its main vCPU is judged by.
const FEW: f64 = 10.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R19",
        title: "Two queues interrupt the same vCPU while another has none",
        level: Level::Warning,
        check: Check::Rate(Subjects::Device(shared_vcpu)),
        limits: &[number(
            "queues_on_one_vcpu",
            2.0,
            2.0,
            256.0,
            "queues",
            "one queue per CPU (Documentation/networking/scaling.rst)",
        )],
        why: "One vCPU does the receive work of several queues, and another does none. The queues compete for it, as if there were fewer of them.",
        mend: spread,
        expect: "Each queue interrupts its own vCPU within a second, and the work of interrupts spreads.",
        source: SCALING,
        because: &["R12", "R4"],
    },
    Rule {
        id: "R20",
        title: "A queue's two vectors go to different vCPUs",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(apart)),
        limits: &[per_second(
            "interrupts",
            FEW,
            "in either direction; below this the target is chance (our own figure)",
        )],
        why: "Receive and transmit completions of one queue are handled on different vCPUs. Both touch the same socket and packet memory, which moves between their caches.",
        mend: spread,
        expect: "Both vectors of each queue hit the same vCPU.",
        source: "scylladb/seastar issue 1165: bind virtioN-input.k and virtioN-output.k to one CPU",
        because: &["R19"],
    },
    Rule::unchecked(
        "R21",
        "The vCPU that is interrupted is not the one that reads",
        "needs the vCPU that reads or kicks, which is not measured yet",
        SCALING,
    ),
    Rule::unchecked(
        "R22",
        "irqbalance moves a multi-queue NIC's vectors",
        "needs the guest's processes and affinity hints, which are not read yet",
        "irqbalance issues 93, 122, 252; misc/follow-affinity-hint.example",
    ),
    Rule::unchecked(
        "R23",
        "An old guest kernel sets no affinity hints",
        "needs the guest's kernel version, which the host does not know",
        "drivers/net/virtio_net.c: virtnet_set_affinity",
    ),
    Rule::unchecked(
        "R24",
        "Queues did not follow a vCPU hot-plug",
        "looks like any guest with fewer queues than vCPUs: R1, R3 and R4 say so",
        "kata-containers issue 1195",
    ),
    Rule {
        id: "R25",
        title: "Interrupts wake a halted vCPU",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(halted)),
        limits: &[
            ratio("halted", 0.5, "share of its interrupts (our own figure)"),
            per_second("interrupts", 1000.0, "below this a guest that sleeps is right (our own figure)"),
        ],
        why: "Most of the interrupts find the vCPU asleep, and each has to wake its thread first. That costs several microseconds of latency and an exit each time.",
        mend: |_| {
            Mend {
            place: Where::Host,
            commands: vec![
                "echo 200000 > /sys/module/kvm/parameters/halt_poll_ns".into(),
                "echo 'options kvm halt_poll_ns=200000' > /etc/modprobe.d/kvm-halt-poll.conf  # so that it stays".into(),
            ],
        }
        },
        expect: "Interrupts find the vCPU polling (root) or in the guest; its CPU time rises by what it polls.",
        source: "https://docs.kernel.org/virt/kvm/halt-polling.html",
        because: &["R49"],
    },
    Rule {
        id: "R49",
        title: "The guest's vCPU does not get its CPU",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(starved)),
        limits: &[
            ratio(
                "preempted",
                0.05,
                "share of its interrupts that find the vCPU ready and without a CPU (our own figure)",
            ),
            per_second("interrupts", FEW, "below this the share is chance (our own figure)"),
        ],
        why: "Interrupts arrive while the vCPU is ready to run and something else has its CPU, so that the guest cannot fetch its packets. More queues or larger rings only hide that.",
        mend: unload,
        expect: "The vCPU is found preempted in less than one of twenty interrupts, and drops of the queue end.",
        source: "Red Hat OpenStack: OVS-DPDK troubleshooting, chapter 4: the VM does not get to run",
        because: &["R26"],
    },
];

fn shared_vcpu(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let judged: Vec<_> = device.queues.iter().filter(|queue| queue.pps() >= Some(FEW)).collect();
    if judged.len() < 2 {
        return Verdict::Fine;
    }
    if judged.iter().any(|queue| queue.interrupts().is_none()) {
        return Verdict::Unsure(UNSEEN);
    }
    let Some(vcpus) = device.vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    let mut on: BTreeMap<u32, u32> = BTreeMap::new();
    for queue in judged.iter().filter(|queue| queue.interrupt_rate() >= Some(FEW)) {
        if let Some(vcpu) = queue.main_vcpu(&["rx", "tx"]) {
            *on.entry(vcpu).or_default() += 1;
        }
    }
    let idle = vcpus.saturating_sub(u32::try_from(on.len()).unwrap_or(u32::MAX));
    let Some((vcpu, queues)) = on.into_iter().max_by_key(|(_, queues)| *queues) else { return Verdict::Fine };
    if idle == 0 || !limits.at(0).reached_now(queues.into()) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(queues.into()),
        fact("vcpu", vcpu, "index"),
        fact("vcpus_without_queue", idle, "vCPUs"),
    ])
}

fn apart(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let rates = (queue.interrupt_rate_of(&["rx"]), queue.interrupt_rate_of(&["tx"]));
    let (Some(receive), Some(transmit)) = rates else { return Verdict::Unsure(UNSEEN) };
    let least = receive.min(transmit);
    let (Some(rx), Some(tx)) = (queue.main_vcpu(&["rx"]), queue.main_vcpu(&["tx"])) else {
        return Verdict::Fine;
    };
    if rx == tx || !limits.at(0).reached(least) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(least),
        fact("rx_vcpu", rx, "index"),
        fact("tx_vcpu", tx, "index"),
    ])
}

/// Both vectors of each queue to the vCPU of the same number, as the driver does it when nobody interferes.
fn spread(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Guest) };
    let queues: Vec<_> = device.queues.iter().map(|queue| queue.report.queue.to_string()).collect();
    let vcpus = device.vcpus().unwrap_or(1).max(1);
    Mend {
        place: Where::Guest,
        commands: vec![
            "systemctl disable --now irqbalance  # it moves them again; the driver's own spread stays then"
                .into(),
            format!(
                r#"for k in {}; do for n in $(sed -n "s/^ *\([0-9]*\):.*virtio[0-9]*-\(in\|out\)put\.$k$/\1/p" /proc/interrupts); do echo $((k % {vcpus})) > /proc/irq/$n/smp_affinity_list; done; done"#,
                queues.join(" ")
            ),
        ],
    }
}

fn halted(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, rate) = (limits.at(0), limits.at(1));
    let Some(each) = queue.interrupt_rate() else { return Verdict::Unsure(UNSEEN) };
    let Some(blocked) = queue.of_interrupts(|row| row.vcpu_state.map_or(0, |state| state.blocked)) else {
        return Verdict::Fine;
    };
    if !rate.reached(each) || !share.exceeded(blocked) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![share.evidence(blocked), rate.evidence(each)])
}

fn starved(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, rate) = (limits.at(0), limits.at(1));
    let Some(each) = queue.interrupt_rate() else { return Verdict::Unsure(UNSEEN) };
    let Some(preempted) = queue.of_interrupts(|row| row.vcpu_state.map_or(0, |state| state.preempted)) else {
        return Verdict::Fine;
    };
    if !rate.reached(each) || !share.exceeded(preempted) {
        return Verdict::Fine;
    }
    let vcpu = queue.main_vcpu(&["rx", "tx"]).map(|vcpu| fact("vcpu", vcpu, "index"));
    Verdict::Found([share.evidence(preempted), rate.evidence(each)].into_iter().chain(vcpu).collect())
}

/// What else runs on the vCPUs' CPUs, and a CPU of its own for each.
fn unload(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Host) };
    let mut cpus: Vec<_> = fix::vcpu_cpus(device).iter().map(|cpu| format!("$1 == {cpu}")).collect();
    cpus.dedup();
    let cpus = if cpus.is_empty() { "$2 > 5".into() } else { cpus.join(" || ") };
    Mend {
        place: Where::Host,
        commands: vec![
            format!(
                "ps -eLo psr,pcpu,tid,comm --sort=-pcpu | awk '{cpus}'  # what shares its CPUs: move it, or"
            ),
            format!(
                "virsh vcpupin {}  # give each vCPU a CPU that no other has: virsh vcpupin … VCPU CPU --live --config",
                fix::domain_of(device)
            ),
        ],
    }
}
