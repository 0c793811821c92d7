//! What holds of all rules, of thresholds files, and of what is printed.

use std::collections::BTreeSet;

use serde_json::Value;
use vnet::{
    advisor::{
        limits::{self, Thresholds},
        rules::{self, Check, GUIDE},
    },
    report::{Report, json, rules as told, text},
    state::State,
};

use crate::records;

#[test]
fn every_rule_of_the_notes_is_a_row_once_and_none_causes_itself() {
    let ids: Vec<_> = rules::all().map(|rule| rule.id).collect();
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    let wanted: BTreeSet<_> = (1..=53).map(|n| format!("R{n}")).collect();
    assert_eq!(unique, wanted.iter().map(String::as_str).collect());
    for rule in rules::all() {
        assert!(!rule.title.is_empty() && !rule.source.is_empty(), "{}", rule.id);
        if let Check::Not(why) = rule.check {
            assert!(!why.is_empty(), "{}", rule.id);
            continue;
        }
        assert!(!rule.limits.is_empty() && !rule.expect.is_empty(), "{}", rule.id);
        assert!(
            (2..=3).contains(&rule.why.split(['.', ':']).filter(|part| part.trim().len() > 8).count()),
            "{}: {}",
            rule.id,
            rule.why
        );
        for cause in rule.because {
            assert!(rules::find(cause).is_some(), "{}: {cause}", rule.id);
        }
        assert!(!causes(rule.id, &mut BTreeSet::new()).contains(rule.id), "{} causes itself", rule.id);
    }
    for advice in GUIDE {
        assert!(advice.rules.iter().all(|id| rules::find(id).is_some()), "{}", advice.sentence);
    }
}

/// Everything that may be the cause of a rule's findings, causes of causes too.
fn causes(id: &str, known: &mut BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    for cause in rules::find(id).expect("a rule").because {
        if known.insert(cause) {
            causes(cause, known);
        }
    }
    known.clone()
}

#[test]
fn the_defaults_that_are_printed_are_the_defaults() {
    let text = limits::defaults();
    assert_eq!(Thresholds::parse(&text).unwrap(), Thresholds::default(), "{text}");
    for rule in rules::all() {
        for limit in rule.limits {
            assert!((limit.least..=limit.most).contains(&limit.default), "{} {}", rule.id, limit.key);
            let just_out = format!("[{}]\n{} = {}\n", rule.id, limit.key, limit.most * 2.0 + 1.0);
            assert_eq!(Thresholds::parse(&just_out).unwrap_err().line, 2, "{just_out}");
        }
    }
}

#[test]
fn a_bad_file_is_told_with_line_key_and_range_and_nothing_of_it_is_taken() {
    for (text, line, told) in [
        ("[R1]\npackets = 5\nworker_busy = 1.5\n", 3, "worker_busy = 1.5 is not allowed: from 0.0001 to 1"),
        ("\n[R1]\nworker_buzy = 0.5\n", 3, r#"[R1] has no "worker_buzy"; its keys: worker_busy, packets"#),
        ("[R1]\nworker_busy = 'full'\n", 2, "worker_busy has to be a number from 0.0001 to 1"),
        ("[R1]\nworker_busy = nan\n", 2, "worker_busy = NaN is not allowed"),
        ("[R99]\n", 1, "[R99] is no rule"),
        ("[R8]\nflows = 2\n", 2, "it has none"),
        ("R1 = 3\n", 1, "R1 is a table"),
        ("[R1\n", 1, ""),
        ("[evidence]\nsamples = 0\n", 2, "samples = 0 is not allowed: from 1 to 600"),
    ] {
        let error = Thresholds::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.what.contains(told), "{text}: {error}");
    }
    assert_eq!(Thresholds::parse("").unwrap(), Thresholds::default());
    assert_ne!(Thresholds::parse("[R1]\nworker_busy = 0.5").unwrap(), Thresholds::default());
}

#[test]
fn the_list_and_each_explanation_are_readable() {
    let mut list = Vec::new();
    told::list(&mut list).unwrap();
    let list = String::from_utf8(list).unwrap();
    for rule in rules::all() {
        assert!(list.contains(&format!("  {} ", rule.id)), "{}", rule.id);
        let mut text = Vec::new();
        told::explain(rule, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
        assert!(text.contains(rule.title));
    }
    insta::assert_snapshot!("rules", list);
    let mut text = Vec::new();
    told::explain(rules::find("r4").unwrap(), &mut text).unwrap();
    insta::assert_snapshot!("rule_4", String::from_utf8(text).unwrap());
}

/// One queue of four enabled, and it drops: by records alone, as any source yields them.
fn wrong(seconds: u32) -> Report {
    let mut state = State::default();
    let mut apply = |line: &str| state.apply(&records::parse(line).expect(line));
    apply("source tap.tx tap.rx tap.tx.drops tap.rx.drops vhost.worker");
    apply("topology; 1/7 tap0 tap 1 disabled=3 vhost nozerocopy pid=4711");
    for t in 0..=seconds {
        let (received, dropped) = (t * 1000, t * 100);
        apply(&format!("sample {t}s; 1/7#0 rx {received}x1500 FULL_RING={dropped}"));
    }
    apply(&format!("end {seconds}s"));
    state.report()
}

fn text(report: &Report, all: bool) -> String {
    let mut out = Vec::new();
    text::write(report, all, &mut out).expect("memory takes everything");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_ticket_begins_with_the_verdict_and_has_the_commands() {
    let report = wrong(6);
    insta::assert_snapshot!("ticket", text(&report, false));
    insta::assert_snapshot!("ticket_all", text(&report, true));
    assert!(
        text(&wrong(3), false).contains("FINDINGS: 1 warning; the worst: R4 on tap0"),
        "{}",
        text(&wrong(3), false)
    );
}

#[test]
fn json_has_the_keys_of_a_finding() {
    let mut out = Vec::new();
    json::write(&wrong(6), &mut out).unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    let keys = |at: &str| {
        let value = report.pointer(at).unwrap_or_else(|| panic!("{at} is missing in {report:#}"));
        value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let finding = [
        "rule", "title", "level", "subject", "evidence", "why", "fix", "where", "expect", "source",
        "explains",
    ];
    assert_eq!(keys("/findings/0"), set(&finding));
    assert_eq!(keys("/findings/0/evidence/0"), set(&["name", "value", "unit", "threshold"]));
    assert_eq!(keys("/findings/0/subject"), set(&["device", "ifindex", "netns", "generation", "vm_pid"]));
    assert_eq!(keys("/unsure/0"), set(&["rule", "subjects", "lacks_seconds", "why"]));
    assert_eq!(
        (&report["findings"][0]["rule"], &report["findings"][0]["level"]),
        (&"R4".into(), &"critical".into())
    );
    assert_eq!(report["findings"][0]["explains"], serde_json::json!(["R40"]));
}

/// However often samples come, a look is a second: five samples of 100 ms are not steady.
#[test]
fn samples_that_come_faster_make_nothing_steady_sooner() {
    let mut state = State::default();
    for line in [
        "source tap.tx tap.rx tap.tx.drops tap.rx.drops",
        "topology; 1/7 tap0 tap 1 disabled=0 vhost nozerocopy",
    ] {
        state.apply(&records::parse(line).expect(line));
    }
    let found = |state: &mut State| !state.report().findings.is_empty();
    let mut first = None;
    for t in 0..80u32 {
        let (at, received, dropped) = (t * 100, t * 100, t * 10);
        state.apply(
            &records::parse(&format!("sample {at}ms; 1/7#0 rx {received}x1500 FULL_RING={dropped}")).unwrap(),
        );
        if found(&mut state) && first.is_none() {
            first = Some(at);
        }
    }
    assert_eq!(first, Some(5000));
}

/// The limits that a file sets are the ones that findings go by.
#[test]
fn findings_go_by_the_thresholds_that_are_given() {
    let thresholds = Thresholds::parse("[R40]\ndropped = 0.5\n[evidence]\nsamples = 1\n").unwrap();
    let found = |drops: u32| {
        let mut state = State::new(thresholds.clone());
        for line in [
            "source tap.tx tap.rx tap.tx.drops tap.rx.drops".to_owned(),
            "topology; 1/7 tap0 tap 1 disabled=0 vhost nozerocopy".to_owned(),
            "sample 0s".to_owned(),
            format!("sample 1s; 1/7#0 rx 100x1500 FULL_RING={drops}"),
        ] {
            state.apply(&records::parse(&line).expect(&line));
        }
        state.report().findings.len()
    };
    assert_eq!((found(99), found(101)), (0, 1));
}
