//! The state against files: a stream of records in a short form, and what the report must say. See `../scenarios/README.md`.

use std::{fs, path::Path};

use serde::Deserialize;
use vnet::state::State;

use crate::{expect::Expect, records};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    about: String,
    records: Vec<String>,
    expect: Expect,
}

#[test]
fn every_scenario_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty(), "no scenario found");
    let wrong: Vec<_> = paths.iter().flat_map(|path| check(path)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What does not hold, one line each.
fn check(path: &Path) -> Vec<String> {
    let name = path.file_stem().expect("a file").display();
    let text = fs::read_to_string(path).expect("a readable scenario");
    let scenario: Scenario = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut state = State::default();
    for line in &scenario.records {
        let record = records::parse(line).unwrap_or_else(|error| panic!("{name}: {error} in {line:?}"));
        state.apply(&record);
    }
    let wrong = scenario.expect.check(&state.report(), state.regressions());
    wrong.into_iter().map(|line| format!("{name} ({}): {line}", scenario.about)).collect()
}

#[test]
fn unknown_words_and_keys_are_refused() {
    for line in [
        "samples 1s",
        "sample",
        "sample 1s; 1/7#0 up 1x64",
        "sample 1s; 1/7 tx 1x64",
        "sample 1s; 1/7#0 tx 1y64",
        "topology; 1/7 tap0 bridge",
        "topology; 1/7 tap0 tap 2 lost",
        "source tap.tx=maybe",
        "end soon",
    ] {
        assert!(records::parse(line).is_err(), "{line}");
    }
    for text in [
        "about = ''\nrecords = []\nexpects = {}",
        "about = ''\nrecords = []\n[[expect.queue]]\nid = '1/7#0'\ntx.packet = 3",
        "about = ''\nrecords = []\n[[expect.queue]]\nid = '1/7#0'\ntx.packets = 'unknwon'",
    ] {
        assert!(toml::from_str::<Scenario>(text).is_err(), "{text}");
    }
}
