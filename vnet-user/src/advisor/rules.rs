//! The one table of rules, by family. A new rule is a row in its family's file and one scenario file.

use super::{
    copies, interrupts,
    limits::{Limit, Limits},
    queues, rings,
    scene::{Cpu, Device, Place, Queue, Vm},
    steering, workers,
};
use crate::report::{Evidence, Level, Where};

/// A family and its rules.
pub struct Family {
    /// What they look at.
    pub title: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// Every rule.
pub const RULES: &[Family] = &[
    Family { title: "How many queues", rules: queues::RULES },
    Family { title: "Which queue carries what", rules: steering::RULES },
    Family { title: "Interrupts and vCPUs", rules: interrupts::RULES },
    Family { title: "Where vhost's workers run", rules: workers::RULES },
    Family { title: "Copies and zero-copy", rules: copies::RULES },
    Family { title: "Rings, drops and notifications", rules: rings::RULES },
];

/// One rule.
pub struct Rule {
    /// `R` and its number.
    pub id: &'static str,
    /// What is wrong where it finds something.
    pub title: &'static str,
    /// How bad that is.
    pub level: Level,
    /// How it is checked.
    pub check: Check,
    /// Its thresholds, which the check takes by their place.
    pub limits: &'static [Limit],
    /// Why it matters, in two sentences.
    pub why: &'static str,
    /// What mends it at this place.
    pub mend: fn(&Place<'_>) -> Mend,
    /// What is to be seen afterwards.
    pub expect: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Rules that, where they find something on the same device, are the cause of it.
    pub because: &'static [&'static str],
}

/// What a rule is checked for.
pub enum Check {
    /// A state of the configuration, with traffic: one sample is enough.
    Set(Subjects),
    /// Something that changes: it has to be past its limit for several samples in a row.
    Rate(Subjects),
    /// It is not checked, because of this.
    Not(&'static str),
}

/// Each of what it is checked for, and by which function.
pub enum Subjects {
    /// Each queue.
    Queue(fn(&Device<'_>, &Queue<'_>, &Limits<'_>) -> Verdict),
    /// Each device.
    Device(fn(&Device<'_>, &Limits<'_>) -> Verdict),
    /// Each VM.
    Vm(fn(&Vm<'_>, &Limits<'_>) -> Verdict),
    /// Each CPU of the host that runs workers.
    Cpu(fn(&Cpu<'_>, &Limits<'_>) -> Verdict),
}

/// What a rule says of one subject and one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is in order, or the rule does not apply to it.
    Fine,
    /// It cannot be judged, because this is not known.
    Unsure(&'static str),
    /// It is past its limits, as these numbers show.
    Found(Vec<Evidence>),
}

/// What mends something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// Where.
    pub place: Where,
    /// How, in order; empty when no change helps.
    pub commands: Vec<String>,
}

impl Rule {
    /// A rule that is not checked.
    pub(super) const fn unchecked(
        id: &'static str,
        title: &'static str,
        why_not: &'static str,
        source: &'static str,
    ) -> Self {
        Self {
            id,
            title,
            level: Level::Info,
            check: Check::Not(why_not),
            limits: &[],
            why: "",
            mend: |_| Mend { place: Where::Host, commands: Vec::new() },
            expect: "",
            source,
            because: &[],
        }
    }
}

/// All rules in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().flat_map(|family| family.rules)
}

/// The rule at that place of the table.
pub(super) fn at(place: usize) -> &'static Rule {
    let mut place = place;
    for family in RULES {
        match family.rules.get(place) {
            Some(rule) => return rule,
            None => place -= family.rules.len(),
        }
    }
    unreachable!("places come from the table")
}

/// The rule of that name, in whatever case it is written.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id.eq_ignore_ascii_case(id))
}

/// A sentence of the tuning guide, and the rules that check it.
pub struct Advice {
    /// The sentence.
    pub sentence: &'static str,
    /// Its rules.
    pub rules: &'static [&'static str],
}

/// The tuning guide for multi-queue and zero-copy, sentence by sentence.
pub const GUIDE: &[Advice] = &[
    Advice { sentence: "Multi-queue pays when packets are large", rules: &["R48"] },
    Advice { sentence: "Multi-queue pays when connections are many", rules: &["R8", "R11", "R12"] },
    Advice {
        sentence: "Queues = vCPUs, so that a queue is private to a vCPU",
        rules: &["R1", "R2", "R3", "R19", "R20"],
    },
    Advice { sentence: "Multi-queue can hurt outgoing streams of small packets (< 1500 B)", rules: &["R48"] },
    Advice { sentence: "N is 1 to 256", rules: &["R7"] },
    Advice { sentence: "The guest must also enable M <= N queues", rules: &["R4"] },
    Advice {
        sentence: "Zero-copy saves up to 15 % of host CPU for large packets to an external network",
        rules: &["R34", "R53"],
    },
    Advice {
        sentence: "Zero-copy does nothing for guest-to-guest, guest-to-host and small packets",
        rules: &["R35", "R36"],
    },
    Advice {
        sentence: "Zero-copy removes a mitigation against denial of service and information leaks",
        rules: &["R38"],
    },
    Advice { sentence: "Zero-copy is off by default (experimental_zcopytx)", rules: &["R34"] },
];
