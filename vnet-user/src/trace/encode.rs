//! Records to the bytes of a block.
//!
//! A record is its kind, its length and its body. Source and topology are rare and are JSON. A sample is numbers: of each
//! queue that it lists, which of its places changed (a shape, told once) and by how much. So a count that goes on as before
//! takes one or two bytes.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{
    Malformed, fields, kind,
    known::{Known, NAME_LONGEST, NAMES, Pair, QUEUES, SHAPE_PLACES, SHAPES, Tables},
    section,
    wire::{put, put_bytes, put_signed},
};
use crate::{
    record::{QueueCounts, Record, Sample, Worker},
    topology::{DeviceKey, QueueKey},
};

/// Numbers that records are written with.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    tables: Tables,
    known: Known,
    pairs: HashMap<QueueKey, usize>,
    names: HashMap<Arc<str>, u32>,
    shapes: HashMap<Arc<[u32]>, usize>,
}

/// Places that changed, in order, and by how much.
type Changes = Vec<(u32, i64)>;

impl Encoder {
    /// Instant that was last told.
    pub(super) fn at(&self) -> u64 {
        self.tables.at
    }

    /// A table is nearly full: time for a picture, which empties them.
    pub(super) fn full(&self) -> bool {
        let Tables { names, shapes, places, .. } = &self.tables;
        names.len() > NAMES / 2 || shapes.len() > SHAPES / 2 || *places > SHAPE_PLACES / 2
    }

    /// Writes everything known anew, from empty tables: what follows can be read without what was before.
    pub(super) fn picture(&mut self, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        let records = self.known.picture(&self.tables);
        *self = Self { known: std::mem::take(&mut self.known), ..Self::default() };
        for record in &records {
            self.record(record, out)?;
        }
        Ok(u32::try_from(records.len()).unwrap_or(u32::MAX))
    }

    /// Writes a record.
    pub(super) fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.known.take(record)?;
        let mut body = Vec::new();
        let kind = match record {
            Record::Source(source) => {
                serde_json::to_writer(&mut body, source).map_err(|_| Malformed("it is no JSON"))?;
                kind::SOURCE
            }
            Record::Topology(topology) => {
                serde_json::to_writer(&mut body, topology).map_err(|_| Malformed("it is no JSON"))?;
                kind::TOPOLOGY
            }
            Record::Sample(sample) => {
                self.sample(sample, &mut body, out)?;
                kind::SAMPLE
            }
            Record::Lost(lost) => {
                put(&mut body, lost.events);
                put(&mut body, lost.records);
                kind::LOST
            }
            Record::End(at) => {
                put(&mut body, at.0);
                kind::END
            }
        };
        framed(kind, &body, out);
        Ok(())
    }

    fn sample(&mut self, sample: &Sample, body: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Sample { at, queues, workers, ended, residuals, paths, vcpus } = sample;
        put_signed(body, at.0.wrapping_sub(self.tables.at).cast_signed());
        self.tables.at = at.0;
        let mut bytes = Vec::new();
        let mut next = 0;
        for (key, counts) in queues {
            let number = self.refer(*key, &mut next, &mut bytes, out)?;
            let changes = self.counts(number, counts, out)?;
            self.changes(&changes, &mut bytes, out)?;
        }
        listed(section::QUEUES, queues.len(), &mut bytes, body);
        next = 0;
        for worker in workers {
            let number = self.refer(worker.queue, &mut next, &mut bytes, out)?;
            let changes = self.worker(number, worker, out)?;
            self.changes(&changes, &mut bytes, out)?;
        }
        listed(section::WORKERS, workers.len(), &mut bytes, body);
        next = 0;
        for key in ended {
            let number = self.refer(*key, &mut next, &mut bytes, out)?;
            (self.tables.pairs[number].worker, self.tables.pairs[number].ended) = (None, true);
        }
        listed(section::ENDED, ended.len(), &mut bytes, body);
        for (key, differences) in residuals {
            device(*key, &mut bytes);
            put(&mut bytes, differences.len() as u64);
            for (name, difference) in differences {
                put_bytes(&mut bytes, name.as_bytes());
                put_signed(&mut bytes, *difference);
            }
        }
        listed(section::RESIDUALS, residuals.len(), &mut bytes, body);
        listed(section::PATHS, in_json(paths, &mut bytes)?, &mut bytes, body);
        listed(section::VCPUS, in_json(vcpus, &mut bytes)?, &mut bytes, body);
        Ok(())
    }

    /// Writes the number of a pair, against the one that is expected next.
    fn refer(
        &mut self,
        key: QueueKey,
        next: &mut i64,
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Malformed> {
        let number = match self.pairs.get(&key) {
            Some(number) => *number,
            None => self.define_pair(key, out)?,
        };
        let signed = i64::try_from(number).unwrap_or(i64::MAX);
        put_signed(bytes, signed - *next);
        *next = signed + 1;
        Ok(number)
    }

    fn define_pair(&mut self, key: QueueKey, out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let number = self.tables.pairs.len();
        if number == QUEUES {
            return Err(Malformed("it has more queues than a recording can hold"));
        }
        let mut body = Vec::new();
        device(key.device, &mut body);
        put(&mut body, key.queue.0.into());
        framed(kind::PAIR, &body, out);
        self.tables.pairs.push(Pair::new(key));
        self.pairs.insert(key, number);
        Ok(number)
    }

    /// The number of a name. One that is too long for a file is cut.
    fn name(&mut self, name: &str, out: &mut Vec<u8>) -> Result<u32, Malformed> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        if self.tables.names.len() == NAMES || name.len() > NAME_LONGEST {
            return Err(Malformed("it has too many names, or too long ones"));
        }
        let number = u32::try_from(self.tables.names.len()).unwrap_or(u32::MAX);
        framed(kind::NAME, name.as_bytes(), out);
        let name: Arc<str> = name.into();
        self.tables.names.push(Arc::clone(&name));
        self.names.insert(name, number);
        Ok(number)
    }

    /// What changed in the counts of a pair.
    fn counts(
        &mut self,
        number: usize,
        counts: &QueueCounts,
        out: &mut Vec<u8>,
    ) -> Result<Changes, Malformed> {
        let mut new = [0; fields::QUEUE];
        fields::queue(&mut counts.clone(), &mut |place, value| new[place] = *value);
        let mut drops = Vec::new();
        for (rx, flow) in [(false, &counts.tx), (true, &counts.rx)] {
            for (reason, count) in flow.iter().flat_map(|flow| &flow.drops) {
                let place = fields::drop_place(self.name(reason, out)?, rx);
                drops.extend([(place, 1), (place + 1, *count)]);
            }
        }
        let pair = &mut self.tables.pairs[number];
        pair.listed = true;
        let mut changes = differences(&mut *pair.counts, &new);
        let told: std::collections::BTreeMap<u32, u64> = drops.into_iter().collect();
        let gone: Vec<_> = pair.drops.keys().filter(|place| !told.contains_key(place)).copied().collect();
        let mut drops: Vec<_> = told.into_iter().chain(gone.into_iter().map(|place| (place, 0))).collect();
        drops.sort_unstable();
        for (place, new) in drops {
            let old = self.tables.drop(number, place)?;
            if *old != new {
                changes.push((place, new.wrapping_sub(*old).cast_signed()));
                *old = new;
            }
        }
        Ok(changes)
    }

    /// What changed of a pair's worker.
    fn worker(&mut self, number: usize, worker: &Worker, out: &mut Vec<u8>) -> Result<Changes, Malformed> {
        let mut new = [0; fields::WORKER];
        new[fields::COMM] = self.name(&worker.comm, out)?.into();
        fields::worker(&mut worker.clone(), &mut |place, value| new[place] = *value);
        let pair = &mut self.tables.pairs[number];
        pair.ended = false;
        Ok(differences(pair.worker.get_or_insert_default(), &new))
    }

    fn changes(
        &mut self,
        changes: &Changes,
        bytes: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let places: Arc<[u32]> = changes.iter().map(|(place, _)| *place).collect();
        let shape = match self.shapes.get(&places) {
            Some(shape) => *shape,
            None => self.define_shape(places, out)?,
        };
        put(bytes, shape as u64);
        for (_, change) in changes {
            put_signed(bytes, *change);
        }
        Ok(())
    }

    fn define_shape(&mut self, places: Arc<[u32]>, out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let number = self.tables.shapes.len();
        self.tables.places += places.len();
        if number == SHAPES || self.tables.places > SHAPE_PLACES {
            return Err(Malformed("its counts change in too many ways"));
        }
        let mut body = Vec::new();
        let mut next = 0;
        for place in &*places {
            put(&mut body, (place - next).into());
            next = place + 1;
        }
        framed(kind::SHAPE, &body, out);
        self.tables.shapes.push(Arc::clone(&places));
        self.shapes.insert(places, number);
        Ok(number)
    }
}

/// Writes a record's kind, length and body.
fn framed(kind: u64, body: &[u8], out: &mut Vec<u8>) {
    put(out, kind);
    put_bytes(out, body);
}

/// Writes entries in JSON, each with its length; says how many they are.
fn in_json<T: Serialize>(entries: &[T], bytes: &mut Vec<u8>) -> Result<usize, Malformed> {
    for entry in entries {
        put_bytes(bytes, &serde_json::to_vec(entry).map_err(|_| Malformed("it is no JSON"))?);
    }
    Ok(entries.len())
}

/// Writes a list of a sample unless it is empty, and empties `bytes`.
fn listed(section: u64, entries: usize, bytes: &mut Vec<u8>, body: &mut Vec<u8>) {
    if entries > 0 {
        let mut counted = Vec::with_capacity(bytes.len() + 4);
        put(&mut counted, entries as u64);
        counted.append(bytes);
        framed(section, &counted, body);
    }
}

fn device(key: DeviceKey, out: &mut Vec<u8>) {
    put(out, key.netns.0);
    put(out, key.ifindex.0.into());
    put(out, key.generation.into());
}

/// Places whose values differ; `old` becomes `new`.
fn differences(old: &mut [u64], new: &[u64]) -> Changes {
    let mut changes = Vec::new();
    for ((place, old), new) in (0..).zip(old).zip(new) {
        if *old != *new {
            changes.push((place, new.wrapping_sub(*old).cast_signed()));
            *old = *new;
        }
    }
    changes
}
