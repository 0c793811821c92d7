//! Reports of one observation as a trace that Perfetto opens (ui.perfetto.dev): tracks of counters for each queue and worker.
//!
//! Only the messages and fields that are written are declared, with the numbers of Perfetto's own
//! `protos/perfetto/trace/perfetto_trace.proto`, which do not change.

use std::{collections::HashMap, io, time::Duration};

use prost::Message;

use crate::report::{QueueReport, Report};

/// A kind of counter of a queue: name, unit, and what the report says of it.
type Counter = (&'static str, &'static str, fn(&QueueReport) -> Option<f64>);

/// The tracks of each queue; a new one is a new row.
const COUNTERS: &[Counter] = &[
    ("TX packets", "packets/s", |queue| queue.tx_rate.map(|rate| rate.pps)),
    ("TX bytes", "bytes/s", |queue| queue.tx_rate.map(|rate| rate.bps / 8.0)),
    ("TX drops", "packets/s", |queue| queue.tx_rate.and_then(|rate| rate.drops)),
    ("TX kicks", "kicks", |queue| queue.tx.kicks.map(|n| n as f64)),
    ("TX calls", "calls", |queue| queue.tx.calls.map(|n| n as f64)),
    ("RX packets", "packets/s", |queue| queue.rx_rate.map(|rate| rate.pps)),
    ("RX bytes", "bytes/s", |queue| queue.rx_rate.map(|rate| rate.bps / 8.0)),
    ("RX drops", "packets/s", |queue| queue.rx_rate.and_then(|rate| rate.drops)),
    ("RX kicks", "kicks", |queue| queue.rx.kicks.map(|n| n as f64)),
    ("RX calls", "calls", |queue| queue.rx.calls.map(|n| n as f64)),
    ("worker busy", "%", |queue| queue.worker.as_ref()?.busy_ratio.map(|ratio| ratio * 100.0)),
    ("worker CPU", "CPU", |queue| queue.worker.as_ref()?.cpu.map(f64::from)),
    ("worker migrations", "moves", |queue| queue.worker.as_ref()?.migrations.map(|n| n as f64)),
];

/// All packets are of one sequence; its number means nothing.
const SEQUENCE: u32 = 1;
/// `TrackEvent.Type.TYPE_COUNTER`.
const TYPE_COUNTER: i32 = 4;

/// `perfetto.protos.Trace` with one packet: such messages one after the other are one trace.
#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

/// `perfetto.protos.TracePacket`.
#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

/// `perfetto.protos.TrackEvent`.
#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(double, optional, tag = "44")]
    double_counter_value: Option<f64>,
}

/// `perfetto.protos.TrackDescriptor`.
#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
    #[prost(message, optional, tag = "8")]
    counter: Option<CounterDescriptor>,
}

/// `perfetto.protos.CounterDescriptor`.
#[derive(Clone, PartialEq, Message)]
struct CounterDescriptor {
    #[prost(string, optional, tag = "6")]
    unit_name: Option<String>,
}

/// What a track is of: a device, a queue of it, a counter of that.
type TrackKey = (u64, u32, u32, Option<(u16, Option<usize>)>);

/// Writes reports of growing instants as a trace.
#[derive(Debug, Default)]
pub struct Perfetto {
    tracks: HashMap<TrackKey, u64>,
}

impl Perfetto {
    /// Writes what is known at one instant. What is not known has no value on its track.
    ///
    /// # Errors
    /// As `out`.
    pub fn write(&mut self, report: &Report, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        let time = Duration::try_from_secs_f64(report.source.duration_s).unwrap_or(Duration::MAX);
        let timestamp = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut trace = Trace { packet: Vec::new() };
        for queue in &report.queues {
            for (i, (name, unit, value)) in COUNTERS.iter().enumerate() {
                let Some(value) = value(queue) else { continue };
                let uuid = self.counter(queue, i, name, unit, &mut trace);
                let event = TrackEvent {
                    r#type: Some(TYPE_COUNTER),
                    track_uuid: Some(uuid),
                    double_counter_value: Some(value),
                };
                trace.packet.push(TracePacket {
                    timestamp: Some(timestamp),
                    track_event: Some(event),
                    ..packet()
                });
            }
        }
        out.write_all(&trace.encode_to_vec())
    }

    fn counter(&mut self, queue: &QueueReport, i: usize, name: &str, unit: &str, trace: &mut Trace) -> u64 {
        let key = |what| (queue.netns, queue.ifindex, queue.generation, what);
        let device = self.track(key(None), None, &queue.device, None, trace);
        let pair = format!("queue {}", queue.queue);
        let pair = self.track(key(Some((queue.queue, None))), Some(device), &pair, None, trace);
        let unit = CounterDescriptor { unit_name: Some(unit.to_owned()) };
        self.track(key(Some((queue.queue, Some(i)))), Some(pair), name, Some(unit), trace)
    }

    /// The number of a track, which is described before it is first used.
    fn track(
        &mut self,
        key: TrackKey,
        parent: Option<u64>,
        name: &str,
        counter: Option<CounterDescriptor>,
        trace: &mut Trace,
    ) -> u64 {
        let next = self.tracks.len() as u64 + 1;
        *self.tracks.entry(key).or_insert_with(|| {
            let descriptor = TrackDescriptor {
                uuid: Some(next),
                name: Some(name.to_owned()),
                parent_uuid: parent,
                counter,
            };
            trace.packet.push(TracePacket { track_descriptor: Some(descriptor), ..packet() });
            next
        })
    }
}

fn packet() -> TracePacket {
    TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), ..TracePacket::default() }
}
