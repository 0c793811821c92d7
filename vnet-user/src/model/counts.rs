//! What the model counts: the same as the probes do of a kernel.

use std::collections::HashMap;

use vnet_ebpf::hist;

use super::{Chain, Completion, Frame, Side};
use crate::record::{Copies, Flow, QueueCounts, Ring, RunEnds, Vhost, WhyCopied};

/// `sizeof(struct virtio_net_hdr)`, what the tap copies of a longer header too.
const SMALL_HEADER: u32 = 10;

/// The header of UDP tunnels, which is copied whole.
const TUNNEL_HEADER: u32 = 24;

/// `GOODCOPY_LEN` of tun: what is copied in any case of a packet that does not say how long its headers are.
const LINEAR: u32 = 128;

/// Why a turn ended; see [`RunEnds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Empty,
    Weight,
    BusyPoll,
    NoBuffers,
}

/// Why a packet was copied though zero-copy exists; see [`WhyCopied`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    ModuleOff,
    Short,
    Pending,
    Backoff,
}

/// One virtqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingCounts {
    used: u64,
    pub(super) kicks: u64,
    calls: u64,
    suppressed: u64,
    runs: RunEnds,
}

/// Cumulative counts of a device.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    tx: Flow,
    rx: Flow,
    copies: Copies,
    rx_copied_bytes: u64,
    rings: [RingCounts; 2],
    /// Bytes that a rejection copies beyond what is copied in any case, of packets in flight.
    in_flight: HashMap<u16, u32>,
}

/// Bytes of the vnet header that the tap copies.
fn vnet(header: u32) -> u32 {
    if header == TUNNEL_HEADER { header } else { header.min(SMALL_HEADER) }
}

fn add(flow: &mut Flow, frame: u32, segments: u32) {
    flow.bytes += u64::from(frame);
    flow.segments += u64::from(segments.max(1));
    flow.sizes[hist::class(frame)] += 1;
}

impl Counts {
    /// As a source tells them.
    pub fn queue(&self) -> QueueCounts {
        let ring = |counts: &RingCounts| Ring {
            used: Some(counts.used),
            kicks: Some(counts.kicks),
            calls: Some(counts.calls),
            calls_suppressed: Some(counts.suppressed),
            woken: None,
            runs: Some(counts.runs),
        };
        QueueCounts {
            tx: Some(self.tx.clone()),
            rx: Some(self.rx.clone()),
            vhost: Some(Vhost {
                copies: Some(self.copies),
                tx: ring(&self.rings[Side::Tx as usize]),
                rx: ring(&self.rings[Side::Rx as usize]),
                rx_copied_bytes: Some(self.rx_copied_bytes),
            }),
        }
    }

    pub(super) fn ring(&mut self, side: Side) -> &mut RingCounts {
        &mut self.rings[side as usize]
    }

    pub(super) fn ended(&mut self, side: Side, ended: Ended) {
        let runs = &mut self.ring(side).runs;
        *match ended {
            Ended::Empty => &mut runs.empty,
            Ended::Weight => &mut runs.weight,
            Ended::BusyPoll => &mut runs.busy_poll,
            Ended::NoBuffers => &mut runs.no_buffers,
        } += 1;
    }

    pub(super) fn gave_back(&mut self, side: Side, count: u16, call: bool) {
        let ring = self.ring(side);
        ring.used += u64::from(count);
        *if call { &mut ring.calls } else { &mut ring.suppressed } += 1;
    }

    pub(super) fn batch(&mut self, batch: &[Chain], header: u32) {
        for chain in batch {
            add(&mut self.tx, chain.len.saturating_sub(header), chain.segments);
            self.copies.bytes += u64::from(chain.len);
        }
        let packets = batch.len() as u64;
        self.copies.batches += 1;
        self.copies.batched += packets;
        self.copies.why.module_off += packets;
        self.copies.batch_sizes[batch.len().ilog2() as usize] += 1;
    }

    pub(super) fn single(&mut self, chain: Chain, header: u32, why: Why) {
        let frame = chain.len.saturating_sub(header);
        add(&mut self.tx, frame, chain.segments);
        self.copies.single += 1;
        self.copies.bytes += u64::from(vnet(header) + frame);
        let WhyCopied { module_off, short, pending, backoff } = &mut self.copies.why;
        *match why {
            Why::ModuleOff => module_off,
            Why::Short => short,
            Why::Pending => pending,
            Why::Backoff => backoff,
        } += 1;
    }

    pub(super) fn zerocopy(&mut self, chain: Chain, header: u32, desc: u16) {
        let frame = chain.len.saturating_sub(header);
        add(&mut self.tx, frame, chain.segments);
        let linear = if chain.header_len == 0 { LINEAR } else { chain.header_len }.min(frame);
        self.copies.bytes += u64::from(vnet(header) + linear);
        match self.in_flight.insert(desc, frame - linear) {
            // One that the tap refused with an error had this number, and was never completed.
            Some(_) => self.copies.zerocopy_rejected += 1,
            None => self.copies.in_flight += 1,
        }
    }

    pub(super) fn completed(&mut self, desc: u16, completion: Completion) {
        let rest = self.in_flight.remove(&desc).unwrap_or(0);
        self.copies.in_flight = self.copies.in_flight.saturating_sub(1);
        let (count, more) = match completion {
            Completion::Uncopied => (&mut self.copies.zerocopy, 0),
            Completion::Rejected => (&mut self.copies.zerocopy_rejected, rest),
            Completion::Late(bytes) => (&mut self.copies.zerocopy_late, bytes),
        };
        *count += 1;
        self.copies.bytes += u64::from(more);
    }

    pub(super) fn received(&mut self, frame: Frame, len: u32) {
        add(&mut self.rx, frame.len, frame.segments);
        self.rx_copied_bytes += u64::from(len);
    }
}
