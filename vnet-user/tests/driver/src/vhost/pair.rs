//! A queue pair: one `vhost_net` device, its rings, and the steps of scripts for it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::fd::AsFd,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    device::Device,
    guest::Host,
    packet::Packet,
    queue::Queue,
    rx::Partial,
    script::{Kick, Side, Step},
    truth,
};

/// Bytes that an RX buffer can have.
pub const SLOT: u32 = 68 << 10;

/// A queue pair.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) index: u16,
    pub(super) tx: Queue,
    pub(super) rx: Queue,
    pub(super) truth: truth::Pair,
    /// What each TX chain in flight carries, by head.
    pub(super) flying: HashMap<u16, Packet>,
    /// Where RX buffers lie: a slot per head.
    pub(super) slots: u64,
    pub(super) partial: Option<Partial>,
    pub(super) refill: Option<u32>,
    /// Packets from other taps that are to arrive.
    pub(super) expected: u64,
    device: Option<Device>,
    /// The device has the tap.
    backend: bool,
}

impl Pair {
    pub(super) fn new(host: &Host, index: u16) -> Result<Self> {
        let config = &host.config;
        let header = host.header();
        let mut pair = Self {
            index,
            tx: Queue::new(&host.memory, Side::Tx, config)?,
            rx: Queue::new(&host.memory, Side::Rx, config)?,
            truth: truth::Pair {
                tx: truth::Tx { header, ..Default::default() },
                rx: truth::Rx { header, ..Default::default() },
                workers: Vec::new(),
            },
            flying: HashMap::new(),
            slots: host.memory.take(usize::from(config.ring) * SLOT as usize)?,
            partial: None,
            refill: None,
            expected: 0,
            device: None,
            backend: false,
        };
        pair.open(host)?;
        Ok(pair)
    }

    /// Carries out a step.
    pub(super) fn step(&mut self, host: &Host, step: &Step) -> Result<()> {
        match step {
            Step::Publish(packets) => self.publish(host, packets),
            Step::Send(packets) => self.send(host, packets),
            Step::Kick(side, how) => Ok(self.queue(*side).kick(*how).map(drop)?),
            Step::Wait(Side::Tx) => self.wait(host, Side::Tx, |pair| pair.tx.ring.in_flight() == 0),
            Step::Wait(Side::Rx) => {
                self.wait(host, Side::Rx, |pair| pair.truth.rx.flow.packets() >= pair.due())
            }
            Step::PostRx(sizes) => self.post(sizes),
            Step::Refill(size) => {
                self.refill = *size;
                self.fill()
            }
            Step::Inject(packets) => self.inject(host, packets),
            Step::UsedEvent(side, event) => self.queue(*side).set_event(*event),
            Step::Interrupts(side, wanted) => self.queue(*side).set_interrupts(*wanted),
            Step::Backend(on) => self.set_backend(host, *on),
            Step::SendBuffer(bytes) => host.tap.send_buffer(*bytes),
            Step::BusyPoll(side, units) => Ok(self.device()?.set_busy_poll(*side as u32, *units)?),
            Step::Log(on) => Ok(self.device()?.set_features(host.features(*on))?),
            Step::Reset => self.reset(host),
            Step::Close => self.close(host),
            Step::Open => self.open(host),
            Step::Settle => self.flush(host),
        }
        .with_context(|| format!("pair {}: {:.200}", self.index, step.to_string()))
    }

    /// All that the worker had been woken for is done, and counted.
    fn flush(&mut self, host: &Host) -> Result<()> {
        // To give the device what it has changes nothing, and returns when its work is done (`vhost_net_set_backend`).
        if self.device.is_some() && self.backend {
            self.set_backend(host, true)?;
        }
        self.settle(host)
    }

    /// All that the worker had begun is done, and counted.
    pub(super) fn settle(&mut self, host: &Host) -> Result<()> {
        if let Some(device) = &self.device {
            for side in [Side::Rx, Side::Tx] {
                device.base(side as u32).context("VHOST_GET_VRING_BASE")?;
            }
        }
        self.take_back(host)
    }

    /// The truth so far.
    pub(super) fn truth(&mut self, host: &Host) -> Result<truth::Pair> {
        self.settle(host)?;
        let mut truth = self.truth.clone();
        (truth.tx.ring, truth.rx.ring) = (self.tx.events, self.rx.events);
        Ok(truth)
    }

    /// Takes back everything that is on the used rings, and counts.
    pub(super) fn take_back(&mut self, host: &Host) -> Result<()> {
        self.take_back_tx()?;
        self.take_back_rx(host)?;
        self.tx.count_calls()?;
        self.rx.count_calls()?;
        Ok(())
    }

    /// Until `done`, or too long.
    pub(super) fn wait(&mut self, host: &Host, side: Side, done: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + host.config.patience;
        loop {
            self.take_back(host)?;
            self.fill()?;
            self.tx.rearm();
            self.rx.rearm();
            if done(self) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (arrived, due) = (self.truth.rx.flow.packets(), self.due());
                bail!(
                    "it does not come; {}; {}; {arrived} of {due} packets arrived",
                    self.tx.describe(),
                    self.rx.describe()
                );
            }
            self.queue(side).sleep()?;
        }
    }

    /// Packets that are to arrive in all.
    fn due(&self) -> u64 {
        self.truth.rx.injected.segments - self.truth.rx.dropped + self.expected
    }

    pub(super) fn queue(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Tx => &mut self.tx,
            Side::Rx => &mut self.rx,
        }
    }

    fn device(&self) -> Result<&Device> {
        self.device.as_ref().context("the device is closed")
    }

    fn open(&mut self, host: &Host) -> Result<()> {
        ensure!(self.device.is_none(), "the device is open");
        self.device = Some(Device::open().context("cannot open /dev/vhost-net")?);
        self.start(host)
    }

    fn close(&mut self, host: &Host) -> Result<()> {
        // Closing waits for the worker.
        ensure!(self.device.take().is_some(), "the device is closed");
        self.backend = false;
        self.take_back(host)?;
        self.forget();
        Ok(())
    }

    fn reset(&mut self, host: &Host) -> Result<()> {
        self.device()?.reset_owner().context("VHOST_RESET_OWNER")?;
        self.backend = false;
        self.take_back(host)?;
        self.forget();
        self.start(host)
    }

    fn forget(&mut self) {
        self.tx.ring.reset();
        self.rx.ring.reset();
        self.flying.clear();
        self.partial = None;
    }

    /// From a new device to running rings.
    fn start(&mut self, host: &Host) -> Result<()> {
        let config = &host.config;
        let device = self.device()?;
        let before = workers()?;
        device.set_owner().context("VHOST_SET_OWNER")?;
        self.truth.workers.extend(workers()?.difference(&before));
        let device = self.device()?;
        let (has, wanted) = (device.features()?, host.features(config.log));
        ensure!(has & wanted == wanted, "vhost_net has features {has:#x}, wanted are {wanted:#x}");
        device.set_memory(&host.memory).context("VHOST_SET_MEM_TABLE")?;
        if let Some(log) = host.log {
            device.set_log(&host.memory, log).context("VHOST_SET_LOG_BASE")?;
        }
        device.set_features(wanted).context("VHOST_SET_FEATURES")?;
        for queue in [&self.rx, &self.tx] {
            queue.set_up(device, &host.memory, host.log.is_some()).context("cannot set up a vring")?;
            queue.rearm();
        }
        if config.busy_poll > 0 {
            for side in [Side::Rx, Side::Tx] {
                device.set_busy_poll(side as u32, config.busy_poll)?;
            }
        }
        self.set_backend(host, true)?;
        self.fill()
    }

    fn set_backend(&mut self, host: &Host, on: bool) -> Result<()> {
        let file = host.tap.files().get(usize::from(self.index)).context("no such queue of the tap")?;
        for side in [Side::Rx, Side::Tx] {
            self.device()?
                .set_backend(side as u32, on.then_some(file.as_fd()))
                .with_context(|| format!("VHOST_NET_SET_BACKEND {side:?}"))?;
        }
        self.backend = on;
        Ok(())
    }

    pub(super) fn kick_wanted(&mut self, side: Side) -> Result<()> {
        Ok(self.queue(side).kick(Kick::Wanted).map(drop)?)
    }
}

/// Threads that the kernel made for this thread's vhost devices: before 6.4 they are its own, then this process's.
fn workers() -> Result<BTreeSet<u32>> {
    let name = format!("vhost-{}\n", rustix::thread::gettid().as_raw_nonzero());
    let mut found = BTreeSet::new();
    for folder in ["/proc", "/proc/self/task"] {
        for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
            let Some(tid) = entry.file_name().to_str().and_then(|tid| tid.parse().ok()) else { continue };
            if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == name) {
                found.insert(tid);
            }
        }
    }
    Ok(found)
}
