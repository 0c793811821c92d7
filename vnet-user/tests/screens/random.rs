//! Nothing breaks it: any report, any size, any keys.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use vnet::{
    record::SourceKind,
    report::{
        CopiesReport, DeviceReport, Distance, InterruptReport, Level, QueueReport, Rate, Report, RunsReport,
        RxReport, TxReport, VcpuReport, VmReport, WhyReport, WorkerReport,
    },
    tui::{Key, Look, Mark, Timeline, Ui},
};

use crate::{build, draw};

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), 0.0..1e12, any::<f64>()]
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let rate = (number(), number(), option::of(number()), option::of(number()));
    option::of(rate.prop_map(|(pps, bps, drops, mean_size)| Rate { pps, bps, drops, mean_size })).boxed()
}

prop_compose! {
    fn device()(
        name in "\\PC{0,20}|.{0,8}", ifindex in 0..6u32, generation in 0..2u32, kind in "tap|virtio_net|\\PC{0,12}",
        present: bool, vm_pid in option::of(0..4u32), enabled: Option<u32>, max: Option<u32>,
        uncovered in vec(".{0,200}", 0..3), tx_rate in rate(), rx_rate in rate(),
        vhost: Option<bool>, residuals in prop::collection::btree_map(".{0,20}", any::<i64>(), 0..3),
    ) -> DeviceReport {
        DeviceReport {
            generation, kind, present, vm_pid, queues_enabled: enabled, queues_max: max, uncovered, tx_rate, rx_rate,
            vhost, residuals, ..build::device(&name, ifindex)
        }
    }
}

/// What vhost did, with any numbers.
fn served() -> impl Strategy<Value = (Option<WorkerReport>, TxReport, RxReport)> {
    let worker = (
        any::<[u32; 2]>(),
        ".{0,20}",
        any::<[Option<u32>; 2]>(),
        vec(option::of(number()), 4),
        any::<Option<u64>>(),
    );
    let worker = worker.prop_map(|([tid, _], comm, [cpu, node], shares, migrations)| WorkerReport {
        tid,
        comm,
        cpu,
        node,
        busy_ratio: shares[0],
        busy_poll_ratio: shares[1],
        wait_seconds: shares[2],
        migrations,
        kthread: true,
        average_busy: shares[3],
        run_seconds: None,
    });
    let copies = any::<[u64; 8]>().prop_map(
        |[batched, single, zerocopy, zerocopy_failed, in_flight, bytes, short, late]| {
            let why = WhyReport { short, late, ..WhyReport::default() };
            CopiesReport { batched, single, zerocopy, zerocopy_failed, in_flight, bytes, why }
        },
    );
    let rings = any::<[[Option<u64>; 4]; 2]>();
    let runs = any::<[Option<u64>; 2]>();
    (option::of(worker), option::of(copies), rings, runs).prop_map(|(worker, copies, [tx, rx], runs)| {
        let [tx_runs, rx_runs] =
            runs.map(|empty| empty.map(|empty| RunsReport { empty, ..RunsReport::default() }));
        let [used, kicks, calls, calls_suppressed] = tx;
        let tx = TxReport {
            used,
            kicks,
            calls,
            calls_suppressed,
            batches: used,
            copies: copies.map(Box::new),
            runs: tx_runs,
            ..TxReport::default()
        };
        let [buffers, kicks, calls, calls_suppressed] = rx;
        let rx = RxReport { buffers, kicks, calls, calls_suppressed, runs: rx_runs, ..RxReport::default() };
        (worker, tx, rx)
    })
}

/// Whom calls interrupted, with any numbers.
fn interrupts() -> impl Strategy<Value = Option<Vec<InterruptReport>>> {
    let levels = [Distance::SameCpu, Distance::Smt, Distance::Llc, Distance::Node, Distance::Remote];
    let row = (
        any::<[Option<u32>; 2]>(),
        any::<[u8; 2]>(),
        any::<u64>(),
        option::of(proptest::sample::select(levels.to_vec())),
    );
    let row = row.prop_map(|([vcpu, gsi], [cpu, worker_cpu], count, level)| InterruptReport {
        direction: "tx".into(),
        vcpu,
        gsi,
        count,
        cpu: Some(cpu.into()),
        worker_cpu: Some(worker_cpu.into()),
        level,
        ..InterruptReport::default()
    });
    option::of(vec(row, 0..6))
}

/// A VM with vCPUs anywhere.
fn vm() -> impl Strategy<Value = (Option<String>, Option<Vec<VcpuReport>>)> {
    let vcpu = (any::<[u32; 2]>(), any::<[Option<u8>; 2]>());
    let vcpu = vcpu.prop_map(|([id, tid], [cpu, node])| VcpuReport {
        id,
        tid,
        cpu: cpu.map(u32::from),
        node: node.map(u32::from),
    });
    (option::of(".{0,60}"), option::of(vec(vcpu, 0..20)))
}

prop_compose! {
    fn queue()(
        device in device().boxed(), queue: u16, packets: Option<u64>, drops in option::of(vec((".{0,20}", any::<u64>()), 0..5)),
        tx_rate in rate(), rx_rate in rate(), share in option::of(number()),
        history in vec(any::<f32>(), 0..build::FULL_HISTORY), (worker, tx, rx) in served().boxed(),
        interrupts in interrupts().boxed(),
    ) -> QueueReport {
        let mut report = QueueReport { worker: worker.map(Box::new), tx, rx, tx_rate, rx_rate, share, interrupts, history: history.into(), ..build::queue(&device, queue) };
        report.tx.packets = packets;
        report.rx.drops = drops.map(|drops| drops.into_iter().map(|(reason, n)| (Arc::from(reason), n)).collect());
        report.tx.drops = packets.map(|_| BTreeMap::new());
        report
    }
}

prop_compose! {
    fn report()(
        kind in option::of(prop_oneof![Just(SourceKind::Live), Just(SourceKind::Trace), Just(SourceKind::Model)]),
        host in option::of(".{0,300}"), duration_s in number(), devices in vec(device().boxed(), 0..8),
        queues in vec(queue().boxed(), 0..40), vms in vec(vm().boxed(), 0..4), events: u64, complete: bool,
    ) -> Report {
        let mut report = build::empty();
        (report.source.kind, report.source.host) = (kind, host);
        (report.source.duration_s, report.source.complete) = (duration_s, complete);
        report.lost.events = events;
        report.vms = vms.into_iter().zip(0..).map(|((name, vcpus), pid)| VmReport { pid, name, vcpus, ..VmReport::default() }).collect();
        report.findings = devices.iter().map(|device| build::finding("R4", Level::Critical, device)).collect();
        (report.devices, report.queues) = (devices, queues);
        report
    }
}

#[derive(Clone, Debug)]
enum Step {
    Key(Key),
    Resize(u16, u16),
    Report(Box<Report>),
    Draw(u16, u16),
}

fn size() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![(1..300u16, 1..100u16), (70..100u16, 20..30u16)]
}

fn key() -> impl Strategy<Value = Key> {
    let named = [
        Key::Enter,
        Key::Esc,
        Key::Tab,
        Key::BackTab,
        Key::Backspace,
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
    ];
    prop_oneof![
        proptest::sample::select(named.to_vec()),
        proptest::sample::select("123456?/srqgGjkzZnN <>[]+-".chars().map(Key::Char).collect::<Vec<_>>()),
        any::<char>().prop_map(Key::Char),
        any::<char>().prop_map(Key::Ctrl),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => key().prop_map(Step::Key),
        1 => size().prop_map(|(w, h)| Step::Resize(w, h)),
        1 => report().boxed().prop_map(|report| Step::Report(Box::new(report))),
        2 => size().prop_map(|(w, h)| Step::Draw(w, h)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_it(first in report().boxed(), (width, height) in size(), steps in vec(step().boxed(), 0..24), colour: bool, ascii: bool) {
        let look = Look { colour, ascii };
        let mut ui = Ui::new(first.into(), width, height);
        if ascii {
            ui = ui.playing(Timeline::new(f64::from(width)));
            ui.marks(vec![Mark { level: Level::Critical, from: f64::from(height), to: f64::from(width) }]);
        }
        let mut size = (width, height);
        for step in steps {
            match step {
                Step::Key(key) => drop(ui.key(key)),
                Step::Resize(w, h) => {
                    size = (w, h);
                    ui.resize(w, h);
                }
                Step::Report(report) => drop(ui.report(Arc::from(report))),
                // The terminal can have another size by the time it is drawn.
                Step::Draw(w, h) => drop(draw(&ui, look, w, h)),
            }
            let list = ui.list();
            prop_assert!(list.is_empty() || list.row() < list.len());
            prop_assert!(list.top() <= list.row());
            let findings = ui.facts().report.findings.len();
            prop_assert!(ui.chosen().row() < findings.max(1));
        }
        let buffer = draw(&ui, look, size.0, size.1);
        for cell in buffer.content() {
            prop_assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell.symbol());
            prop_assert!(!ascii || cell.symbol().is_ascii(), "{:?}", cell.symbol());
        }
    }
}
