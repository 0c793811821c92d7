//! What an exporter remembers from report to report: since when a device is there, and which have series per queue.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use crate::report::{DeviceKey, DeviceReport, QueueReport, Report};

/// Queue pairs above which a host is large.
pub const LARGE: usize = 512;

/// Which devices have series per queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerQueue {
    /// All, until the host has more than [`LARGE`] queue pairs; from then on none.
    Auto,
    /// None.
    Off,
    /// Device by device as they come, up to so many queue pairs.
    Cap(usize),
}

/// What is remembered of the devices that are there, and of nothing else: it does not grow as they come and go.
#[derive(Clone, Debug)]
pub struct Seen {
    per_queue: PerQueue,
    /// When counting began, in seconds since 1970.
    started: Option<f64>,
    /// Seconds from there to the last report.
    at: f64,
    devices: BTreeMap<DeviceKey, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// An instant, as `at`, at which the device was not yet counted.
    since: f64,
    /// Queue pairs that have series of their own; 0 is none.
    apart: usize,
}

impl Seen {
    /// Nothing yet.
    pub fn new(per_queue: PerQueue) -> Self {
        Self { per_queue, started: None, at: 0.0, devices: BTreeMap::new() }
    }

    /// Takes the next report.
    pub fn follow(&mut self, report: &Report) {
        let started = report.source.started.as_deref();
        self.started = started
            .and_then(|text| humantime::parse_rfc3339(text).ok())
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64()));
        let mut pairs: BTreeMap<DeviceKey, usize> = BTreeMap::new();
        for queue in &report.queues {
            *pairs.entry(queue.device_key()).or_default() += 1;
        }
        let there = report.devices.iter().filter(|device| device.present).map(DeviceReport::key);
        let there: BTreeMap<_, _> = there.map(|key| (key, pairs.get(&key).copied().unwrap_or(0))).collect();
        if self.per_queue == PerQueue::Auto && there.values().sum::<usize>() > LARGE {
            // For good: a host that is now above and now below would have other series each time.
            self.per_queue = PerQueue::Off;
        }
        let cap = match self.per_queue {
            PerQueue::Auto => LARGE,
            PerQueue::Off => 0,
            PerQueue::Cap(cap) => cap,
        };
        self.devices.retain(|key, _| there.contains_key(key));
        // Who has them keeps them, with the queue pairs that came since; then they are given in order of appearance.
        let mut apart = 0;
        for (key, known) in self.devices.iter_mut().filter(|(_, known)| known.apart > 0) {
            let pairs = there[key].max(1);
            known.apart = if apart + pairs <= cap { pairs } else { 0 };
            apart += known.apart;
        }
        for (key, pairs) in there {
            let known = self.devices.entry(key).or_insert(Known { since: self.at, apart: 0 });
            if known.apart == 0 && pairs > 0 && apart + pairs <= cap {
                known.apart = pairs;
                apart += pairs;
            }
        }
        self.at = report.source.duration_s;
    }

    /// Whether the queue pair has series of its own.
    pub fn apart(&self, queue: &QueueReport) -> bool {
        self.devices.get(&queue.device_key()).is_some_and(|known| known.apart > 0)
    }

    /// When counting began, in seconds since 1970.
    pub fn started(&self) -> Option<f64> {
        self.started
    }

    /// When the last numbers were read, in seconds since 1970.
    pub fn read(&self) -> Option<f64> {
        Some(self.started? + self.at)
    }

    /// A time at which nothing was counted of the device yet, in seconds since 1970.
    pub fn created(&self, key: DeviceKey) -> Option<f64> {
        Some(self.started? + self.devices.get(&key).map_or(0.0, |known| known.since))
    }
}
