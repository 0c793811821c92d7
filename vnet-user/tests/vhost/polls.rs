//! Workers that poll for more before they sleep.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Guest, Packet, Script},
};

use crate::{observe, row, vhost};

/// Units of 1024 ns that a worker polls: longer than the guest takes from one packet to the next.
const UNITS: u32 = 20_000;

/// Rounds that a guest sends before its report is asked for.
const ROUNDS: u64 = 10;

#[test]
fn the_time_that_workers_poll_is_told_apart() -> Result<()> {
    need!(vhost());
    let netns = Netns::new()?;
    let guest = |name: &str, busy_poll| {
        Guest::new(&netns, Config { name: name.into(), busy_poll, ..Config::default() })
    };
    let guests = [guest("polls", UNITS)?, guest("sleeps", 0)?];
    let vnet = observe()?;
    let rounds = [AtomicU64::new(0), AtomicU64::new(0)];
    // Shares are of the last interval: both send until the report is there.
    let end = AtomicU64::new(0);
    let send = |guest: &Guest, rounds: &AtomicU64| -> Result<()> {
        while end.load(Ordering::Relaxed) == 0 {
            guest.run(&Script::new().transmit(0, Packet::new(100).times(5)))?;
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let report = thread::scope(|scope| {
        let threads: Vec<_> =
            guests.iter().zip(&rounds).map(|(guest, rounds)| scope.spawn(|| send(guest, rounds))).collect();
        let deadline = Instant::now() + Duration::from_mins(1);
        while rounds.iter().any(|rounds| rounds.load(Ordering::Relaxed) < ROUNDS) && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(10));
        }
        let report = vnet.finish();
        end.store(1, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        report
    })?;
    let slow = rounds.iter().any(|rounds| rounds.load(Ordering::Relaxed) < ROUNDS);
    ensure!(!slow, "guests sent too little: {rounds:?}");
    let share = |guest: &Guest, what: &str| {
        let worker = &row(guest.key(0), &report)["worker"];
        worker[what].as_f64().with_context(|| format!("no {what}: {worker}"))
    };
    let [polls, sleeps] = &guests;
    let (busy, polling) = (share(polls, "busy_ratio")?, share(polls, "busy_poll_ratio")?);
    let never = share(sleeps, "busy_poll_ratio")?;
    println!("busy {busy:.3}, polling {polling:.3}; the one that does not poll {never:.3}");
    assert!(polling > 0.0, "busy {busy}, polling {polling}");
    assert!(never <= 0.0, "it was told not to poll: {never}");
    Ok(())
}
