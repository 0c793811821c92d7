//! Attaches the programs that every packet of the host pays for only while a device needs them: a virtio NIC of this
//! machine, or a tap that vhost does not serve.
//!
//! What a tap carries before they are attached again (it is new, or its monitor has taken it back from vhost) only the tap
//! itself counts. [`Residuals`](super::vhost::Residuals) finds out how much that was, and the device and the signals say so.

use std::time::{Duration, Instant};

use super::{Live, signals};
use crate::{
    record::{Known, Probe},
    topology::{Device, DeviceKind},
};

/// Nothing has needed them for so long: they are detached. Longer than queue counts and the taps' own counters may be old
/// ([`super::REFRESH_LONGEST`]).
const QUIET: Duration = Duration::from_secs(6);

/// How often it is looked whether vhost still serves every tap, while they are not attached: some microseconds.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Attach,
    Detach,
}

/// When they are attached and detached.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Since when nothing has needed them.
    idle: Option<Instant>,
    /// Packets that only taps have counted, as last said of the signals.
    missed: [u64; 2],
    /// The signals are others than those last told.
    pub(super) news: bool,
}

impl Demand {
    fn step(&mut self, attached: bool, needed: bool, now: Instant) -> Step {
        if needed || !attached {
            self.idle = None;
            return if needed && !attached { Step::Attach } else { Step::Stay };
        }
        let since = *self.idle.get_or_insert(now);
        if now.duration_since(since) < QUIET {
            return Step::Stay;
        }
        self.idle = None;
        Step::Detach
    }
}

/// For whom they are needed; `served` says how many queues of a device vhost serves.
///
/// A tap that nobody has opened needs them too: nothing tells when somebody does. And while vhost serves no tap at all they
/// cost no guest anything, and count the first packet of any tap to come.
pub(super) fn whom(devices: &[Device], served: impl Fn(&Device) -> usize) -> Option<String> {
    let present = || devices.iter().filter(|device| device.present);
    let mut spares = false;
    for device in present() {
        match device.kind {
            DeviceKind::VirtioNet => {
                return Some(format!("for {}, a virtio NIC of this machine", device.name));
            }
            DeviceKind::Tap => {
                let open = open_queues(device);
                if open.is_none_or(|open| open == 0 || served(device) < open) {
                    return Some(format!(
                        "for {}: vhost is not seen to serve all of its queues",
                        device.name
                    ));
                }
                spares = true;
            }
            DeviceKind::Tun | DeviceKind::Macvtap => {}
        }
    }
    (!spares).then(|| "for taps to come: vhost serves none".to_owned())
}

/// Queues of a tap that somebody holds; `None` while not known.
fn open_queues(device: &Device) -> Option<usize> {
    let open = device.queues_enabled? + device.queues_disabled.unwrap_or(0);
    usize::try_from(open).ok()
}

impl Live {
    /// Whom they are needed for now.
    fn demand(&self, devices: &[Device]) -> Option<String> {
        let served = self.counters.served();
        // Where vhost is not wholly seen, its own programs do not count everything.
        let seen = self.loaded.vhost.sees_vhost();
        let whom = whom(devices, |device| if seen { served.queues(device.key) } else { 0 });
        let hidden = |why| format!("for taps that may be hidden from the inventory: {why}");
        whom.or_else(|| self.inventory.hides_devices().map(hidden))
    }

    /// Attaches or detaches them; true when they are attached now and were not.
    pub(super) fn follow_demand(&mut self) -> bool {
        let topology = self.inventory.topology();
        let devices = &topology.devices;
        self.counters.look_served(&self.loaded.maps);
        let whom = self.demand(devices);
        let attached = self.loaded.is_host_wide();
        let step = self.demand.step(attached, whom.is_some(), Instant::now());
        match (step, whom) {
            (Step::Attach, Some(whom)) => self.loaded.attach_host_wide(&whom),
            (Step::Detach, _) => self.loaded.detach_host_wide(),
            (_, Some(whom)) if attached => {
                self.demand.news |= self.loaded.host_wide_for(&whom);
            }
            _ => {}
        }
        if !attached || self.demand.idle.is_some() {
            self.watch_taps(devices);
        }
        if step != Step::Stay {
            self.counters.cover(signals::coverage(&self.loaded.probes));
            self.demand.news = true;
        }
        if std::mem::take(&mut self.demand.news) {
            self.tell_signals();
        }
        step == Step::Attach
    }

    /// Has the taps' own counters compared with what is counted, from before anything can be missed.
    fn watch_taps(&mut self, devices: &[Device]) {
        let filter = &self.options.filter;
        let told = |device: &&Device| device.present && filter.admits_key(device.key);
        let taps = devices.iter().filter(told).filter(|device| device.kind == DeviceKind::Tap);
        let new = taps.filter(|tap| self.residuals.watch(tap.key)).count();
        if new > 0 {
            self.inventory.want_stats();
            self.counters.cover(signals::coverage(&self.loaded.probes));
        }
    }

    /// Takes note of what only taps have counted. Call it when their own counters were read. True when it is more than before.
    pub(super) fn note_missed(&mut self) -> bool {
        let sum = |sum: [u64; 2], device: &Device| {
            let missed = self.residuals.missed(device.key);
            [sum[0] + missed[0], sum[1] + missed[1]]
        };
        let missed = self.inventory.topology().devices.iter().fold([0; 2], sum);
        let news = missed != self.demand.missed;
        if news {
            self.demand.missed = missed;
            self.tell_signals();
        }
        news
    }

    /// The signals as they are known now, to be told.
    pub(super) fn tell_signals(&mut self) {
        self.source.probes = signals::probes(&self.loaded);
        derive(&mut self.source.probes, self.demand.missed);
        self.demand.news = true;
    }

    /// What is missing in the counts of a device, if anything is.
    pub(super) fn missing(&self, device: &Device) -> Option<String> {
        let [sent, received] = self.residuals.missed(device.key);
        (sent + received > 0).then(|| {
            format!(
                "{sent} packets that its guest sent and {received} that it received are known from the tap's own counters \
                 only: they passed when it was new, or outside vhost after vhost had served it"
            )
        })
    }
}

/// Says of the signals of taps that some packets are known by device only.
fn derive(probes: &mut [Probe], [sent, received]: [u64; 2]) {
    for (signal, missed) in [("tap.tx", sent), ("tap.rx", received)] {
        let exact = |probe: &&mut Probe| probe.signal == signal && probe.state == Known::Exact;
        if missed > 0
            && let Some(probe) = probes.iter_mut().find(exact)
        {
            probe.state = Known::Derived;
            probe.reason = Some(format!("{missed} packets are known by device only, see its `uncovered`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{DeviceKey, IfIndex, Netns};

    fn device(kind: DeviceKind, enabled: Option<u32>, disabled: Option<u32>) -> Device {
        Device {
            key: DeviceKey { netns: Netns(1), ifindex: IfIndex(2), generation: 0 },
            name: "one".to_owned(),
            kind,
            present: true,
            queues_max: None,
            queues_enabled: enabled,
            queues_disabled: disabled,
            owner: None,
            uncovered: Vec::new(),
            vhost: None,
            zerocopy: None,
        }
    }

    #[test]
    fn a_device_needs_them_unless_vhost_is_known_to_serve_all_of_it() {
        let tap = |enabled, disabled| device(DeviceKind::Tap, enabled, disabled);
        let needed = |devices: &[Device], served| whom(devices, |_| served).is_some();
        assert!(needed(&[], 0) && needed(&[device(DeviceKind::Tun, Some(1), None)], 0), "none to spare");
        assert!(needed(&[tap(Some(1), None)], 0) && !needed(&[tap(Some(1), None)], 1));
        assert!(needed(&[tap(Some(2), Some(1))], 2) && !needed(&[tap(Some(2), Some(1))], 3));
        assert!(needed(&[tap(None, None)], 9) && needed(&[tap(Some(0), Some(0))], 9), "who holds it?");
        assert!(needed(&[tap(Some(1), None), device(DeviceKind::VirtioNet, Some(1), None)], 1));
        assert!(!needed(&[tap(Some(1), None), device(DeviceKind::Macvtap, None, None)], 1), "never counted");
        let gone = Device { present: false, ..tap(Some(1), None) };
        assert!(!needed(&[tap(Some(1), None), gone], 1));
    }

    #[test]
    fn they_are_attached_at_once_and_detached_after_a_while() {
        let (mut demand, begin) = (Demand::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(demand.step(true, false, at(0)), Step::Stay);
        assert_eq!(demand.step(true, false, at(5)), Step::Stay);
        assert_eq!(demand.step(true, true, at(5)), Step::Stay, "it begins anew");
        assert_eq!(demand.step(true, false, at(6)), Step::Stay);
        assert_eq!(demand.step(true, false, at(11)), Step::Stay);
        assert_eq!(demand.step(true, false, at(12)), Step::Detach);
        assert_eq!(demand.step(false, false, at(13)), Step::Stay);
        assert_eq!(demand.step(false, true, at(13)), Step::Attach);
        assert_eq!(demand.step(true, true, at(13)), Step::Stay);
    }
}
