//! Paced traffic of a guest, and what it, its tap and its host say of it afterwards.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use vnet_driver::{
    frame::Frame,
    host::Sender,
    link::Links,
    nested::{Config, Interrupt, PACE, Sending, Vm, layout::of_queue},
    netns::Netns,
    nic::Counters,
    truth::Queue,
};

/// How long until the guest has taken back all that it sent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Flow of the guest's first CPU.
const FLOW: u16 = 1000;

/// A guest, and how many packets it sent and was sent.
pub(crate) struct Guest {
    pub(crate) vm: Vm,
    netns: Netns,
    tx: u64,
    rx: u64,
}

/// What is known of a guest.
pub(crate) struct Known {
    /// Keys of its pairs.
    pub(crate) keys: Vec<Queue>,
    pub(crate) pid: u32,
    /// Its vhost workers, by pair.
    pub(crate) workers: Vec<u32>,
    /// What its driver counted, by pair.
    pub(crate) counters: BTreeMap<u16, Counters>,
    pub(crate) interrupts: Vec<Interrupt>,
    /// What its tap counted.
    pub(crate) tap: Counters,
    /// It still runs: it has a process and workers.
    pub(crate) runs: bool,
    /// It started after vnet.
    pub(crate) late: bool,
}

impl Guest {
    /// Boots one with its tap in `netns`. Nothing is sent before its NIC is up.
    pub(crate) fn boot(netns: &Netns, config: &Config) -> Result<Self> {
        let vm = Vm::boot(netns, config)?;
        Ok(Self { vm, netns: netns.clone(), tx: 0, rx: 0 })
    }

    /// Each of these CPUs of the guest sends `packets` on a flow of its own, of a size of its own; then the host sends as many
    /// back on each flow. Returns once all have arrived and the guest has taken back what it sent.
    pub(crate) fn exchange(&mut self, cpus: &[usize], packets: u64) -> Result<()> {
        let sending = |cpu: usize| {
            let flow = FLOW + u16::try_from(cpu)?;
            Ok(Sending { cpu, packets, size: 200 + 900 * (cpu % 2), flow })
        };
        let all = cpus.iter().map(|cpu| sending(*cpu)).collect::<Result<Vec<_>>>()?;
        self.vm.send(&all)?;
        let sender = Sender::open(&self.netns, self.vm.ifindex())?;
        for _ in 0..packets {
            for one in &all {
                let frame = Frame::udp(one.size + 100, one.flow);
                sender.send(&frame.to_address(self.vm.config().mac()))?;
            }
            thread::sleep(PACE);
        }
        self.tx += packets * all.len() as u64;
        self.rx += packets * all.len() as u64;
        self.settle()
    }

    /// Until the guest's NIC counts all, over all its pairs: it counts what it sent when it is given back.
    fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.vm.totals()?;
            if seen == (self.tx, self.rx) {
                return Ok(());
            }
            let wanted = (self.tx, self.rx);
            ensure!(Instant::now() < deadline, "the guest counts {seen:?} of {wanted:?} (TX, RX)");
            thread::sleep(PACE);
        }
    }

    /// What is known of it.
    pub(crate) fn known(&mut self) -> Result<Known> {
        self.settle()?;
        let stats = Links::open(&self.netns)?.stats(self.vm.ifindex())?;
        Ok(Known {
            keys: (0..self.vm.config().pairs).map(|queue| self.vm.key(queue)).collect(),
            pid: self.vm.pid(),
            workers: self.vm.workers()?,
            counters: self.vm.counters()?,
            interrupts: self.vm.interrupts()?,
            tap: Counters {
                tx_packets: stats.rx_packets,
                tx_bytes: stats.rx_bytes,
                rx_packets: stats.tx_packets,
                rx_bytes: stats.tx_bytes,
            },
            runs: true,
            late: false,
        })
    }
}

impl Known {
    /// What its driver counted on a pair.
    pub(crate) fn pair(&self, queue: u16) -> Result<Counters> {
        self.counters.get(&queue).copied().with_context(|| format!("the guest has no pair {queue}"))
    }

    /// Interrupts of one virtqueue; `side` is `input` or `output`.
    pub(crate) fn interrupts(&self, queue: u16, side: &str) -> Result<u64> {
        Ok(of_queue(&self.interrupts, queue, side)?.count())
    }
}
