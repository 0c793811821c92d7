//! Reports made by hand for the tests of the screen.

use std::{collections::BTreeMap, sync::Arc};

use vnet::{
    record::{Known, SourceKind},
    report::{
        Average, CopiesReport, DeviceReport, Evidence, Finding, HISTORY, Level, LostReport, ProbeReport,
        QueueReport, Rate, Report, RunsReport, RxReport, SCHEMA, SourceReport, Subject, Tool, TxReport,
        Unsure, VmReport, Where, WhyReport, WorkerReport,
    },
};

/// What was counted on nothing.
pub(crate) fn empty() -> Report {
    Report {
        schema: SCHEMA,
        tool: Tool { version: "0.1.0".into() },
        source: SourceReport {
            kind: Some(SourceKind::Live),
            host: Some("kvm7".into()),
            kernel: Some("6.12.48-amd64".into()),
            started: Some("2026-11-22T19:10:56Z".into()),
            duration_s: 65.0,
            complete: true,
        },
        probes: vec![],
        lost: LostReport::default(),
        vms: vec![],
        devices: vec![],
        queues: vec![],
        invisible: Vec::new(),
        findings: vec![],
        unsure: vec![],
        average: Average::default(),
    }
}

/// Before the source has said anything.
pub(crate) fn starting() -> Report {
    let source = SourceReport {
        kind: None,
        host: None,
        kernel: None,
        started: None,
        duration_s: 0.0,
        complete: false,
    };
    Report { source, ..empty() }
}

/// A tap that is there, with nothing known of it beyond that.
pub(crate) fn device(name: &str, ifindex: u32) -> DeviceReport {
    DeviceReport {
        name: name.into(),
        ifindex,
        netns: 4_026_531_840,
        kind: "tap".into(),
        present: true,
        ..DeviceReport::default()
    }
}

/// A queue of `device` of which nothing was counted.
pub(crate) fn queue(device: &DeviceReport, queue: u16) -> QueueReport {
    QueueReport {
        device: device.name.as_str().into(),
        ifindex: device.ifindex,
        netns: device.netns,
        generation: device.generation,
        queue,
        ..QueueReport::default()
    }
}

/// A rate with frames of this mean size.
pub(crate) fn rate(pps: f64, size: f64, drops: f64) -> Rate {
    Rate { pps, bps: pps * size * 8.0, drops: Some(drops), mean_size: (pps > 0.0).then_some(size) }
}

/// A queue that carries `tx` and `rx` packets per second for a minute.
pub(crate) fn busy(device: &DeviceReport, index: u16, tx: u32, rx: u32, share: f64) -> QueueReport {
    let count = |pps: u32| Some(u64::from(pps) * 60);
    let none = || Some(BTreeMap::new());
    let history = |i: u8| (tx + rx) as f32 * (0.6 + 0.4 * (f32::from(i) / 4.0).sin());
    QueueReport {
        tx: TxReport {
            packets: count(tx),
            bytes: count(tx).map(|n| n * 1514),
            drops: none(),
            ..TxReport::default()
        },
        rx: RxReport {
            packets: count(rx),
            bytes: count(rx).map(|n| n * 66),
            drops: none(),
            ..RxReport::default()
        },
        tx_rate: Some(rate(tx.into(), 1514.0, 0.0)),
        rx_rate: Some(rate(rx.into(), 66.0, 0.0)),
        share: (tx + rx > 0).then_some(share),
        history: (0..60).map(history).collect(),
        ..queue(device, index)
    }
}

/// What a vhost worker did for a queue that carried packets: TX zero-copy for the long ones, a call every other packet.
pub(crate) fn served(mut queue: QueueReport, cpu: u32) -> QueueReport {
    let [sent, received] = [queue.tx.packets, queue.rx.packets].map(Option::unwrap_or_default);
    let (failed, single, in_flight) = (sent / 200, sent / 50, sent.min(12));
    let zerocopy = sent / 3;
    let batched = sent - zerocopy - failed - single - in_flight;
    let why = WhyReport { short: batched, pending: single, late: failed, ..WhyReport::default() };
    queue.tx.copies = Some(Box::new(CopiesReport {
        batched,
        single,
        zerocopy,
        zerocopy_failed: failed,
        in_flight,
        bytes: batched * 76 + single * 1526,
        why,
    }));
    queue.tx.batches = Some(batched / 23);
    queue.tx.used = Some(sent);
    (queue.tx.kicks, queue.tx.calls, queue.tx.calls_suppressed) =
        (Some(sent / 40), Some(sent / 900), Some(17));
    queue.tx.runs = Some(RunsReport { empty: sent / 50, weight: sent / 700, ..RunsReport::default() });
    (queue.rx.buffers, queue.rx.copied_bytes) = (Some(received), Some(received * 78));
    (queue.rx.kicks, queue.rx.calls, queue.rx.calls_suppressed) =
        (Some(3), Some(received / 2), Some(received / 9));
    queue.rx.runs = Some(RunsReport { empty: received / 3, no_buffers: 42, ..RunsReport::default() });
    let busy = queue.share.unwrap_or(0.0);
    queue.worker = Some(Box::new(WorkerReport {
        tid: 4712 + cpu,
        comm: "vhost-4711".into(),
        cpu: Some(cpu),
        node: Some(cpu / 8),
        busy_ratio: Some(busy),
        busy_poll_ratio: Some(busy / 10.0),
        wait_seconds: Some(0.0832),
        migrations: Some(12),
        kthread: true,
        average_busy: Some(busy),
        run_seconds: None,
    }));
    queue
}

/// The small report with vhost behind its first device; nothing of it is known of the second queue but its worker, and
/// counts do not agree.
pub(crate) fn vhost() -> Report {
    let mut report = small();
    report.probes.retain(|probe| probe.state == Known::Exact);
    report.devices[0].zerocopy = Some(true);
    report.devices[0].residuals = BTreeMap::from([("tx packets".into(), -3), ("rx packets".into(), 0)]);
    for (i, queue) in (0..).zip(&mut report.queues).filter(|(_, queue)| &*queue.device == "tap0") {
        *queue = served(queue.clone(), 3 + 5 * i);
        if i == 1 {
            (queue.tx.copies, queue.tx.batches, queue.tx.runs, queue.rx.runs) = (None, None, None, None);
            (queue.tx.calls, queue.rx.calls) = (None, None);
        }
    }
    report
}

/// Adds the queues' rates up in their device.
fn total(mut device: DeviceReport, queues: &[QueueReport]) -> DeviceReport {
    let sum = |rates: Vec<Rate>| {
        let mut sum = rate(0.0, 0.0, 0.0);
        for rate in &rates {
            sum.pps += rate.pps;
            sum.bps += rate.bps;
            sum.drops = sum.drops.zip(rate.drops).map(|(sum, drops)| sum + drops);
        }
        sum.mean_size = (sum.pps > 0.0).then(|| sum.bps / 8.0 / sum.pps);
        sum
    };
    device.tx_rate = Some(sum(queues.iter().filter_map(|queue| queue.tx_rate).collect()));
    device.rx_rate = Some(sum(queues.iter().filter_map(|queue| queue.rx_rate).collect()));
    device
}

/// Three devices: an uneven one that drops, one that is not wholly covered, one that is gone; and some loss.
pub(crate) fn small() -> Report {
    let web = DeviceReport {
        vm_pid: Some(4711),
        vhost: Some(true),
        queues_max: Some(8),
        queues_enabled: Some(4),
        queues_disabled: Some(1),
        ..device("tap0", 7)
    };
    let mut web_queues: Vec<_> = [(1_234_567, 123_456), (123_456, 12_345), (12_345, 1_234), (1_234, 123)]
        .into_iter()
        .zip(0..)
        .map(|((tx, rx), i)| busy(&web, i, tx, rx, f64::from(tx + rx) / 1_508_760.0))
        .collect();
    web_queues[0].rx.drops =
        Some(BTreeMap::from([(Arc::from("FULL_RING"), 12_345), (Arc::from("NOMEM"), 3)]));
    if let Some(rate) = &mut web_queues[0].rx_rate {
        rate.drops = Some(42.0);
    }
    let guest = DeviceReport {
        kind: "macvtap".into(),
        vm_pid: Some(815),
        uncovered: vec!["An XDP program on macvtap1 takes packets before they are counted.".into()],
        ..device("macvtap1", 12)
    };
    let mut guest_queue = busy(&guest, 0, 0, 250, 1.0);
    guest_queue.tx = TxReport::default();
    guest_queue.tx_rate = None;
    let gone = DeviceReport { present: false, ..device("tap3", 9) };
    let gone_queue = queue(&gone, 0);
    Report {
        probes: vec![
            probe("tap.tx", Known::Exact),
            probe("tap.rx", Known::Exact),
            probe("vhost.copies", Known::Unavailable),
            probe("kvm.interrupts", Known::Unavailable),
        ],
        lost: LostReport { events: 12, records: 1 },
        vms: vec![VmReport { pid: 4711, name: Some("web-1".into()), ..VmReport::default() }],
        devices: vec![
            total(web, &web_queues),
            gone,
            DeviceReport { tx_rate: None, ..total(guest, std::slice::from_ref(&guest_queue)) },
        ],
        queues: web_queues.into_iter().chain([gone_queue, guest_queue]).collect(),
        ..empty()
    }
}

fn probe(signal: &str, state: Known) -> ProbeReport {
    let reason = (state != Known::Exact).then(|| "vhost is not loaded".to_owned());
    ProbeReport {
        signal: signal.into(),
        via: "tp_btf:x".into(),
        state,
        reason,
        runs: None,
        run_seconds: None,
    }
}

/// The small report with more signals than fit, each with its price.
pub(crate) fn many_probes() -> Report {
    let mut report = small();
    for i in 0..40 {
        let mut probe = probe(&format!("signal.{i}"), if i % 3 == 0 { Known::Derived } else { Known::Exact });
        (probe.runs, probe.run_seconds) = (Some(1000 * i), Some(i as f64 * 38e-6));
        report.probes.push(probe);
    }
    report
}

/// The small report with two findings, and rules that cannot be judged.
pub(crate) fn wrong() -> Report {
    let mut report = small();
    report.findings = vec![
        finding("R4", Level::Warning, &report.devices[0]),
        Finding { fix: Vec::new(), ..finding("R12", Level::Info, &report.devices[2]) },
    ];
    report.unsure = vec![Unsure {
        rule: "R19".into(),
        subjects: 3,
        lacks_seconds: None,
        why: "its interrupts are not observed".into(),
    }];
    report
}

/// A finding of that rule on a device, with texts of their usual length.
pub(crate) fn finding(rule: &str, level: Level, device: &DeviceReport) -> Finding {
    let evidence = |name: &str, value, unit: &str, threshold| Evidence {
        name: name.to_owned().into(),
        value,
        unit: unit.to_owned().into(),
        threshold,
    };
    Finding {
        rule: rule.into(),
        title: "The guest has not enabled all queues".into(),
        level,
        subject: Subject {
            device: Some(device.name.clone()),
            ifindex: Some(device.ifindex),
            netns: Some(device.netns),
            generation: Some(device.generation),
            queues: vec![0, 3],
            vm_pid: device.vm_pid,
            vm: device.vm_pid.map(|_| "web-1".into()),
            cpu: None,
        },
        evidence: vec![
            evidence("queues_not_enabled", 3.0, "queues", Some(1.0)),
            evidence("share", 0.972, "ratio", Some(0.9)),
        ],
        why: "The host offers more queues than the guest uses. Offering them does not enable them: the guest has to do \
              that itself."
            .into(),
        fix: vec!["ethtool -L eth0 combined 4".into(), "echo 'ACTION==\"add\", …' > /etc/udev/rules.d/90.rules".into()],
        place: Where::Guest,
        expect: "The queues become enabled within a second.".into(),
        source: "RHEL 7 Virtualization Tuning and Optimization Guide, 5.4.2".into(),
        explains: vec!["R1".into()],
    }
}

/// 400 devices with 8 queues each, all different.
pub(crate) fn large() -> Report {
    let mut report = empty();
    for i in 0..400u32 {
        let mut device = device(&format!("tap{i}"), 10 + i);
        device.vm_pid = Some(10_000 + i);
        (device.queues_max, device.queues_enabled, device.queues_disabled) = (Some(8), Some(8), Some(0));
        let queues: Vec<_> = (0..8u16)
            .map(|q| busy(&device, q, (i * 37 % 400) * 1000 + u32::from(q), i * 10, 0.125))
            .collect();
        report.vms.push(VmReport {
            pid: 10_000 + i,
            name: Some(format!("guest-{i:03}")),
            ..VmReport::default()
        });
        report.devices.push(total(device, &queues));
        report.queues.extend(queues);
    }
    report
}

/// `report` some seconds later; what goes on is not changed.
pub(crate) fn later(report: &Report, seconds: f64) -> Report {
    let mut later = report.clone();
    later.source.duration_s += seconds;
    later
}

/// As many intervals as are kept.
pub(crate) const FULL_HISTORY: usize = HISTORY;
