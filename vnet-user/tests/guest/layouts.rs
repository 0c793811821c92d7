//! Guests that are laid out in known ways: their own count of interrupts, by virtqueue and vCPU, is the one set, and KVM on
//! the host gave each interrupt to that vCPU, from the worker of that pair.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use vnet_driver::{
    need,
    nested::{
        Config, Interrupt,
        injected::Injected,
        layout::{LAYOUTS, Layout, of_queue},
    },
    netns::Netns,
};

use crate::{guests, traffic::Guest};

/// Packets each way on each pair before what counts, and in what counts.
const WARM: u64 = 3;
const PACKETS: u64 = 20;

#[test]
fn layouts_of_two_vcpus() -> Result<()> {
    need!(guests());
    all(2, 2)
}

#[test]
fn layouts_of_four_vcpus() -> Result<()> {
    need!(guests());
    all(4, 3)
}

fn all(vcpus: usize, pairs: u16) -> Result<()> {
    let (injected, netns) = (Injected::watch()?, Netns::new()?);
    let config = Config { vcpus, pairs, ..Config::new("beta") };
    let mut guest = Guest::boot(&netns, &config)?;
    guest.vm.up()?;
    guest.vm.use_pairs(pairs)?;
    let mut differences = Vec::new();
    for layout in &LAYOUTS {
        differences.extend(one(layout, &mut guest, &injected)?);
    }
    guest.vm.end()?;
    ensure!(differences.is_empty(), "interrupts are not where they were set:\n{}", differences.join("\n"));
    Ok(())
}

/// Every difference between what is set and what is, one line each.
fn one(layout: &Layout, guest: &mut Guest, injected: &Injected) -> Result<Vec<String>> {
    let (pairs, vcpus) = (guest.vm.config().pairs, guest.vm.config().vcpus);
    let places: Vec<_> = (0..pairs).map(|pair| layout.place(pair, vcpus)).collect();
    let senders: Vec<_> = places.iter().map(|place| place.sender).collect();
    guest.vm.lay_out(layout)?;
    guest.exchange(&senders, WARM)?;
    let (counters, lines, seen) = (guest.vm.counters()?, guest.vm.interrupts()?, injected.all()?.len());
    guest.exchange(&senders, PACKETS)?;
    let (after, now) = (guest.vm.counters()?, guest.vm.interrupts()?);
    let given = injected.all()?.split_off(seen);
    let mut differences = Vec::new();
    for ((pair, place), worker) in (0..pairs).zip(&places).zip(guest.vm.workers()?) {
        let mut check = |what: &str, holds: bool| {
            if !holds {
                differences.push(format!("{}, pair {pair}: {what}", layout.name));
            }
        };
        let carried = after[&pair].since(counters[&pair]);
        check(
            &format!("carried TX {} and RX {}", carried.tx_packets, carried.rx_packets),
            (carried.tx_packets, carried.rx_packets) == (PACKETS, PACKETS),
        );
        let mut taken = BTreeMap::<usize, u64>::new();
        for (side, vcpu) in [("input", place.input), ("output", place.output)] {
            let cpus = since(of_queue(&now, pair, side)?, of_queue(&lines, pair, side)?);
            let total: u64 = cpus.iter().sum();
            check(
                &format!("{side} set to vCPU {vcpu}, and taken by {cpus:?}"),
                total > 0 && cpus[vcpu] == total,
            );
            *taken.entry(vcpu).or_default() += total;
        }
        let mut by_kvm = BTreeMap::<usize, u64>::new();
        for one in given.iter().filter(|one| one.tid == worker) {
            *by_kvm.entry(usize::try_from(one.vcpu)?).or_default() += 1;
        }
        // An interrupt that comes while the one before it waits is one with it.
        let covered = taken.iter().all(|(vcpu, count)| by_kvm.get(vcpu).is_some_and(|given| given >= count));
        check(
            &format!("the guest took {taken:?} by vCPU, and KVM gave {by_kvm:?}"),
            covered && by_kvm.keys().eq(taken.keys()),
        );
        println!("{}, pair {pair}: taken {taken:?}, given {by_kvm:?}", layout.name);
    }
    Ok(differences)
}

fn since(now: &Interrupt, before: &Interrupt) -> Vec<u64> {
    now.cpus.iter().zip(&before.cpus).map(|(now, before)| now - before).collect()
}
