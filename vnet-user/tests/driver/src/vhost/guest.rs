//! A guest with any number of queue pairs.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};

use super::{
    Config, Sink, device,
    memory::Memory,
    packet::Templates,
    pair::{Pair, SLOT},
    ring::{Layout, TABLE},
    script::{Script, Side, Step},
    sink::Receiver,
    truth::Truth,
};
use crate::{
    bpf::Program,
    link::Links,
    netns::Netns,
    tap::{self, Tap},
    truth::{Ledger, Queue},
};

/// Room for what guests send; untouched it costs nothing.
const TEMPLATES: usize = 256 << 20;

/// What the pairs of a guest share.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) config: Config,
    pub(super) tap: Tap,
    pub(super) memory: Arc<Memory>,
    pub(super) templates: Templates,
    /// The bitmap of written pages, where there is one.
    pub(super) log: Option<u64>,
    links: Mutex<Links>,
}

impl Host {
    /// Features that are asked for.
    pub(super) fn features(&self, log: bool) -> u64 {
        let config = &self.config;
        [
            (config.version_1, device::VERSION_1),
            (config.mrg_rxbuf, device::MRG_RXBUF),
            (config.event_idx, device::EVENT_IDX),
            (config.indirect, device::INDIRECT),
            (config.notify_on_empty, device::NOTIFY_ON_EMPTY),
            (log, device::LOG_ALL),
        ]
        .into_iter()
        .filter(|(on, _)| *on)
        .fold(0, |all, (_, feature)| all | feature)
    }

    /// Bytes of the vnet header.
    pub(super) fn header(&self) -> u32 {
        self.config.header()
    }

    pub(super) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guest; its devices and its tap go when it is dropped.
#[derive(Debug)]
pub struct Guest {
    pairs: Vec<Mutex<Pair>>,
    receiver: Option<Receiver>,
    host: Host,
}

impl Guest {
    /// Makes the tap in `netns` and one `vhost_net` device per queue, all running, with empty rings.
    pub fn new(netns: &Netns, config: Config) -> Result<Self> {
        let tap = Tap::new(
            netns,
            &tap::Config {
                napi: config.napi,
                offload: config.offload,
                vnet_header: config.header() as usize,
                ..tap::Config::new(&config.name, config.pairs)
            },
        )?;
        tap.steer_by_address()?;
        if let Some(bytes) = config.send_buffer {
            tap.send_buffer(bytes)?;
        }
        let links = Links::open(netns)?;
        let receiver = match config.sink {
            Sink::Stack => None,
            Sink::Steal => {
                links.classify(tap.ifindex, &Program::steal()?)?;
                None
            }
            Sink::Receiver => Some(Receiver::start(netns, tap.ifindex)?),
        };
        let ring = usize::try_from(Layout::at(0, config.ring).end)?.next_multiple_of(4096);
        let per_pair = 2 * (ring + usize::from(config.ring) * usize::from(TABLE) * 16)
            + usize::from(config.ring) * SLOT as usize;
        let memory = Arc::new(Memory::new(TEMPLATES + usize::from(config.pairs) * per_pair)?);
        let templates = Templates::new(&memory, config.header());
        let pages = usize::try_from(memory.guest(memory.len()))? / 4096;
        // A bit a page, from guest address 0 on.
        let log = config.log.then(|| memory.take(pages.div_ceil(8) + 8)).transpose()?;
        let host = Host { tap, memory, templates, log, links: Mutex::new(links), config };
        let pairs = (0..host.config.pairs)
            .map(|index| Ok(Mutex::new(Pair::new(&host, index).with_context(|| format!("pair {index}"))?)))
            .collect::<Result<_>>()?;
        Ok(Self { pairs, receiver, host })
    }

    /// Carries out `script`, step after step.
    pub fn run(&self, script: &Script) -> Result<()> {
        script.0.iter().try_for_each(|(pair, step)| self.step(*pair, step))
    }

    /// Carries out `scripts[i]` on pair `i`, all at once, each on a thread of its own.
    pub fn run_each(&self, scripts: &[Vec<Step>]) -> Result<()> {
        ensure!(
            scripts.len() <= self.pairs.len(),
            "{} scripts for {} pairs",
            scripts.len(),
            self.pairs.len()
        );
        thread::scope(|scope| {
            let running: Vec<_> = (0..)
                .zip(scripts)
                .map(|(pair, steps)| {
                    scope.spawn(move || steps.iter().try_for_each(|step| self.step(pair, step)))
                })
                .collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Carries out one step on `pair`.
    pub fn step(&self, pair: u16, step: &Step) -> Result<()> {
        self.pair(pair)?.step(&self.host, step)
    }

    /// So many packets more than injected are to arrive on `pair`: [`Step::Wait`] waits for them too.
    pub fn expect(&self, pair: u16, packets: u64) -> Result<()> {
        self.pair(pair)?.expected += packets;
        Ok(())
    }

    /// The eventfd by which the device calls for a ring. Who else takes from it takes from the calls of [`Guest::truth`].
    pub fn call(&self, pair: u16, side: Side) -> Result<OwnedFd> {
        Ok(self.pair(pair)?.queue(side).call()?)
    }

    /// The eventfd by which a ring is kicked. Kicks of others are not in [`Guest::truth`].
    pub fn doorbell(&self, pair: u16, side: Side) -> Result<OwnedFd> {
        Ok(self.pair(pair)?.queue(side).doorbell()?)
    }

    /// The truth, after all that the workers had begun is done. Whole when everything was waited for.
    pub fn truth(&self) -> Result<Truth> {
        let pairs = (0..self.host.config.pairs)
            .map(|index| self.pair(index)?.truth(&self.host))
            .collect::<Result<_>>()?;
        Ok(Truth { pairs, received: self.receiver.as_ref().map_or(0, Receiver::packets) })
    }

    /// Adds the truth so far to `ledger`, as the tap counts it: without runts. Once, for a guest that is done.
    pub fn enter(&self, ledger: &mut Ledger) -> Result<()> {
        for (index, pair) in (0..).zip(self.truth()?.pairs) {
            let counts = pair.counts();
            ledger.tx(self.key(index), counts.tx);
            ledger.rx(self.key(index), counts.rx);
        }
        Ok(())
    }

    /// Its tap.
    pub fn tap(&self) -> &Tap {
        &self.host.tap
    }

    /// How it was made.
    pub fn config(&self) -> &Config {
        &self.host.config
    }

    /// The key of a pair, as long as no queue is detached.
    pub fn key(&self, pair: u16) -> Queue {
        self.host.tap.key(pair)
    }

    /// Ends with its tap gone before its devices.
    pub fn end_tap_first(self) {
        drop(self.host);
        drop(self.receiver);
        drop(self.pairs);
    }

    fn pair(&self, index: u16) -> Result<MutexGuard<'_, Pair>> {
        let pair = self.pairs.get(usize::from(index)).with_context(|| format!("no pair {index}"))?;
        Ok(pair.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Joins the taps of guests in one bridge: what one sends the others receive, on the queue that
/// [`super::Packet::to`] names. The receiving guests must [`Guest::expect`] it.
pub fn bridge(netns: &Netns, name: &str, guests: &[&Guest]) -> Result<u32> {
    let links = Links::open(netns)?;
    let bridge = links.add_bridge(name)?;
    links.up(bridge)?;
    for guest in guests {
        links.set_bridge(guest.tap().ifindex, bridge)?;
    }
    Ok(bridge)
}

/// Two guests of two pairs each, `a` and `b`, joined in a bridge; without a bridge it says so, and there are none.
pub fn neighbours(netns: &Netns) -> Result<Option<[Guest; 2]>> {
    let named = |name: &str| Guest::new(netns, Config { name: name.into(), pairs: 2, ..Config::default() });
    let (a, b) = (named("a")?, named("b")?);
    if let Err(why) = bridge(netns, "br0", &[&a, &b]) {
        println!("skipped: needs a bridge: {why:#}");
        return Ok(None);
    }
    Ok(Some([a, b]))
}
