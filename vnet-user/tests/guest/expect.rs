//! What a report must say of guests that are known.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use vnet_driver::{nested::injected::Injection, nic::Counters, vnet::Report};

use crate::traffic::Known;

/// Fails with every difference between the report, the guests, and what KVM gave them.
pub(crate) fn check(guests: &[Known], injected: &[Injection], report: &Report) -> Result<()> {
    let mut differences = Differences::default();
    for what in ["events", "records"] {
        differences.same(what, &report.0["lost"][what], 0);
    }
    for guest in guests {
        device(&mut differences, guest, report);
        for (queue, _) in (0_u16..).zip(&guest.keys) {
            pair(&mut differences, guest, queue, injected, report)?;
        }
    }
    ensure!(differences.0.is_empty(), "vnet and the guests differ:\n{}", differences.0.join("\n"));
    Ok(())
}

/// One line each.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn same(&mut self, what: &str, seen: &Value, real: impl Into<Value>) {
        let real = real.into();
        self.hold(*seen == real, || format!("{what}: vnet {seen}, truth {real}"));
    }

    fn hold(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

fn device(differences: &mut Differences, guest: &Known, report: &Report) {
    let key = guest.keys[0];
    let name = format!("tap {}", key.ifindex);
    let Some(device) = report.device(key.netns, key.ifindex, key.generation) else {
        differences.hold(false, || format!("{name} is not listed"));
        return;
    };
    differences.same(&format!("{name} present"), &device["present"], guest.runs);
    differences.same(&format!("{name} vhost"), &device["vhost"], true);
    if guest.runs {
        // A search of /proc rests for a hundred times its own cost: who came later may not be known yet.
        if !(guest.late && device["vm_pid"].is_null()) {
            differences.same(&format!("{name} vm_pid"), &device["vm_pid"], guest.pid);
        }
        differences.same(&format!("{name} queues_enabled"), &device["queues_enabled"], guest.keys.len());
        let residuals = &device["residuals"];
        let fine = residuals.as_object().is_some_and(|all| !all.is_empty() && all.values().all(|r| *r == 0));
        differences.hold(fine, || format!("{name} residuals: {residuals}"));
    }
    let sum = |of: fn(&Counters) -> u64| guest.counters.values().map(of).sum::<u64>();
    let driver = Counters {
        tx_packets: sum(|c| c.tx_packets),
        tx_bytes: sum(|c| c.tx_bytes),
        rx_packets: sum(|c| c.rx_packets),
        rx_bytes: sum(|c| c.rx_bytes),
    };
    let tap = guest.tap;
    differences.hold(driver == tap, || format!("{name}: the guest counts {driver:?}, its tap {tap:?}"));
}

fn pair(
    differences: &mut Differences,
    guest: &Known,
    queue: u16,
    injected: &[Injection],
    report: &Report,
) -> Result<()> {
    let key = guest.keys[usize::from(queue)];
    let name = format!("tap {} queue {queue}", key.ifindex);
    let Some(row) = report.queue(key) else {
        differences.hold(false, || format!("{name} is not listed"));
        return Ok(());
    };
    let (tx, rx, real) = (&row["tx"], &row["rx"], guest.pair(queue)?);
    let copies = ["batched", "single", "zerocopy", "zerocopy_failed", "in_flight"]
        .map(|what| tx["copies"][what].as_u64().unwrap_or(u64::MAX / 16));
    let ledger = Value::from(copies.iter().sum::<u64>());
    for (what, seen, real) in [
        ("tx packets", &tx["packets"], real.tx_packets),
        ("tx bytes", &tx["bytes"], real.tx_bytes),
        ("tx segments", &tx["segments"], real.tx_packets),
        ("tx used", &tx["used"], real.tx_packets),
        ("tx ledger", &ledger, real.tx_packets),
        ("rx packets", &rx["packets"], real.rx_packets),
        ("rx bytes", &rx["bytes"], real.rx_bytes),
        // Frames shorter than a buffer: one each, filled with the vnet header and the frame.
        ("rx buffers", &rx["buffers"], real.rx_packets),
        ("rx copied bytes", &rx["copied_bytes"], real.rx_bytes + 12 * real.rx_packets),
    ] {
        differences.same(&format!("{name} {what}"), seen, real);
    }
    differences.hold(real.tx_packets > 0 && real.rx_packets > 0, || format!("{name} carried only {real:?}"));
    let worker = guest.workers[usize::from(queue)];
    if guest.runs {
        differences.same(&format!("{name} worker"), &row["worker"]["tid"], worker);
    }
    let (own, others) = injections(injected, worker);
    let mut calls = 0;
    for (side, irq, seen) in [("tx", "output", tx), ("rx", "input", rx)] {
        let (called, taken) = (seen["calls"].as_u64().unwrap_or_default(), guest.interrupts(queue, irq)?);
        calls += called;
        println!("{name} {side}: {called} calls, {taken} interrupts");
        // One that comes while the one before it waits is one with it.
        differences.hold((1..=called + others).contains(&taken), || {
            format!("{name} {side}: {called} calls and {others} by QEMU, the guest took {taken}")
        });
        let kicks = &seen["kicks"];
        differences.hold(kicks.as_u64() > Some(0), || format!("{name} {side}: {kicks} kicks"));
    }
    // While the guest moves an interrupt it is masked: the worker calls QEMU then, which makes up for it.
    differences.hold((own..=own + others).contains(&calls), || {
        format!("{name}: {calls} calls, {own} interrupts by its worker, {others} by QEMU")
    });
    Ok(())
}

/// Interrupts that this worker caused, and those that others caused at vectors of its queues.
fn injections(injected: &[Injection], worker: u32) -> (u64, u64) {
    let of = |one: &&Injection| one.tid == worker;
    let vectors: BTreeSet<_> = injected.iter().filter(of).map(|one| (one.vcpu, one.vector)).collect();
    let at_them = injected.iter().filter(|one| vectors.contains(&(one.vcpu, one.vector)));
    let (own, others): (Vec<&Injection>, Vec<_>) = at_them.partition(of);
    (own.len() as u64, others.len() as u64)
}
