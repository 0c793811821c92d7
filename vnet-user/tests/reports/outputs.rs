//! What is made of a report: the text, the diagnosis, and JSON schema 1.

use std::collections::BTreeSet;

use serde_json::Value;
use vnet::{
    report::{Report, doctor, json, text},
    state::State,
};

use crate::records;

/// A busy host: drops, a gone device, a twin, a hostile name, what is not covered.
const BUSY: &[&str] = &[
    "source tap.tx tap.rx tap.rx.drops tap.tx.drops=unavailable virtio_net.tx=derived",
    "topology; 1/7 tap0 tap 4 owned; 1/8 t\u{1b}[2J\u{202e}ap tap 1; 1/9 mv0 macvtap 2 uncovered; 1/10 old tap 1; 2/7 tap0 tap 1",
    "sample 0s",
    "sample 1s; 1/7#0 tx 100x64; 1/10#0 rx 9x1500",
    "topology; 1/7 tap0 tap 4 owned; 1/8 t\u{1b}[2J\u{202e}ap tap 1; 1/9 mv0 macvtap 2 uncovered; 2/7 tap0 tap 1",
    "sample 5s; 1/7#0 tx 1000x64 stack=7; 1/7#0 rx 5x1500; 1/7#2 tx 20000x65000 segments=900000; 1/7#2 rx 30000x64 FULL_RING=1234567 TAP_FILTER=3; 1/8#0 tx 1x60; 2/7#0 tx 3x60",
    "lost 3 0",
    "end 5s",
];

/// Guests that vhost serves beside one that it does not: zero-copy, copies, what is not known, what is not explained.
const VHOST: &[&str] = &[
    "source tap.tx tap.rx tap.tx.drops tap.rx.drops vhost.tx vhost.rx vhost.copies vhost.kicks vhost.calls vhost.runs=unavailable vhost.worker",
    "topology; 1/7 tap0 tap 2 vhost zerocopy owned; 1/8 tap1 tap 1 vhost nozerocopy; 1/9 tap2 tap 1 novhost; 1/10 tap3 tap 1; invisible 4711 qemu vfio vfio/12; invisible 4800 qemu vhost_user net0",
    "sample 0s",
    "sample 4s; 1/7#0 tx 600x64 400x65000; 1/7#0 copies batched=590 single=13 zerocopy=380 late=7 rejected=2 in_flight=8 bytes=998877 batches=100 batch_sizes=10,20,30,40 short=600 pending=3; 1/7#0 tx-ring used=1000 kicks=120 calls=50 suppressed=30 empty=90 weight=4; 1/7#0 rx 500x64; 1/7#0 rx-ring used=500 copied=38000 kicks=3 calls=250 suppressed=2 empty=200; 1/7#0 worker 4712 vhost-4711 cpu=3 node=0 run=1700ms wait=80ms migrations=12 polling=400ms; 1/8#0 tx 3x64; 1/8#0 tx-ring kicks=3; 1/8#0 worker 4800 vhost-4799 run=1ms; 1/9#0 rx 7x64; 1/7 residuals tx=-3 rx=0; 1/8 residuals tx=0",
    "end 4s",
];

fn report(lines: &[&str]) -> Report {
    let mut state = State::default();
    for line in lines {
        state.apply(&records::parse(line).expect(line));
    }
    state.report()
}

fn text(lines: &[&str], all: bool) -> String {
    let mut out = Vec::new();
    text::write(&report(lines), all, &mut out).expect("memory takes everything");
    String::from_utf8(out).expect("text")
}

fn json(lines: &[&str]) -> Value {
    let mut out = Vec::new();
    json::write(&report(lines), &mut out).expect("memory takes everything");
    assert!(out.ends_with(b"}\n"));
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn text_of_a_busy_host() {
    insta::assert_snapshot!(text(BUSY, false));
}

#[test]
fn text_of_a_busy_host_with_all() {
    insta::assert_snapshot!(text(BUSY, true));
}

#[test]
fn text_of_a_vhost_host() {
    insta::assert_snapshot!(text(VHOST, false));
}

/// Two guests of one host: what their calls interrupt.
const LAYOUT: &[&str] = &[
    "source tap.tx tap.rx tap.tx.drops tap.rx.drops vhost.kicks vhost.calls kvm.interrupts",
    "topology; cpu 0 core=0 llc=0 node=0; cpu 1 core=0 llc=0 node=0; cpu 4 core=4 llc=4 node=1; vm 4711 web 0=4712 1=4713; 1/7 tap0 tap 2 vhost owned; 1/8 tap1 tap 1 vhost",
    "sample 0s",
    "sample 4s; vcpu tid=4712 cpu=0; 1/7#0 tx 100x64; 1/7#0 tx-ring calls=100 woken=100; 1/7#0 call tx gsi=24 worker=1 vm=4711 vcpu=0 vector=65 cpu=0 blocked=97; 1/7#0 call tx gsi=24 worker=4 vm=4711 vcpu=1 vector=65 cpu=1 in_guest=3; 1/7#1 rx 9x64; 1/7#1 rx-ring calls=9 woken=5; 1/7#1 call rx gsi=26 worker=0 vm=4711 vcpu=1 vector=66 cpu=0 preempted=4; 1/7#1 call rx gsi=5 worker=0 root=1; 1/8#0 call rx gsi=24 worker=0 vcpu=0 vector=65 blocked=2",
    "end 4s",
];

#[test]
fn text_of_whom_calls_interrupt() {
    insta::assert_snapshot!(text(LAYOUT, false));
}

#[test]
fn json_has_the_keys_of_schema_1_for_interrupts() {
    let report = json(LAYOUT);
    let expect = |at: &str, expected: &[&str]| {
        let value = report.pointer(at).unwrap_or_else(|| panic!("{at} is missing"));
        assert_eq!(keys(value), expected.iter().copied().collect(), "{at}");
    };
    expect("/vms/0", &["pid", "name", "uuid", "monitor", "vcpus"]);
    expect("/vms/0/vcpus/0", &["id", "tid", "cpu", "node"]);
    let row =
        ["direction", "vcpu", "vector", "gsi", "irq", "count", "cpu", "worker_cpu", "level", "vcpu_state"];
    expect("/queues/0/interrupts/0", &row);
    expect("/queues/0/interrupts/0/vcpu_state", &["in_guest", "blocked", "preempted", "root"]);
    expect("/queues/0/private", &["vcpu", "calls", "kicks"]);
}

#[test]
fn text_of_many_interrupted_guests_stays_one_screen() {
    let devices: Vec<_> = (1..=400).map(|i| format!("; 1/{i} tap{i} tap 1 vhost owned")).collect();
    let calls: Vec<_> = (1..=400)
        .map(|i| format!("; 1/{i}#0 call tx gsi=24 worker=0 vm=4711 vcpu=0 vector=65 cpu=0 blocked={i}"))
        .collect();
    let lines = [
        "source kvm.interrupts".to_owned(),
        format!("topology{}", devices.concat()),
        format!("sample 1s{}", calls.concat()),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let short = text(&lines, false);
    assert!(short.lines().count() <= 45 && short.contains("… 392 queues more"), "{short}");
    assert!(text(&lines, true).lines().count() > 400);
}

#[test]
fn text_of_an_idle_host() {
    let lines = [
        "source tap.tx tap.rx tap.rx.drops",
        "topology; 1/7 tap0 tap 12",
        "sample 0s",
        "sample 5s",
        "end 5s",
    ];
    insta::assert_snapshot!(text(&lines, false));
}

#[test]
fn text_of_an_empty_host_and_of_nothing_at_all() {
    insta::assert_snapshot!(text(&["source tap.tx", "topology", "sample 123s", "end 123s"], false));
    insta::assert_snapshot!(text(&[], false));
}

#[test]
fn text_stays_one_screen_however_many_queues_there_are() {
    let mut lines = vec!["source tap.tx tap.rx tap.rx.drops".to_owned()];
    let devices: Vec<_> = (1..=500).map(|i| format!("; 1/{i} tap{i} tap 8")).collect();
    lines.push(format!("topology{}", devices.concat()));
    let queues: Vec<_> =
        (1..=400).map(|i| format!("; 1/{i}#3 tx {i}x64; 1/{i}#3 rx {i}x64 FULL_RING={i}")).collect();
    lines.push(format!("sample 1s{}", queues.concat()));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let short = text(&lines, false);
    assert!(short.lines().count() <= 45, "{short}");
    assert!(short.contains("380 less busy queues, 3600 idle queues not shown"), "{short}");
    assert!(short.contains("tap400 ") && !short.contains("tap380 "), "{short}");
    assert!(text(&lines, true).lines().count() > 4000 + 400);
}

#[test]
fn text_of_many_vhost_queues_stays_one_screen() {
    let devices: Vec<_> = (1..=400).map(|i| format!("; 1/{i} tap{i} tap 1 vhost nozerocopy")).collect();
    let queues: Vec<_> = (1..=400)
        .map(|i| format!("; 1/{i}#0 tx {i}x64; 1/{i}#0 copies batched={i}; 1/{i}#0 worker {i} vhost"))
        .collect();
    let (devices, queues) = (devices.concat(), queues.concat());
    let lines = ["source tap.tx".to_owned(), format!("topology{devices}"), format!("sample 1s{queues}")];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let short = text(&lines, false);
    assert!(short.lines().count() <= 45, "{short}");
    assert!(short.contains("yes, zero-copy off: tap1, tap2, tap3, tap4, tap5, tap6 and 394 more"), "{short}");
    assert!(short.contains("… 392 queues less busy (--all shows them)"), "{short}");
    assert!(text(&lines, true).lines().count() > 2 * 400);
}

#[test]
fn no_line_of_text_can_hide_or_move_anything() {
    for all in [false, true] {
        let text = text(BUSY, all);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}'));
    }
}

#[test]
fn diagnosis() {
    let mut out = Vec::new();
    doctor::write(&report(BUSY), &mut out).expect("memory takes everything");
    insta::assert_snapshot!(String::from_utf8(out).expect("text"));
}

/// The keys of an object, in order of the alphabet.
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Schema 1 is a promise: a key that goes or changes its name breaks who reads it. New keys are added here.
#[test]
fn json_has_the_keys_of_schema_1() {
    let report = json(BUSY);
    let expect = |at: &str, expected: &[&str]| {
        let value = report.pointer(at).unwrap_or_else(|| panic!("{at} is missing"));
        assert_eq!(keys(value), expected.iter().copied().collect(), "{at}");
    };
    let all = [
        "schema",
        "tool",
        "source",
        "probes",
        "lost",
        "vms",
        "devices",
        "queues",
        "invisible",
        "findings",
        "unsure",
    ];
    expect("", &all);
    expect("/tool", &["version"]);
    expect("/source", &["kind", "host", "kernel", "started", "duration_s", "complete"]);
    expect("/probes/0", &["signal", "via", "state", "reason", "runs", "run_seconds"]);
    expect("/lost", &["events", "records"]);
    let device = [
        "name",
        "ifindex",
        "netns",
        "generation",
        "kind",
        "present",
        "vhost",
        "vm_pid",
        "queues_max",
        "queues_enabled",
        "queues_disabled",
        "zerocopy",
        "residuals",
        "uncovered",
    ];
    expect("/devices/0", &device);
    let queue = [
        "device",
        "ifindex",
        "netns",
        "generation",
        "queue",
        "worker",
        "tx",
        "rx",
        "interrupts",
        "kickers",
        "private",
    ];
    expect("/queues/0", &queue);
    let tx = [
        "packets",
        "bytes",
        "segments",
        "drops",
        "used",
        "batches",
        "batch_sizes",
        "copies",
        "stack_drops",
        "kicks",
        "calls",
        "calls_suppressed",
        "runs",
        "sizes",
    ];
    expect("/queues/0/tx", &tx);
    let rx = [
        "packets",
        "bytes",
        "segments",
        "drops",
        "buffers",
        "copied_bytes",
        "kicks",
        "calls",
        "calls_suppressed",
        "runs",
        "sizes",
    ];
    expect("/queues/0/rx", &rx);
    expect("/queues/0/tx/sizes/0", &["le", "count"]);
}

#[test]
fn json_has_the_keys_of_schema_1_for_vhost() {
    let report = json(VHOST);
    let expect = |at: &str, expected: &[&str]| {
        let value = report.pointer(at).unwrap_or_else(|| panic!("{at} is missing"));
        assert_eq!(keys(value), expected.iter().copied().collect(), "{at}");
    };
    let worker = [
        "tid",
        "comm",
        "cpu",
        "node",
        "busy_ratio",
        "busy_poll_ratio",
        "wait_seconds",
        "migrations",
        "kthread",
    ];
    expect("/queues/0/worker", &worker);
    let copies = ["batched", "single", "zerocopy", "zerocopy_failed", "in_flight", "bytes", "why"];
    expect("/queues/0/tx/copies", &copies);
    expect("/queues/0/tx/copies/why", &["module_off", "short", "pending", "backoff", "rejected", "late"]);
    expect("/queues/0/tx/batch_sizes/0", &["le", "count"]);
    for side in ["tx", "rx"] {
        expect(&format!("/queues/0/{side}/runs"), &["empty", "weight", "busy_poll", "no_buffers"]);
    }
}

#[test]
fn json_says_null_for_what_is_not_known() {
    let report = json(BUSY);
    for at in [
        "/probes/0/runs",
        "/probes/0/run_seconds",
        "/devices/0/vhost",
        "/devices/0/zerocopy",
        "/queues/0/worker",
        "/queues/0/interrupts",
        "/queues/0/tx/copies",
        "/queues/0/tx/drops",
        "/queues/0/tx/kicks",
        "/queues/0/rx/buffers",
        "/queues/0/rx/calls_suppressed",
        "/queues/0/tx/sizes/7/le",
    ] {
        assert_eq!(report.pointer(at), Some(&Value::Null), "{at}");
    }
    assert_eq!(report["schema"], 1);
    assert_eq!(report["source"]["kind"], "live");
    assert_eq!(report["source"]["complete"], true);
    assert_eq!(report["probes"][3]["state"], "unavailable");
    assert_eq!(report["devices"][0]["vm_pid"], 4711);
    assert_eq!(report["queues"][2]["rx"]["drops"]["FULL_RING"], 1_234_567);
    assert_eq!(report["queues"][2]["tx"]["segments"], 900_000);
}
