//! Programs that every packet of the host pays for are attached only while a tap that vhost does not serve needs them, and
//! nothing that passes meanwhile is missing without a word.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::UdpSocket,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    programs::{loaded_links, loaded_programs},
    sys::Stats,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use vnet::{
    filter::Filter,
    live::{Live, Options},
    state::State,
};
use vnet_driver::{
    frame::Frame,
    host::Sender,
    need,
    netns::Netns,
    tap::{self, QueueFile, Tap},
    truth::Queue,
    vhost::{Config, Guest, Packet, Script, Step, kernel::Kernel},
    vnet::Report,
};

use crate::vhost;

/// How long anything may take on a machine that is emulated.
const PATIENCE: Duration = Duration::from_mins(2);

/// The programs that every packet of the host pays for.
const HOST_WIDE: [&str; 4] = ["recv", "recv_napi", "recv_frags", "xmit"];

/// Programs that the kernel holds, by id: their names and how often they ran while somebody had runs counted.
fn programs() -> BTreeMap<u32, (String, u64)> {
    let known = loaded_programs().flatten();
    known.filter_map(|info| Some((info.id(), (info.name_as_str()?.to_owned(), info.run_count())))).collect()
}

/// Which of [`HOST_WIDE`] the kernel has attached.
fn attached() -> BTreeSet<String> {
    let programs = programs();
    let names = loaded_links().flatten().filter_map(|link| programs.get(&link.program_id()));
    names.map(|(name, _)| name.clone()).filter(|name| HOST_WIDE.contains(&name.as_str())).collect()
}

/// vnet in this process.
struct Vnet {
    live: Live,
    state: State,
}

impl Vnet {
    async fn start() -> Result<Self> {
        let live = Live::start(Options {
            interval: Duration::from_millis(100),
            filter: Filter::default(),
            probe_stats: false,
            without: Vec::new(),
        })?;
        let mut vnet = Self { live, state: State::default() };
        vnet.step().await?;
        Ok(vnet)
    }

    async fn step(&mut self) -> Result<()> {
        for record in self.live.next().await? {
            self.state.apply(&record);
        }
        Ok(())
    }

    /// Lets it work until something is so.
    async fn until(&mut self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        let work = async {
            while !done() {
                self.step().await?;
            }
            Ok(())
        };
        timeout(PATIENCE, work).await.with_context(|| format!("in vain: {what}"))?
    }

    /// Lets it take some readings.
    async fn readings(&mut self) -> Result<()> {
        for _ in 0..4 {
            self.step().await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Report> {
        for record in self.live.finish().await? {
            self.state.apply(&record);
        }
        assert_eq!(self.state.regressions(), 0);
        Ok(Report(serde_json::to_value(self.state.report())?))
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Packets of both directions, through vhost.
fn both_ways(guest: &Guest, count: usize) -> Result<()> {
    let script = Script::new()
        .on(0, Step::Refill(Some(1526)))
        .transmit(0, Packet::new(100).times(count))
        .receive(0, Packet::new(200).times(count));
    guest.run(&script)?;
    guest.truth()?;
    Ok(())
}

/// Packets of both directions, read and written by the monitor itself.
fn by_hand(file: &QueueFile, sender: &Sender, [sent, received]: [usize; 2]) -> Result<()> {
    for _ in 0..sent {
        file.transmit(&Frame::plain(100))?;
    }
    for _ in 0..received {
        sender.send(&Frame::plain(200))?;
    }
    for _ in 0..received {
        file.receive(&mut [0; 2048])?.context("a packet was lost")?;
    }
    Ok(())
}

/// Packets that the report counts of a queue, and those that it says are missing, of each direction.
#[track_caller]
fn assert_counts(report: &Report, key: Queue, counted: [usize; 2], missing: [usize; 2]) {
    let row = report.queue(key).expect("the queue is listed");
    let device = report.device(key.netns, key.ifindex, key.generation).expect("the device is listed");
    let packets = ["tx", "rx"].map(|side| &row[side]["packets"]);
    assert_eq!(packets, [&json!(counted[0]), &json!(counted[1])], "{row}\n{device}");
    let residuals = ["tx", "rx"].map(|side| device["residuals"][side].as_i64());
    let negative = missing.map(|n| i64::try_from(n).ok().map(|n| -n));
    assert_eq!(residuals, negative, "{device}");
    let [sent, received] = missing;
    let words = format!("{sent} packets that its guest sent and {received} that it received are known from");
    let told = device["uncovered"].as_array().into_iter().flatten().filter_map(Value::as_str);
    assert_eq!(
        told.filter(|line| line.starts_with(&words)).count(),
        usize::from(sent + received > 0),
        "{device}"
    );
    let state = |signal: &str| {
        let probes = report.0["probes"].as_array().into_iter().flatten();
        probes
            .filter(|probe| probe["signal"] == signal)
            .map(|probe| probe["state"].clone())
            .collect::<Vec<_>>()
    };
    let known = |missing: usize| vec![json!(if missing > 0 { "derived" } else { "exact" })];
    assert_eq!([state("tap.tx"), state("tap.rx")], [known(sent), known(received)]);
}

/// A program that ran.
#[derive(Debug)]
struct Ran {
    name: String,
    /// How often the kernel holds it: twice where it takes tasks off the CPU within itself.
    copies: u32,
    /// Runs per packet, of all copies together.
    runs: f64,
}

/// All programs that ran since `before`.
fn per_packet(before: &BTreeMap<u32, (String, u64)>, packets: f64) -> Vec<Ran> {
    let mut ran: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    for (id, (name, now)) in programs() {
        let runs = now - before.get(&id).map_or(0, |(_, then)| *then);
        let (copies, all) = ran.entry(name).or_default();
        *copies += 1;
        *all += runs;
    }
    let ran = ran.into_iter().filter(|(_, (_, runs))| *runs > 0);
    ran.map(|(name, (copies, runs))| Ran { name, copies, runs: runs as f64 / packets }).collect()
}

#[test]
fn with_vhost_alone_other_packets_pay_nothing_and_batches_little() -> Result<()> {
    need!(vhost());
    runtime()?.block_on(async {
        let mut vnet = Vnet::start().await?;
        assert_eq!(attached().len(), HOST_WIDE.len(), "for taps to come");
        let guest = Guest::new(&Netns::new()?, Config { ring: 1024, ..Config::default() })?;
        both_ways(&guest, 10)?;
        vnet.until("vhost serves every tap", || attached().is_empty()).await?;
        let _stats = aya::sys::enable_stats(Stats::RunTime)?;
        let before = programs();
        let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        for _ in 0..100 {
            a.send_to(&[0; 100], b.local_addr()?)?;
            b.recv_from(&mut [0; 100])?;
        }
        let mut script = Script::new();
        for _ in 0..8 {
            script = script.transmit(0, Packet::new(100).times(1024));
        }
        guest.run(&script)?;
        guest.truth()?;
        let ran = per_packet(&before, 8.0 * 1024.0);
        assert!(ran.iter().all(|ran| !HOST_WIDE.contains(&ran.name.as_str())), "{ran:?}");
        // Nobody takes these packets: each is dropped by the stack.
        let ran: Vec<_> = ran.into_iter().filter(|ran| ran.name != "drop").collect();
        let (all, once) = ran
            .iter()
            .fold((0.0, 0.0), |(all, once), ran| (all + ran.runs, once + ran.runs / f64::from(ran.copies)));
        println!(
            "runs per packet in full batches: {all:.4}, of one copy of each program {once:.4}: {ran:.4?}"
        );
        if Kernel::look()?.zerocopy {
            println!("skipped: runs per packet of batches: with experimental_zcopytx vhost makes none");
        } else {
            assert!(once <= 0.1, "{once}: {ran:?}");
        }
        let report = vnet.finish().await?;
        assert_counts(&report, guest.key(0), [10 + 8 * 1024, 10], [0, 0]);
        Ok(())
    })
}

#[test]
fn a_tap_that_moves_between_vhost_and_its_monitor_is_counted_and_what_is_missing_is_said() -> Result<()> {
    need!(vhost());
    runtime()?.block_on(async {
        let mut vnet = Vnet::start().await?;
        let netns = Netns::new()?;
        let guest = Guest::new(&netns, Config::default())?;
        let sender = Sender::open(&netns, guest.tap().ifindex)?;
        both_ways(&guest, 20)?;
        vnet.until("vhost serves every tap", || attached().is_empty()).await?;
        guest.step(0, &Step::Backend(false))?;
        // vnet cannot know yet.
        by_hand(&guest.tap().files()[0], &sender, [5, 3])?;
        vnet.until("its monitor needs them", || attached().len() == HOST_WIDE.len()).await?;
        vnet.readings().await?;
        by_hand(&guest.tap().files()[0], &sender, [700, 40])?;
        vnet.readings().await?;
        guest.step(0, &Step::Backend(true))?;
        both_ways(&guest, 50)?;
        vnet.until("vhost serves it again", || attached().is_empty()).await?;
        both_ways(&guest, 100)?;
        let report = vnet.finish().await?;
        // What a monitor reads is not counted by queue once vhost has served it, see `VhostSlot::take`.
        assert_counts(&report, guest.key(0), [20 + 700 + 50 + 100, 20 + 50 + 100], [5, 3 + 40]);
        Ok(())
    })
}

#[test]
fn a_new_tap_without_vhost_is_counted_and_what_came_too_early_is_said() -> Result<()> {
    need!(vhost());
    runtime()?.block_on(async {
        let mut vnet = Vnet::start().await?;
        let netns = Netns::new()?;
        let guest = Guest::new(&netns, Config::default())?;
        both_ways(&guest, 20)?;
        vnet.until("vhost serves every tap", || attached().is_empty()).await?;
        let tap = Tap::new(&netns, &tap::Config::new("tap1", 1))?;
        let sender = Sender::open(&netns, tap.ifindex)?;
        by_hand(&tap.files()[0], &sender, [4, 2])?;
        vnet.until("a new tap needs them", || attached().len() == HOST_WIDE.len()).await?;
        by_hand(&tap.files()[0], &sender, [30, 60])?;
        vnet.readings().await?;
        both_ways(&guest, 70)?;
        drop(sender);
        let key = tap.key(0);
        let report = vnet.finish().await?;
        assert_counts(&report, key, [30, 60], [4, 2]);
        assert_eq!(report.queue(guest.key(0)).context("not listed")?["tx"]["packets"], 20 + 70);
        tap.close()
    })
}
