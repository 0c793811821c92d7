//! What vhost did for one queue pair: the ledger of copies, its two rings, and the worker that serves them.

use vnet_ebpf::hist::CLASSES;

use super::{
    coverage::{Direction, What},
    locality::{Host, Ways},
};
use crate::{
    record::{BATCH_CLASSES, Copies, Flow, Nanos, Ring, RunEnds, Vhost, WhyCopied, Worker},
    report::{
        CopiesReport, InterruptReport, RunsReport, RxReport, SizeReport, TxReport, WhyReport, WorkerReport,
    },
};

/// Most packets of a batch in each class of `Copies::batch_sizes` (drivers/vhost/net.c: `VHOST_NET_BATCH`).
const BATCH_EDGES: [u32; BATCH_CLASSES] = [1, 3, 7, 15, 31, 63, 64];

/// Keeps the larger of two values of a count; returns 1 where it is not the new one.
pub(super) fn raise(known: &mut u64, new: u64) -> u64 {
    let smaller = u64::from(new < *known);
    *known = new.max(*known);
    smaller
}

/// The same where either may not be known.
fn raise_known(known: &mut Option<u64>, new: Option<u64>) -> u64 {
    new.map_or(0, |new| raise(known.get_or_insert(0), new))
}

/// What vhost did for a queue pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    /// The last ledger that accounted for every packet when it came.
    ledger: Option<Copies>,
    tx: Ring,
    rx: Ring,
    rx_copied_bytes: Option<u64>,
    worker: Option<Serving>,
}

/// Packets in a ledger. Wide, because a recording may hold any numbers.
fn packets(copies: &Copies) -> u128 {
    let Copies { batched, single, zerocopy, zerocopy_rejected, zerocopy_late, in_flight, .. } = *copies;
    [batched, single, zerocopy, zerocopy_rejected, zerocopy_late, in_flight].map(u128::from).iter().sum()
}

/// Whether a ledger accounts for exactly these packets.
pub(super) fn adds_up(copies: &Copies, flow: &Flow) -> bool {
    packets(copies) == u128::from(flow.packets())
}

/// Counts of a ledger that never fall: all but `in_flight`.
fn rising(copies: &Copies) -> impl Iterator<Item = u64> {
    let Copies { batched, single, zerocopy, zerocopy_rejected, zerocopy_late, .. } = *copies;
    let Copies { bytes, batches, batch_sizes, why, .. } = *copies;
    let WhyCopied { module_off, short, pending, backoff } = why;
    [batched, single, zerocopy, zerocopy_rejected, zerocopy_late, bytes, batches]
        .into_iter()
        .chain(batch_sizes)
        .chain([module_off, short, pending, backoff])
}

/// Counts of a direction that go with a ledger.
fn carried(flow: &Flow) -> impl Iterator<Item = u64> {
    let sizes: [u64; CLASSES] = flow.sizes;
    [flow.bytes, flow.segments].into_iter().chain(sizes)
}

fn fallen(known: impl Iterator<Item = u64>, new: impl Iterator<Item = u64>) -> u64 {
    known.zip(new).map(|(known, new)| u64::from(new < known)).sum()
}

impl Served {
    /// Takes a newer ledger that adds up together with the packets that it accounts for, which are `known` so far; `Err` says how
    /// many of all these counts fell, and that neither is to be taken.
    ///
    /// A packet moves from `in_flight` into another count, so that keeping the larger of each would count it twice.
    pub(super) fn settle(&mut self, known: &Flow, flow: &Flow, copies: &Copies) -> Result<(), u64> {
        let fell = fallen(carried(known), carried(flow))
            + self.ledger.as_ref().map_or(0, |ledger| fallen(rising(ledger), rising(copies)));
        if fell > 0 {
            return Err(fell);
        }
        self.ledger = Some(*copies);
        Ok(())
    }

    /// Takes newer counts of the rings; returns how many of them were smaller than what is already known.
    pub(super) fn fold(&mut self, new: &Vhost) -> u64 {
        fold_ring(&mut self.tx, &new.tx)
            + fold_ring(&mut self.rx, &new.rx)
            + raise_known(&mut self.rx_copied_bytes, new.rx_copied_bytes)
    }

    /// Takes a worker; `late` is one as it was before the latest instant. Returns how many of its counts fell.
    pub(super) fn serve(&mut self, new: &Worker, late: bool) -> u64 {
        match &mut self.worker {
            Some(serving) if serving.is(new) => serving.fold(new, late),
            Some(_) if late => 0,
            worker => {
                *worker = Some(Serving::new(new));
                0
            }
        }
    }

    /// The worker has ended: what it did was its own.
    pub(super) fn retire(&mut self) {
        self.worker = None;
    }

    /// Starts a new interval.
    pub(super) fn advance(&mut self) {
        if let Some(serving) = &mut self.worker {
            serving.advance();
        }
    }

    /// The ledger, where it accounts for these packets. `covered`: one without packets is known.
    pub(super) fn copies(&self, of: &Flow, covered: bool) -> Option<Copies> {
        let ledger = self.ledger.or(covered.then(Copies::default));
        ledger.filter(|ledger| adds_up(ledger, of))
    }

    /// The worker, with its shares of the last interval and of the whole observation.
    pub(super) fn worker(&self, interval: Option<Nanos>, duration: Nanos) -> Option<WorkerReport> {
        self.worker.as_ref().map(|serving| serving.report(interval, duration))
    }

    /// Adds what is known to the guest's transmit side.
    pub(super) fn tx_report(
        &self,
        report: &mut TxReport,
        copies: Option<&Copies>,
        covers: impl Fn(Direction, What) -> bool,
    ) {
        let covers = |what| covers(Direction::Tx, what);
        let ring = ring_report(&self.tx, covers);
        report.used = ring.used;
        (report.kicks, report.calls, report.calls_suppressed) =
            (ring.kicks, ring.calls, ring.calls_suppressed);
        report.runs = ring.runs.map(runs_report);
        report.batches = copies.map(|copies| copies.batches);
        report.batch_sizes = copies.map(|copies| Box::new(batch_sizes(copies)));
        report.copies = copies.map(|copies| Box::new(copies_report(copies)));
    }

    /// Adds what is known to the guest's receive side.
    pub(super) fn rx_report(&self, report: &mut RxReport, covers: impl Fn(Direction, What) -> bool) {
        let covers = |what| covers(Direction::Rx, what);
        let ring = ring_report(&self.rx, covers);
        report.buffers = ring.used;
        report.copied_bytes = self.rx_copied_bytes.or(covers(What::Copied).then_some(0));
        (report.kicks, report.calls, report.calls_suppressed) =
            (ring.kicks, ring.calls, ring.calls_suppressed);
        report.runs = ring.runs.map(runs_report);
    }
}

impl Served {
    /// What its calls interrupted.
    pub(super) fn interrupts(&self, ways: &Ways, host: &Host) -> Vec<InterruptReport> {
        ways.interrupts(host, &self.tx, &self.rx)
    }
}

fn fold_ring(known: &mut Ring, new: &Ring) -> u64 {
    let mut smaller = raise_known(&mut known.used, new.used)
        + raise_known(&mut known.kicks, new.kicks)
        + raise_known(&mut known.calls, new.calls)
        + raise_known(&mut known.calls_suppressed, new.calls_suppressed)
        + raise_known(&mut known.woken, new.woken);
    if let Some(new) = new.runs {
        let known = known.runs.get_or_insert_default();
        smaller += raise(&mut known.empty, new.empty)
            + raise(&mut known.weight, new.weight)
            + raise(&mut known.busy_poll, new.busy_poll)
            + raise(&mut known.no_buffers, new.no_buffers);
    }
    smaller
}

/// What was counted, and 0 where nothing was but would have been.
fn ring_report(ring: &Ring, covers: impl Fn(What) -> bool) -> Ring {
    let known = |count: Option<u64>, what| count.or(covers(what).then_some(0));
    Ring {
        used: known(ring.used, What::Calls),
        kicks: known(ring.kicks, What::Kicks),
        calls: known(ring.calls, What::Calls),
        calls_suppressed: known(ring.calls_suppressed, What::Calls),
        woken: ring.woken,
        runs: ring.runs.or(covers(What::Runs).then(RunEnds::default)),
    }
}

fn runs_report(runs: RunEnds) -> RunsReport {
    let RunEnds { empty, weight, busy_poll, no_buffers } = runs;
    RunsReport { empty, weight, busy_poll, no_buffers }
}

fn batch_sizes(copies: &Copies) -> [SizeReport; BATCH_CLASSES] {
    std::array::from_fn(|class| SizeReport { le: Some(BATCH_EDGES[class]), count: copies.batch_sizes[class] })
}

fn copies_report(copies: &Copies) -> CopiesReport {
    let WhyCopied { module_off, short, pending, backoff } = copies.why;
    let (rejected, late) = (copies.zerocopy_rejected, copies.zerocopy_late);
    CopiesReport {
        batched: copies.batched,
        single: copies.single,
        zerocopy: copies.zerocopy,
        // Cannot saturate: the ledger adds up to a count of packets.
        zerocopy_failed: rejected.saturating_add(late),
        in_flight: copies.in_flight,
        bytes: copies.bytes,
        why: WhyReport { module_off, short, pending, backoff, rejected, late },
    }
}

/// Time that a worker spent, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    running: Option<u64>,
    polling: Option<u64>,
}

impl Spent {
    fn of(worker: &Worker) -> Self {
        Self { running: worker.run_ns, polling: worker.busy_poll_ns }
    }

    fn since(self, earlier: Self) -> Self {
        let since = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self { running: since(self.running, earlier.running), polling: since(self.polling, earlier.polling) }
    }
}

/// A worker and what it spent in the last interval.
#[derive(Clone, Debug)]
struct Serving {
    worker: Worker,
    /// At the last instant from which an interval runs; `None` while it served at none.
    mark: Option<Spent>,
    /// Over the last interval; `None` while it did not serve through one.
    grown: Option<Spent>,
}

impl Serving {
    fn new(worker: &Worker) -> Self {
        Self { worker: worker.clone(), mark: None, grown: None }
    }

    fn is(&self, other: &Worker) -> bool {
        (self.worker.tid, self.worker.tgid) == (other.tid, other.tgid)
    }

    fn fold(&mut self, new: &Worker, late: bool) -> u64 {
        let known = &mut self.worker;
        if !late {
            known.comm.clone_from(&new.comm);
            (known.cpu, known.node) = (new.cpu, new.node);
        }
        raise_known(&mut known.run_ns, new.run_ns)
            + raise_known(&mut known.wait_ns, new.wait_ns)
            + raise_known(&mut known.migrations, new.migrations)
            + raise_known(&mut known.busy_poll_ns, new.busy_poll_ns)
    }

    fn advance(&mut self) {
        let now = Spent::of(&self.worker);
        self.grown = self.mark.map(|mark| now.since(mark));
        self.mark = Some(now);
    }

    fn report(&self, interval: Option<Nanos>, duration: Nanos) -> WorkerReport {
        let worker = &self.worker;
        let whole = Spent::of(worker);
        // Both clocks are read one after the other, so that a busy worker may seem to run longer than time did.
        let share =
            |ns: Option<u64>, of: Nanos| ns.filter(|_| of.0 > 0).map(|ns| (ns as f64 / of.0 as f64).min(1.0));
        // A worker that has not served through an interval has the whole observation.
        let (spent, time) = self.grown.zip(interval).unwrap_or((whole, duration));
        WorkerReport {
            tid: worker.tid,
            comm: worker.comm.clone(),
            cpu: worker.cpu,
            node: worker.node,
            busy_ratio: share(spent.running, time),
            busy_poll_ratio: share(spent.polling, time),
            wait_seconds: worker.wait_ns.map(|ns| Nanos(ns).seconds()),
            migrations: worker.migrations,
            kthread: worker.tid == worker.tgid,
            average_busy: share(whole.running, duration),
            run_seconds: worker.run_ns.map(|ns| Nanos(ns).seconds()),
        }
    }
}
