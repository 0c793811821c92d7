//! Which counts are known to be counts: an absent packet is 0 only where something would have seen it.

use crate::{
    record::{Known, Probe},
    topology::DeviceKind,
};

/// A side of a queue pair, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Tx,
    Rx,
}

/// What a signal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Packets, with their bytes, segments and sizes.
    Packets,
    /// Drops by the device itself.
    Drops,
}

/// One row: that signal, when it is known, covers this.
struct Signal {
    name: &'static str,
    kind: DeviceKind,
    directions: &'static [Direction],
    what: What,
}

const fn signal(
    name: &'static str,
    kind: DeviceKind,
    directions: &'static [Direction],
    what: What,
) -> Signal {
    Signal { name, kind, directions, what }
}

const TX: &[Direction] = &[Direction::Tx];
const RX: &[Direction] = &[Direction::Rx];
const BOTH: &[Direction] = &[Direction::Tx, Direction::Rx];

/// Every signal that makes counts of a queue known. A kind without a row (tun) is never counted.
const SIGNALS: [Signal; 7] = [
    signal("tap.tx", DeviceKind::Tap, TX, What::Packets),
    signal("tap.rx", DeviceKind::Tap, RX, What::Packets),
    signal("tap.tx.drops", DeviceKind::Tap, TX, What::Drops),
    signal("tap.rx.drops", DeviceKind::Tap, RX, What::Drops),
    signal("virtio_net.tx", DeviceKind::VirtioNet, TX, What::Packets),
    signal("virtio_net.rx", DeviceKind::VirtioNet, RX, What::Packets),
    signal("macvtap", DeviceKind::Macvtap, BOTH, What::Packets),
];

/// Which rows of [`SIGNALS`] are known now.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage([bool; SIGNALS.len()]);

impl Coverage {
    /// From what a source says about its probes.
    pub(super) fn of(probes: &[Probe]) -> Self {
        Self(SIGNALS.each_ref().map(|row| {
            probes.iter().any(|probe| probe.signal == row.name && probe.state != Known::Unavailable)
        }))
    }

    /// Whether a device of this kind has these counts.
    pub(super) fn covers(&self, kind: DeviceKind, direction: Direction, what: What) -> bool {
        SIGNALS.iter().zip(self.0).any(|(row, known)| {
            known && row.kind == kind && row.what == what && row.directions.contains(&direction)
        })
    }
}
