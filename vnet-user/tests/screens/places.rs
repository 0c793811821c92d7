//! Reports that say what runs where, for the tests of the layout and of one queue.

use vnet::report::{
    Distance, Evidence, Finding, InterruptReport, KickReport, Level, PrivateReport, QueueReport, Report,
    SizeReport, VcpuReport, VcpuStateReport, Where,
};

use crate::build;

/// Edges of the size classes.
const EDGES: [Option<u32>; 8] =
    [Some(64), Some(128), Some(256), Some(512), Some(1024), Some(1518), Some(4096), None];

fn sizes(packets: u64, shares: [u64; 8]) -> [SizeReport; 8] {
    std::array::from_fn(|i| SizeReport { le: EDGES[i], count: packets * shares[i] / 100 })
}

/// Calls of `queue` to a vCPU that runs on `cpu`.
pub(crate) fn calls(queue: &mut QueueReport, vcpu: u32, cpu: u32, level: Distance, count: u64) {
    let worker_cpu = queue.worker.as_ref().and_then(|worker| worker.cpu);
    queue.interrupts.get_or_insert_default().push(InterruptReport {
        direction: "rx".into(),
        vcpu: Some(vcpu),
        vector: Some(40 + vcpu),
        gsi: Some(24),
        count,
        cpu: Some(cpu),
        worker_cpu,
        level: Some(level),
        vcpu_state: Some(VcpuStateReport { blocked: count, ..VcpuStateReport::default() }),
        ..InterruptReport::default()
    });
}

/// Queue 3 of tap0 is the bad one: its worker is on the other node than the vCPUs that it interrupts, and it has most of the traffic.
pub(crate) fn bad() -> Report {
    let mut report = build::vhost();
    report.vms[0].vcpus = Some(
        [(0, 0, 0), (1, 1, 0), (2, 4, 0), (3, 5, 0)]
            .map(|(id, cpu, node)| VcpuReport { id, tid: 4720 + id, cpu: Some(cpu), node: Some(node) })
            .into(),
    );
    for (queue, cpu) in report.queues.iter_mut().filter(|queue| &*queue.device == "tap0").zip([2, 3, 6, 17]) {
        if let Some(worker) = &mut queue.worker {
            (worker.cpu, worker.node) = (Some(cpu), Some(cpu / 16));
        }
        let (tx, rx) = (queue.tx.packets.unwrap_or(0), queue.rx.packets.unwrap_or(0));
        queue.tx.sizes = Some(sizes(tx, [1, 0, 4, 0, 0, 80, 0, 15]).into());
        queue.rx.sizes = Some(sizes(rx, [0, 97, 3, 0, 0, 0, 0, 0]).into());
        queue.kickers =
            Some(vec![KickReport { direction: "tx".into(), vcpu: Some(queue.queue.into()), count: tx / 40 }]);
    }
    for (queue, vcpu) in [(0, 0), (1, 1), (2, 2)] {
        let cpu = [0, 1, 4][queue];
        calls(&mut report.queues[queue], vcpu, cpu, Distance::Llc, 97_000);
        calls(&mut report.queues[queue], 3, 5, Distance::Node, 3_000);
    }
    for vcpu in 0..4 {
        calls(&mut report.queues[3], vcpu, [0, 1, 4, 5][vcpu as usize], Distance::Remote, 25_000);
    }
    report.queues[3].private = Some(PrivateReport { vcpu: 0, calls: 0.25, kicks: Some(0.9) });
    report.findings = vec![remote(&report), build::finding("R4", Level::Warning, &report.devices[2])];
    report
}

/// What the advisor says of such a queue.
fn remote(report: &Report) -> Finding {
    let evidence = |name: &'static str, value, unit: &'static str, threshold| Evidence {
        name: name.into(),
        value,
        unit: unit.into(),
        threshold,
    };
    let mut finding = build::finding("R19", Level::Critical, &report.devices[0]);
    finding.subject.queues = vec![3];
    finding.title = "The worker runs on another node than the vCPUs that it interrupts".into();
    finding.evidence =
        vec![evidence("remote", 1.0, "ratio", Some(0.5)), evidence("worker_cpu", 17.0, "index", None)];
    finding.why = "Every packet crosses the interconnect twice.".into();
    finding.fix = vec!["taskset -pc 0-7 4729".into()];
    finding.place = Where::Host;
    finding.expect = "Calls of the queue become LLC or node within a second.".into();
    finding.explains = Vec::new();
    finding
}

/// 400 VMs with 8 queues each on 64 CPUs of 4 nodes.
pub(crate) fn large() -> Report {
    let mut report = build::large();
    for (i, queue) in (0u32..).zip(&mut report.queues) {
        let cpu = i * 7 % 64;
        *queue = build::served(queue.clone(), cpu);
        if let Some(worker) = &mut queue.worker {
            (worker.tid, worker.node) = (100_000 + i, Some(cpu / 16));
        }
        for vcpu in [i % 8, (i + 1) % 8] {
            let (to, near) = ((cpu + vcpu) % 64, vcpu % 2 == 0);
            let level = if near && cpu / 16 == to / 16 { Distance::Llc } else { Distance::Remote };
            calls(queue, vcpu, to, level, 1000 + u64::from(i));
        }
    }
    for (i, vm) in (0u32..).zip(&mut report.vms) {
        let place = |id: u32| {
            let cpu = (i + id) % 64;
            VcpuReport { id, tid: 20_000 + i * 8 + id, cpu: Some(cpu), node: Some(cpu / 16) }
        };
        vm.vcpus = Some((0..8).map(place).collect());
    }
    let some = || report.devices.iter().step_by(40);
    report.findings = some().map(|device| build::finding("R4", Level::Warning, device)).collect();
    report
}
