//! vnet, the real program, beside the kernel's real `vhost_net`: what it reports against what the driver on the other side
//! of the rings knows, difference 0.
//!
//! Runs wherever `/dev/vhost-net` is, in the lab's machines above all; elsewhere each test says `skipped:` and why.

mod copies;
mod demand;
mod exact;
mod expect;
mod golden;
mod held;
mod idle;
mod late;
mod learned;
mod life;
mod model;
mod modules;
mod others;
mod polls;
mod seen;
mod stalls;

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use vnet_driver::{
    netns::Netns,
    truth::Queue,
    vhost::{Config, Guest, Script, kernel::Kernel},
    vnet::{Report, Vnet},
};

use self::expect::Known;

/// The program under test.
fn binary() -> PathBuf {
    std::env::var_os("VNET_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_vnet").into(), PathBuf::from)
}

/// Starts it; returns once it counts.
fn observe() -> Result<Vnet> {
    let vnet = Vnet::start(&binary(), &[])?;
    println!("vnet counts after {:.1} s", vnet.ready_after.as_secs_f64());
    Ok(vnet)
}

/// Why tests with vnet and the real `vhost_net` cannot run here, or `None`.
fn vhost() -> Option<String> {
    live().or_else(vnet_driver::need::vhost)
}

/// Likewise tests of what only the structures of vhost tell.
fn described() -> Option<String> {
    let unseen = || {
        (!seen::described())
            .then(|| "this kernel does not describe the structures of its modules (no BTF)".to_owned())
    };
    vhost().or_else(unseen)
}

/// Likewise tests of the ledger of copies, in which zero-copy is only where structures are described.
fn ledger() -> Option<String> {
    let zerocopy = || Kernel::look().is_ok_and(|kernel| kernel.zerocopy);
    if zerocopy() { described() } else { vhost() }
}

/// Why tests with the live source cannot run here, or `None`.
fn live() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|error| format!("{error:#}"));
    fatal.map(|problem| problem.sentence).or_else(object)
}

/// Guests and what they do.
type Cases = Vec<(Config, Script)>;

/// A name, and its cases.
type Scene = (&'static str, fn() -> Cases);

/// What tests have done together under one vnet: starting it is what takes time in an emulated machine.
const TOGETHER: &[Scene] = &[
    ("copies", copies::copied),
    ("uncopied", copies::uncopied),
    ("lengths", exact::lengths),
    ("rings", exact::rings),
    ("publications", golden::publications),
    ("pairs", golden::pairs),
    ("read or dropped", late::read_or_dropped),
];

/// Guests of [`TOGETHER`], as they were when vnet ended.
struct Together {
    guests: BTreeMap<&'static str, Vec<Known>>,
    report: Report,
}

/// The guests that ran what `name` says, and what vnet says of all.
fn watched(name: &str) -> Result<(&'static [Known], &'static Report)> {
    static ALL: OnceLock<std::result::Result<Together, String>> = OnceLock::new();
    let all = ALL.get_or_init(|| together().map_err(|error| format!("{error:#}")));
    let all = all.as_ref().map_err(|error| anyhow!("the guests of several tests: {error}"))?;
    Ok((all.guests.get(name).with_context(|| format!("no {name}"))?, &all.report))
}

fn together() -> Result<Together> {
    let vnet = observe()?;
    let (mut guests, mut alive) = (BTreeMap::new(), Vec::new());
    for (name, cases) in TOGETHER {
        let run: Result<Vec<_>> = cases().into_iter().map(after).collect();
        let run = run.with_context(|| format!("guests of {name}"))?;
        guests.insert(*name, run.iter().map(Known::of).collect::<Result<_>>()?);
        alive.extend(run);
    }
    let report = vnet.finish()?;
    drop(alive);
    Ok(Together { guests, report })
}

/// A guest in a namespace of its own, after its script.
fn after((config, script): (Config, Script)) -> Result<Guest> {
    let guest = Guest::new(&Netns::new()?, config)?;
    guest.run(&script)?;
    guest.truth()?; // all that was begun is done
    Ok(guest)
}

/// What vnet says of a pair.
#[track_caller]
fn row(key: Queue, report: &Report) -> &Value {
    report.queue(key).expect("the queue is listed")
}

/// Fails with every difference at once. `guests` are all of their namespaces.
#[track_caller]
fn assert_exact(guests: &[Known], report: &Report) {
    let differences = expect::differences(guests, report);
    assert!(differences.is_empty(), "vnet and the truth differ:\n{differences:.20000}");
}

/// The same of guests that run.
#[track_caller]
fn assert_running<'a>(guests: impl IntoIterator<Item = &'a Guest>, report: &Report) {
    let known: Result<Vec<_>> = guests.into_iter().map(Known::of).collect();
    assert_exact(&known.expect("the truth can be had"), report);
}
