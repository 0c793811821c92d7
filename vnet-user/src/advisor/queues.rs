//! How many queues there are, and how many there should be.

use super::{
    fix,
    limits::{Limits, number, per_second, ratio},
    rules::{Check, Mend, Rule, Subjects, Verdict},
    scene::{Device, Place, Queue, Vm, fact},
};
use crate::report::{Level, Where};

const RHEL: &str = "RHEL 7 Virtualization Tuning and Optimization Guide, 5.4.2 Multi-Queue virtio-net";
const NO_VCPUS: &str = "the vCPUs of its VM are not known";
const NO_QUEUES: &str = "how many queues it offers is not known";
const NO_WORKER: &str = "how busy its vhost worker is is not known";

/// What a tap can have (drivers/net/tun.c: `MAX_TAP_QUEUES`).
const MOST: u32 = 256;

/// The busiest queues that R5 adds up.
const BUSIEST: usize = 8;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R1",
        title: "One queue for several vCPUs",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(one_for_several)),
        limits: &[
            ratio("worker_busy", 0.7, "near enough to a full CPU that bursts wait (our own figure)"),
            per_second(
                "packets",
                200_000.0,
                "about what one worker copies of small packets (our own figure)",
            ),
        ],
        why: "One vhost worker carries all packets of this NIC, and a worker is one thread on one CPU. Several vCPUs of the guest wait for it.",
        mend: a_queue_per_vcpu,
        expect: "Traffic of several connections spreads over the queues, and each worker is less busy; the guest may still have to enable them (R4).",
        source: RHEL,
        because: &["R4"],
    },
    Rule {
        id: "R2",
        title: "More queues than vCPUs",
        level: Level::Info,
        check: Check::Set(Subjects::Device(more_than_vcpus)),
        limits: &[number(
            "queues_per_vcpu",
            1.0,
            1.0,
            256.0,
            "queues per vCPU",
            "a guest never sends on more queues than it has CPUs (drivers/net/virtio_net.c: virtnet_set_affinity)",
        )],
        why: "A guest uses at most one queue for each of its vCPUs. The others cost a worker, MSI-X vectors and 64 KiB of memory each, and carry nothing.",
        mend: a_queue_per_vcpu,
        expect: "Fewer queues, the same traffic.",
        source: "cloud-hypervisor refuses more queues than vCPUs; drivers/net/virtio_net.c",
        because: &[],
    },
    Rule {
        id: "R3",
        title: "Queues do not divide the vCPUs evenly",
        level: Level::Info,
        check: Check::Set(Subjects::Device(uneven)),
        limits: &[number(
            "vcpus_left_over",
            1.0,
            1.0,
            255.0,
            "vCPUs",
            "virtnet_set_affinity deals vCPUs out in groups of vCPUs / queues, the rest to the first ones",
        )],
        why: "The guest deals its vCPUs out to the queues in groups, and here some groups are larger. Their queues have more to do than the others.",
        mend: a_queue_per_vcpu,
        expect: "Each queue has as many vCPUs as the next, and is private to one where there is one for each.",
        source: "drivers/net/virtio_net.c: virtnet_set_affinity; virtio-win issue 29",
        because: &["R4"],
    },
    Rule {
        id: "R4",
        title: "The guest has not enabled all queues",
        level: Level::Warning,
        check: Check::Set(Subjects::Device(not_enabled)),
        limits: &[number(
            "queues_not_enabled",
            1.0,
            1.0,
            256.0,
            "queues",
            "a queue that is offered and not enabled carries nothing",
        )],
        why: "The host offers more queues than the guest uses. Offering them does not enable them: the guest has to do that itself.",
        mend: enable,
        expect: "The queues become enabled within a second, and packets of several connections spread over them. A single connection stays on one queue, whatever is enabled.",
        source: "RHEL 7 Virtualization Tuning and Optimization Guide, 5.4.2: ethtool -L eth0 combined M",
        because: &["R12"],
    },
    Rule {
        id: "R5",
        title: "Many queues, and a few carry everything",
        level: Level::Info,
        check: Check::Rate(Subjects::Device(few_of_many)),
        limits: &[
            number(
                "vcpus",
                16.0,
                9.0,
                1024.0,
                "vCPUs",
                "below this a queue for each vCPU costs little (our own figure)",
            ),
            ratio("share_of_eight", 0.95, "what the eight busiest queues carry together (our own figure)"),
        ],
        why: "The eight busiest queues carry nearly all packets. The others cost workers, vectors and memory, and spread interrupts thin.",
        mend: |place| fix::queues(place, 8),
        expect: "The same traffic on eight queues.",
        source: "KubeVirt issue 18012: queues == vcpus can be wasteful; Cloudpods caps at 16",
        because: &["R12", "R4"],
    },
    Rule {
        id: "R6",
        title: "A VM's NICs need more vectors than it has",
        level: Level::Warning,
        check: Check::Set(Subjects::Vm(vectors)),
        limits: &[number(
            "vectors",
            200.0,
            2.0,
            2048.0,
            "MSI-X vectors",
            "OpenStack nova spec libvirt-virtiomq: a guest has about 200",
        )],
        why: "Each NIC needs two vectors per queue and two more, and an x86 guest has about 200 for all its devices. A NIC that gets too few shares one vector among all its queues.",
        mend: fewer_vectors,
        expect: "Every queue of every NIC has its own line in the guest's /proc/interrupts.",
        source: "OpenStack nova spec libvirt-virtiomq; linux-kvm.org Multiqueue: vectors = 2N + 2",
        because: &[],
    },
    Rule::unchecked(
        "R7",
        "More queues than the kernel can have",
        "cannot happen here: a tap has at most 256 queues (MAX_TAP_QUEUES) on every kernel that vnet runs on",
        "drivers/net/tun.c; nova release note multiqueue-on-tap",
    ),
    Rule::unchecked(
        "R8",
        "More queues than connections",
        "needs the number of flows, which is not counted yet",
        "kata-containers issue 9290",
    ),
    Rule::unchecked(
        "R9",
        "Queues take much of the host's memory",
        "needs the size of the host's memory, which is not read yet",
        "KubeVirt documentation: 64 KiB per queue",
    ),
    Rule {
        id: "R10",
        title: "Several busy NICs with a queue per vCPU each",
        level: Level::Info,
        check: Check::Set(Subjects::Vm(several_nics)),
        limits: &[number(
            "queues_per_vcpu",
            2.0,
            1.0,
            256.0,
            "queues per vCPU",
            "sum over the VM's busy NICs (our own figure)",
        )],
        why: "All NICs of a VM share its vCPUs, so that a queue per vCPU on each of them is a queue too many on each vCPU. They take turns, and gain nothing over fewer queues.",
        mend: share_vcpus,
        expect: "As many queues over all NICs as vCPUs, the same traffic.",
        source: "KubeVirt user guide: no significant improvement when vNICs are proportional to vCPUs",
        because: &["R2"],
    },
];

fn one_for_several(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    if !device.is_tap() {
        return Verdict::Fine;
    }
    let Some(offered) = device.offered() else { return Verdict::Unsure(NO_QUEUES) };
    let enabled = device.report.queues_enabled.unwrap_or(offered);
    if enabled != 1 {
        return Verdict::Fine;
    }
    let (busy, packets) = (limits.at(0), limits.at(1));
    let Some(pps) = queue.pps() else { return Verdict::Fine };
    let worker = queue.busy();
    let loaded = worker.is_some_and(|worker| busy.reached(worker));
    if !loaded && !packets.exceeded(pps) {
        return if worker.is_some() { Verdict::Fine } else { Verdict::Unsure(NO_WORKER) };
    }
    // Queues that are offered and not enabled are R4's, which is the cause where both find something.
    let Some(vcpus) = device.vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    if vcpus < 2 {
        return Verdict::Fine;
    }
    let mut evidence =
        vec![packets.evidence(pps), fact("queues_enabled", enabled, "queues"), fact("vcpus", vcpus, "vCPUs")];
    evidence.extend(worker.map(|worker| busy.evidence(worker)));
    evidence.rotate_right(1);
    Verdict::Found(evidence)
}

fn a_queue_per_vcpu(place: &Place<'_>) -> Mend {
    let vcpus = place.devices.first().and_then(|device| device.vcpus());
    fix::queues(place, vcpus.unwrap_or(1).clamp(1, MOST))
}

fn more_than_vcpus(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    if !device.is_tap() {
        return Verdict::Fine;
    }
    let Some(offered) = device.offered() else { return Verdict::Unsure(NO_QUEUES) };
    if offered < 2 {
        return Verdict::Fine;
    }
    let Some(vcpus) = device.vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    let per_vcpu = f64::from(offered) / f64::from(vcpus.max(1));
    if !limits.at(0).exceeded_now(per_vcpu) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(per_vcpu),
        fact("queues_offered", offered, "queues"),
        fact("vcpus", vcpus, "vCPUs"),
    ])
}

fn uneven(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let Some(enabled) = device.report.queues_enabled.filter(|_| device.is_tap()) else {
        return Verdict::Fine;
    };
    if enabled < 2 {
        return Verdict::Fine;
    }
    let Some(vcpus) = device.vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    let left_over = vcpus % enabled;
    if vcpus <= enabled || !limits.at(0).reached_now(left_over.into()) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(left_over.into()),
        fact("queues_enabled", enabled, "queues"),
        fact("vcpus", vcpus, "vCPUs"),
    ])
}

fn not_enabled(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let (Some(offered), Some(enabled)) = (device.offered(), device.report.queues_enabled) else {
        return Verdict::Unsure(NO_QUEUES);
    };
    // More than its vCPUs a guest does not need, and offering them is R2's.
    let useful = offered.min(device.vcpus().unwrap_or(offered));
    let missing = useful.saturating_sub(enabled);
    if !limits.at(0).reached_now(missing.into()) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(missing.into()),
        fact("queues_offered", offered, "queues"),
        fact("queues_enabled", enabled, "queues"),
    ])
}

fn enable(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Guest) };
    let offered = device.offered().unwrap_or(1);
    let queues = offered.min(device.vcpus().unwrap_or(offered));
    let enabled = device.report.queues_enabled.unwrap_or(1);
    // The NIC is told by how many queues it uses: the guest's name of it is not known on the host.
    let only = format!("[ $(ls -d $d/queues/tx-* | wc -l) = {enabled} ]");
    let rule = format!(
        r#"ACTION=="add", SUBSYSTEM=="net", DRIVERS=="virtio_net", RUN+="/usr/sbin/ethtool -L $name combined {queues}""#
    );
    Mend {
        place: Where::Guest,
        commands: vec![
            fix::nic(device, &only, &format!("ethtool -L $i combined {queues}")),
            format!("echo '{rule}' > /etc/udev/rules.d/90-virtio-queues.rules  # so that it stays"),
        ],
    }
}

fn few_of_many(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let Some(enabled) = device.report.queues_enabled.filter(|_| device.is_tap()) else {
        return Verdict::Fine;
    };
    let (least, share) = (limits.at(0), limits.at(1));
    if f64::from(enabled) < least.value {
        return Verdict::Fine;
    }
    let Some(vcpus) = device.vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    if vcpus != enabled {
        return Verdict::Fine;
    }
    let mut packets: Vec<f64> = device.queues.iter().filter_map(Queue::pps).collect();
    packets.sort_by(|a, b| b.total_cmp(a));
    let whole: f64 = packets.iter().sum();
    let busiest = packets.iter().take(BUSIEST).sum::<f64>() / whole;
    // NaN where nothing was carried, and then not reached.
    if !share.reached(busiest) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![share.evidence(busiest), least.evidence(vcpus.into())])
}

/// Queues of a device as far as MSI-X vectors go: one that is not known counts as one.
fn wired(device: &Device<'_>) -> u32 {
    device.offered().or(device.report.queues_enabled).unwrap_or(1)
}

fn vectors(vm: &Vm<'_>, limits: &Limits<'_>) -> Verdict {
    let taps: Vec<_> = vm.devices.iter().filter(|device| device.is_tap()).collect();
    if taps.iter().any(|device| device.report.queues_enabled.is_none()) {
        return Verdict::Unsure(NO_QUEUES);
    }
    let vectors: f64 = taps.iter().map(|device| 2.0 * f64::from(wired(device)) + 2.0).sum();
    if !limits.at(0).exceeded_now(vectors) {
        return Verdict::Fine;
    }
    let nics = u32::try_from(taps.len()).unwrap_or(u32::MAX);
    Verdict::Found(vec![limits.at(0).evidence(vectors), fact("nics", nics, "NICs")])
}

fn fewer_vectors(place: &Place<'_>) -> Mend {
    let nics = u32::try_from(place.devices.len()).unwrap_or(1).max(1);
    fix::queues(place, ((200 / nics).saturating_sub(2) / 2).max(1))
}

fn several_nics(vm: &Vm<'_>, limits: &Limits<'_>) -> Verdict {
    let busy = vm
        .devices
        .iter()
        .filter(|device| device.is_tap() && device.queues.iter().any(|queue| queue.pps() >= Some(10.0)));
    let busy: Vec<_> = busy.collect();
    if busy.len() < 2 {
        return Verdict::Fine;
    }
    let Some(vcpus) = busy[0].vcpus() else { return Verdict::Unsure(NO_VCPUS) };
    let mut queues = 0.0;
    for device in &busy {
        match device.report.queues_enabled {
            Some(enabled) => queues += f64::from(enabled),
            None => return Verdict::Unsure(NO_QUEUES),
        }
    }
    let per_vcpu = queues / f64::from(vcpus.max(1));
    if vcpus < 2 || !limits.at(0).reached_now(per_vcpu) {
        return Verdict::Fine;
    }
    let nics = u32::try_from(busy.len()).unwrap_or(u32::MAX);
    Verdict::Found(vec![
        limits.at(0).evidence(per_vcpu),
        fact("busy_nics", nics, "NICs"),
        fact("vcpus", vcpus, "vCPUs"),
    ])
}

fn share_vcpus(place: &Place<'_>) -> Mend {
    let nics = u32::try_from(place.devices.len()).unwrap_or(1).max(1);
    let vcpus = place.devices.first().and_then(|device| device.vcpus()).unwrap_or(1);
    fix::queues(place, (vcpus / nics).max(1))
}
