//! Known ways to lay out a guest: which vCPU takes which virtqueue's interrupts, and which one sends through which queue.

use anyhow::{Context, Result, ensure};

use super::{Interrupt, Vm};

/// One way.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// In words.
    pub name: &'static str,
    /// From a pair and the number of vCPUs, which is not smaller than that of pairs: the vCPUs that take the interrupts of
    /// its input, of its output, and that sends through it. No two pairs have the same sender.
    place: fn(usize, usize) -> Place,
}

/// Where a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// vCPU that takes interrupts of the input, the guest's RX.
    pub input: usize,
    /// vCPU that takes interrupts of the output, the guest's TX.
    pub output: usize,
    /// vCPU that sends.
    pub sender: usize,
}

/// The ways.
pub const LAYOUTS: [Layout; 5] = [
    Layout {
        name: "each pair has a vCPU of its own",
        place: |pair, _| Place { input: pair, output: pair, sender: pair },
    },
    Layout {
        name: "each pair interrupts the vCPU after its sender",
        place: |pair, vcpus| {
            let next = (pair + 1) % vcpus;
            Place { input: next, output: next, sender: pair }
        },
    },
    Layout {
        name: "the first vCPU takes all interrupts",
        place: |pair, _| Place { input: 0, output: 0, sender: pair },
    },
    Layout {
        name: "the last vCPU takes those of all outputs",
        place: |pair, vcpus| Place { input: pair, output: vcpus - 1, sender: pair },
    },
    Layout {
        name: "the other way round",
        place: |pair, vcpus| {
            let place = vcpus - 1 - pair;
            Place { input: place, output: pair, sender: place }
        },
    },
];

impl Layout {
    /// Where `pair` is in a guest with `vcpus`.
    pub fn place(&self, pair: u16, vcpus: usize) -> Place {
        (self.place)(pair.into(), vcpus)
    }
}

impl Vm {
    /// Lays the guest out. An interrupt that was set aside for a vCPU before may still come there once: let each virtqueue
    /// have one before what counts.
    pub fn lay_out(&mut self, layout: &Layout) -> Result<()> {
        let (pairs, vcpus) = (self.config().pairs, self.config().vcpus);
        ensure!(usize::from(pairs) <= vcpus, "more pairs than vCPUs");
        let lines = self.interrupts()?;
        for pair in 0..pairs {
            let place = layout.place(pair, vcpus);
            for (side, vcpu) in [("input", place.input), ("output", place.output)] {
                self.set_affinity(of_queue(&lines, pair, side)?.irq, vcpu)?;
            }
            self.set_xps(pair, &[place.sender])?;
        }
        Ok(())
    }
}

/// The line of one virtqueue: its `side` is `input` or `output`.
pub fn of_queue<'a>(lines: &'a [Interrupt], pair: u16, side: &str) -> Result<&'a Interrupt> {
    let name = format!("-{side}.{pair}");
    let line = lines.iter().find(|line| line.name.ends_with(&name));
    line.with_context(|| format!("the guest has no interrupt {name}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_way_is_one_that_a_guest_can_have() {
        for vcpus in 2..=4 {
            let mut seen = Vec::new();
            for layout in &LAYOUTS {
                let places: Vec<_> = (0..2).map(|pair| layout.place(pair, vcpus)).collect();
                let cpus = places.iter().flat_map(|p| [p.input, p.output, p.sender]);
                assert!(cpus.into_iter().all(|cpu| cpu < vcpus), "{} with {vcpus}", layout.name);
                let senders: BTreeSet<_> = places.iter().map(|place| place.sender).collect();
                assert_eq!(senders.len(), places.len(), "{} with {vcpus}", layout.name);
                assert!(!seen.contains(&places), "{} with {vcpus} is another way too", layout.name);
                seen.push(places);
            }
        }
    }
}
