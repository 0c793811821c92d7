//! Expectations of a report: only what is written is checked.

use std::{collections::BTreeMap, fmt::Debug};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vnet::report::{QueueReport, Rate, Report};

use super::records::{device_key, queue_key};

/// A value that may be expected to be null.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Maybe<T> {
    Known(T),
    Null(Unknown),
}

/// The word `"unknown"`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unknown {
    Unknown,
}

/// Values in JSON by their place in a device or queue, e.g. `/tx/copies/batched`.
type Json = BTreeMap<String, Value>;

/// What a report must say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    duration_s: Option<f64>,
    complete: Option<bool>,
    regressions: Option<u64>,
    lost_events: Option<u64>,
    /// All devices, as `KEY NAME`, in order.
    devices: Option<Vec<String>>,
    /// All queues, as `KEY#QUEUE NAME`, in order.
    queues: Option<Vec<String>>,
    device: Vec<Device>,
    queue: Vec<Queue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: String,
    present: Option<bool>,
    vm_pid: Option<Maybe<u32>>,
    queues_enabled: Option<Maybe<u32>>,
    #[serde(default)]
    json: Json,
    #[serde(default)]
    tx: Side,
    #[serde(default)]
    rx: Side,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    id: String,
    share: Option<Maybe<f64>>,
    history: Option<Vec<f32>>,
    #[serde(default)]
    json: Json,
    #[serde(default)]
    tx: Side,
    #[serde(default)]
    rx: Side,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Side {
    packets: Option<Maybe<u64>>,
    bytes: Option<Maybe<u64>>,
    segments: Option<Maybe<u64>>,
    drops: Option<Maybe<BTreeMap<String, u64>>>,
    pps: Option<Maybe<f64>>,
    bps: Option<Maybe<f64>>,
    mean_size: Option<Maybe<f64>>,
    drops_per_second: Option<Maybe<f64>>,
    average_pps: Option<Maybe<f64>>,
    average_drops: Option<Maybe<f64>>,
}

/// Collects what differs, under a label.
struct Differences(Vec<String>);

impl Differences {
    fn same<T: PartialEq + Debug>(&mut self, what: &str, expected: Option<&T>, seen: &T) {
        if let Some(expected) = expected.filter(|expected| *expected != seen) {
            self.0.push(format!("{what}: expected {expected:?}, is {seen:?}"));
        }
    }

    fn maybe<T: PartialEq + Debug>(&mut self, what: &str, expected: Option<&Maybe<T>>, seen: Option<T>) {
        self.same(what, expected, &seen.map_or(Maybe::Null(Unknown::Unknown), Maybe::Known));
    }

    /// Each place must be there: null is written as `"unknown"`.
    fn json(&mut self, what: &str, expected: &Json, seen: &impl Serialize) {
        let seen = serde_json::to_value(seen).expect("a report is JSON");
        for (at, value) in expected {
            let null = serde_json::json!("unknown");
            let value = if *value == null { &Value::Null } else { value };
            match seen.pointer(at) {
                Some(seen) => self.same(&format!("{what} {at}"), Some(value), seen),
                None => self.0.push(format!("{what} {at} is not there")),
            }
        }
    }

    fn rates(&mut self, what: &str, expected: &Side, rate: Option<Rate>, average: Option<Rate>) {
        self.maybe(&format!("{what}.pps"), expected.pps.as_ref(), rate.map(|rate| rate.pps));
        self.maybe(&format!("{what}.bps"), expected.bps.as_ref(), rate.map(|rate| rate.bps));
        self.maybe(
            &format!("{what}.mean_size"),
            expected.mean_size.as_ref(),
            rate.and_then(|rate| rate.mean_size),
        );
        self.maybe(
            &format!("{what}.drops_per_second"),
            expected.drops_per_second.as_ref(),
            rate.and_then(|rate| rate.drops),
        );
        self.maybe(
            &format!("{what}.average_pps"),
            expected.average_pps.as_ref(),
            average.map(|rate| rate.pps),
        );
        self.maybe(
            &format!("{what}.average_drops"),
            expected.average_drops.as_ref(),
            average.and_then(|rate| rate.drops),
        );
    }
}

impl Expect {
    /// What differs, one line each.
    pub(crate) fn check(&self, report: &Report, regressions: u64) -> Vec<String> {
        let mut wrong = Differences(Vec::new());
        wrong.same("duration_s", self.duration_s.as_ref(), &report.source.duration_s);
        wrong.same("complete", self.complete.as_ref(), &report.source.complete);
        wrong.same("regressions", self.regressions.as_ref(), &regressions);
        wrong.same("lost_events", self.lost_events.as_ref(), &report.lost.events);
        let id = |netns, ifindex, generation| match generation {
            0 => format!("{netns}/{ifindex}"),
            _ => format!("{netns}/{ifindex}.{generation}"),
        };
        let devices =
            report.devices.iter().map(|d| format!("{} {}", id(d.netns, d.ifindex, d.generation), d.name));
        wrong.same("devices", self.devices.as_ref(), &devices.collect());
        let queue =
            |q: &QueueReport| format!("{}#{} {}", id(q.netns, q.ifindex, q.generation), q.queue, q.device);
        wrong.same("queues", self.queues.as_ref(), &report.queues.iter().map(queue).collect());
        self.device.iter().for_each(|device| device.check(report, &mut wrong));
        self.queue.iter().for_each(|queue| queue.check(report, &mut wrong));
        wrong.0
    }
}

impl Device {
    fn check(&self, report: &Report, wrong: &mut Differences) {
        let key = device_key(&self.id).expect("a device id");
        let id = &self.id;
        let Some(seen) = report.devices.iter().find(|device| device.key() == key) else {
            return wrong.0.push(format!("{id} is not listed"));
        };
        wrong.same(&format!("{id} present"), self.present.as_ref(), &seen.present);
        wrong.json(id, &self.json, seen);
        wrong.maybe(&format!("{id} vm_pid"), self.vm_pid.as_ref(), seen.vm_pid);
        wrong.maybe(&format!("{id} queues_enabled"), self.queues_enabled.as_ref(), seen.queues_enabled);
        wrong.rates(&format!("{id} tx"), &self.tx, seen.tx_rate, seen.average.tx);
        wrong.rates(&format!("{id} rx"), &self.rx, seen.rx_rate, seen.average.rx);
        let counts =
            [&self.tx, &self.rx].map(|side| (&side.packets, &side.bytes, &side.segments, &side.drops));
        assert_eq!(counts, [(&None, &None, &None, &None); 2], "{id}: a device has no counts of its own");
    }
}

impl Queue {
    fn check(&self, report: &Report, wrong: &mut Differences) {
        let key = queue_key(&self.id).expect("a queue id");
        let id = &self.id;
        let found = |queue: &&QueueReport| queue.device_key() == key.device && queue.queue == key.queue.0;
        let Some(seen) = report.queues.iter().find(found) else {
            return wrong.0.push(format!("{id} is not listed"));
        };
        wrong.json(id, &self.json, seen);
        wrong.maybe(&format!("{id} share"), self.share.as_ref(), seen.share);
        wrong.same(&format!("{id} history"), self.history.as_ref(), &seen.history.to_vec());
        let plain =
            |drops: &BTreeMap<_, _>| drops.iter().map(|(reason, n)| (format!("{reason}"), *n)).collect();
        let (tx, rx) = (&seen.tx, &seen.rx);
        for (name, expected, packets, bytes, segments, drops) in [
            ("tx", &self.tx, tx.packets, tx.bytes, tx.segments, tx.drops.as_ref().map(plain)),
            ("rx", &self.rx, rx.packets, rx.bytes, rx.segments, rx.drops.as_ref().map(plain)),
        ] {
            wrong.maybe(&format!("{id} {name}.packets"), expected.packets.as_ref(), packets);
            wrong.maybe(&format!("{id} {name}.bytes"), expected.bytes.as_ref(), bytes);
            wrong.maybe(&format!("{id} {name}.segments"), expected.segments.as_ref(), segments);
            wrong.maybe(&format!("{id} {name}.drops"), expected.drops.as_ref(), drops);
        }
        wrong.rates(&format!("{id} tx"), &self.tx, seen.tx_rate, seen.average.tx);
        wrong.rates(&format!("{id} rx"), &self.rx, seen.rx_rate, seen.average.rx);
    }
}
