//! How steady evidence is: for how many looks in a row a rule said the same of a subject.

use std::{collections::BTreeMap, mem};

use super::{
    at_once,
    limits::{Limits, Thresholds},
    rules::{self, Check, Subjects, Verdict},
};
use crate::{
    report::{Evidence, Unsure},
    topology::DeviceKey,
};

/// Places in [`super::limits::GENERAL`].
const IDLE: usize = 0;
const SAMPLES: usize = 1;

/// What a rule was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Queue(DeviceKey, u16),
    Device(DeviceKey),
    Vm(u32),
    Cpu(u32),
}

/// What a rule said of one subject so far.
#[derive(Clone, Debug)]
pub(super) struct Streak {
    /// Place of the rule in the table.
    pub(super) rule: usize,
    /// Looks in a row past the limit, up to now.
    past: u32,
    /// Looks in a row not past it.
    fine: u32,
    /// It is a finding.
    pub(super) held: bool,
    /// What the last look past the limit showed.
    pub(super) evidence: Vec<Evidence>,
}

/// What rules found, or are about to find. Subjects of which they say nothing take no room.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(BTreeMap<Key, Vec<Streak>>);

/// What a rule cannot judge.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    subjects: u32,
    missing: Option<&'static str>,
    lacks_seconds: Option<f64>,
}

/// One look at everything.
pub(super) struct Look<'a> {
    memory: &'a mut Memory,
    earlier: BTreeMap<Key, Vec<Streak>>,
    thresholds: &'a Thresholds,
    seconds: f64,
    doubts: BTreeMap<usize, Doubt>,
}

impl Memory {
    /// Begins to look; `seconds` is the time since the last look.
    pub(super) fn look<'a>(&'a mut self, thresholds: &'a Thresholds, seconds: f64) -> Look<'a> {
        let earlier = mem::take(&mut self.0);
        Look { memory: self, earlier, thresholds, seconds, doubts: BTreeMap::new() }
    }

    /// Everything that is a finding.
    pub(super) fn held(&self) -> impl Iterator<Item = (Key, &Streak)> {
        self.0
            .iter()
            .flat_map(|(key, streaks)| streaks.iter().map(|streak| (*key, streak)))
            .filter(|(_, streak)| streak.held)
    }
}

impl Look<'_> {
    /// Asks all rules about one subject that carries `load` packets per second. `ask` answers for those that are about
    /// such a subject.
    pub(super) fn judge(
        &mut self,
        key: Key,
        load: Option<f64>,
        ask: impl Fn(&Subjects, &Limits<'_>) -> Option<Verdict>,
    ) {
        let mut known = self.earlier.remove(&key).unwrap_or_default();
        // What is not counted at all is told as uncovered, and is not each rule's doubt.
        let idle = load.is_none_or(|load| load < self.thresholds.general(IDLE));
        if idle && known.is_empty() {
            return;
        }
        let mut streaks = Vec::new();
        for (place, rule) in rules::all().enumerate() {
            let (Check::Set(subjects) | Check::Rate(subjects)) = &rule.check else { continue };
            let streak = known.iter().position(|streak| streak.rule == place).map(|i| known.swap_remove(i));
            let held = streak.as_ref().is_some_and(|streak| streak.held);
            let verdict = if idle {
                Some(Verdict::Fine)
            } else {
                ask(subjects, &self.thresholds.of(place, rule, held))
            };
            let Some(verdict) = verdict else { continue };
            // Configuration that has been put right is right at once; what merely rests may come back.
            let steady = if at_once(&rule.check) { 1 } else { self.samples() };
            let release =
                if at_once(&rule.check) && verdict == Verdict::Fine && !idle { 1 } else { self.samples() };
            if let Verdict::Unsure(missing) = verdict {
                let doubt = self.doubts.entry(place).or_default();
                doubt.subjects += 1;
                doubt.missing.get_or_insert(missing);
            }
            let Some(streak) = settled(streak, place, verdict, steady, release) else { continue };
            if !streak.held && streak.past > 0 {
                let lacks = f64::from(steady - streak.past) * self.seconds;
                let doubt = self.doubts.entry(place).or_default();
                doubt.subjects += 1;
                doubt.lacks_seconds = Some(doubt.lacks_seconds.map_or(lacks, |other| other.min(lacks)));
            }
            streaks.push(streak);
        }
        if !streaks.is_empty() {
            self.memory.0.insert(key, streaks);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number: its range is checked"
    )]
    fn samples(&self) -> u32 {
        self.thresholds.general(SAMPLES).ceil() as u32
    }

    /// Ends: what was not asked about any more is forgotten. Returns what could not be judged.
    pub(super) fn end(self) -> Vec<Unsure> {
        let unsure = |(place, doubt): (usize, Doubt)| Unsure {
            rule: rules::at(place).id.into(),
            subjects: doubt.subjects,
            lacks_seconds: doubt.lacks_seconds,
            why: match doubt.lacks_seconds {
                Some(seconds) => {
                    format!("past its limit, not for long enough: {seconds:.0} s more of the same are needed")
                }
                None => doubt.missing.unwrap_or_default().into(),
            },
        };
        self.doubts.into_iter().map(unsure).collect()
    }
}

/// The streak after one more verdict; `None` when there is nothing to remember.
fn settled(
    streak: Option<Streak>,
    rule: usize,
    verdict: Verdict,
    steady: u32,
    release: u32,
) -> Option<Streak> {
    let mut streak = streak.unwrap_or(Streak { rule, past: 0, fine: 0, held: false, evidence: Vec::new() });
    match verdict {
        Verdict::Found(evidence) => {
            (streak.past, streak.fine) = (streak.past.saturating_add(1), 0);
            streak.evidence = evidence;
            streak.held |= streak.past >= steady;
        }
        Verdict::Fine | Verdict::Unsure(_) => {
            (streak.past, streak.fine) = (0, streak.fine.saturating_add(1));
            streak.held &= streak.fine < release;
        }
    }
    (streak.held || streak.past > 0).then_some(streak)
}
