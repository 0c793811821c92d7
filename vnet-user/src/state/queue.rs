//! One queue pair: its cumulative counts, and what was added to them in the last interval.

use std::{
    array,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, LazyLock},
};

use vnet_ebpf::hist::{CLASSES, EDGES};

use super::locality::Ways;
use super::vhost::{Served, adds_up, raise};
use crate::{
    record::{Flow, Nanos, QueueCounts, Worker},
    report::{HISTORY, Rate, RxReport, SizeReport, TxReport},
};

/// What rates are made of: cumulative counts, or their growth over a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// `None` where drops are not known.
    pub(super) drops: Option<u64>,
}

impl Totals {
    /// Growth since an earlier count of the same thing.
    fn since(self, earlier: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            drops: self.drops.map(|drops| drops.saturating_sub(earlier.drops.unwrap_or(0))),
        }
    }

    /// Both together; drops are known when either's are.
    pub(super) fn plus(self, other: Self) -> Self {
        let drops = match (self.drops, other.drops) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            drops,
        }
    }

    /// The one place where a rate is made. `None` over no time.
    pub(super) fn over(self, time: Nanos) -> Option<Rate> {
        (time.0 > 0).then(|| {
            let seconds = time.seconds();
            Rate {
                pps: self.packets as f64 / seconds,
                bps: self.bytes as f64 * 8.0 / seconds,
                drops: self.drops.map(|drops| drops as f64 / seconds),
                mean_size: (self.packets > 0).then(|| self.bytes as f64 / self.packets as f64),
            }
        })
    }
}

/// Which counts of one direction are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownCounts {
    pub(super) packets: bool,
    pub(super) drops: bool,
}

/// One direction of a queue pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    counts: Flow,
    /// Counts at the last instant from which an interval runs.
    mark: Totals,
    /// Growth over the last interval.
    grown: Totals,
}

impl Side {
    /// Takes newer counts; returns how many of them were smaller than what is already known.
    fn fold(&mut self, new: &Flow) -> u64 {
        let counts = &mut self.counts;
        let mut smaller = raise(&mut counts.bytes, new.bytes) + raise(&mut counts.segments, new.segments);
        for (known, new) in counts.sizes.iter_mut().zip(new.sizes) {
            smaller += raise(known, new);
        }
        smaller + self.fold_drops(new)
    }

    fn fold_drops(&mut self, new: &Flow) -> u64 {
        let counts = &mut self.counts;
        let mut smaller = 0;
        for (reason, new) in &new.drops {
            match counts.drops.get_mut(reason) {
                Some(known) => smaller += raise(known, *new),
                None => drop(counts.drops.insert(Arc::clone(reason), *new)),
            }
        }
        if let Some(new) = new.stack_drops {
            smaller += raise(counts.stack_drops.get_or_insert(0), new);
        }
        smaller
    }

    /// Counts since counting began.
    pub(super) fn counts(&self) -> &Flow {
        &self.counts
    }

    fn totals(&self) -> Totals {
        Totals {
            packets: self.counts.packets(),
            bytes: self.counts.bytes,
            drops: Some(self.counts.dropped()),
        }
    }

    fn advance(&mut self) {
        let now = self.totals();
        self.grown = now.since(self.mark);
        self.mark = now;
    }

    /// Whether any packet was counted, which makes the count known whatever covers it.
    pub(super) fn counted(&self) -> KnownCounts {
        KnownCounts { packets: self.counts.packets() > 0, drops: self.counts.dropped() > 0 }
    }

    /// Counts since counting began, where known.
    pub(super) fn whole(&self, known: KnownCounts) -> Option<Totals> {
        mask(self.totals(), known)
    }

    /// Growth over the last interval, where known.
    pub(super) fn grown(&self, known: KnownCounts) -> Option<Totals> {
        mask(self.grown, known)
    }

    fn sizes(&self) -> Arc<[SizeReport; CLASSES]> {
        static NONE: LazyLock<Arc<[SizeReport; CLASSES]>> = LazyLock::new(|| sizes(&[0; CLASSES]));
        if self.counts.sizes == [0; CLASSES] { Arc::clone(&NONE) } else { sizes(&self.counts.sizes) }
    }

    fn drops(&self, known: KnownCounts) -> Option<BTreeMap<Arc<str>, u64>> {
        known.drops.then(|| self.counts.drops.clone())
    }

    /// As the guest's transmit side.
    pub(super) fn tx_report(&self, known: KnownCounts) -> TxReport {
        TxReport {
            packets: known.packets.then(|| self.counts.packets()),
            bytes: known.packets.then_some(self.counts.bytes),
            segments: known.packets.then_some(self.counts.segments),
            sizes: known.packets.then(|| self.sizes()),
            drops: self.drops(known),
            stack_drops: self.counts.stack_drops,
            ..TxReport::default()
        }
    }

    /// As the guest's receive side.
    pub(super) fn rx_report(&self, known: KnownCounts) -> RxReport {
        RxReport {
            packets: known.packets.then(|| self.counts.packets()),
            bytes: known.packets.then_some(self.counts.bytes),
            segments: known.packets.then_some(self.counts.segments),
            sizes: known.packets.then(|| self.sizes()),
            drops: self.drops(known),
            ..RxReport::default()
        }
    }
}

fn sizes(counts: &[u64; CLASSES]) -> Arc<[SizeReport; CLASSES]> {
    let size = |class: usize| SizeReport { le: EDGES.get(class).copied(), count: counts[class] };
    Arc::new(array::from_fn(size))
}

fn mask(totals: Totals, known: KnownCounts) -> Option<Totals> {
    known.packets.then(|| Totals { drops: totals.drops.filter(|_| known.drops), ..totals })
}

/// One queue pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) tx: Side,
    pub(super) rx: Side,
    /// `None` while vhost has not served it: on most hosts that is every queue or none.
    pub(super) vhost: Option<Box<Served>>,
    /// Ways that its calls and kicks took.
    pub(super) ways: Ways,
    /// Packets per second of past intervals, oldest first; empty while there was none in any of them.
    history: VecDeque<f32>,
    /// How many intervals these are.
    intervals: usize,
}

impl Queue {
    /// Takes newer counts; returns how many of them were smaller than what is already known.
    pub(super) fn fold(&mut self, new: &QueueCounts) -> u64 {
        self.fold_tx(new)
            + new.rx.as_ref().map_or(0, |flow| self.rx.fold(flow))
            + new.vhost.as_ref().map_or(0, |vhost| self.vhost.get_or_insert_default().fold(vhost))
    }

    /// What the guest sent goes together with the ledger that says how it was copied. A ledger of fewer packets, because
    /// some came before vhost served the queue, tells nothing of the rest, and is left out.
    fn fold_tx(&mut self, new: &QueueCounts) -> u64 {
        let flow = new.tx.as_ref();
        let Some(copies) = new.vhost.as_ref().and_then(|vhost| vhost.copies.as_ref()) else {
            return flow.map_or(0, |flow| self.tx.fold(flow));
        };
        let known = &self.tx.counts;
        let accounted = flow.unwrap_or(known);
        if !adds_up(copies, accounted) {
            return flow.map_or(0, |flow| self.tx.fold(flow));
        }
        let settled = self.vhost.get_or_insert_default().settle(known, accounted, copies);
        match (settled, flow) {
            (Ok(()), Some(flow)) => self.tx.fold(flow),
            (Err(fell), Some(flow)) => fell + self.tx.fold_drops(flow),
            (settled, None) => settled.err().unwrap_or(0),
        }
    }

    /// Takes a worker; `late` is one as it was before the latest instant. Returns how many of its counts fell.
    pub(super) fn serve(&mut self, worker: &Worker, late: bool) -> u64 {
        self.vhost.get_or_insert_default().serve(worker, late)
    }

    /// The worker has ended.
    pub(super) fn retire(&mut self) {
        if let Some(vhost) = &mut self.vhost {
            vhost.retire();
        }
    }

    /// Starts a new interval; `interval` is the one that ends, if one does.
    pub(super) fn advance(&mut self, interval: Option<Nanos>) {
        self.tx.advance();
        self.rx.advance();
        if let Some(vhost) = &mut self.vhost {
            vhost.advance();
        }
        let both = self.tx.grown.plus(self.rx.grown);
        if let Some(rate) = interval.and_then(|interval| both.over(interval)) {
            #[expect(clippy::cast_possible_truncation, reason = "history is drawn, not computed with")]
            self.remember(rate.pps as f32);
        }
    }

    fn remember(&mut self, pps: f32) {
        if self.history.is_empty() && pps != 0.0 {
            self.history = vec![0.0; self.intervals].into();
        }
        let spoken = !self.history.is_empty() || pps != 0.0;
        if spoken {
            self.history.push_back(pps);
        }
        if self.intervals < HISTORY {
            self.intervals += 1;
        } else if spoken {
            self.history.pop_front();
            if pps == 0.0 && self.history.iter().all(|pps| *pps == 0.0) {
                self.history = VecDeque::new();
            }
        }
    }

    /// Packets per second of past intervals, oldest first. Queues without any share `quiet`, which is lengthened or
    /// shortened for it: on a large host most are idle.
    pub(super) fn history(&self, quiet: &mut Arc<[f32]>) -> Arc<[f32]> {
        if !self.history.is_empty() {
            return self.history.iter().copied().collect();
        }
        if quiet.len() != self.intervals {
            *quiet = vec![0.0; self.intervals].into();
        }
        Arc::clone(quiet)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn history_is_the_last_intervals(runs in prop::collection::vec((0_u8..2, 0..150_usize), 0..8)) {
            let (mut queue, mut all) = (Queue::default(), Vec::new());
            for (busy, length) in runs {
                for _ in 0..length {
                    queue.remember(f32::from(busy));
                    all.push(f32::from(busy));
                    let last = &all[all.len().saturating_sub(HISTORY)..];
                    prop_assert_eq!(&*queue.history(&mut Arc::default()), last);
                    prop_assert_eq!(queue.history.is_empty(), last.iter().all(|pps| *pps == 0.0));
                }
            }
        }
    }
}
