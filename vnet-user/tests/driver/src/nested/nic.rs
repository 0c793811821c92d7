//! What a guest does with its NIC and says of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::{Interrupt, NIC, Sending, Vm, interrupts};
use crate::nic::Counters;

impl Vm {
    /// The guest brings its NIC up.
    pub fn up(&mut self) -> Result<()> {
        self.run(&format!("/init up {NIC}")).map(drop)
    }

    /// The guest uses so many queue pairs from now on (`ethtool -L`).
    pub fn use_pairs(&mut self, pairs: u16) -> Result<()> {
        let now = self.run(&format!("/init pairs {NIC} {pairs}"))?;
        ensure!(now.trim() == pairs.to_string(), "the guest uses {} pairs instead of {pairs}", now.trim());
        Ok(())
    }

    /// What the driver of its NIC counted, by queue pair in use.
    pub fn counters(&mut self) -> Result<BTreeMap<u16, Counters>> {
        let said = self.run(&format!("/init counters {NIC}"))?;
        said.lines()
            .map(|line| {
                let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
                let [queue, tx_packets, tx_bytes, rx_packets, rx_bytes] = numbers[..] else {
                    anyhow::bail!("five numbers make a line")
                };
                Ok((u16::try_from(queue)?, Counters { tx_packets, tx_bytes, rx_packets, rx_bytes }))
            })
            .collect::<Result<_>>()
            .with_context(|| format!("cannot read the guest's counters: {said}"))
    }

    /// Packets that its NIC counted, of all its pairs, also those that are not in use: TX and RX.
    pub fn totals(&mut self) -> Result<(u64, u64)> {
        let said = self.run(&format!("cd /sys/class/net/{NIC}/statistics && cat tx_packets rx_packets"))?;
        let numbers = said.lines().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        let [tx, rx] = numbers[..] else { anyhow::bail!("the guest says {said:?}") };
        Ok((tx, rx))
    }

    /// Several of its CPUs send at once; returns when all is sent.
    pub fn send(&mut self, all: &[Sending]) -> Result<()> {
        let words: Vec<_> = all.iter().map(ToString::to_string).collect();
        self.run(&format!("/init send {NIC} {}", words.join(" "))).map(drop)
    }

    /// Interrupts of its NIC: configuration, then each pair's input and output.
    pub fn interrupts(&mut self) -> Result<Vec<Interrupt>> {
        let said = self.run(&format!("readlink /sys/class/net/{NIC}/device; cat /proc/interrupts"))?;
        let (device, text) = said.split_once('\n').context("the guest says nothing of its NIC")?;
        let device = device.rsplit('/').next().unwrap_or_default();
        let found = interrupts::of_device(text, device);
        ensure!(!found.is_empty(), "the NIC {device} has no interrupts of its own:\n{text}");
        Ok(found)
    }

    /// The guest takes interrupt `irq` on `cpu`.
    pub fn set_affinity(&mut self, irq: u32, cpu: usize) -> Result<()> {
        self.run(&format!("echo {cpu} > /proc/irq/{irq}/smp_affinity_list")).map(drop)
    }

    /// The CPUs that send through queue `queue` (XPS).
    pub fn set_xps(&mut self, queue: u16, cpus: &[usize]) -> Result<()> {
        let mask = cpus.iter().fold(0_u64, |mask, cpu| mask | 1 << cpu);
        self.run(&format!("echo {mask:x} > /sys/class/net/{NIC}/queues/tx-{queue}/xps_cpus")).map(drop)
    }
}
