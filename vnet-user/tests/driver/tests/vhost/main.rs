//! The user-space vhost driver against the real `vhost_net`: golden counts, and its truth against the tap's own counters.

mod golden;
mod life;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use vnet_driver::{
    link::Links,
    netns::Netns,
    vhost::{
        Config, Guest, Script,
        truth::{Pair, Truth},
    },
};

/// One test at a time: some count what the whole kernel or process does.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guest in a namespace of its own.
fn guest(config: Config) -> Result<Guest> {
    Guest::new(&Netns::new()?, config)
}

/// The truth of `guest`, once it equals the tap's own counters.
fn checked(guest: &Guest) -> Result<Truth> {
    let truth = guest.truth()?;
    let kernel = Links::open(&guest.tap().netns)?.stats(guest.tap().ifindex)?;
    let device = truth.device();
    assert_eq!(
        (kernel.rx_packets, kernel.rx_bytes, kernel.tx_packets, kernel.tx_bytes, kernel.tx_dropped),
        (device.tx.packets(), device.tx.bytes(), device.rx.packets(), device.rx.bytes(), device.rx.dropped()),
        "the tap and the truth differ: {truth:?}"
    );
    for pair in &truth.pairs {
        for ring in [pair.tx.ring, pair.rx.ring] {
            assert_eq!(ring.errors, 0, "vhost complained");
            assert!(ring.calls <= ring.used, "a call for nothing: {ring:?}");
        }
        assert_eq!(pair.tx.ring.used, pair.tx.ring.heads, "what was sent came back");
        assert_eq!(pair.tx.ring.used, pair.tx.flow.packets());
        let buffers: u64 = pair.rx.buffers.iter().map(|(buffers, packets)| buffers * packets).sum();
        assert_eq!(pair.rx.ring.used, buffers);
        assert_eq!(pair.rx.copied, pair.rx.bytes_with_header());
    }
    Ok(truth)
}

/// What one pair saw of a script.
fn one(config: Config, script: &Script) -> Result<Pair> {
    let guest = guest(config)?;
    guest.run(script)?;
    Ok(checked(&guest)?.pairs.remove(0))
}
