//! What is in a recording, in few lines.

use std::{collections::BTreeSet, io};

use super::{Seen, VERSION};
use crate::{
    record::{Lost, Nanos, Record, Source},
    topology::{DeviceKey, QueueKey},
};

/// What records were about.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    source: Option<Source>,
    devices: BTreeSet<DeviceKey>,
    queues: BTreeSet<QueueKey>,
    topologies: u64,
    samples: u64,
    /// Queues and workers in samples.
    entries: u64,
    first: Option<Nanos>,
    last: Option<Nanos>,
    lost: Lost,
}

impl Summary {
    /// Takes a record in.
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Source(source) => self.source = Some(source.clone()),
            Record::Topology(topology) => {
                self.topologies += 1;
                self.devices.extend(topology.devices.iter().map(|device| device.key));
            }
            Record::Sample(sample) => {
                self.samples += 1;
                self.entries += (sample.queues.len() + sample.workers.len()) as u64;
                self.queues.extend(sample.queues.iter().map(|(key, _)| *key));
                self.first = self.first.or(Some(sample.at));
                self.last = self.last.max(Some(sample.at));
            }
            Record::Lost(lost) => self.lost = *lost,
            Record::End(at) => self.last = self.last.max(Some(*at)),
        }
    }

    /// Writes it as text; `seen` is what the reader saw.
    ///
    /// # Errors
    /// As `out`.
    pub fn write(&self, seen: Seen, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        let unknown = || "—".to_owned();
        let source =
            |what: fn(&Source) -> &String| self.source.as_ref().map_or_else(unknown, |s| what(s).clone());
        let seconds = |at: Option<Nanos>| at.map_or_else(unknown, |at| format!("{:.3} s", at.seconds()));
        let mut line = |name: &str, value: String| writeln!(out, "{name:<10} {value}");
        line("format", VERSION.to_string())?;
        line("host", source(|source| &source.host))?;
        line("kernel", source(|source| &source.kernel))?;
        line("counting", format!("since {}", source(|source| &source.started)))?;
        line("samples", format!("{}, from {} to {}", self.samples, seconds(self.first), seconds(self.last)))?;
        line("devices", format!("{}, with {} queues counted", self.devices.len(), self.queues.len()))?;
        line("lost", format!("{} events, {} records", self.lost.events, self.lost.records))?;
        line("records", format!("{}, with {} entries of queues and workers", seen.records, self.entries))?;
        let each = (self.entries > 0).then(|| seen.bytes as f64 / self.entries as f64);
        let each = each.map(|each| format!(", {each:.1} an entry")).unwrap_or_default();
        line("bytes", format!("{}{each}; {} before compression", seen.bytes, seen.unpacked))?;
        line("blocks", format!("{}, {} of them pictures of all that is known", seen.blocks, seen.pictures))?;
        if seen.dropped > 0 {
            line("dropped", format!("{} blocks before these, to keep the file small", seen.dropped))?;
        }
        line("complete", if seen.ended { "yes" } else { "no: its end is missing" }.to_owned())
    }
}
