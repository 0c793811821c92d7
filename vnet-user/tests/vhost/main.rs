//! vnet, the real program, beside the kernel's real `vhost_net`: what it reports against what the driver on the other side
//! of the rings knows, difference 0.
//!
//! Runs wherever `/dev/vhost-net` is, in the lab's machines above all; elsewhere each test says `skipped:` and why.

mod copies;
mod exact;
mod expect;
mod golden;
mod late;
mod life;
mod modules;
mod others;
mod seen;
mod stalls;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;
use vnet_driver::{
    netns::Netns,
    vhost::{Config, Guest, Script},
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

/// Why tests of what vnet sees of vhost cannot run here, or `None`.
fn vhost() -> Option<String> {
    let unseen = || {
        (!seen::described())
            .then(|| "this kernel does not describe the functions of its modules (no BTF)".to_owned())
    };
    real_vhost().or_else(unseen)
}

/// Why tests with vnet and the real `vhost_net` cannot run here, or `None`.
fn real_vhost() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|error| format!("{error:#}"));
    fatal.map(|problem| problem.sentence).or_else(object).or_else(vnet_driver::need::vhost)
}

/// Guests, each in a namespace of its own, made while one vnet watches, after their scripts; and what vnet says of them.
/// Starting vnet is what takes time in an emulated machine.
fn watched(cases: Vec<(Config, Script)>) -> Result<(Vec<Guest>, Report)> {
    let vnet = observe()?;
    let run = |(config, script)| {
        let guest = Guest::new(&Netns::new()?, config)?;
        guest.run(&script)?;
        guest.truth()?; // all that was begun is done
        Ok(guest)
    };
    let guests = cases.into_iter().map(run).collect::<Result<_>>()?;
    Ok((guests, vnet.finish()?))
}

/// What vnet says of the first pair of a guest.
#[track_caller]
fn row<'a>(guest: &Guest, report: &'a Report) -> &'a Value {
    report.queue(guest.key(0)).expect("the queue is listed")
}

/// Fails with every difference at once. `guests` are all of their namespaces, and all run.
#[track_caller]
fn assert_exact<'a>(guests: impl IntoIterator<Item = &'a Guest>, report: &Report) {
    let known: Result<Vec<_>> = guests.into_iter().map(Known::of).collect();
    let differences = expect::differences(&known.expect("the truth can be had"), report);
    assert!(differences.is_empty(), "vnet and the truth differ:\n{differences:.20000}");
}
