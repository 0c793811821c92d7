//! vnet, the real program, beside real guests under KVM and QEMU: what it reports against what the guests count
//! themselves, their taps count, and their host knows of their threads.
//!
//! Runs in a lab machine that can have guests of its own (`cargo xtask lab guest`); elsewhere each test says `skipped:` and
//! why.

mod expect;
mod layouts;
mod life;
mod traffic;

use std::path::Path;

use anyhow::Result;
use vnet_driver::vnet::Vnet;

/// Starts vnet; returns once it counts.
fn observe() -> Result<Vnet> {
    let vnet = Vnet::start(Path::new(env!("CARGO_BIN_EXE_vnet")), &[])?;
    println!("vnet counts after {:.1} s", vnet.ready_after.as_secs_f64());
    Ok(vnet)
}

/// Why tests with vnet and real guests cannot run here, or `None`.
fn guests() -> Option<String> {
    let object = || vnet::live::object().err().map(|error| format!("{error:#}"));
    vnet_driver::nested::need().or_else(vnet_driver::need::vhost).or_else(object)
}
