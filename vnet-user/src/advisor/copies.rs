//! Whether zero-copy pays, and whether copying is done well.

use super::{
    count::Count,
    fix,
    limits::{Limits, per_second, ratio},
    rules::{Check, Mend, Rule, Subjects, Verdict},
    scene::{Device, Place, Queue, fact},
};
use crate::report::{Level, Where};

const RHEL: &str = "RHEL 7 Virtualization Tuning and Optimization Guide, 5.4.1 Bridge zero copy transmit";
const NO_COPIES: &str = "how its packets are copied is not known";
const NO_SETTING: &str = "whether zero-copy is on is not known";
const NO_WORKER: &str = "how busy its vhost worker is is not known";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "R34",
        title: "Zero-copy might pay",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(would_pay)),
        limits: &[
            ratio("large", 0.5, "share of sent bytes in packets of more than 1024 bytes (our own figure)"),
            ratio("worker_busy", 0.7, "below this the host's CPU is not what limits (our own figure)"),
        ],
        why: "The worker spends its CPU on copying large packets, which zero-copy would spare it: up to 15 % of host CPU, if the packets leave for another host. For other guests and this host they are copied after all.",
        mend: |_| fix::zerocopy(true),
        expect: "tx.copies.zerocopy grows and the worker is less busy; if zerocopy_failed grows instead (R35), the traffic stays on this host: turn it off again. It removes a mitigation against denial of service and information leaks (R38).",
        source: RHEL,
        because: &["R1", "R4"],
    },
    Rule {
        id: "R35",
        title: "Zero-copy packets are copied after all",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(failing)),
        limits: &[
            ratio(
                "failed",
                1.0 / 64.0,
                "where vhost itself backs off (drivers/vhost/net.c: vhost_net_tx_select_zcopy)",
            ),
            per_second("attempts", 10.0, "below this the share is chance (our own figure)"),
        ],
        why: "Packets that were to leave without a copy are copied late, because they stay on this host: for another guest, or the host itself. That costs more than a plain copy, and zero-copy keeps vhost from sending in batches.",
        mend: |_| fix::zerocopy(false),
        expect: "All packets count as batched or single, with the reason module_off, and the worker is less busy for the same traffic.",
        source: "drivers/vhost/net.c: vhost_net_tx_select_zcopy; net/core/skbuff.c: skb_orphan_frags; RHEL 7 Tuning Guide, 5.4.1",
        because: &[],
    },
    Rule {
        id: "R36",
        title: "Zero-copy is on, and packets are too short for it",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(short)),
        limits: &[
            ratio(
                "short",
                0.9,
                "share of sent packets of at most 256 bytes (drivers/vhost/net.c: VHOST_GOODCOPY_LEN)",
            ),
            per_second("packets", 1000.0, "sent; below this it does not matter (our own figure)"),
        ],
        why: "Zero-copy takes no packet shorter than 256 bytes, and where it is on vhost does not send in batches. Nearly all packets here pay that price and gain nothing.",
        mend: |_| fix::zerocopy(false),
        expect: "Packets count as batched, up to 64 at a time.",
        source: "drivers/vhost/net.c: VHOST_GOODCOPY_LEN; commit 098eadce3c62",
        because: &["R35"],
    },
    Rule {
        id: "R37",
        title: "Too many zero-copy packets are in flight",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(pending)),
        limits: &[ratio("pending", 0.01, "share of sent packets copied because of it (our own figure)")],
        why: "The host takes long to finish with packets, so that more than a quarter of the ring (or 128) are in flight and further ones are copied. One slow receiver can hold up the guest's whole queue.",
        mend: |_| fix::zerocopy(false),
        expect: "No packet is in flight, and none waits for another receiver's.",
        source: "drivers/vhost/net.c: VHOST_MAX_PEND, vhost_exceeds_maxpend; commit 098eadce3c62",
        because: &["R35", "R36"],
    },
    Rule {
        id: "R38",
        title: "Zero-copy is on while several VMs share the host",
        level: Level::Info,
        check: Check::Set(Subjects::Device(several_tenants)),
        limits: &[super::limits::number(
            "vms",
            2.0,
            2.0,
            100_000.0,
            "VMs",
            "one alone has nobody to harm (our own figure)",
        )],
        why: "Without the copy, guest memory is in use by the host's network stack while the guest may change it or hold it back. The copy is a mitigation against denial of service and information leaks between tenants.",
        mend: |_| fix::zerocopy(false),
        expect: "devices[].zerocopy is false; if the VMs trust each other, this finding may be ignored.",
        source: RHEL,
        because: &["R35", "R36", "R37", "R53"],
    },
    Rule {
        id: "R39",
        title: "vhost does not send in batches",
        level: Level::Warning,
        check: Check::Rate(Subjects::Queue(one_by_one)),
        limits: &[
            ratio("single", 0.9, "share of packets that fit a batch and are sent singly (our own figure)"),
            per_second("packets", 100_000.0, "sent; below this batches are small anyway (our own figure)"),
        ],
        why: "vhost batches only when the tap's send buffer is unlimited, and here each packet is a call of its own. A limited sndbuf costs about as much as the copy itself.",
        mend: unlimited,
        expect: "tx.copies.batched grows instead of single, with several packets per batch.",
        source: "drivers/vhost/net.c: sock_can_batch (sk_sndbuf == INT_MAX)",
        because: &[],
    },
    Rule::unchecked(
        "R50",
        "Another tap on the same bridge forces copies",
        "has no check of its own: R35 counts the copies that it causes",
        "net/core/skbuff.c: skb_orphan_frags",
    ),
    Rule {
        id: "R53",
        title: "Zero-copy is on while CPU is not short",
        level: Level::Info,
        check: Check::Rate(Subjects::Queue(not_short)),
        limits: &[
            ratio("worker_busy", 0.3, "below this the host's CPU is not what limits (our own figure)"),
            ratio("zerocopy", 0.1, "share of sent packets that are not copied (our own figure)"),
        ],
        why: "Zero-copy saves CPU time, and this worker has plenty. It costs latency and the protection that a copy gives, for nothing that is short.",
        mend: |_| fix::zerocopy(false),
        expect: "The worker is a little busier, and the traffic the same.",
        source: RHEL,
        because: &["R35", "R36", "R37"],
    },
];

/// Whether zero-copy is on, or what to say where that is not known.
fn zerocopy(device: &Device<'_>) -> Result<bool, Verdict> {
    match device.report.zerocopy {
        Some(on) => Ok(on),
        None if device.is_tap() && device.report.vhost != Some(false) => Err(Verdict::Unsure(NO_SETTING)),
        None => Err(Verdict::Fine),
    }
}

fn would_pay(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => return Verdict::Fine,
        Ok(false) => {}
        Err(verdict) => return verdict,
    }
    let (large, busy) = (limits.at(0), limits.at(1));
    let (Some(bytes), Some(small)) = (queue.grew(Count::TxBytes), queue.grew(Count::TxSmallBytes)) else {
        return Verdict::Unsure("the sizes of its packets are not known");
    };
    // At least so much: small packets are counted as large as their class allows.
    let share = (bytes - small) / bytes;
    if bytes <= 0.0 || !large.reached(share) {
        return Verdict::Fine;
    }
    match queue.busy() {
        Some(worker) if busy.reached(worker) => {
            Verdict::Found(vec![busy.evidence(worker), large.evidence(share)])
        }
        Some(_) => Verdict::Fine,
        None => Verdict::Unsure(NO_WORKER),
    }
}

fn failing(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => {}
        Ok(false) => return Verdict::Fine,
        Err(verdict) => return verdict,
    }
    let rates = [Count::Zerocopy, Count::ZerocopyFailed, Count::Backoff].map(|count| queue.rate(count));
    let [Some(done), Some(failed), Some(backoff)] = rates else { return Verdict::Unsure(NO_COPIES) };
    let (share, attempts) = (limits.at(0), limits.at(1));
    // Where vhost has backed off, that it did is the evidence.
    let meant = done + failed + backoff;
    if !attempts.reached(meant) || !share.exceeded((failed + backoff) / meant) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![share.evidence((failed + backoff) / meant), attempts.evidence(meant)])
}

fn short(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => {}
        Ok(false) => return Verdict::Fine,
        Err(verdict) => return verdict,
    }
    let (share, packets) = (limits.at(0), limits.at(1));
    let Some(pps) = queue.rate(Count::TxPackets) else {
        return Verdict::Unsure("the packets that it sends are not counted");
    };
    match queue.share(Count::TxShort, Count::TxPackets) {
        Some(short) if packets.reached(pps) && share.reached(short) => {
            Verdict::Found(vec![share.evidence(short), packets.evidence(pps)])
        }
        _ => Verdict::Fine,
    }
}

fn pending(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => {}
        Ok(false) => return Verdict::Fine,
        Err(verdict) => return verdict,
    }
    if queue.grew(Count::Pending).is_none() {
        return Verdict::Unsure(NO_COPIES);
    }
    match queue.share(Count::Pending, Count::TxPackets) {
        Some(pending) if limits.at(0).exceeded(pending) => {
            Verdict::Found(vec![limits.at(0).evidence(pending)])
        }
        _ => Verdict::Fine,
    }
}

fn several_tenants(device: &Device<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => {}
        Ok(false) => return Verdict::Fine,
        Err(verdict) => return verdict,
    }
    let vms = f64::from(u32::try_from(device.vms).unwrap_or(u32::MAX));
    if !limits.at(0).reached_now(vms) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![limits.at(0).evidence(vms)])
}

fn one_by_one(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    // With zero-copy nothing is batched, whatever the buffer.
    match zerocopy(device) {
        Ok(true) => return Verdict::Fine,
        Ok(false) => {}
        Err(verdict) => return verdict,
    }
    let (share, packets) = (limits.at(0), limits.at(1));
    let grown = [Count::TxPackets, Count::TxPlain, Count::Single].map(|count| queue.rate(count));
    let [Some(sent), Some(fit), Some(single)] = grown else { return Verdict::Unsure(NO_COPIES) };
    // Those that are too large for a batch are single anyway.
    let single = (single - (sent - fit)).max(0.0) / fit;
    if fit <= 0.0 || !packets.reached(sent) || !share.reached(single) {
        return Verdict::Fine;
    }
    Verdict::Found(vec![share.evidence(single), packets.evidence(sent)])
}

fn unlimited(place: &Place<'_>) -> Mend {
    let mut mend = fix::defined(place, "remove <tune><sndbuf>…</sndbuf></tune>", "-netdev tap,…,sndbuf=0");
    mend.place = Where::Domain;
    mend
}

fn not_short(device: &Device<'_>, queue: &Queue<'_>, limits: &Limits<'_>) -> Verdict {
    match zerocopy(device) {
        Ok(true) => {}
        Ok(false) => return Verdict::Fine,
        Err(verdict) => return verdict,
    }
    let (busy, share) = (limits.at(0), limits.at(1));
    if queue.grew(Count::Zerocopy).is_none() {
        return Verdict::Unsure(NO_COPIES);
    }
    let Some(spared) = queue.share(Count::Zerocopy, Count::TxPackets).filter(|spared| share.reached(*spared))
    else {
        return Verdict::Fine;
    };
    match queue.busy() {
        Some(worker) if busy.missed(worker) => Verdict::Found(vec![
            share.evidence(spared),
            busy.evidence(worker),
            fact("packets", queue.rate(Count::TxPackets).unwrap_or(0.0), "1/s"),
        ]),
        Some(_) => Verdict::Fine,
        None => Verdict::Unsure(NO_WORKER),
    }
}
