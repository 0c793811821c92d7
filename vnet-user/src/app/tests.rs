//! The wiring, with prepared records in the place of a host.

use std::path::Path;

use vnet::{
    record::{Flow, Nanos, QueueCounts, Sample, SourceKind},
    report::{Finding, Level, Subject, Where},
    topology::{DeviceKey, IfIndex, Netns, QueueKey, QueuePair},
};

use super::*;

fn source() -> Record {
    Record::Source(vnet::record::Source {
        kind: SourceKind::Trace,
        host: "host".into(),
        kernel: "6.12".into(),
        started: "2026-01-02T03:04:05Z".into(),
        probes: Vec::new(),
    })
}

fn sample(seconds: u64, packets: u64) -> Record {
    let device = DeviceKey { netns: Netns(1), ifindex: IfIndex(7), generation: 0 };
    let tx = Flow { sizes: [packets, 0, 0, 0, 0, 0, 0, 0], ..Flow::default() };
    let counts = QueueCounts { tx: Some(tx), ..QueueCounts::default() };
    let queues = vec![(QueueKey { device, queue: QueuePair(0) }, counts)];
    Record::Sample(Sample { at: Nanos(seconds * 1_000_000_000), queues, ..Sample::default() })
}

fn records(batches: Vec<Vec<Record>>) -> Source {
    Source::Records(batches.into())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Folds every batch but the last `left`, then ends.
fn observed(batches: Vec<Vec<Record>>, left: usize) -> (State, Vec<bool>) {
    let wanted = batches.len() - left;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let mut calls = Vec::new();
    let mut before = None;
    let state = block_on(observe(
        State::default(),
        &mut records(batches),
        async {
            stopped.await.unwrap();
        },
        |state, first| {
            // A tick of the clock shows the same again.
            let report = state.report();
            if before.as_ref() != Some(&report) {
                calls.push(first);
                before = Some(report);
            }
            if calls.len() == wanted
                && let Some(stop) = stop.take()
            {
                stop.send(()).unwrap();
            }
        },
    ));
    (state.unwrap(), calls)
}

#[test]
fn everything_a_source_yields_is_folded_and_its_end_too() {
    let batches = vec![
        vec![source(), sample(1, 1)],
        vec![sample(2, 3)],
        vec![sample(3, 9), Record::End(Nanos(4_000_000_000))],
    ];
    let (mut state, calls) = observed(batches, 1);
    assert_eq!(calls, [true, false]);
    let report = state.report();
    assert_eq!(report.queues[0].tx.packets, Some(9));
    assert!(report.source.complete);
    assert!((report.source.duration_s - 4.0).abs() < 1e-9);
}

#[test]
fn an_early_end_says_how_long_it_was() {
    let batches = vec![vec![source(), sample(1, 1)], vec![Record::End(Nanos(1_500_000_000))], vec![]];
    let report = observed(batches, 2).0.report();
    assert_eq!((report.source.duration_s, report.source.complete), (1.5, true));
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let full = Output::prepare(Some(Path::new("/dev/full"))).unwrap();
    let error = finish(&State::default().report(), &options(None, Format::Text), full).unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot write /dev/full: "), "{error:#}");
}

fn options(fail_on: Option<Level>, format: Format) -> ReportOptions {
    ReportOptions {
        source: SourceFrom::Live,
        duration: Duration::from_secs(1),
        format,
        fail_on,
        thresholds: None,
        output: None,
        all: false,
    }
}

fn finding(level: Level) -> Finding {
    Finding {
        rule: "R4".into(),
        title: String::new(),
        level,
        subject: Subject::default(),
        evidence: Vec::new(),
        why: String::new(),
        fix: Vec::new(),
        place: Where::Host,
        expect: String::new(),
        source: String::new(),
        explains: Vec::new(),
    }
}

#[test]
fn findings_change_the_exit_status_only_when_asked() {
    let mut report = State::default().report();
    report.findings = vec![finding(Level::Warning)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let status = |fail_on| {
        let output = Output::prepare(Some(&path)).unwrap();
        format!("{:?}", finish(&report, &options(fail_on, Format::Json), output).unwrap())
    };
    let (fine, found) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::from(1)));
    assert_eq!(status(None), fine);
    assert_eq!(status(Some(Level::Info)), found);
    assert_eq!(status(Some(Level::Warning)), found);
    assert_eq!(status(Some(Level::Critical)), fine);
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.starts_with("{\n  \"schema\": 1,") && written.ends_with("}\n"), "{written}");
}
