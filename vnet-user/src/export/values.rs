//! How numbers of the report become values of metrics. What is not known of one queue is not known of their sum.

use std::{collections::BTreeMap, sync::Arc};

use crate::report::{CopiesReport, DeviceReport, Distance, QueueReport, RunsReport};

/// Counts by a label's value.
pub type Reasons = Vec<(Arc<str>, u64)>;

/// Counts by size, each class alone, and the sum of the sizes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Largest size of each class, and how many are in it.
    pub classes: Vec<(u32, u64)>,
    /// All sizes together.
    pub sum: u64,
}

impl Histogram {
    /// Adds one of the same classes.
    pub fn add(&mut self, other: &Self) {
        if self.classes.is_empty() {
            self.classes = other.classes.iter().map(|(le, _)| (*le, 0)).collect();
        }
        for ((_, sum), (_, count)) in self.classes.iter_mut().zip(&other.classes) {
            *sum = sum.saturating_add(*count);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
}

pub(super) fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

pub(super) fn total(drops: Option<&BTreeMap<Arc<str>, u64>>) -> Option<u64> {
    drops.map(|drops| drops.values().fold(0, |sum, n| u64::saturating_add(sum, *n)))
}

pub(super) fn reasons(drops: Option<&BTreeMap<Arc<str>, u64>>) -> Option<Reasons> {
    drops.map(|drops| drops.iter().map(|(reason, n)| (Arc::clone(reason), *n)).collect())
}

pub(super) fn copies(queue: &QueueReport, of: fn(&CopiesReport) -> u64) -> Option<u64> {
    queue.tx.copies.as_deref().map(of)
}

pub(super) fn why(queue: &QueueReport) -> Option<Reasons> {
    let why = queue.tx.copies.as_ref()?.why;
    Some(labelled([
        ("module_off", why.module_off),
        ("short", why.short),
        ("pending", why.pending),
        ("backoff", why.backoff),
        ("rejected", why.rejected),
        ("late", why.late),
    ]))
}

pub(super) fn runs(runs: Option<&RunsReport>) -> Option<Reasons> {
    let runs = runs?;
    Some(labelled([
        ("empty", runs.empty),
        ("weight", runs.weight),
        ("busy_poll", runs.busy_poll),
        ("no_buffers", runs.no_buffers),
    ]))
}

pub(super) fn interrupts(queue: &QueueReport, direction: &str) -> Option<Reasons> {
    let interrupts = queue.interrupts.as_ref()?.iter().filter(|row| row.direction == direction);
    Some(interrupts.map(|row| (row.level.map_or("unknown", distance).into(), row.count)).collect())
}

fn distance(level: Distance) -> &'static str {
    match level {
        Distance::SameCpu => "same_cpu",
        Distance::Smt => "smt",
        Distance::Llc => "llc",
        Distance::Node => "node",
        Distance::Remote => "remote",
    }
}

/// Batches by packets in them; every batch holds packets that vhost copied.
pub(super) fn batches(queue: &QueueReport) -> Option<Histogram> {
    let (sizes, copies) = (queue.tx.batch_sizes.as_ref()?, queue.tx.copies.as_ref()?);
    let classes = sizes.iter().filter_map(|size| Some((size.le?, size.count))).collect();
    Some(Histogram { classes, sum: copies.batched })
}

pub(super) fn residual(device: &DeviceReport) -> Option<f64> {
    let all = device.residuals.values().fold(0, |sum, n| u64::saturating_add(sum, n.unsigned_abs()));
    (!device.residuals.is_empty()).then_some(all as f64)
}

fn labelled<const N: usize>(counts: [(&str, u64); N]) -> Reasons {
    counts.map(|(reason, n)| (Arc::from(reason), n)).into()
}

/// The sum over queue pairs; `None` when there is none, or one of them is not known.
pub(super) fn sum<'a>(
    mut queues: impl Iterator<Item = &'a QueueReport>,
    of: impl Fn(&QueueReport) -> Option<u64>,
) -> Option<u64> {
    let first = of(queues.next()?)?;
    queues.try_fold(first, |sum, queue| Some(sum.saturating_add(of(queue)?)))
}

/// The same by a label's value.
pub(super) fn sum_by<'a>(
    queues: impl Iterator<Item = &'a QueueReport>,
    of: impl Fn(&QueueReport) -> Option<Reasons>,
) -> Option<BTreeMap<Arc<str>, u64>> {
    let mut sums = BTreeMap::new();
    for queue in queues {
        for (reason, n) in of(queue)? {
            let sum: &mut u64 = sums.entry(reason).or_default();
            *sum = sum.saturating_add(n);
        }
    }
    Some(sums)
}

/// The same by size.
pub(super) fn sum_sizes<'a>(
    queues: impl Iterator<Item = &'a QueueReport>,
    of: impl Fn(&QueueReport) -> Option<Histogram>,
) -> Option<Histogram> {
    let mut whole = Histogram::default();
    for queue in queues {
        whole.add(&of(queue)?);
    }
    (!whole.classes.is_empty()).then_some(whole)
}
