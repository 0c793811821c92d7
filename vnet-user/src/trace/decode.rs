//! The bytes of a block to records. Whatever the bytes are: records, or an error; no panic, and no more memory than the
//! limits of the tables allow.

use std::{collections::BTreeMap, str, sync::Arc};

use serde::de::DeserializeOwned;

use super::{
    Malformed, fields, kind,
    known::{Known, NAME_LONGEST, NAMES, Pair, QUEUES, SHAPE_PLACES, SHAPES, Tables},
    section,
    wire::Cursor,
};
use crate::{
    record::{Lost, Nanos, Record, Sample},
    topology::{DeviceKey, IfIndex, Netns, QueueKey, QueuePair},
};

/// Most differences that are told of one device.
const RESIDUALS: usize = 64;

/// What bytes turned out to be.
#[derive(Debug)]
pub(super) enum Decoded {
    /// A record.
    Record(Record),
    /// Something that later records refer to.
    Table,
    /// Of a kind, or with a value, that only a newer vnet knows.
    Unknown,
}

/// Numbers that records are read with.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoder {
    tables: Tables,
    known: Known,
    /// Places and lists of samples that only a newer vnet knows.
    pub(super) passed_over: u64,
}

impl Decoder {
    /// A picture follows: it needs nothing of what was before.
    pub(super) fn picture(&mut self) {
        self.tables = Tables::default();
    }

    /// Reads what is next.
    pub(super) fn next(&mut self, cursor: &mut Cursor<'_>) -> Result<Decoded, Malformed> {
        let kind = cursor.number()?;
        let mut body = Cursor(cursor.bytes()?);
        let record = match kind {
            kind::SOURCE => json(body).map(Record::Source),
            kind::TOPOLOGY => json(body).map(Record::Topology),
            kind::SAMPLE => Some(Record::Sample(self.sample(&mut body)?)),
            kind::LOST => Some(Record::Lost(Lost { events: body.number()?, records: body.number()? })),
            kind::END => Some(Record::End(Nanos(body.number()?))),
            kind::PAIR => return self.pair(&mut body),
            kind::NAME => return self.name(body),
            kind::SHAPE => return self.shape(&mut body),
            _ => None,
        };
        let Some(record) = record else { return Ok(Decoded::Unknown) };
        self.known.take(&record)?;
        Ok(Decoded::Record(record))
    }

    fn pair(&mut self, body: &mut Cursor<'_>) -> Result<Decoded, Malformed> {
        let key = QueueKey { device: device(body)?, queue: QueuePair(body.narrow()?) };
        if self.tables.pairs.len() == QUEUES {
            return Err(Malformed("it has too many queues"));
        }
        self.tables.pairs.push(Pair::new(key));
        Ok(Decoded::Table)
    }

    fn name(&mut self, body: Cursor<'_>) -> Result<Decoded, Malformed> {
        let name = str::from_utf8(body.0).map_err(|_| Malformed("a name is no text"))?;
        if self.tables.names.len() == NAMES || name.len() > NAME_LONGEST {
            return Err(Malformed("it has too many names, or too long ones"));
        }
        self.tables.names.push(name.into());
        Ok(Decoded::Table)
    }

    fn shape(&mut self, body: &mut Cursor<'_>) -> Result<Decoded, Malformed> {
        let mut places = Vec::new();
        let mut next = 0u32;
        while !body.is_empty() {
            let place = next.checked_add(body.narrow()?).filter(|place| *place < u32::MAX);
            let place = place.ok_or(Malformed("a place is too large"))?;
            places.push(place);
            next = place + 1;
        }
        self.tables.places += places.len();
        if self.tables.shapes.len() == SHAPES || self.tables.places > SHAPE_PLACES {
            return Err(Malformed("its counts change in too many ways"));
        }
        self.tables.shapes.push(places.into());
        Ok(Decoded::Table)
    }

    fn sample(&mut self, body: &mut Cursor<'_>) -> Result<Sample, Malformed> {
        self.tables.at = self.tables.at.wrapping_add_signed(body.signed()?);
        let mut sample = Sample { at: Nanos(self.tables.at), ..Sample::default() };
        while !body.is_empty() {
            let section = body.number()?;
            let mut list = Cursor(body.bytes()?);
            let entries = list.at_most(self.tables.pairs.len().max(1 << 16))?;
            // No entry is empty, so that this much is there.
            let entries =
                if entries <= list.0.len() { entries } else { return Err(Malformed("a list is cut off")) };
            let mut next = 0;
            match section {
                section::QUEUES => {
                    sample.queues.reserve(entries);
                    for _ in 0..entries {
                        let number = self.refer(&mut list, &mut next)?;
                        self.counts(number, &mut list)?;
                        let pair = &self.tables.pairs[number];
                        sample.queues.push((pair.key, pair.counts(&self.tables.names)));
                    }
                }
                section::WORKERS => {
                    for _ in 0..entries {
                        let number = self.refer(&mut list, &mut next)?;
                        self.worker(number, &mut list)?;
                        sample.workers.extend(self.tables.pairs[number].worker(&self.tables.names));
                    }
                }
                section::ENDED => {
                    for _ in 0..entries {
                        let number = self.refer(&mut list, &mut next)?;
                        let pair = &mut self.tables.pairs[number];
                        (pair.worker, pair.ended) = (None, true);
                        sample.ended.push(pair.key);
                    }
                }
                section::RESIDUALS => {
                    for _ in 0..entries {
                        sample.residuals.push((device(&mut list)?, residuals(&mut list)?));
                    }
                }
                section::PATHS => self.in_json(entries, &mut list, &mut sample.paths)?,
                section::VCPUS => self.in_json(entries, &mut list, &mut sample.vcpus)?,
                _ => self.passed_over += 1,
            }
        }
        Ok(sample)
    }

    /// Entries in JSON; one with values that this vnet does not know is passed over.
    fn in_json<T: DeserializeOwned>(
        &mut self,
        entries: usize,
        list: &mut Cursor<'_>,
        into: &mut Vec<T>,
    ) -> Result<(), Malformed> {
        for _ in 0..entries {
            match serde_json::from_slice(list.bytes()?) {
                Ok(entry) => into.push(entry),
                Err(_) => self.passed_over += 1,
            }
        }
        Ok(())
    }

    fn refer(&self, list: &mut Cursor<'_>, next: &mut i64) -> Result<usize, Malformed> {
        let number = next.checked_add(list.signed()?).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| *number < self.tables.pairs.len());
        let number = number.ok_or(Malformed("it refers to a queue that it has not named"))?;
        *next = i64::try_from(number).unwrap_or(i64::MAX - 1) + 1;
        Ok(number)
    }

    fn shape_of(&self, list: &mut Cursor<'_>) -> Result<Arc<[u32]>, Malformed> {
        let shape = usize::try_from(list.number()?).ok().and_then(|shape| self.tables.shapes.get(shape));
        shape.cloned().ok_or(Malformed("it refers to a shape that it has not told"))
    }

    fn counts(&mut self, number: usize, list: &mut Cursor<'_>) -> Result<(), Malformed> {
        self.tables.pairs[number].listed = true;
        for place in &*self.shape_of(list)? {
            let change = list.signed()?;
            let at = *place as usize;
            let value = if at < fields::QUEUE {
                &mut self.tables.pairs[number].counts[at]
            } else if *place >= fields::DROPS
                && (fields::of_drop_place(*place).0 as usize) < self.tables.names.len()
            {
                self.tables.drop(number, *place)?
            } else {
                self.passed_over += 1;
                continue;
            };
            *value = value.wrapping_add_signed(change);
        }
        Ok(())
    }

    fn worker(&mut self, number: usize, list: &mut Cursor<'_>) -> Result<(), Malformed> {
        let shape = self.shape_of(list)?;
        let pair = &mut self.tables.pairs[number];
        pair.ended = false;
        let worker = pair.worker.get_or_insert_default();
        for place in &*shape {
            let change = list.signed()?;
            match worker.get_mut(*place as usize) {
                Some(value) => *value = value.wrapping_add_signed(change),
                None => self.passed_over += 1,
            }
        }
        Ok(())
    }
}

/// A record in JSON; `None` when it has values that this vnet does not know.
fn json<T: DeserializeOwned>(body: Cursor<'_>) -> Option<T> {
    serde_json::from_slice(body.0).ok()
}

fn device(cursor: &mut Cursor<'_>) -> Result<DeviceKey, Malformed> {
    let netns = Netns(cursor.number()?);
    let ifindex = IfIndex(cursor.narrow()?);
    Ok(DeviceKey { netns, ifindex, generation: cursor.narrow()? })
}

fn residuals(list: &mut Cursor<'_>) -> Result<BTreeMap<String, i64>, Malformed> {
    let mut residuals = BTreeMap::new();
    for _ in 0..list.at_most(RESIDUALS)? {
        let name = str::from_utf8(list.bytes()?).map_err(|_| Malformed("a name is no text"))?;
        residuals.insert(name.to_owned(), list.signed()?);
    }
    Ok(residuals)
}
