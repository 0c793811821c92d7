//! vnet, the real program, beside the kernel's real vhost_net: what it reports against what the driver on the other side
//! of the rings knows, difference 0.
//!
//! Runs wherever `/dev/vhost-net` is, in the lab's machines above all; elsewhere each test says `skipped:` and why.

mod copies;
mod exact;
mod expect;

use std::path::PathBuf;

use anyhow::Result;
use vnet_driver::{
    netns::Netns,
    vhost::{Config, Guest, Script},
    vnet::{Report, Vnet},
};

/// The program under test.
fn binary() -> PathBuf {
    std::env::var_os("VNET_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_vnet").into(), PathBuf::from)
}

/// Starts it; returns once it counts.
fn observe() -> Result<Vnet> {
    Vnet::start(&binary(), &[])
}

/// Why these tests cannot run here, or `None`.
fn vhost() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|error| format!("{error:#}"));
    fatal.map(|problem| problem.sentence).or_else(object).or_else(vnet_driver::need::vhost)
}

/// A guest in a namespace of its own, made while vnet watches, after a script; and what vnet says of it.
fn watched(config: Config, script: &Script) -> Result<(Guest, Report)> {
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, config)?;
    guest.run(script)?;
    guest.truth()?; // all that was begun is done
    Ok((guest, vnet.finish()?))
}

/// Fails with every difference at once.
#[track_caller]
fn assert_exact(guest: &Guest, report: &Report) {
    let truth = guest.truth().expect("the truth can be had");
    let differences = expect::differences(guest, &truth, report);
    assert!(differences.is_empty(), "vnet and the truth differ:\n{differences}");
}
