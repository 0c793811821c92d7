//! Which queue carries what.

use super::{
    count::Count,
    fix,
    limits::{Limits, per_second, ratio},
    rules::{Check, Rule, Subjects, Verdict},
    scene::{Device, Queue, fact},
};
use crate::report::{Level, Where};

const SCALING: &str = "https://docs.kernel.org/networking/scaling.html";
const NO_WORKER: &str = "how busy its vhost worker is is not known";
const GUEST_SETTINGS: &str = "needs the guest's own settings, which are not read yet";

pub(super) const RULES: &[Rule] = &[
    Rule::unchecked(
        "R11",
        "Queues are loaded unevenly",
        "needs the number of flows per queue, which is not counted yet: one large flow is uneven and nothing is wrong with the steering",
        SCALING,
    ),
    Rule {
        id: "R12",
        title: "One queue carries nearly everything",
        level: Level::Info,
        check: Check::Rate(Subjects::Device(elephant)),
        limits: &[
            ratio("share", 0.9, "of the device's packets (our own figure)"),
            ratio("worker_busy", 0.7, "of that queue; below this nothing waits for it (our own figure)"),
            per_second(
                "packets",
                200_000.0,
                "of that queue, where its worker's time is not known (our own figure)",
            ),
        ],
        why: "The guest has several queues, and nearly all packets go through one of them: packets of one connection, or of one sending thread, always do. More queues cannot spread them.",
        mend: |_| fix::nothing(Where::Guest),
        expect: "No change of queues helps. Use several connections or threads in the application, larger packets (GSO and GRO on), or a faster CPU for this worker and vCPU. Flows are not counted yet: if there are many, the guest's XPS sends them all to this queue.",
        source: SCALING,
        because: &[],
    },
    Rule {
        id: "R48",
        title: "Small packets leave on many queues",
        level: Level::Info,
        check: Check::Rate(Subjects::Device(small_on_many)),
        limits: &[
            ratio(
                "small",
                0.9,
                "share of sent packets of at most 1024 bytes (our own figure; the guide says < 1500)",
            ),
            per_second("packets", 10_000.0, "sent; below this it is not worth a change (our own figure)"),
            ratio(
                "all_workers_busy",
                0.7,
                "what all workers do together, which one has to do then (our own figure)",
            ),
        ],
        why: "Streams of small packets may be sent more slowly on many queues than on one: each queue gets fewer at a time, so that batches are smaller and notifications more. One worker could carry all of this.",
        mend: |place| fix::queues(place, 1),
        expect: "Larger batches and fewer kicks per packet; compare throughput before and after, and go back if it did not rise.",
        source: "RHEL 7 Virtualization Tuning and Optimization Guide, 5.4.2: outgoing TCP streams of packets < 1500 bytes",
        because: &["R12"],
    },
    Rule::unchecked(
        "R13",
        "A flow comes back on another queue than it left",
        "needs flows, which are not followed yet",
        "drivers/net/tun.c: tun_automq_select_queue",
    ),
    Rule::unchecked(
        "R14",
        "Several vCPUs send through one queue",
        "needs the vCPU of each kick, which is not measured yet",
        SCALING,
    ),
    Rule::unchecked("R15", "XPS is off, or its CPUs overlap", GUEST_SETTINGS, SCALING),
    Rule::unchecked("R16", "RPS is on though each vCPU has a queue", GUEST_SETTINGS, SCALING),
    Rule::unchecked("R17", "One vCPU does the work of interrupts and RPS is off", GUEST_SETTINGS, SCALING),
    Rule::unchecked(
        "R18",
        "A steering program sends everything to one queue",
        "the kernel does not tell whether a tap has one (TUNSETSTEERINGEBPF can only be set)",
        "drivers/net/tun.c: tun_ebpf_select_queue",
    ),
];

fn elephant(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, busy, packets) = (limits.at(0), limits.at(1), limits.at(2));
    if device.queues.len() < 2 {
        return Verdict::Fine;
    }
    let Some((queue, part)) = device.busiest() else {
        return Verdict::Unsure("the packets of some of its queues are not counted");
    };
    if !share.reached(part) {
        return Verdict::Fine;
    }
    let pps = queue.pps().unwrap_or(0.0);
    let mut evidence = vec![share.evidence(part)];
    match queue.busy() {
        Some(worker) if busy.reached(worker) => evidence.push(busy.evidence(worker)),
        Some(_) => return Verdict::Fine,
        None if packets.exceeded(pps) => evidence.push(packets.evidence(pps)),
        None => return Verdict::Unsure(NO_WORKER),
    }
    evidence.push(fact("queue", queue.report.queue, "index"));
    evidence.push(fact("queues_enabled", u32::try_from(device.queues.len()).unwrap_or(u32::MAX), "queues"));
    Verdict::Found(evidence)
}

fn small_on_many(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    let (small, packets, busy) = (limits.at(0), limits.at(1), limits.at(2));
    let sending = device.queues.iter().filter(|queue| queue.rate(Count::TxPackets) >= Some(10.0)).count();
    if !device.is_tap() || sending < 2 {
        return Verdict::Fine;
    }
    let sums = [Count::TxPackets, Count::TxSmall, Count::RxPackets]
        .map(|count| device.sum(|queue| queue.rate(count)));
    let [Some(sent), Some(short), received] = sums else {
        return Verdict::Unsure("the sizes of its packets are not known");
    };
    // Acknowledgements of what a guest receives are small and no stream.
    if !packets.reached(sent) || !small.reached(short / sent) || received > Some(sent) {
        return Verdict::Fine;
    }
    match device.sum(Queue::busy) {
        Some(together) if busy.missed(together) => Verdict::Found(vec![
            small.evidence(short / sent),
            packets.evidence(sent),
            busy.evidence(together),
            fact("queues_sending", u32::try_from(sending).unwrap_or(u32::MAX), "queues"),
        ]),
        Some(_) => Verdict::Fine,
        None => Verdict::Unsure(NO_WORKER),
    }
}
