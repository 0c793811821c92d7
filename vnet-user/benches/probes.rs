//! CPU time that the probes add to a packet, on a live tap at full rate.
//!
//! Rounds alternate between no program, an empty program on the same hook (the floor: what any program costs), and
//! vnet, so that the machine's changes of speed hit all alike; each round is compared with itself. Frames are consumed:
//! what the guest sends is stolen by a classifier, what it is sent is read.

use std::{env, hint::black_box};

use anyhow::{Context, Result, bail};
use aya::{Btf, EbpfLoader, programs::BtfTracePoint, sys::Stats};
use rustix::{
    thread::{CpuSet, sched_getcpu, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use vnet::live;
use vnet_driver::{
    bpf::Program,
    frame::Frame,
    host::Sender,
    link::Links,
    need,
    netns::Netns,
    tap::{Config, Tap},
};

const ROUNDS: usize = 31;
const PACKETS: u32 = 50_000;
/// Packets that are sent before each measurement: the caches forget the attaching.
const WARM_UP: u32 = 5_000;
/// Packets that are sent before they are read, so that both ends stay warm.
const BURST: u32 = 64;

/// A way of a packet through a device.
#[derive(Clone, Copy, PartialEq)]
enum Path {
    /// Guest to host.
    Tx,
    /// Host to guest.
    Rx,
}

impl Path {
    /// The tracepoint that it passes.
    fn hook(self) -> &'static str {
        match self {
            Self::Tx => "netif_receive_skb_entry",
            Self::Rx => "net_dev_start_xmit",
        }
    }
}

/// A device and the load on it.
struct Load {
    tap: Tap,
    sender: Sender,
    frame: Frame,
    path: Path,
    /// The device is a tap: the probes count it.
    watched: bool,
}

impl Load {
    fn new(path: Path, watched: bool) -> Result<Self> {
        let netns = Netns::new()?;
        let mut config = Config::new("bench0", 1);
        config.tun = !watched;
        let tap = Tap::new(&netns, &config)?;
        Links::open(&netns)?.classify(tap.ifindex, &Program::steal()?)?;
        let sender = Sender::open(&netns, tap.ifindex)?;
        let frame = Frame::udp(64, 1);
        // A tun device takes IP packets and looks at no more than the version.
        let frame = if watched { frame } else { frame.to_address([0x45, 0, 0, 0, 0, 0]) };
        Ok(Self { tap, sender, frame, path, watched })
    }

    /// Nanoseconds of this thread's CPU time per packet.
    fn run(&self) -> Result<f64> {
        self.send(WARM_UP)?;
        let before = cpu_ns();
        self.send(PACKETS)?;
        Ok((cpu_ns() - before) / f64::from(PACKETS / BURST * BURST))
    }

    fn send(&self, packets: u32) -> Result<()> {
        let file = &self.tap.files()[0];
        let mut buffer = [0; 256];
        for _ in 0..packets / BURST {
            for _ in 0..BURST {
                match self.path {
                    Path::Tx => file.transmit(&self.frame)?,
                    Path::Rx => self.sender.send(&self.frame)?,
                }
            }
            if self.path == Path::Rx {
                for _ in 0..BURST {
                    black_box(file.receive(&mut buffer)?.context("a packet was lost")?);
                }
            }
        }
        Ok(())
    }
}

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Stays on one CPU, so that no migration falls into a measurement.
fn pin() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu());
    Ok(sched_setaffinity(None, &cpus)?)
}

/// An empty program on a hook, until dropped.
fn floor(hook: &str) -> Result<aya::Ebpf> {
    let mut ebpf = EbpfLoader::new().btf(None).load(&live::object()?)?;
    let program: &mut BtfTracePoint = ebpf.program_mut("empty").context("no empty program")?.try_into()?;
    program.load(hook, &Btf::from_sys_fs()?)?;
    program.attach()?;
    Ok(ebpf)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn range(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{low:.1} to {high:.1}")
}

fn measure(name: &str, load: &Load) -> Result<()> {
    let (mut alone, mut floors, mut added, mut ratios) = (vec![], vec![], vec![], vec![]);
    load.run()?;
    for _ in 0..ROUNDS {
        let bare = load.run()?;
        let guard = floor(load.path.hook())?;
        let empty = load.run()?;
        drop(guard);
        let guard = live::Attached::new()?;
        let vnet = load.run()?;
        drop(guard);
        alone.push(bare);
        floors.push(empty - bare);
        added.push(vnet - bare);
        ratios.push((vnet - bare) / (empty - bare));
    }
    let (floor_ns, vnet_ns) = (median(floors.clone()), median(added.clone()));
    println!("{name}");
    println!("  packet alone      {:7.1} ns ({})", median(alone.clone()), range(&alone));
    println!("  + empty program   {floor_ns:7.1} ns ({})", range(&floors));
    println!("  + vnet            {vnet_ns:7.1} ns ({})", range(&added));
    if load.watched {
        println!(
            "  vnet / empty      {:7.2}    (median of rounds {:.2})",
            vnet_ns / floor_ns,
            median(ratios)
        );
    } else {
        println!("  vnet - empty      {:7.1} ns", vnet_ns - floor_ns);
    }
    Ok(())
}

/// Nanoseconds in the program itself, by the kernel's own statistics, beside the empty program's.
fn by_statistics(load: &Load) -> Result<()> {
    let _stats = aya::sys::enable_stats(Stats::RunTime)?;
    let per_run = |name: &str| -> Result<f64> {
        let mut best = f64::INFINITY;
        for info in aya::programs::loaded_programs().flatten() {
            if info.name_as_str() == Some(name) && info.run_count() > u64::from(PACKETS / 2) {
                best = best.min(info.run_time().as_nanos() as f64 / info.run_count() as f64);
            }
        }
        if best.is_finite() { Ok(best) } else { bail!("program {name} did not run") }
    };
    let guard = floor(load.path.hook())?;
    load.run()?;
    let empty = per_run("empty")?;
    drop(guard);
    let guard = live::Attached::new()?;
    load.run()?;
    let name = if load.path == Path::Tx { "recv" } else { "xmit" };
    let vnet = per_run(name)?;
    drop(guard);
    println!(
        "  by BPF statistics {:7.1} ns per run of `{name}` ({vnet:.1} less {empty:.1} of the empty one)",
        vnet - empty
    );
    Ok(())
}

fn main() -> Result<()> {
    if env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    if let Some(why) = need::taps().or_else(need::bpf) {
        println!("skipped: {why}");
        return Ok(());
    }
    pin()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("kernel {}, {ROUNDS} rounds of {PACKETS} packets of 64 B; medians (ranges)", kernel.trim());
    for (name, path) in [("tap, guest transmits", Path::Tx), ("tap, guest receives", Path::Rx)] {
        let load = Load::new(path, true)?;
        measure(name, &load)?;
        by_statistics(&load)?;
    }
    for (name, path) in [("unwatched device, in", Path::Tx), ("unwatched device, out", Path::Rx)] {
        measure(name, &Load::new(path, false)?)?;
    }
    Ok(())
}
