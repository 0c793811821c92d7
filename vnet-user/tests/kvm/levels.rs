//! Every distance between worker and vCPU, on purpose, and what the vCPU was doing.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vnet_driver::{
    kvm::{Idle, Route, Vm, pin},
    need,
    netns::Netns,
    vhost::{Config, Guest, Side},
};

use crate::{Wire, assert_whole, hosts, kvm, observe, rows};

/// Calls at each level.
const CALLS: u32 = 20;

/// The vector of a level.
fn vector(level: usize) -> u8 {
    0x41 + u8::try_from(level).unwrap_or(0)
}

/// All calls at each level, and vnet's rows of them. The worker and the vCPU are where they are to be before the first call.
fn at_every_level(idle: Idle) -> Result<Vec<(&'static str, usize, usize, Value)>> {
    let levels = hosts::levels()?;
    println!("levels of this host: {levels:?}");
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config::default())?;
    let worker = *guest.truth()?.pairs[0].workers.last().context("a worker")?;
    let mut vm = Vm::new(&[(0, idle)])?;
    let wire = Wire { pair: 0, side: Side::Tx, vcpu: 0, vector: vector(0) };
    wire.lay(&guest, &mut vm)?;
    for (level, (_, from, to)) in levels.iter().enumerate() {
        let wire = Wire { vector: vector(level), ..wire };
        vm.route(wire.gsi(), Route::Msi(0, wire.vector))?;
        pin(worker, *from)?;
        vm.pin(0, *to)?;
        vm.nudge(0)?;
        wire.call(&guest, &vm, CALLS)?;
    }
    let report = vnet.finish()?;
    assert_whole(&report, &guest);
    let rows = rows(&report, guest.key(0))?;
    assert_eq!(rows.len(), levels.len(), "{rows:?}");
    let row = |(level, (name, from, to)): (usize, &(&'static str, usize, usize))| {
        let row = rows.iter().find(|row| row["vector"] == vector(level));
        Ok((*name, *from, *to, row.with_context(|| format!("no calls at {name}"))?.clone()))
    };
    levels.iter().enumerate().map(row).collect()
}

#[test]
fn a_halted_vcpu_is_blocked_at_every_level() -> Result<()> {
    need!(kvm());
    for (name, from, to, row) in at_every_level(Idle::Halt)? {
        for (what, expected) in [
            ("direction", json!("tx")),
            ("vcpu", json!(0)),
            ("gsi", json!(33)),
            ("irq", Value::Null),
            ("count", json!(CALLS)),
            ("worker_cpu", json!(from)),
            ("cpu", json!(to)),
            ("level", json!(name)),
        ] {
            assert_eq!(row[what], expected, "{what} of {row}");
        }
        let state = |what: &str| row["vcpu_state"][what].as_u64().unwrap_or(u64::MAX / 8);
        let all = ["in_guest", "blocked", "preempted", "root"].map(state);
        assert_eq!(all.iter().sum::<u64>(), u64::from(CALLS), "{row}");
        assert!(state("blocked") * 10 >= u64::from(CALLS) * 9, "it halts: {row}");
        println!("{name}: {row}");
    }
    Ok(())
}

#[test]
fn a_spinning_vcpu_is_in_the_guest_but_where_the_worker_runs() -> Result<()> {
    need!(kvm());
    let (mut far, mut inside) = (0, 0);
    for (name, _, _, row) in at_every_level(Idle::Spin)? {
        assert_eq!((&row["level"], &row["count"]), (&json!(name), &json!(CALLS)), "{row}");
        let in_guest = row["vcpu_state"]["in_guest"].as_u64().context("a count")?;
        if name == "same_cpu" {
            assert_eq!(in_guest, 0, "the worker has its CPU: {row}");
        } else {
            (far, inside) = (far + u64::from(CALLS), inside + in_guest);
        }
        println!("{name}: {row}");
    }
    assert!(inside * 10 >= far * 9, "it spins, and was in the guest at {inside} of {far} calls");
    Ok(())
}
