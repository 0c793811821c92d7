//! This machine's own virtio NIC, looked at and never touched.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vnet_driver::{
    link::Links,
    need,
    netns::Netns,
    nic::{Counters, counters},
};

use crate::{live, observe};

/// Packets that can be sent and not completed: a TX ring of QEMU's and most other virtio NICs.
const IN_FLIGHT: u64 = 256;

/// NICs of this namespace that the `virtio_net` driver serves.
fn virtio_nics() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        let driver = fs::read_link(entry.path().join("device/driver"));
        if driver.is_ok_and(|driver| driver.ends_with("virtio_net")) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn no_nic() -> Option<String> {
    virtio_nics()
        .is_ok_and(|nics| nics.is_empty())
        .then(|| "this machine has no virtio NIC of its own".into())
}

#[test]
fn the_own_nic_equals_its_driver() -> Result<()> {
    need!(live());
    need!(no_nic());
    let netns = Netns::current()?;
    let links = Links::open(&netns)?;
    let nics = virtio_nics()?
        .into_iter()
        .map(|name| links.index(&name).map(|ifindex| (name, ifindex)))
        .collect::<Result<Vec<_>>>()?;
    let read = || -> Result<Vec<BTreeMap<u16, Counters>>> {
        nics.iter().map(|(name, ifindex)| Ok(counters(name, *ifindex)?.0)).collect()
    };
    // Its traffic does not wait for the test, so the truth is a bracket: what the driver counted between the two inner
    // readings happened while vnet counted, what it counted between the two outer ones may have.
    let outer_before = read()?;
    let vnet = observe()?;
    let inner_before = read()?;
    // The machine's own traffic is what is counted: as soon as there was some, or after a while without.
    let deadline = Instant::now() + Duration::from_secs(10);
    let busy = |now: &[BTreeMap<u16, Counters>]| {
        now.iter().zip(&inner_before).any(|(now, then)| {
            now.iter().any(|(queue, now)| {
                let new = now.since(then.get(queue).copied().unwrap_or_default());
                new.rx_packets > 10 && new.tx_packets > 10
            })
        })
    };
    let inner_after = loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = read()?;
        if busy(&now) {
            break now;
        }
        if Instant::now() > deadline {
            eprintln!("skipped: the NIC was idle for 10 s, so there was hardly anything to compare");
            break now;
        }
    };
    let report = vnet.finish()?;
    let outer_after = read()?;

    for (at, (name, ifindex)) in nics.iter().enumerate() {
        for (queue, after) in &outer_after[at] {
            let before =
                |reading: &[BTreeMap<u16, Counters>]| reading[at].get(queue).copied().unwrap_or_default();
            let most = after.since(before(&outer_before));
            let least = before(&inner_after).since(before(&inner_before));
            let row = report.queues(netns.inode()).find(|r| r["ifindex"] == *ifindex && r["queue"] == *queue);
            let row = row.with_context(|| format!("{name} queue {queue} has no row"))?;
            for (side, what, least, most) in [
                ("rx", "packets", least.rx_packets, most.rx_packets),
                ("rx", "bytes", least.rx_bytes, most.rx_bytes),
                ("tx", "packets", least.tx_packets.saturating_sub(IN_FLIGHT), most.tx_packets + IN_FLIGHT),
            ] {
                let seen = row[side][what].as_u64().with_context(|| format!("{side} {what} is not known"))?;
                eprintln!("{name} queue {queue} {side} {what}: {seen} in {least}..={most}");
                assert!((least..=most).contains(&seen), "{name} queue {queue} {side} {what}");
            }
        }
    }
    Ok(())
}
