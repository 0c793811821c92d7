//! Guests that begin, change their queues and end while one vnet watches.

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use vnet_driver::{
    need,
    nested::{Config, injected::Injected},
    netns::Netns,
    vnet::Vnet,
};

use crate::{
    expect, guests, observe,
    traffic::{Guest, Known},
};

/// How often a guest starts and stops when nobody says (`VNET_CYCLES`); then one starts that stays.
const CYCLES: usize = 3;
/// Packets of each CPU of the guest each way, with each number of queues.
const PACKETS: u64 = 40;

/// A guest sends and is sent with two pairs, with one, and with two again; what is known of it then.
fn change(guest: &mut Guest) -> Result<Known> {
    guest.vm.up()?;
    for pairs in [2, 1, 2] {
        guest.vm.use_pairs(pairs)?;
        guest.exchange(&[0, 1], PACKETS)?;
    }
    guest.known()
}

/// Such a guest, begun while vnet watches.
fn late(netns: &Netns) -> Result<(Guest, Known)> {
    let mut guest = Guest::boot(netns, &Config::new("alpha"))?;
    let known = change(&mut guest)?;
    Ok((guest, Known { late: true, ..known }))
}

/// Files that vnet has open, and its resident memory in KiB.
fn held(vnet: &Vnet) -> Result<(usize, u64)> {
    let pid = vnet.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let resident = resident.trim().trim_end_matches(" kB").parse()?;
    Ok((fs::read_dir(format!("/proc/{pid}/fd"))?.count(), resident))
}

#[test]
fn once_a_guest_that_changes_its_queues() -> Result<()> {
    need!(guests());
    let netns = Netns::new()?;
    let mut guest = Guest::boot(&netns, &Config::new("alpha"))?;
    let (vnet, injected) = (observe()?, Injected::watch()?);
    let known = change(&mut guest)?;
    let report = vnet.finish()?;
    let injected = injected.all()?;
    guest.vm.end()?;
    expect::check(&[known], &injected, &report)
}

#[test]
fn cycles_of_guests_that_start_change_their_queues_and_stop() -> Result<()> {
    need!(guests());
    let cycles = env::var("VNET_CYCLES").map_or(Ok(CYCLES), |text| text.parse())?;
    let (vnet, injected, netns) = (observe()?, Injected::watch()?, Netns::new()?);
    let (mut all, mut after) = (Vec::new(), Vec::new());
    for cycle in 0..cycles {
        let (guest, known) = late(&netns).with_context(|| format!("cycle {cycle}"))?;
        guest.vm.end()?;
        all.push(Known { runs: false, ..known });
        after.push(held(&vnet)?);
        println!("cycle {cycle}: vnet holds {:?} (files, KiB)", held(&vnet)?);
    }
    // vnet may still be looking at what has changed.
    let deadline = Instant::now() + Duration::from_secs(20);
    while after.first().is_some_and(|first| held(&vnet).is_ok_and(|now| now.0 > first.0)) {
        ensure!(Instant::now() < deadline, "vnet held {after:?}, and now {:?}", held(&vnet)?);
        thread::sleep(Duration::from_millis(100));
    }
    let (guest, known) = late(&netns).context("the last guest")?;
    all.push(known);
    let report = vnet.finish()?;
    let injected = injected.all()?;
    guest.vm.end()?;
    expect::check(&all, &injected, &report)
}
