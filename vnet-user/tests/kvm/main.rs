//! vnet, the real program, beside real KVM and `vhost_net`: which vCPU each call interrupts, from how far, and what the vCPU
//! was doing, against VMs that count their own interrupts, difference 0.
//!
//! Runs where `/dev/kvm` and `/dev/vhost-net` are, in the lab's machines above all; elsewhere each test says `skipped:` and
//! why.

mod hosts;
mod levels;
mod matrix;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;
use vnet_driver::{
    kvm::{Route, Vm},
    truth::Queue,
    vhost::{Guest, Kick, Packet, Side, Step},
    vnet::{Report, Vnet},
};

/// Starts the program under test; returns once it counts.
fn observe() -> Result<Vnet> {
    let program =
        std::env::var_os("VNET_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_vnet").into(), PathBuf::from);
    Vnet::start(&program, &[])
}

/// Why these tests cannot run here, or `None`.
fn kvm() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|error| format!("{error:#}"));
    fatal.map(|problem| problem.sentence).or_else(object).or_else(vnet_driver::need::kvm)
}

/// Where calls of a virtqueue go.
#[derive(Clone, Copy)]
struct Wire {
    pair: u16,
    side: Side,
    vcpu: u8,
    vector: u8,
}

impl Wire {
    /// A route of its own for each virtqueue.
    fn gsi(self) -> u32 {
        32 + u32::from(self.pair) * 2 + self.side as u32
    }

    /// Connects it.
    fn lay(self, guest: &Guest, vm: &mut Vm) -> Result<()> {
        vm.route(self.gsi(), Route::Msi(self.vcpu, self.vector))?;
        vm.irqfd(guest.call(self.pair, self.side)?, self.gsi())
    }

    /// Has the device call so many times, each for a packet of its own; the vCPU has taken each before the next comes.
    fn call(self, guest: &Guest, vm: &Vm, times: u32) -> Result<()> {
        let before = vm.taken(self.vcpu, self.vector);
        for n in 1..=times {
            packet(guest, self.pair, self.side)?;
            vm.wait(self.vcpu, self.vector, before + n)?;
        }
        Ok(())
    }
}

/// One packet, and one call for it.
fn packet(guest: &Guest, pair: u16, side: Side) -> Result<()> {
    let steps = match side {
        Side::Tx => [Step::Publish(Packet::new(100).times(1)), Step::Kick(Side::Tx, Kick::Always)],
        Side::Rx => [Step::PostRx(vec![1526]), Step::Inject(Packet::new(100).times(1))],
    };
    steps.iter().chain([&Step::Wait(side), &Step::Settle]).try_for_each(|step| guest.step(pair, step))
}

/// vnet's rows of interrupts of a pair.
fn rows(report: &Report, key: Queue) -> Result<&Vec<Value>> {
    let row = report.queue(key).context("the queue is listed")?;
    row["interrupts"]
        .as_array()
        .with_context(|| format!("no interrupts in {row}; probes {}", report.0["probes"]))
}

/// Interrupts by direction, vCPU and vector.
fn matrix(report: &Report, key: Queue) -> Result<BTreeMap<(String, u64, u64), u64>> {
    let mut sums = BTreeMap::new();
    for row in rows(report, key)? {
        let number = |what: &str| row[what].as_u64().with_context(|| format!("no {what} in {row}"));
        let direction = row["direction"].as_str().context("a direction")?.to_owned();
        *sums.entry((direction, number("vcpu")?, number("vector")?)).or_default() += number("count")?;
    }
    Ok(sums)
}

/// Nothing was missed, and every call was followed.
#[track_caller]
fn assert_whole(report: &Report, guest: &Guest) {
    assert_eq!(report.0["lost"]["events"], 0, "{}", report.0["lost"]);
    let tap = guest.key(0);
    let device = report.device(tap.netns, tap.ifindex, tap.generation).expect("the device is listed");
    for (name, difference) in device["residuals"].as_object().into_iter().flatten() {
        assert_eq!(*difference, 0, "{name}: {device}");
    }
    assert_eq!(device["residuals"]["calls"], 0, "it is checked: {device}");
}
