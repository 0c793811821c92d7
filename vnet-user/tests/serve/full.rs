//! A report in which everything is known, and an exporter of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use tokio::{net::TcpListener, runtime, sync::watch};
use vnet::{
    export::{Exporter, PerQueue, Web},
    report::{
        CopiesReport, DeviceReport, Distance, Finding, InterruptReport, Known, Level, ProbeReport,
        QueueReport, Report, RunsReport, RxReport, SizeReport, Subject, TxReport, Where, WhyReport,
        WorkerReport,
    },
    state::State,
};

/// `vms` VMs of `nics` devices of `pairs` queue pairs, each of which has counted to about `n`; `at` seconds have passed.
pub(crate) fn report(n: u64, at: f64, vms: u32, nics: u32, pairs: u16) -> Report {
    let mut report = State::default().report();
    report.source.host = Some("host".into());
    let started = SystemTime::now() - Duration::from_secs_f64(at);
    report.source.started = Some(humantime::format_rfc3339_millis(started).to_string());
    report.source.duration_s = at;
    report.probes = ["tap.tx", "tap.rx"]
        .map(|signal| ProbeReport {
            signal: signal.into(),
            via: "tp_btf:test".into(),
            state: Known::Exact,
            reason: None,
            runs: Some(n),
            run_seconds: Some(n as f64 / 1e7),
        })
        .into();
    report.findings = vec![finding("single_queue", Level::Warning), finding("irq_remote", Level::Info)];
    for vm in 0..vms {
        for nic in 0..nics {
            device(&mut report, n, vm, vm * nics + nic + 1, pairs);
        }
    }
    report
}

fn finding(rule: &str, level: Level) -> Finding {
    Finding {
        rule: rule.into(),
        title: "A test".into(),
        level,
        subject: Subject::default(),
        evidence: Vec::new(),
        why: "the test says so".into(),
        fix: vec!["true".into()],
        place: Where::Host,
        expect: "Nothing.".into(),
        source: "a test".into(),
        explains: Vec::new(),
    }
}

fn device(report: &mut Report, n: u64, vm: u32, ifindex: u32, pairs: u16) {
    let name = format!("vnet{ifindex}");
    report.devices.push(DeviceReport {
        name: name.clone(),
        ifindex,
        netns: 4_026_531_840,
        kind: "tap".into(),
        present: true,
        vhost: Some(true),
        vm_pid: Some(4000 + vm),
        queues_max: Some(256),
        queues_enabled: Some(pairs.into()),
        queues_disabled: Some(0),
        zerocopy: Some(true),
        residuals: BTreeMap::from([("tx".into(), 0)]),
        ..DeviceReport::default()
    });
    report.queues.extend((0..pairs).map(|queue| QueueReport {
        device: name.as_str().into(),
        ifindex,
        netns: 4_026_531_840,
        queue,
        worker: Some(Box::new(WorkerReport {
            tid: 5000 + ifindex,
            comm: format!("vhost-{}", 4000 + vm),
            cpu: Some(vm % 64),
            node: Some(0),
            busy_ratio: Some(0.5),
            wait_seconds: Some(n as f64 / 1e6),
            migrations: Some(n / 10),
            kthread: true,
            run_seconds: Some(n as f64 / 1e5),
            ..WorkerReport::default()
        })),
        tx: sent(n),
        rx: given(n),
        interrupts: Some(["tx", "rx"].map(interrupts(n)).into()),
        ..QueueReport::default()
    }));
}

fn interrupts(n: u64) -> impl Fn(&str) -> InterruptReport {
    move |direction| InterruptReport {
        direction: direction.into(),
        count: n,
        level: Some(Distance::Llc),
        ..InterruptReport::default()
    }
}

fn runs(n: u64) -> RunsReport {
    RunsReport { empty: n, weight: n / 2, busy_poll: 0, no_buffers: 1 }
}

fn sent(n: u64) -> TxReport {
    TxReport {
        packets: Some(4 * n),
        bytes: Some(4000 * n),
        segments: Some(5 * n),
        drops: Some(BTreeMap::from([("TAP_FILTER".into(), n / 8)])),
        batches: Some(n / 2),
        batch_sizes: Some(Box::new(
            [1, 3, 7, 15, 31, 63, 64].map(|le| SizeReport { le: Some(le), count: n / 14 }),
        )),
        copies: Some(Box::new(CopiesReport {
            batched: n,
            single: n,
            zerocopy: n,
            zerocopy_failed: n,
            in_flight: 3,
            bytes: 4000 * n,
            why: WhyReport { short: n, late: n, ..WhyReport::default() },
        })),
        stack_drops: Some(n / 9),
        kicks: Some(n),
        calls: Some(n),
        calls_suppressed: Some(n),
        runs: Some(runs(n)),
        ..TxReport::default()
    }
}

fn given(n: u64) -> RxReport {
    RxReport {
        packets: Some(3 * n),
        bytes: Some(3000 * n),
        segments: Some(4 * n),
        drops: Some(BTreeMap::from([("FULL_RING".into(), n / 7)])),
        buffers: Some(3 * n),
        copied_bytes: Some(3036 * n),
        kicks: Some(n),
        calls: Some(n),
        calls_suppressed: Some(n),
        runs: Some(runs(n)),
        ..RxReport::default()
    }
}

/// The exporter of one report.
pub(crate) fn exporter(report: Report, per_queue: PerQueue) -> Result<Exporter> {
    // The channel's other end is gone: no other report comes.
    let (_, receiver) = watch::channel(Arc::new(report));
    Exporter::new(receiver, per_queue, Duration::from_secs(1), Web::default())
}

/// Serves, in a thread of its own and to the end of the test, counts that grow ten times a second.
pub(crate) fn serve(vms: u32, nics: u32, pairs: u16) -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = std::time::Instant::now();
    let first = report(1000, 1.0, vms, nics, pairs);
    let started = first.source.started.clone();
    let now = move || {
        let at = begun.elapsed().as_secs_f64();
        let mut report = report(
            1000 * (1 + begun.elapsed().as_secs()) + u64::from(begun.elapsed().subsec_millis()),
            at + 1.0,
            vms,
            nics,
            pairs,
        );
        report.source.started.clone_from(&started);
        Arc::new(report)
    };
    let (sender, receiver) = watch::channel(Arc::new(first));
    let exporter = Exporter::new(receiver, PerQueue::Auto, Duration::from_secs(1), Web::default())
        .context("no exporter")?;
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            let feed = async {
                loop {
                    tick.tick().await;
                    sender.send_replace(now());
                }
            };
            tokio::select! {
                () = feed => {}
                done = exporter.serve(listener, std::future::pending()) => done.expect("it answers"),
            }
        });
    });
    Ok(address)
}
