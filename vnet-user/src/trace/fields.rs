//! The counters of a queue and the facts of a worker as numbered places.
//!
//! A place never changes its meaning: a new counter takes a free place of its part, or one after the last. A reader that
//! does not know a place passes over it; one that a file does not name is 0, which for a part means that it is absent.

use crate::record::{Copies, Flow, QueueCounts, Ring, RunEnds, Vhost, WhyCopied, Worker};

/// Places of a queue; more than are in use.
pub(super) const QUEUE: usize = 128;
/// Places of a worker.
pub(super) const WORKER: usize = 16;

const TX: usize = 0;
const RX: usize = 16;
const COPIES: usize = 32;
const TX_RING: usize = 64;
const RX_RING: usize = 80;
const VHOST: usize = 96;

/// Places from here on are drops: two a reason and direction, see [`drop_place`].
pub(super) const DROPS: u32 = 1024;

/// Every number of a queue but its drops, each with its place, to be read or set.
pub(super) fn queue(counts: &mut QueueCounts, each: &mut impl FnMut(usize, &mut u64)) {
    let QueueCounts { tx, rx, vhost } = counts;
    part(tx, TX, each, flow);
    part(rx, RX, each, flow);
    part(vhost, VHOST, each, |vhost, place, each| {
        let Vhost { copies, tx, rx, rx_copied_bytes } = vhost;
        part(copies, COPIES, each, ledger);
        ring(tx, TX_RING, each);
        ring(rx, RX_RING, each);
        number(rx_copied_bytes, place + 1, each);
    });
}

/// Every number of a worker, each with its place. Its queue and its name are told apart from them.
pub(super) fn worker(worker: &mut Worker, each: &mut impl FnMut(usize, &mut u64)) {
    let Worker { queue: _, comm: _, tid, tgid, cpu, node, run_ns, wait_ns, migrations, busy_poll_ns } =
        worker;
    small(tid, 0, each);
    small(tgid, 1, each);
    // Place 2 is its name.
    part(cpu, 3, each, small_after);
    part(node, 5, each, small_after);
    number(run_ns, 7, each);
    number(wait_ns, 9, each);
    number(migrations, 11, each);
    number(busy_poll_ns, 13, each);
}

/// Place of a worker's name.
pub(super) const COMM: usize = 2;

fn flow<F: FnMut(usize, &mut u64)>(flow: &mut Flow, at: usize, each: &mut F) {
    let Flow { bytes, segments, sizes, drops: _, stack_drops } = flow;
    each(at + 1, bytes);
    each(at + 2, segments);
    number(stack_drops, at + 3, each);
    in_a_row(sizes, at + 5, each);
}

fn ledger<F: FnMut(usize, &mut u64)>(copies: &mut Copies, at: usize, each: &mut F) {
    let Copies { batched, single, zerocopy, zerocopy_rejected, zerocopy_late, .. } = copies;
    each(at + 1, batched);
    each(at + 2, single);
    each(at + 3, zerocopy);
    each(at + 4, zerocopy_rejected);
    each(at + 5, zerocopy_late);
    let Copies { in_flight, bytes, batches, batch_sizes, why, .. } = copies;
    each(at + 6, in_flight);
    each(at + 7, bytes);
    each(at + 8, batches);
    in_a_row(batch_sizes, at + 9, each);
    let WhyCopied { module_off, short, pending, backoff } = why;
    each(at + 16, module_off);
    each(at + 17, short);
    each(at + 18, pending);
    each(at + 19, backoff);
}

fn ring<F: FnMut(usize, &mut u64)>(ring: &mut Ring, at: usize, each: &mut F) {
    let Ring { used, kicks, calls, calls_suppressed, runs, woken } = ring;
    number(used, at, each);
    number(kicks, at + 2, each);
    number(calls, at + 4, each);
    number(calls_suppressed, at + 6, each);
    part(runs, at + 8, each, |runs, at, each| {
        let RunEnds { empty, weight, busy_poll, no_buffers } = runs;
        each(at + 1, empty);
        each(at + 2, weight);
        each(at + 3, busy_poll);
        each(at + 4, no_buffers);
    });
    number(woken, at + 13, each);
}

/// A part that may be absent: whether it is there takes the place before its numbers.
fn part<T: Default, F: FnMut(usize, &mut u64)>(
    part: &mut Option<T>,
    at: usize,
    each: &mut F,
    inner: impl Fn(&mut T, usize, &mut F),
) {
    let mut present = u64::from(part.is_some());
    each(at, &mut present);
    if present == 0 {
        *part = None;
    } else {
        inner(part.get_or_insert_default(), at, each);
    }
}

fn number<F: FnMut(usize, &mut u64)>(value: &mut Option<u64>, at: usize, each: &mut F) {
    part(value, at, each, |value, at, each| each(at + 1, value));
}

fn small<F: FnMut(usize, &mut u64)>(value: &mut u32, at: usize, each: &mut F) {
    let mut wide = u64::from(*value);
    each(at, &mut wide);
    // A file may claim any number; no thread and no CPU has a wider one.
    *value = u32::try_from(wide).unwrap_or(u32::MAX);
}

fn small_after<F: FnMut(usize, &mut u64)>(value: &mut u32, at: usize, each: &mut F) {
    small(value, at + 1, each);
}

fn in_a_row<F: FnMut(usize, &mut u64)>(values: &mut [u64], at: usize, each: &mut F) {
    for (i, value) in values.iter_mut().enumerate() {
        each(at + i, value);
    }
}

/// The two places of drops for the reason with this number: whether it is listed, and then how many there were.
pub(super) fn drop_place(name: u32, rx: bool) -> u32 {
    DROPS + 4 * name + 2 * u32::from(rx)
}

/// The reason and the direction of a place at or after [`DROPS`], and whether it is the count.
pub(super) fn of_drop_place(place: u32) -> (u32, bool, bool) {
    let place = place - DROPS;
    (place / 4, place & 2 != 0, place & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Places with nothing absent.
    fn places() -> Vec<usize> {
        let mut seen = Vec::new();
        queue(&mut QueueCounts::default(), &mut |place, value| {
            seen.push(place);
            *value = 1;
        });
        seen
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let seen = places();
        let set: BTreeSet<_> = seen.iter().collect();
        assert_eq!(set.len(), seen.len(), "{seen:?}");
        assert!(seen.iter().all(|place| *place < QUEUE));
    }

    /// Files of version 1 are readable for ever: a place that was ever written keeps its meaning.
    #[test]
    fn places_of_version_1() {
        let runs = |from: usize, to: usize| (from..to).collect::<Vec<_>>();
        let expected =
            [runs(0, 13), runs(16, 29), vec![96], runs(32, 52), runs(64, 79), runs(80, 95), vec![97, 98]];
        assert_eq!(places(), expected.concat());
    }
}
