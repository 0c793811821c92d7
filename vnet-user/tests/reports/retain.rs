//! A recording that is kept small: what is dropped, and what is not.

use std::fs;

use vnet::{
    record::{Flow, Nanos, QueueCounts, Record, Sample},
    state::State,
    topology::{DeviceKey, IfIndex, Netns, QueueKey, QueuePair},
    trace::{Reader, Recording},
};

const RETAIN: u64 = 1 << 20;

/// Samples of so many queues whose counts are not to be foretold.
fn samples(queues: u16, seconds: u64) -> impl Iterator<Item = Record> {
    let device = DeviceKey { netns: Netns(1), ifindex: IfIndex(7), generation: 0 };
    let mut seed = 1u64;
    let mut flows = vec![Flow::default(); queues.into()];
    (1..=seconds).map(move |second| {
        let queues = flows.iter_mut().zip(0..).map(|(flow, queue)| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let packets = seed >> 48;
            flow.sizes[usize::from(seed.to_le_bytes()[3] % 8)] += packets;
            flow.segments += packets;
            flow.bytes += packets * (seed >> 40 & 0x3ff);
            let tx = Some(flow.clone());
            (QueueKey { device, queue: QueuePair(queue) }, QueueCounts { tx, ..QueueCounts::default() })
        });
        Record::Sample(Sample {
            at: Nanos(second * 1_000_000_000),
            queues: queues.collect(),
            ..Sample::default()
        })
    })
}

#[test]
fn the_size_is_kept_and_the_counts_are_those_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut recording = Recording::create(&path, Some(RETAIN)).unwrap();
    let mut whole = State::default();
    let mut dropped = 0;
    for record in samples(64, 4000).chain([Record::End(Nanos(4_001_000_000_000))]) {
        whole.apply(&record);
        recording.push(&[record]).unwrap();
        let on_disk: u64 =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk <= RETAIN, "{on_disk} bytes");
        if recording.status().dropped > dropped {
            dropped = recording.status().dropped;
            assert!(on_disk >= RETAIN / 4, "only {on_disk} bytes are kept");
        }
    }
    assert!(dropped > 1, "it was never too large");
    recording.finish().unwrap();
    let file = fs::read(&path).unwrap();
    let mut reader = Reader::new(&*file).unwrap();
    let mut rest = State::default();
    let read = reader.by_ref().map(|record| rest.apply(&record)).count();
    assert!(
        reader.problem().is_none() && reader.seen().ended && reader.seen().dropped > 0,
        "{:?}",
        reader.seen()
    );
    assert!(read < 4000, "something was dropped");
    assert_eq!(
        serde_json::to_string(&rest.report()).unwrap(),
        serde_json::to_string(&whole.report()).unwrap()
    );
}

#[test]
fn what_exists_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    fs::write(&path, "evidence").unwrap();
    assert!(Recording::create(&path, None).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"evidence");
}
