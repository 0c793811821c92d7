//! The counts of a queue that rules look at, and how much they grew. A new one is a variant and a row of [`COUNTS`].

use crate::report::{InterruptReport, QueueReport, RunsReport, SizeReport};

/// A cumulative count of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    TxPackets,
    TxBytes,
    TxSegments,
    /// Packets of at most 256 bytes: zero-copy takes none of them.
    TxShort,
    /// Packets of at most 1024 bytes: surely below 1500.
    TxSmall,
    /// Packets of at most 1518 bytes: those that vhost can batch.
    TxPlain,
    /// As many bytes as packets of at most 1024 bytes can have been.
    TxSmallBytes,
    RxPackets,
    RxBytes,
    RxBuffers,
    /// Packets for the guest that found its ring full.
    RxFull,
    /// Packets that the device dropped, in either direction, whatever the reason.
    Drops,
    Batched,
    Single,
    Zerocopy,
    ZerocopyFailed,
    Pending,
    Backoff,
    TxKicks,
    TxCalls,
    RxCalls,
    TxRuns,
    TxWeight,
    RxRuns,
    RxWeight,
    RxNoBuffers,
    /// Seconds that the worker was ready and did not run.
    Waited,
    Migrations,
}

/// How many there are.
const LEN: usize = Count::Migrations as usize + 1;

/// What is known of one queue at an instant; NaN is not known, so that it stays so in every sum.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    counts: [f64; LEN],
    worker: Option<u32>,
    interrupts: Option<Vec<InterruptReport>>,
}

/// Reasons that say that the guest's ring was full; without reasons (before 5.17) a tap's refusal has none.
const FULL: [&str; 2] = ["FULL_RING", "NOT_SPECIFIED"];

impl Seen {
    pub(super) fn of(queue: &QueueReport) -> Self {
        let mut seen = Self {
            counts: [f64::NAN; LEN],
            worker: queue.worker.as_ref().map(|worker| worker.tid),
            interrupts: queue.interrupts.clone(),
        };
        seen.transmit(queue);
        seen.receive(queue);
        if let Some(worker) = &queue.worker {
            seen.take(Count::Waited, worker.wait_seconds);
            seen.put(Count::Migrations, worker.migrations);
        }
        seen
    }

    fn transmit(&mut self, queue: &QueueReport) {
        let tx = &queue.tx;
        self.put(Count::TxPackets, tx.packets);
        self.put(Count::TxBytes, tx.bytes);
        self.put(Count::TxSegments, tx.segments);
        if let Some(sizes) = &tx.sizes {
            let upto = |most: u32| {
                sizes
                    .iter()
                    .filter(|size| size.le.is_some_and(|le| le <= most))
                    .map(|size| size.count as f64)
                    .sum()
            };
            self.take(Count::TxShort, Some(upto(256)));
            self.take(Count::TxSmall, Some(upto(1024)));
            self.take(Count::TxPlain, Some(upto(1518)));
            let bytes = |size: &SizeReport| {
                size.le.filter(|le| *le <= 1024).map_or(0.0, |le| f64::from(le) * size.count as f64)
            };
            self.take(Count::TxSmallBytes, Some(sizes.iter().map(bytes).sum()));
        }
        if let Some(copies) = &tx.copies {
            self.put(Count::Batched, Some(copies.batched));
            self.put(Count::Single, Some(copies.single));
            self.put(Count::Zerocopy, Some(copies.zerocopy));
            self.put(Count::ZerocopyFailed, Some(copies.zerocopy_failed));
            self.put(Count::Pending, Some(copies.why.pending));
            self.put(Count::Backoff, Some(copies.why.backoff));
        }
        self.put(Count::TxKicks, tx.kicks);
        self.put(Count::TxCalls, tx.calls);
        if let Some(runs) = &tx.runs {
            self.take(Count::TxRuns, Some(whole(*runs)));
            self.put(Count::TxWeight, Some(runs.weight));
        }
    }

    fn receive(&mut self, queue: &QueueReport) {
        let rx = &queue.rx;
        self.put(Count::RxPackets, rx.packets);
        self.put(Count::RxBytes, rx.bytes);
        self.put(Count::RxBuffers, rx.buffers);
        if let Some(drops) = &rx.drops {
            self.take(
                Count::RxFull,
                Some(FULL.iter().filter_map(|reason| drops.get(*reason)).map(|n| *n as f64).sum()),
            );
        }
        let sides = [&queue.tx.drops, &rx.drops].into_iter().flatten();
        self.take(Count::Drops, Some(sides.flat_map(|drops| drops.values()).map(|n| *n as f64).sum()));
        self.put(Count::RxCalls, rx.calls);
        if let Some(runs) = &rx.runs {
            self.take(Count::RxRuns, Some(whole(*runs)));
            self.put(Count::RxWeight, Some(runs.weight));
            self.put(Count::RxNoBuffers, Some(runs.no_buffers));
        }
    }

    fn put(&mut self, count: Count, value: Option<u64>) {
        self.take(count, value.map(|value| value as f64));
    }

    fn take(&mut self, count: Count, value: Option<f64>) {
        self.counts[count as usize] = value.unwrap_or(f64::NAN);
    }

    /// By how much a count grew since an earlier look at the same queue; `None` where that is not known.
    pub(super) fn since(&self, earlier: &Self, count: Count) -> Option<f64> {
        if matches!(count, Count::Waited | Count::Migrations) && self.worker != earlier.worker {
            return None;
        }
        Some(self.counts[count as usize] - earlier.counts[count as usize]).filter(|grown| *grown >= 0.0)
    }

    /// Interrupts that came since an earlier look; `None` where they are not observed.
    pub(super) fn interrupts_since(&self, earlier: &Self) -> Option<Vec<InterruptReport>> {
        let then = earlier.interrupts.as_deref().unwrap_or_default();
        let now = self.interrupts.as_ref()?;
        Some(now.iter().map(|row| added(row, then)).filter(|row| row.count > 0).collect())
    }
}

/// All runs. As floating point, because a recording may hold any number.
fn whole(runs: RunsReport) -> f64 {
    [runs.empty, runs.weight, runs.busy_poll, runs.no_buffers].map(|n| n as f64).iter().sum()
}

/// A row of interrupts with what was added to its earlier self.
fn added(row: &InterruptReport, earlier: &[InterruptReport]) -> InterruptReport {
    let same = |other: &&InterruptReport| {
        (&other.direction, other.vcpu, other.vector, other.level)
            == (&row.direction, row.vcpu, row.vector, row.level)
    };
    let mut added = row.clone();
    let Some(then) = earlier.iter().find(same) else { return added };
    added.count = row.count.saturating_sub(then.count);
    added.vcpu_state = row.vcpu_state.zip(then.vcpu_state).map(|(mut now, then)| {
        now.in_guest = now.in_guest.saturating_sub(then.in_guest);
        now.blocked = now.blocked.saturating_sub(then.blocked);
        now.preempted = now.preempted.saturating_sub(then.preempted);
        now.root = now.root.saturating_sub(then.root);
        now
    });
    added
}
