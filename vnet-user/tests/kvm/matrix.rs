//! Which virtqueue interrupts which vCPU, which vCPU kicks which virtqueue, and what takes another way.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use vnet_driver::{
    kvm::{Idle, Route, Vm},
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Side, Step},
};

use crate::{Wire, assert_whole, kvm, matrix, observe, packet, rows};

/// vCPUs, and queue pairs.
const PAIRS: u16 = 4;

#[test]
fn the_matrix_is_the_one_that_was_wired() -> Result<()> {
    need!(kvm());
    let vnet = observe()?;
    let netns = Netns::new()?;
    let named =
        |name: &str| Guest::new(&netns, Config { name: name.into(), pairs: PAIRS, ..Config::default() });
    let vcpus: Vec<_> = (0..usize::from(PAIRS)).map(|cpu| (cpu, Idle::Halt)).collect();
    // Two VMs with the same vectors and routes, wired differently.
    let mut guests = Vec::new();
    for (name, shift) in [("a", 0), ("b", 1)] {
        let (guest, mut vm) = (named(name)?, Vm::new(&vcpus)?);
        let mut truth = Vec::new();
        for pair in 0..PAIRS {
            let mut calls = BTreeMap::new();
            for (side, direction) in [(Side::Tx, "tx"), (Side::Rx, "rx")] {
                let vcpu = u8::try_from((pair + shift * (1 + side as u16)) % PAIRS)?;
                let vector = 0x41 + u8::try_from(pair)? * 2 + side as u8;
                let wire = Wire { pair, side, vcpu, vector };
                wire.lay(&guest, &mut vm)?;
                let times = 1 + u32::from(pair) * 3 + side as u32 + u32::from(shift);
                wire.call(&guest, &vm, times)?;
                assert_eq!(vm.taken(vcpu, vector), times, "the guest took each");
                calls.insert((direction.to_owned(), u64::from(vcpu), u64::from(vector)), u64::from(times));
            }
            truth.push(calls);
        }
        guests.push((guest, vm, truth));
    }
    let report = vnet.finish()?;
    for (guest, vm, truth) in &guests {
        assert_whole(&report, guest);
        for (pair, calls) in (0..).zip(truth) {
            assert_eq!(&matrix(&report, guest.key(pair))?, calls, "pair {pair}");
            let [a, b] = [calls.values().min(), calls.values().max()].map(|n| *n.unwrap_or(&0) as f64);
            let private = report.queue(guest.key(pair)).context("a row")?["private"].clone();
            let main = calls.iter().max_by_key(|(_, n)| **n).context("calls")?.0.1;
            let both = calls.keys().map(|(_, vcpu, _)| vcpu).all(|vcpu| *vcpu == main);
            let share = if both { 1.0 } else { b / (a + b) };
            assert_eq!(private, json!({"vcpu": main, "calls": share, "kicks": null}), "pair {pair}");
        }
        let vms = report.0["vms"].as_array().context("VMs")?;
        let own = vms.iter().find(|vm| vm["pid"] == std::process::id()).context("this process has VMs")?;
        let threads = vm.threads();
        let listed =
            |tid: &u32| own["vcpus"].as_array().is_some_and(|all| all.iter().any(|vcpu| vcpu["tid"] == *tid));
        // Two VMs in one process are one to vnet.
        assert!(threads.iter().all(listed), "{own}, threads {threads:?}");
    }
    Ok(())
}

#[test]
fn kicks_belong_to_the_vcpu_that_gives_them() -> Result<()> {
    need!(kvm());
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config { pairs: 2, ..Config::default() })?;
    let mut vm = Vm::new(&[(0, Idle::Halt), (1, Idle::Halt)])?;
    for pair in 0..2 {
        let vcpu = u8::try_from(pair)?;
        Wire { pair, side: Side::Tx, vcpu, vector: 0x41 + vcpu }.lay(&guest, &mut vm)?;
        vm.ioeventfd(guest.doorbell(pair, Side::Tx)?, 1 + vcpu)?;
    }
    // Of 4 kicks of pair 0 one is the other vCPU's; this thread, which is no vCPU, kicks pair 1 as well.
    for (pair, vcpu) in [(0, 0), (0, 0), (0, 1), (0, 0), (1, 1)] {
        guest.step(pair, &Step::Publish(Packet::new(100).times(1)))?;
        vm.kick(vcpu, 1 + u8::try_from(pair)?)?;
        guest.step(pair, &Step::Wait(Side::Tx))?;
    }
    guest.step(1, &Step::Publish(Packet::new(100).times(1)))?;
    guest.step(1, &Step::Kick(Side::Tx, Kick::Always))?;
    guest.step(1, &Step::Wait(Side::Tx))?;
    guest.truth()?;
    let report = vnet.finish()?;
    let row = |pair| report.queue(guest.key(pair)).context("a row");
    let kick = |vcpu: Value, count: u32| json!({"direction": "tx", "vcpu": vcpu, "count": count});
    assert_eq!(row(0)?["kickers"], json!([kick(json!(0), 3), kick(json!(1), 1)]));
    assert_eq!(row(1)?["kickers"], json!([kick(Value::Null, 1), kick(json!(1), 1)]));
    assert_eq!(row(0)?["private"], json!({"vcpu": 0, "calls": 1.0, "kicks": 0.75}));
    assert_eq!((&row(0)?["tx"]["kicks"], &row(1)?["tx"]["kicks"]), (&json!(4), &json!(2)));
    Ok(())
}

#[test]
fn calls_that_take_another_way_are_not_told_as_near() -> Result<()> {
    need!(kvm());
    let vnet = observe()?;
    let guest = Guest::new(&Netns::new()?, Config { pairs: 3, ..Config::default() })?;
    let mut vm = Vm::new(&[(0, Idle::Halt)])?;
    // Pair 0 by the IOAPIC, pair 1 by nothing, pair 2 as it should be.
    vm.route(5, Route::Ioapic(5))?;
    vm.irqfd(guest.call(0, Side::Tx)?, 5)?;
    (0..3).try_for_each(|_| packet(&guest, 0, Side::Tx))?;
    (0..4).try_for_each(|_| packet(&guest, 1, Side::Tx))?;
    let wire = Wire { pair: 2, side: Side::Tx, vcpu: 0, vector: 0x42 };
    wire.lay(&guest, &mut vm)?;
    wire.call(&guest, &vm, 5)?;
    let report = vnet.finish()?;
    let only = |pair| -> Result<Value> {
        let rows = rows(&report, guest.key(pair))?;
        let [row] = &rows[..] else { anyhow::bail!("pair {pair}: {rows:?}") };
        Ok(row.clone())
    };
    let ioapic = only(0)?;
    assert_eq!((&ioapic["gsi"], &ioapic["count"]), (&json!(5), &json!(3)), "{ioapic}");
    let nothing = only(1)?;
    assert_eq!((&nothing["gsi"], &nothing["count"]), (&Value::Null, &json!(4)), "{nothing}");
    for row in [&ioapic, &nothing] {
        for what in ["vcpu", "vector", "cpu", "level", "vcpu_state"] {
            assert_eq!(row[what], Value::Null, "{what} of {row}");
        }
    }
    // Its worker may be on any CPU.
    assert_eq!(matrix(&report, guest.key(2))?, BTreeMap::from([(("tx".to_owned(), 0, 0x42), 5)]));
    let tap = guest.key(0);
    let device = report.device(tap.netns, tap.ifindex, tap.generation).context("the device")?;
    assert_eq!(device["residuals"]["calls"], 4, "{device}");
    Ok(())
}
