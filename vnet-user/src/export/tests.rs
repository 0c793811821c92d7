//! The table, and what is remembered between reports.

use std::collections::BTreeSet;

use super::*;
use crate::report::{DeviceReport, QueueReport, Report};

/// A report of devices in one namespace: index, generation, queue pairs.
fn report(at: f64, devices: &[(u32, u32, u16)]) -> Report {
    let mut report = crate::state::State::default().report();
    report.source.started = Some("2026-01-02T03:04:05Z".into());
    report.source.duration_s = at;
    for (ifindex, generation, pairs) in devices.iter().copied() {
        let name = format!("tap{ifindex}");
        report.devices.push(DeviceReport {
            name: name.clone(),
            ifindex,
            netns: 1,
            generation,
            kind: "tap".into(),
            present: true,
            ..DeviceReport::default()
        });
        report.queues.extend((0..pairs).map(|queue| QueueReport {
            device: name.as_str().into(),
            ifindex,
            netns: 1,
            generation,
            queue,
            ..QueueReport::default()
        }));
    }
    report
}

/// Indexes of the devices with series per queue pair.
fn apart(seen: &Seen, report: &Report) -> Vec<u32> {
    let apart = report.queues.iter().filter(|queue| seen.apart(queue)).map(|queue| queue.ifindex);
    apart.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn the_table_keeps_the_conventions() {
    let allowed = ["netns", "device", "queue", "vm", "worker", "rule", "level", "reason", "probe", "version"];
    let mut names = BTreeSet::new();
    let mut per_queue = 0;
    for metric in METRICS {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("vnet_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{name}: {}", metric.help);
        // What a metric is told by is its label's business; what it is of may begin its name.
        let by = ["netns", "queue", "vm", "rule", "level", "reason", "by"];
        assert!(!name.split('_').any(|word| by.contains(&word)), "{name}");
        for label in metric.of.labels() {
            assert!(allowed.contains(label), "{name} has the label {label}");
        }
        per_queue += u32::from(matches!(metric.of, Of::Queue(_)));
    }
    assert_eq!(per_queue, 6, "a metric per queue pair costs thousands of series");
}

#[test]
fn a_large_host_is_summed_for_good() {
    let mut seen = Seen::new(PerQueue::Auto);
    let small = report(1.0, &[(1, 0, 256), (2, 0, 256)]);
    seen.follow(&small);
    assert_eq!(apart(&seen, &small), [1, 2]);
    let large = report(2.0, &[(1, 0, 256), (2, 0, 256), (3, 0, 1)]);
    seen.follow(&large);
    assert_eq!(apart(&seen, &large), [0; 0]);
    seen.follow(&small);
    assert_eq!(apart(&seen, &small), [0; 0]);
}

#[test]
fn the_first_to_come_have_series_per_queue_up_to_the_cap() {
    let mut seen = Seen::new(PerQueue::Cap(10));
    let now = report(1.0, &[(2, 0, 4), (3, 0, 4)]);
    seen.follow(&now);
    // One that comes later does not take them away, though it is sorted first; what fits is given.
    let now = report(2.0, &[(1, 0, 4), (2, 0, 4), (3, 0, 4), (4, 0, 2)]);
    seen.follow(&now);
    assert_eq!(apart(&seen, &now), [2, 3, 4]);
    // What is gone makes room.
    let now = report(3.0, &[(1, 0, 4), (3, 0, 4), (4, 0, 2)]);
    seen.follow(&now);
    assert_eq!(apart(&seen, &now), [1, 3, 4]);
}

#[test]
fn since_when_a_device_counts() {
    let mut seen = Seen::new(PerQueue::Auto);
    let start = 1_767_323_045.0;
    seen.follow(&report(0.0, &[(1, 0, 1)]));
    seen.follow(&report(7.0, &[(1, 0, 1)]));
    let now = report(9.0, &[(1, 1, 1), (2, 0, 1)]);
    seen.follow(&now);
    // A new one under an old index counts from the last report without it.
    let created = |seen: &Seen, now: &Report| -> Vec<_> {
        now.devices.iter().filter_map(|device| seen.created(device.key())).collect()
    };
    assert_eq!(created(&seen, &now), [start + 7.0; 2]);
    assert_eq!((seen.started(), seen.read()), (Some(start), Some(start + 9.0)));
}
