//! How every signal is known, and what that means for what is told.

use super::{
    counters::{Coverage, Covered},
    kvm,
    load::Loaded,
    vhost,
};
use crate::record::{Known, Probe};

/// A direction is covered when anything of it is: of the rest nothing is counted, and its signal says so.
pub(crate) fn coverage(probes: &[Probe]) -> Coverage {
    let covered = |signals: &[&str]| {
        let known = |probe: &Probe| probe.state != Known::Unavailable;
        probes.iter().any(|probe| signals.contains(&probe.signal.as_str()) && known(probe))
    };
    Coverage {
        tap: Covered {
            tx: covered(&[
                "tap.tx",
                "tap.tx.napi",
                "tap.tx.napi_frags",
                "tap.tx.drops",
                "tap.tx.stack_drops",
            ]),
            rx: covered(&["tap.rx", "tap.rx.drops"]),
        },
        virtio_net: Covered { tx: covered(&["virtio_net.tx"]), rx: covered(&["virtio_net.rx"]) },
        stack_drops: covered(&["tap.tx.stack_drops"]),
        vhost: vhost::Known::of(probes),
    }
}

/// What is not counted of taps that go through NAPI, which other taps have no part in.
pub(crate) fn napi(probes: &[Probe]) -> Vec<String> {
    let ways = [("tap.tx.napi", "through NAPI"), ("tap.tx.napi_frags", "as fragments (IFF_NAPI_FRAGS)")];
    let missing = |(signal, way): (&str, &str)| {
        let probe = probes.iter().find(|probe| probe.signal == signal)?;
        let reason = probe.reason.as_deref().unwrap_or("no reason is known");
        (probe.state == Known::Unavailable)
            .then(|| format!("packets that its guest sends {way} are not counted: {reason}"))
    };
    ways.into_iter().filter_map(missing).collect()
}

/// How every signal is known.
pub(crate) fn probes(loaded: &Loaded) -> Vec<Probe> {
    let mut probes = loaded.probes.clone();
    probes.push(macvtap());
    probes.push(kvm::vcpus());
    probes
}

/// What no tracepoint shows.
fn macvtap() -> Probe {
    let reason = "macvtap queues pass no tracepoint that names them";
    Probe::exact_unless("macvtap", "fentry:tap_handle_frame", Some(reason.to_owned()))
}
