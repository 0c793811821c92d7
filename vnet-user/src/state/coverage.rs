//! Which counts are known to be counts: an absent packet is 0 only where something would have seen it.

use crate::{
    record::{Known, Probe},
    topology::{Device, DeviceKind},
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
    /// Bytes that vhost copied into the guest's buffers.
    Copied,
    /// The ledger of transmit copies, which counts packets too.
    Copies,
    /// Notifications by the guest.
    Kicks,
    /// Updates of the used ring: buffers given back to the guest, notifications of it given and spared.
    Calls,
    /// Which vCPU each call interrupts.
    Interrupts,
    /// Runs of the worker.
    Runs,
}

/// Whose queues a signal covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Those of devices of this kind.
    Kind(DeviceKind),
    /// Those that `vhost_net` serves, whatever the kind.
    Vhost,
}

/// One row: that signal, when it is known, covers this.
struct Signal {
    name: &'static str,
    whose: Whose,
    directions: &'static [Direction],
    what: What,
}

const fn signal(
    name: &'static str,
    kind: DeviceKind,
    directions: &'static [Direction],
    what: What,
) -> Signal {
    Signal { name, whose: Whose::Kind(kind), directions, what }
}

const fn vhost(name: &'static str, directions: &'static [Direction], what: What) -> Signal {
    Signal { name, whose: Whose::Vhost, directions, what }
}

const TX: &[Direction] = &[Direction::Tx];
const RX: &[Direction] = &[Direction::Rx];
const BOTH: &[Direction] = &[Direction::Tx, Direction::Rx];

/// Every signal that makes counts of a queue known. A kind without a row (tun) is never counted. `vhost.worker` has
/// none: of a worker that was not seen nothing is 0.
const SIGNALS: [Signal; 15] = [
    signal("tap.tx", DeviceKind::Tap, TX, What::Packets),
    signal("tap.rx", DeviceKind::Tap, RX, What::Packets),
    signal("tap.tx.drops", DeviceKind::Tap, TX, What::Drops),
    signal("tap.rx.drops", DeviceKind::Tap, RX, What::Drops),
    signal("virtio_net.tx", DeviceKind::VirtioNet, TX, What::Packets),
    signal("virtio_net.rx", DeviceKind::VirtioNet, RX, What::Packets),
    signal("macvtap", DeviceKind::Macvtap, BOTH, What::Packets),
    vhost("vhost.tx", TX, What::Packets),
    vhost("vhost.rx", RX, What::Packets),
    vhost("vhost.rx", RX, What::Copied),
    vhost("vhost.copies", TX, What::Copies),
    vhost("vhost.kicks", BOTH, What::Kicks),
    vhost("vhost.calls", BOTH, What::Calls),
    vhost("vhost.runs", BOTH, What::Runs),
    vhost("kvm.interrupts", BOTH, What::Interrupts),
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

    /// Whether this device has these counts, and none of its traffic escapes them.
    pub(super) fn covers(&self, device: &Device, direction: Direction, what: What) -> bool {
        let has = |whose| match whose {
            Whose::Kind(kind) => device.kind == kind,
            Whose::Vhost => device.vhost == Some(true),
        };
        let row = |(row, known): (&Signal, bool)| {
            known && row.what == what && has(row.whose) && row.directions.contains(&direction)
        };
        device.uncovered.is_empty() && SIGNALS.iter().zip(self.0).any(row)
    }
}
