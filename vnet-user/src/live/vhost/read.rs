//! What the probes counted of vhost, read without system calls.

use vnet_ebpf::vhost::{
    self, BATCH_SIZES, BATCHED, BATCHES, BEGUN, ENDED, RX_COPIED, RX_RING, Ring as Cells, SINGLE, TX_COPIED,
    TX_RING, VHOST_ROW, VhostRow, WHY_BACKOFF, WHY_OFF, WHY_PENDING, WHY_SHORT, ZEROCOPY, ZEROCOPY_LATE,
    ZEROCOPY_OK, ZEROCOPY_REJECTED, end,
};

use crate::{
    live::mmap::Shared,
    record::{self, Copies, Probe, Ring, RunEnds, Vhost, WhyCopied},
};

/// Which of the counts are known.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one per signal")]
pub(crate) struct Known {
    pub(crate) tx: bool,
    pub(crate) rx: bool,
    copies: bool,
    kicks: bool,
    calls: bool,
    woken: bool,
    runs: bool,
}

impl Known {
    /// From how the signals are known.
    pub(crate) fn of(probes: &[Probe]) -> Self {
        let known = |signal: &str| {
            probes.iter().any(|probe| probe.signal == signal && probe.state != record::Known::Unavailable)
        };
        Self {
            tx: known("vhost.tx"),
            rx: known("vhost.rx"),
            copies: known("vhost.copies"),
            kicks: known("vhost.kicks"),
            calls: known("vhost.calls"),
            woken: known("kvm.interrupts"),
            runs: known("vhost.runs"),
        }
    }

    /// What a row says.
    pub(crate) fn vhost(self, row: &VhostRow) -> Vhost {
        let ring = |ring: Cells| {
            let runs = |why: usize| row[ring.runs() + why];
            Ring {
                used: self.calls.then_some(row[ring.used()]),
                kicks: self.kicks.then_some(row[ring.kicks()]),
                calls: self.calls.then_some(row[ring.calls()]),
                calls_suppressed: self.calls.then_some(row[ring.suppressed()]),
                woken: self.woken.then_some(row[ring.woken()]),
                runs: self.runs.then(|| RunEnds {
                    empty: runs(end::EMPTY),
                    weight: runs(end::WEIGHT),
                    busy_poll: runs(end::BUSY_POLL),
                    no_buffers: runs(end::NO_BUFFERS),
                }),
            }
        };
        Vhost {
            copies: self.copies.then(|| copies(row)),
            tx: ring(TX_RING),
            rx: ring(RX_RING),
            rx_copied_bytes: self.rx.then_some(row[RX_COPIED]),
        }
    }
}

/// Whether a worker has ever served the queue of this row.
pub(crate) fn is_used(row: &VhostRow) -> bool {
    row.iter().any(|cell| *cell != 0)
}

fn copies(row: &VhostRow) -> Copies {
    let completed = row[ZEROCOPY_OK] + row[ZEROCOPY_REJECTED] + row[ZEROCOPY_LATE];
    // What was in flight when counting began completes later, and is not ours to tell.
    let earlier = completed.saturating_sub(row[ZEROCOPY]);
    let mut batch_sizes = [0; vhost::BATCH_CLASSES];
    batch_sizes.copy_from_slice(&row[BATCH_SIZES..BATCH_SIZES + vhost::BATCH_CLASSES]);
    Copies {
        batched: row[BATCHED],
        single: row[SINGLE],
        zerocopy: row[ZEROCOPY_OK].saturating_sub(earlier),
        zerocopy_rejected: row[ZEROCOPY_REJECTED],
        zerocopy_late: row[ZEROCOPY_LATE],
        in_flight: row[ZEROCOPY].saturating_sub(completed),
        bytes: row[TX_COPIED],
        batches: row[BATCHES],
        batch_sizes,
        why: WhyCopied {
            module_off: row[WHY_OFF],
            short: row[WHY_SHORT],
            pending: row[WHY_PENDING],
            backoff: row[WHY_BACKOFF],
        },
    }
}

/// A row from one instant: none of its changes is half done. `None` when the worker is always within one, or was halted
/// there; what was read before still holds then.
pub(crate) fn whole(rows: &Shared<VhostRow>, slot: usize) -> Option<VhostRow> {
    const TRIES: usize = 1_000;
    for _ in 0..TRIES {
        let ended = rows.word(slot, ENDED);
        let row = rows.read(slot);
        if rows.word(slot, BEGUN) == ended {
            return Some(row);
        }
        std::hint::spin_loop();
    }
    None
}

/// An empty row.
pub(crate) const EMPTY: VhostRow = [0; VHOST_ROW];
