//! Rings that are full or empty, drops, and notifications.

use super::{
    count::Count,
    fix,
    limits::{Limits, number, per_second, ratio},
    rules::{Check, Mend, Rule, Subjects, Verdict},
    scene::{Device, Place, Queue, fact},
};
use crate::report::{Level, Where};

const NO_RUNS: &str = "how its worker's runs end is not known";
const NO_RX: &str = "the packets that it receives are not counted";
const NO_TX: &str = "the packets that it sends are not counted";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R40",
        title: "The tap drops packets for the guest",
        level: Level::Critical,
        check: Check::Rate(Subjects::Queue(dropping)),
        limits: &[ratio("dropped", 0.001, "share of the packets for the guest (our own figure)")],
        why: "Packets arrive faster than they are taken out of the tap's ring, and the rest is thrown away. Senders have to notice and repeat them, which costs far more than the packet.",
        mend: longer_ring,
        expect: "Drops end if they came in bursts; where the guest or its worker is too slow all the time, a longer ring only delays them.",
        source: "Red Hat OpenStack: OVS-DPDK troubleshooting, chapter 4: txqueuelen; drivers/net/tun.c: tun_net_xmit",
        because: &["R49", "R4", "R1", "R26", "R29", "R30", "R41", "R12", "R46"],
    },
    Rule {
        id: "R41",
        title: "The guest gives too few receive buffers",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(no_buffers)),
        limits: &[
            ratio("runs_without_buffers", 0.01, "share of the worker's receive runs (our own figure)"),
            per_second("packets", 1000.0, "received; below this it does not matter (our own figure)"),
        ],
        why: "The worker has packets for the guest, and the guest's receive ring has no buffer left. Packets wait in the tap meanwhile, and are dropped when that is full.",
        mend: |place| {
            fix::defined(
                place,
                "<driver name='vhost' rx_queue_size='1024'/>",
                "-device virtio-net-pci,…,rx_queue_size=1024",
            )
        },
        expect: "rx.runs.no_buffers stands still.",
        source: "drivers/vhost/net.c: handle_rx; libvirt: rx_queue_size is 256 to 1024",
        because: &["R49"],
    },
    Rule {
        id: "R42",
        title: "Received packets take many small buffers",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(small_buffers)),
        limits: &[
            number("buffers_per_packet", 4.0, 1.0, 64.0, "buffers", "our own figure"),
            number(
                "buffer_bytes",
                2000.0,
                64.0,
                65536.0,
                "bytes",
                "smaller than half a page: the guest does not adapt them (our own figure)",
            ),
            per_second("packets", 1000.0, "received; below this it does not matter (our own figure)"),
        ],
        why: "Each packet is spread over several receive buffers of the guest, each a descriptor to fetch and to give back. A guest that adapts its buffers takes pages for large packets.",
        mend: |_| fix::nothing(Where::Guest),
        expect: "No setting of the host changes it: see that the guest's driver has mergeable buffers (<host mrg_rxbuf='on'/>) and that its MTU is the network's.",
        source: "drivers/net/virtio_net.c: get_mergeable_buf_len",
        because: &[],
    },
    Rule {
        id: "R43",
        title: "The guest cuts its packets up itself",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(no_gso)),
        limits: &[
            number("bits", 1e9, 1e3, 1e12, "bit/s", "sent; below this it does not matter (our own figure)"),
            number(
                "segments_per_packet",
                1.01,
                1.0,
                64.0,
                "segments",
                "none is handed over whole (our own figure)",
            ),
        ],
        why: "The guest hands over packets of a wire's size, so that every cost per packet is paid some forty times as often as with segmentation offload. The worker and the guest both pay it.",
        mend: |place| Mend {
            place: Where::Guest,
            commands: place
                .devices
                .first()
                .map(|device| fix::nic(device, "", "ethtool -K $i tso on gso on"))
                .into_iter()
                .collect(),
        },
        expect: "Packets of up to 64 KiB (tx.segments above tx.packets), and fewer of them. Datagrams that an application sends one by one stay as they are.",
        source: "https://docs.kernel.org/networking/segmentation-offloads.html",
        because: &[],
    },
    Rule {
        id: "R44",
        title: "The guest kicks for nearly every packet",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(kicks)),
        limits: &[
            ratio("kicks_per_packet", 0.5, "our own figure"),
            per_second(
                "packets",
                50_000.0,
                "sent; below this the ring is empty between packets (our own figure)",
            ),
        ],
        why: "Each kick is an exit of the vCPU, and at this rate vhost should be running already and have switched them off. Suppression does not work: event_idx is off, or the worker falls asleep between packets.",
        mend: |place| {
            fix::defined(
                place,
                "<driver name='vhost' event_idx='on'/>, and <tune> without <sndbuf>",
                "-device virtio-net-pci,…,event_idx=on -netdev tap,…,poll-us=50",
            )
        },
        expect: "Far fewer kicks per packet: 247,758 became 27 a second when busy polling was mended.",
        source: "drivers/vhost/net.c; commit f744c4bb5ca5",
        because: &[],
    },
    Rule {
        id: "R45",
        title: "A worker polls all the time for little",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(polls)),
        limits: &[
            ratio("polling", 0.5, "of all time (our own figure)"),
            per_second("packets", 50_000.0, "above this polling pays (our own figure)"),
        ],
        why: "The worker spends its time waiting busily for packets that do not come. That is what poll-us asks for: it buys latency with a CPU.",
        mend: |place| {
            fix::defined(place, "no busy polling (libvirt has no setting for it)", "-netdev tap,…,poll-us=0")
        },
        expect: "The worker sleeps between packets, which then wait some microseconds longer.",
        source: "drivers/vhost/net.c: busyloop_timeout; commit 441abde4cd84",
        because: &[],
    },
    Rule {
        id: "R46",
        title: "A worker never empties its queue",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(saturated)),
        limits: &[
            ratio("runs_at_weight", 0.5, "share of its runs (our own figure)"),
            per_second("runs", 10.0, "below this the share is chance (our own figure)"),
        ],
        why: "Most of the worker's runs end because it has moved 256 packets or 512 KiB in one go, with more waiting. It is at its limit: this queue carries what one worker can.",
        mend: more_queues,
        expect: "With more queues the load spreads if it is many connections; where each vCPU has a queue already, only larger packets, fewer copies or a faster CPU help.",
        source: "drivers/vhost/net.c: VHOST_NET_PKT_WEIGHT, VHOST_NET_WEIGHT",
        because: &["R4", "R1", "R12", "R26", "R29", "R30"],
    },
    Rule {
        id: "R47",
        title: "The monitor moves packets itself, without vhost",
        level: Level::Warning,
        check: Check::Rate(Subjects::Device(no_vhost)),
        limits: &[per_second("packets", 10_000.0, "below this it does not matter (our own figure)")],
        why: "No vhost worker serves this NIC: QEMU reads and writes each packet in user space, with a system call for each. It costs several times the CPU, and the VM's own threads pay it.",
        mend: |place| fix::defined(place, "<driver name='vhost'/>", "-netdev tap,…,vhost=on"),
        expect: "devices[].vhost is true and a worker serves each queue.",
        source: "RHEL 6 Virtualization Host Configuration Guide, 11: vhost-net",
        because: &[],
    },
    Rule {
        id: "R52",
        title: "The guest is interrupted for nearly every packet",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(calls)),
        limits: &[
            ratio("calls_per_packet", 0.5, "our own figure"),
            per_second(
                "packets",
                100_000.0,
                "below this a call for each packet is latency well spent (our own figure)",
            ),
        ],
        why: "At this rate the guest should be polling (NAPI) with its interrupts switched off. Instead most packets interrupt a vCPU.",
        mend: |place| Mend {
            place: Where::Guest,
            commands: place
                .devices
                .first()
                .map(|device| fix::nic(device, "", "ethtool -C $i adaptive-rx on"))
                .into_iter()
                .collect(),
        },
        expect: "Fewer calls per packet; needs VIRTIO_NET_F_VQ_NOTF_COAL (QEMU 8.1, guest 6.6), elsewhere ethtool refuses.",
        source: "virtio specification 1.3, 5.1.6.5.9: notification coalescing",
        because: &[],
    },
];

fn dropping(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    if !device.is_tap() {
        return Verdict::Fine;
    }
    let Some(dropped) = queue.rate(Count::RxFull) else {
        return Verdict::Unsure("its drops are not counted");
    };
    let Some(received) = queue.rate(Count::RxPackets) else { return Verdict::Unsure(NO_RX) };
    let share = dropped / (dropped + received);
    if dropped <= 0.0 || !limits.at(0).exceeded(share) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![
        limits.at(0).evidence(share),
        fact("drops", dropped, "1/s"),
        fact("packets", received, "1/s"),
    ])
}

fn longer_ring(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Host) };
    let name = &device.report.name;
    let rule = format!(r#"ACTION=="add", SUBSYSTEM=="net", KERNEL=="{name}", ATTR{{tx_queue_len}}="10000""#);
    Mend {
        place: Where::Host,
        commands: vec![
            fix::ip(device, &format!("link set dev {} txqueuelen 10000", fix::quoted(name))),
            format!("echo {} > /etc/udev/rules.d/90-tap-queue.rules  # so that it stays", fix::quoted(&rule)),
        ],
    }
}

fn no_buffers(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, packets) = (limits.at(0), limits.at(1));
    if queue.grew(Count::RxNoBuffers).is_none() {
        return Verdict::Unsure(NO_RUNS);
    }
    let Some(received) = queue.rate(Count::RxPackets) else { return Verdict::Unsure(NO_RX) };
    match queue.share(Count::RxNoBuffers, Count::RxRuns) {
        Some(empty) if packets.reached(received) && share.exceeded(empty) => {
            Verdict::Found(vec![share.evidence(empty), packets.evidence(received)])
        }
        _ => Verdict::Fine,
    }
}

fn small_buffers(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (each, bytes, packets) = (limits.at(0), limits.at(1), limits.at(2));
    if queue.grew(Count::RxBuffers).is_none() {
        return Verdict::Unsure("the buffers that it uses are not counted");
    }
    let Some(received) = queue.rate(Count::RxPackets) else { return Verdict::Unsure(NO_RX) };
    let shares =
        queue.share(Count::RxBuffers, Count::RxPackets).zip(queue.share(Count::RxBytes, Count::RxBuffers));
    match shares {
        Some((buffers, size))
            if packets.reached(received) && each.exceeded(buffers) && bytes.missed(size) =>
        {
            Verdict::Found(vec![each.evidence(buffers), bytes.evidence(size), packets.evidence(received)])
        }
        _ => Verdict::Fine,
    }
}

fn no_gso(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (bits, segments) = (limits.at(0), limits.at(1));
    let Some(sent) = queue.rate(Count::TxBytes) else { return Verdict::Unsure(NO_TX) };
    let Some(each) = queue.share(Count::TxSegments, Count::TxPackets) else { return Verdict::Fine };
    // Jumbo frames are whole packets too.
    let plain = queue.share(Count::TxPlain, Count::TxPackets) >= Some(0.99);
    if !bits.exceeded(sent * 8.0) || !segments.missed(each) || !plain {
        return Verdict::Fine;
    }
    Verdict::Found(vec![bits.evidence(sent * 8.0), segments.evidence(each)])
}

fn kicks(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (each, packets) = (limits.at(0), limits.at(1));
    if queue.grew(Count::TxKicks).is_none() {
        return Verdict::Unsure("its kicks are not counted");
    }
    let Some(sent) = queue.rate(Count::TxPackets) else { return Verdict::Unsure(NO_TX) };
    match queue.share(Count::TxKicks, Count::TxPackets) {
        Some(kicks) if packets.reached(sent) && each.exceeded(kicks) => {
            Verdict::Found(vec![each.evidence(kicks), packets.evidence(sent)])
        }
        _ => Verdict::Fine,
    }
}

fn polls(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (polling, packets) = (limits.at(0), limits.at(1));
    let Some(share) = queue.report.worker.as_ref().and_then(|worker| worker.busy_poll_ratio) else {
        return Verdict::Unsure("how long its worker polls is not known");
    };
    match queue.pps() {
        Some(pps) if packets.missed(pps) && polling.reached(share) => {
            Verdict::Found(vec![polling.evidence(share), packets.evidence(pps)])
        }
        _ => Verdict::Fine,
    }
}

fn saturated(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (share, runs) = (limits.at(0), limits.at(1));
    let sides = [(Count::TxWeight, Count::TxRuns), (Count::RxWeight, Count::RxRuns)];
    if sides.iter().all(|(_, whole)| queue.grew(*whole).is_none()) {
        return Verdict::Unsure(NO_RUNS);
    }
    let past = |(part, whole): &(Count, Count)| {
        let (each, full) = (queue.rate(*whole)?, queue.share(*part, *whole)?);
        (runs.reached(each) && share.exceeded(full)).then(|| vec![share.evidence(full), runs.evidence(each)])
    };
    sides.iter().find_map(past).map_or(Verdict::Fine, Verdict::Found)
}

fn more_queues(place: &Place<'_>) -> Mend {
    let Some(device) = place.devices.first() else { return fix::nothing(Where::Domain) };
    match (device.vcpus(), device.offered()) {
        (Some(vcpus), Some(offered)) if offered < vcpus => fix::queues(place, vcpus),
        _ => fix::nothing(Where::Domain),
    }
}

fn no_vhost(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    match device.report.vhost {
        _ if !device.is_tap() => return Verdict::Fine,
        Some(true) => return Verdict::Fine,
        Some(false) => {}
        None => return Verdict::Unsure("whether vhost serves it is not known"),
    }
    let Some(pps) = device.sum(Queue::pps) else {
        return Verdict::Unsure("the packets of some of its queues are not counted");
    };
    if !limits.at(0).exceeded(pps) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![limits.at(0).evidence(pps)])
}

fn calls(_: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    let (each, packets) = (limits.at(0), limits.at(1));
    let sums = [(Count::TxCalls, Count::RxCalls), (Count::TxPackets, Count::RxPackets)]
        .map(|(tx, rx)| queue.rate(tx).zip(queue.rate(rx)).map(|(tx, rx)| tx + rx));
    let [Some(calls), Some(pps)] = sums else { return Verdict::Unsure("its calls are not counted") };
    if !packets.reached(pps) || !each.exceeded(calls / pps) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![each.evidence(calls / pps), packets.evidence(pps)])
}
