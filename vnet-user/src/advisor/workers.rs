//! Where vhost's workers run, and whether they get the time to.

use super::{
    count::Count,
    fix,
    limits::{Limits, number, per_second, ratio},
    rules::{Check, Mend, Rule, Subjects, Verdict},
    scene::{Cpu, Device, Place, Queue, fact},
};
use crate::report::{Distance, Level, Where};

const PINNING: &str =
    "RHEL 7 Virtualization Tuning and Optimization Guide, 9.3.6: emulatorpin moves vhost threads too";
const UNSEEN: &str = "its interrupts are not observed";
const NO_WORKER: &str = "its vhost worker is not known";

/// Interrupts of a queue in a second that their distance is judged by.
const FEW: f64 = 10.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R26",
        title: "A worker runs on its guest's CPU",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(on_the_vcpu)),
        limits: &[
            ratio(
                "same_cpu",
                0.05,
                "share of its interrupts from the CPU that the vCPU runs on (our own figure)",
            ),
            per_second("interrupts", FEW, "below this the share is chance (our own figure)"),
        ],
        why: "The worker and the vCPU that it feeds share one CPU, and each waits while the other runs. That is contention, not nearness: caches are shared one level up as well.",
        mend: off_the_vcpus,
        expect: "Interrupts at distance same_cpu fall to nothing, and the worker waits less.",
        source: PINNING,
        because: &[],
    },
    Rule {
        id: "R27",
        title: "A worker runs on another NUMA node than its guest",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(on_another_node)),
        limits: &[ratio("remote", 0.1, "share of its interrupts that cross nodes (our own figure)")],
        why: "The worker copies every packet to or from the memory of another node, and its interrupts cross over too. That costs latency and the bandwidth between the nodes.",
        mend: to_the_node,
        expect: "Interrupts at distance remote fall to nothing.",
        source: PINNING,
        because: &[],
    },
    Rule::unchecked(
        "R28",
        "A worker runs on another node than the NIC",
        "needs the NIC that the traffic leaves by, which is not known yet",
        "Oracle SBC: NUMA and pinning",
    ),
    Rule {
        id: "R29",
        title: "Several workers share a full CPU",
        level: Level::Warning,
        check: Check::Rate(Subjects::Cpu(crowded)),
        limits: &[
            ratio("busy_together", 0.95, "Open vSwitch, pmd-auto-lb: a CPU at 95 %"),
            number("workers", 2.0, 2.0, 4096.0, "workers", "one alone is not crowded"),
        ],
        why: "These workers run on one CPU, and together they fill it. Each is slower than it could be on a CPU of its own, and none of them can be faster.",
        mend: spread,
        expect: "The workers are seen on different CPUs, and wait less.",
        source: "Open vSwitch: PMD auto load balancing",
        because: &[],
    },
    Rule {
        id: "R30",
        title: "A worker is ready and does not run",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(waits)),
        limits: &[ratio(
            "waiting",
            0.05,
            "of all time; Open vSwitch calls 250 us once suspicious, which is not measured (our own figure)",
        )],
        why: "Something else has the worker's CPU while packets wait for it. Its delay is added to every one of them, and rings fill meanwhile.",
        mend: make_room,
        expect: "The worker waits less than a twentieth of the time.",
        source: "Open vSwitch: pmd-perf-log-set; https://docs.kernel.org/scheduler/sched-stats.html",
        because: &["R29", "R26"],
    },
    Rule {
        id: "R31",
        title: "A worker is moved about",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(restless)),
        limits: &[per_second("migrations", 100.0, "our own figure")],
        why: "The scheduler moves the worker from CPU to CPU many times a second. After each move its caches are cold, and its distance to the guest is another.",
        mend: off_the_vcpus,
        expect: "Fewer than 100 moves a second; none on a single CPU.",
        source: "Linux scheduler: sched_migrate_task",
        because: &["R29", "R30"],
    },
    Rule::unchecked(
        "R32",
        "Tools look for vhost's kernel thread and find none",
        "nothing to mend: vnet names each worker's thread, be it a kernel thread or, since 6.4, one of the monitor's",
        "spdk issue 3482; vhost.fork_from_owner_default",
    ),
    Rule::unchecked(
        "R33",
        "One worker serves several busy queue pairs",
        "exists for vhost_scsi only: vhost_net has one device, and so one worker, per queue pair",
        "include/uapi/linux/vhost.h: VHOST_ATTACH_VRING_WORKER",
    ),
    Rule::unchecked(
        "R51",
        "Automatic NUMA balancing works against pinning",
        "needs kernel.numa_balancing, which is not read yet; R26 and R27 ask for pinning only where distance costs something",
        "RHEL 7 Virtualization Tuning and Optimization Guide, 9.2",
    ),
];

fn on_the_vcpu(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, rate) = (limits.at(0), limits.at(1));
    let Some(each) = queue.interrupt_rate() else { return Verdict::Unsure(UNSEEN) };
    let same = |row: &crate::report::InterruptReport| {
        if row.level == Some(Distance::SameCpu) { row.count } else { 0 }
    };
    let Some(shared) = queue.of_interrupts(same) else { return Verdict::Fine };
    if !rate.reached(each) || !share.exceeded(shared) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![share.evidence(shared), rate.evidence(each)])
}

/// All CPUs of the vCPUs' node that no vCPU of this VM runs on.
fn off_the_vcpus(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Host) };
    fix::move_workers(place, &fix::cpus(fix::vcpu_node(device), &fix::vcpu_cpus(device)))
}

fn on_another_node(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let remote = |row: &crate::report::InterruptReport| {
        if row.level == Some(Distance::Remote) { row.count } else { 0 }
    };
    let share = match queue.of_interrupts(remote).filter(|_| queue.interrupt_rate() >= Some(FEW)) {
        Some(share) => share,
        None => match (queue.report.worker.as_ref().and_then(|worker| worker.node), fix::vcpu_node(device)) {
            (Some(worker), Some(vcpus)) => f64::from(u8::from(worker != vcpus)),
            _ => return Verdict::Unsure("the node of its worker or of its vCPUs is not known"),
        },
    };
    if !limits.at(0).exceeded(share) {
        return Verdict::Fine;
    }
    let node = queue
        .report
        .worker
        .as_ref()
        .and_then(|worker| worker.node)
        .map(|node| fact("worker_node", node, "index"));
    let vcpus = fix::vcpu_node(device).map(|node| fact("vcpu_node", node, "index"));
    Verdict::Found([Some(limits.at(0).evidence(share)), node, vcpus].into_iter().flatten().collect())
}

fn to_the_node(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Host) };
    match fix::vcpu_node(device) {
        Some(node) => fix::move_workers(place, &fix::cpus(Some(node), &fix::vcpu_cpus(device))),
        // vCPUs on several nodes: first they have to be on one.
        None => Mend {
            place: Where::Domain,
            commands: vec![format!(
                "virsh edit {}  # <vcpu cpuset='…'/> of one node, and <numatune><memory mode='strict' nodeset='…'/></numatune>",
                fix::domain_of(device)
            )],
        },
    }
}

fn crowded(cpu: &Cpu<'_>, limits: &Limits<'_>) -> Verdict {
    let (together, workers) = (limits.at(0), limits.at(1));
    let mut busy: Vec<(u32, f64)> = Vec::new();
    for (_, queue) in &cpu.queues {
        let Some(tid) = queue.tid() else { continue };
        let Some(share) = queue.busy() else {
            return Verdict::Unsure("how busy its workers are is not known");
        };
        if busy.iter().all(|(other, _)| *other != tid) {
            busy.push((tid, share));
        }
    }
    let working = busy.iter().filter(|(_, share)| *share > 0.0).count();
    let working = f64::from(u32::try_from(working).unwrap_or(u32::MAX));
    let sum: f64 = busy.iter().map(|(_, share)| share).sum();
    if !workers.reached_now(working) || !together.reached(sum) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![together.evidence(sum), workers.evidence(working)])
}

/// Any CPU of their node but this one.
fn spread(place: &Place<'_>) -> Mend {
    let worker = place.queues.first().and_then(|queue| queue.report.worker.as_ref());
    let (node, cpu) = (worker.and_then(|worker| worker.node), worker.and_then(|worker| worker.cpu));
    let mut except: Vec<u32> = place.devices.iter().flat_map(|device| fix::vcpu_cpus(device)).collect();
    except.extend(cpu);
    fix::move_workers(place, &fix::cpus(node, &except))
}

fn waits(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    if queue.tid().is_none() {
        return Verdict::Unsure(NO_WORKER);
    }
    let Some(waiting) = queue.rate(Count::Waited) else {
        return Verdict::Unsure("how long its worker waits is not known");
    };
    if !limits.at(0).reached(waiting) {
        return Verdict::Fine;
    }
    let cpu = queue.report.worker.as_ref().and_then(|worker| worker.cpu).map(|cpu| fact("cpu", cpu, "index"));
    Verdict::Found([limits.at(0).evidence(waiting)].into_iter().chain(cpu).collect())
}

/// What else runs there, and CPUs without it.
fn make_room(place: &Place<'_>) -> Mend {
    let worker = place.queues.first().and_then(|queue| queue.report.worker.as_ref());
    let Some(cpu) = worker.and_then(|worker| worker.cpu) else { return off_the_vcpus(place) };
    let mut mend = spread(place);
    mend.commands.insert(
        0,
        format!(
            "ps -eLo psr,pcpu,tid,comm --sort=-pcpu | awk '$1 == {cpu}'  # what has its CPU: move that, or"
        ),
    );
    mend
}

fn restless(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    if queue.tid().is_none() {
        return Verdict::Unsure(NO_WORKER);
    }
    let Some(moves) = queue.rate(Count::Migrations) else {
        return Verdict::Unsure("its worker's moves are not known");
    };
    if !limits.at(0).exceeded(moves) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![limits.at(0).evidence(moves)])
}
