//! vnet, the real program, on real devices: what it reports against what really happened, difference 0.
//!
//! Each test makes its own network namespaces; nothing of the machine's own is touched and nothing stays behind. A test
//! that cannot run here says `skipped:` and why.

mod change;
mod cover;
mod degraded;
mod end;
mod exact;
mod kill;
mod nic;
mod record;
mod stats;

use std::path::Path;

use anyhow::Result;
use vnet_driver::{
    truth::Ledger,
    vnet::{Report, Vnet},
};

/// The program under test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_vnet"))
}

/// Starts it; returns once it counts.
fn observe() -> Result<Vnet> {
    Vnet::start(binary(), &[])
}

/// Fails with every difference at once.
#[track_caller]
fn assert_exact(report: &Report, truth: &Ledger) {
    let differences = report.differences(truth);
    assert!(differences.is_empty(), "vnet and the truth differ:\n{differences}");
}

/// Why tests with the live source cannot run here, or `None`.
fn live() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|e| format!("{e:#}"));
    fatal.map(|problem| problem.sentence).or_else(object).or_else(vnet_driver::need::bpf)
}
