//! The advisor against files: what a host does each second, and what must be found. See `../scenarios/README.md`.

mod general;
mod puzzles;
mod world;

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use vnet::{
    advisor::rules::{self, Check, Rule},
    report::{Report, Unsure},
};

use world::{Host, World};

/// What every rule has a case of.
const CASES: [&str; 5] = ["found", "fine", "unsure", "past", "inside"];

/// Looks that make a rate steady, and some more.
const STEADY: u32 = 5;
const SECONDS: u32 = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What each case begins with.
    #[serde(flatten)]
    world: World,
    case: BTreeMap<String, Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    /// Where it differs from the world of its file.
    #[serde(flatten)]
    world: World,
    /// Of a world after a fix: what a printed command holds that makes it so.
    #[serde(default)]
    applies: Option<String>,
    /// Other rules that find something here too.
    #[serde(default)]
    with: Vec<String>,
}

fn checked() -> impl Iterator<Item = &'static Rule> {
    rules::all().filter(|rule| !matches!(rule.check, Check::Not(_)))
}

fn scenario(rule: &Rule) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/advice");
    let path = folder.join(format!("{}.toml", rule.id));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Scenario {
    fn case(&self, name: &str) -> (World, &Case) {
        let case = self.case.get(name).unwrap_or_else(|| panic!("no case {name:?}"));
        (case.world.or(&self.world), case)
    }
}

fn rules_of(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.rule.as_str()).collect()
}

fn doubt<'a>(report: &'a Report, rule: &Rule) -> Option<&'a Unsure> {
    report.unsure.iter().find(|unsure| unsure.rule == rule.id)
}

/// Every rule, every case: exactly what must be found and nothing else.
#[test]
fn every_rule_has_its_cases_and_they_hold() {
    let mut wrong = Vec::new();
    for rule in checked() {
        let scenario = scenario(rule);
        for name in CASES {
            let (world, case) = scenario.case(name);
            let mut host = Host::default();
            let report = host.run(&world, SECONDS);
            let mut expected: Vec<&str> = case.with.iter().map(String::as_str).collect();
            if matches!(name, "found" | "past") {
                expected.push(rule.id);
            }
            let mut found = rules_of(&report);
            expected.sort_unstable();
            found.sort_unstable();
            if found != expected {
                wrong.push(format!("{} {name}: found {found:?}, not {expected:?}", rule.id));
            }
            if (name == "unsure") != doubt(&report, rule).is_some() {
                wrong.push(format!("{} {name}: unsure is {:?}", rule.id, doubt(&report, rule)));
            }
        }
        let known = |name: &&String| !CASES.contains(&name.as_str()) && *name != "fixed";
        wrong
            .extend(scenario.case.keys().filter(known).map(|name| format!("{}: {name} is no case", rule.id)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The command that is printed is the one that makes the world after it, in which nothing is wrong any more.
#[test]
fn a_printed_fix_clears_the_finding_and_raises_nothing_new() {
    let mut wrong = Vec::new();
    for rule in checked() {
        let scenario = scenario(rule);
        let (world, case) = scenario.case("found");
        let mut host = Host::default();
        let report = host.run(&world, SECONDS);
        let Some(finding) = report.findings.iter().find(|finding| finding.rule == rule.id) else { continue };
        if finding.fix.is_empty() {
            continue;
        }
        let (fixed, after) = scenario.case("fixed");
        let command = after.applies.as_deref().expect("`applies` says which command it is");
        if !finding.fix.iter().any(|printed| printed.contains(command)) {
            wrong.push(format!("{}: no command holds {command:?}: {:#?}", rule.id, finding.fix));
        }
        let report = host.run(&fixed, SECONDS);
        let left = rules_of(&report);
        if left.iter().any(|rule| !case.with.iter().any(|other| other == rule)) {
            wrong.push(format!("{}: after the fix {left:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Evidence that is not steady is none yet, and says how long it has to go on.
#[test]
fn a_rate_needs_five_seconds_and_says_what_it_lacks() {
    for rule in checked() {
        let (world, _) = scenario(rule).case("found");
        let mut host = Host::default();
        let report = host.run(&world, STEADY - 1);
        match rule.check {
            Check::Rate(_) => {
                assert_eq!(
                    doubt(&report, rule).and_then(|unsure| unsure.lacks_seconds),
                    Some(1.0),
                    "{}: {:?}",
                    rule.id,
                    report.unsure
                );
                assert!(!rules_of(&report).contains(&rule.id), "{}", rule.id);
            }
            _ => assert!(rules_of(&report).contains(&rule.id), "{}: {:?}", rule.id, rules_of(&report)),
        }
    }
}

/// An idle queue is never flagged, and a finding outlasts a short rest.
#[test]
fn nothing_is_found_at_rest_and_a_finding_outlasts_a_short_one() {
    for rule in checked() {
        let scenario = scenario(rule);
        let (world, case) = scenario.case("found");
        let quiet = world.quiet();
        assert_eq!(rules_of(&Host::default().run(&quiet, SECONDS)), [""; 0], "{}", rule.id);

        let mut host = Host::default();
        host.run(&world, SECONDS);
        let report = host.run(&quiet, STEADY - 1);
        assert!(rules_of(&report).contains(&rule.id), "{} is gone at once: {:?}", rule.id, case.with);
        let report = host.run(&quiet, 2);
        assert_eq!(rules_of(&report), [""; 0], "{} stays", rule.id);
    }
}
