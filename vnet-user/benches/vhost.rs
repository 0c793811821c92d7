//! Instructions of the machine that vnet adds to a packet through the kernel's real `vhost_net`, and runs of each program per
//! packet. For an emulated machine of one CPU whose clock counts instructions: `cargo xtask bench vhost`.
//!
//! All instructions of the machine count, from the kick (for what the guest receives: from the first packet that the host
//! sends) until the driver has everything: the worker, the host's stack, interrupts, and vnet itself. What the guest does
//! before is not timed. Frames are consumed: what the guest sends is stolen by a classifier.

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context as _, Result, ensure};
use aya::{programs::loaded_programs, sys::Stats};
use rustix::time::{ClockId, clock_gettime};
use vnet::live;
use vnet_driver::{
    need,
    netns::Netns,
    vhost::{Config, Guest, Kick, Packet, Side, Sink, Step, UsedEvent, kernel::Kernel},
};

/// Measurements of each kind.
const ROUNDS: usize = 9;

/// Packets that are published, or sent, at once: as many as fill the ring.
const PACKETS: u16 = 1024;

/// Nanoseconds of an instruction: QEMU's `-icount shift=1`.
const NS: f64 = 2.0;

/// What passes.
struct Load {
    name: &'static str,
    side: Side,
    len: u32,
    /// What instructions with vnet may be of those without.
    limit: f64,
}

/// In copy mode short packets go in batches, with zero-copy each on its own.
const LOADS: [Load; 3] = [
    Load { name: "TX, 64 bytes", side: Side::Tx, len: 64, limit: 1.05 },
    Load { name: "TX, 1000 bytes", side: Side::Tx, len: 1000, limit: 1.05 },
    Load { name: "RX, 64 bytes", side: Side::Rx, len: 64, limit: 1.05 },
];

impl Load {
    /// Instructions per packet of one round.
    fn round(&self, guest: &Guest) -> Result<f64> {
        let step = |step| guest.step(0, &step);
        let packets = Packet::new(self.len).times(usize::from(PACKETS));
        step(Step::UsedEvent(self.side, UsedEvent::After(PACKETS - 1)))?;
        if self.side == Side::Tx {
            step(Step::Publish(packets))?;
            let begin = now();
            step(Step::Kick(Side::Tx, Kick::Wanted))?;
            step(Step::Wait(Side::Tx))?;
            return Ok((now() - begin) / NS / f64::from(PACKETS));
        }
        step(Step::PostRx(vec![1526; usize::from(PACKETS)]))?;
        step(Step::Kick(Side::Rx, Kick::Wanted))?;
        let begin = now();
        step(Step::Inject(packets))?;
        step(Step::Wait(Side::Rx))?;
        Ok((now() - begin) / NS / f64::from(PACKETS))
    }

    /// The median of several rounds, after one for the caches.
    fn measure(&self, guest: &Guest) -> Result<f64> {
        self.round(guest)?;
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| self.round(guest)).collect::<Result<_>>()?;
        rounds.sort_by(f64::total_cmp);
        Ok(rounds[ROUNDS / 2])
    }
}

fn now() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Runs of the kernel's programs so far, while they are counted.
fn runs() -> BTreeMap<u32, (String, u64)> {
    let known = loaded_programs().flatten();
    known.filter_map(|info| Some((info.id(), (info.name_as_str()?.to_owned(), info.run_count())))).collect()
}

/// Runs of each program per packet, the busiest first.
fn per_packet(load: &Load, guest: &Guest) -> Result<Vec<(String, f64)>> {
    let _stats = aya::sys::enable_stats(Stats::RunTime)?;
    let before = runs();
    load.round(guest)?;
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (id, (name, now)) in runs() {
        *sums.entry(name).or_default() += now - before.get(&id).map_or(0, |(_, then)| *then);
    }
    let ran = sums.into_iter().filter(|(_, runs)| *runs > 0);
    let mut ran: Vec<_> = ran.map(|(name, runs)| (name, runs as f64 / f64::from(PACKETS))).collect();
    ran.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(ran)
}

fn main() -> Result<()> {
    if env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    if let Some(why) = need::vhost().or_else(need::bpf) {
        println!("skipped: {why}");
        return Ok(());
    }
    if env::var_os("VNET_COUNTS_INSTRUCTIONS").is_none() {
        println!("skipped: the clock of this machine counts no instructions: cargo xtask bench vhost");
        return Ok(());
    }
    ensure!(std::thread::available_parallelism()?.get() == 1, "the machine has more than one CPU");
    let kernel = Kernel::look()?;
    let way = if kernel.zerocopy { "zero-copy" } else { "copies" };
    let preempt = fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    println!(
        "kernel {} ({}), {way}: instructions per packet, medians of {ROUNDS} rounds of {PACKETS} packets",
        kernel.release,
        preempt.trim()
    );
    let config = Config { ring: PACKETS, event_idx: true, sink: Sink::Steal, ..Config::default() };
    let guest = Guest::new(&Netns::new()?, config)?;
    let measure = || LOADS.iter().map(|load| load.measure(&guest)).collect::<Result<Vec<_>>>();
    let alone = measure()?;
    let mut vnet = live::Attached::new()?;
    let whole = measure()?;
    vnet.spare();
    let spared = measure()?;
    let ran: Vec<_> = LOADS.iter().map(|load| per_packet(load, &guest)).collect::<Result<_>>()?;
    drop(vnet);
    let again = measure()?;
    println!(
        "{:16}{:>10}{:>10}{:>10}{:>8}{:>8}{:>14}",
        "", "alone", "again", "with vnet", "ratio", "limit", "host-wide too"
    );
    for (at, load) in LOADS.iter().enumerate() {
        let bare = f64::midpoint(alone[at], again[at]);
        println!(
            "{:16}{:10.0}{:10.0}{:10.0}{:8.3}{:8.2}{:14.3}",
            load.name,
            alone[at],
            again[at],
            spared[at],
            spared[at] / bare,
            load.limit,
            whole[at] / bare
        );
    }
    println!("runs per packet");
    for (load, ran) in LOADS.iter().zip(&ran) {
        let sum: f64 = ran.iter().map(|(_, runs)| runs).sum();
        let each: Vec<_> = ran.iter().map(|(name, runs)| format!("{name} {runs:.4}")).collect();
        println!("{:16}{sum:10.4} = {}", load.name, each.join(" + "));
    }
    guest.truth().context("the truth cannot be had").map(drop)
}
