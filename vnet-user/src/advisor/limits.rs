//! Thresholds: named numbers with a source, which a file may replace.

use std::fmt::Write as _;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::rules::{self, Rule};
use crate::{
    report::Evidence,
    settings::{self, BadFile, Mistake},
};

/// A finding stays until its numbers are this far on the good side of their limits.
pub const HYSTERESIS: f64 = 0.8;

/// Name of the table of [`GENERAL`] in a file.
const GENERAL_NAME: &str = "evidence";

/// What all rules have in common.
pub const GENERAL: &[Limit] = &[
    per_second("idle_packets", 10.0, "below this a queue is idle and never judged (our own figure)"),
    number(
        "samples",
        5.0,
        1.0,
        600.0,
        "samples",
        "samples of a second in a row that a rate has to be past its limit (our own figure)",
    ),
];

/// One threshold.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its name, in the file and in evidence.
    pub key: &'static str,
    /// Its value unless a file says another.
    pub default: f64,
    /// Smallest value that makes sense.
    pub least: f64,
    /// Largest value that makes sense.
    pub most: f64,
    /// What it counts.
    pub unit: &'static str,
    /// Where the number comes from.
    pub source: &'static str,
}

/// A share from 0 to 1.
pub const fn ratio(key: &'static str, default: f64, source: &'static str) -> Limit {
    Limit { key, default, least: 0.0001, most: 1.0, unit: "ratio", source }
}

/// Something per second.
pub const fn per_second(key: &'static str, default: f64, source: &'static str) -> Limit {
    Limit { key, default, least: 1.0, most: 1e12, unit: "1/s", source }
}

/// Any other number.
pub const fn number(
    key: &'static str,
    default: f64,
    least: f64,
    most: f64,
    unit: &'static str,
    source: &'static str,
) -> Limit {
    Limit { key, default, least, most, unit, source }
}

/// The value of each threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    general: Vec<f64>,
    /// Per rule, in the order of the table.
    rules: Vec<Vec<f64>>,
}

impl Default for Thresholds {
    fn default() -> Self {
        let defaults = |limits: &[Limit]| limits.iter().map(|limit| limit.default).collect();
        Self { general: defaults(GENERAL), rules: rules::all().map(|rule| defaults(rule.limits)).collect() }
    }
}

impl Thresholds {
    /// From the text of a file. What it does not name keeps its default.
    ///
    /// # Errors
    /// It is no TOML, names what there is not, or a value is not in its range; nothing of it is taken then.
    pub fn parse(text: &str) -> Result<Self, BadFile> {
        settings::read(text, Self::take)
    }

    fn take(document: &DeTable<'_>) -> Result<Self, Mistake> {
        let mut thresholds = Self::default();
        for (name, table) in document {
            let id = name.get_ref().as_ref();
            let (limits, values) = match rules::all().position(|rule| rule.id == id) {
                _ if id == GENERAL_NAME => (GENERAL, &mut thresholds.general),
                Some(place) => (rule(place).limits, &mut thresholds.rules[place]),
                None => {
                    let what =
                        format!("[{id}] is no rule; `vnet rules thresholds` prints all that can be set");
                    return Err((name.span(), what));
                }
            };
            let DeValue::Table(table) = table.get_ref() else {
                return Err((name.span(), format!("{id} is a table: write [{id}] and its keys below it")));
            };
            for (key, value) in table {
                let place = limits.iter().position(|limit| limit.key == key.get_ref().as_ref());
                let Some(place) = place else {
                    let known: Vec<_> = limits.iter().map(|limit| limit.key).collect();
                    let known = if known.is_empty() { "it has none".into() } else { known.join(", ") };
                    return Err((
                        key.span(),
                        format!("[{id}] has no {:?}; its keys: {known}", key.get_ref()),
                    ));
                };
                values[place] = value_of(&limits[place], value)
                    .map_err(|what| (value.span(), format!("[{id}] {what}")))?;
            }
        }
        Ok(thresholds)
    }

    /// What all rules have in common, by its place in [`GENERAL`].
    pub(super) fn general(&self, place: usize) -> f64 {
        self.general[place]
    }

    /// The thresholds of a rule, which is at this place of the table; `held` where it has found something.
    pub(super) fn of(&self, place: usize, rule: &Rule, held: bool) -> Limits<'_> {
        Limits { rows: rule.limits, values: &self.rules[place], held }
    }
}

fn rule(place: usize) -> &'static Rule {
    rules::at(place)
}

/// A number in its range, or what is wrong with it.
fn value_of(limit: &Limit, value: &Spanned<DeValue<'_>>) -> Result<f64, String> {
    let number: Option<f64> = match value.get_ref() {
        DeValue::Integer(n) if n.radix() == 10 => n.as_str().parse().ok(),
        DeValue::Float(n) => n.as_str().parse().ok(),
        _ => None,
    };
    let range = format!("from {} to {}", limit.least, limit.most);
    match number {
        Some(number) if (limit.least..=limit.most).contains(&number) => Ok(number),
        Some(number) => Err(format!("{} = {number} is not allowed: {range}", limit.key)),
        None => Err(format!("{} has to be a number {range}", limit.key)),
    }
}

/// All thresholds with their defaults as a file, which [`Thresholds::parse`] takes.
pub fn defaults() -> String {
    let mut text =
        String::from("# Thresholds of vnet's rules with their defaults. A file may name any of them.\n");
    let mut table = |name: &str, title: &str, limits: &[Limit]| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[{name}]  # {title}\n");
        for limit in limits {
            let _ = writeln!(text, "# {}, {} to {}: {}", limit.unit, limit.least, limit.most, limit.source);
            let _ = writeln!(text, "{} = {}", limit.key, limit.default);
        }
    };
    table(GENERAL_NAME, "of all rules", GENERAL);
    for rule in rules::all().filter(|rule| !rule.limits.is_empty()) {
        table(rule.id, rule.title, rule.limits);
    }
    text
}

/// The thresholds of one rule for one subject.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    rows: &'static [Limit],
    values: &'a [f64],
    held: bool,
}

impl Limits<'_> {
    /// The one at this place of the rule's list.
    pub(super) fn at(&self, place: usize) -> Bound {
        Bound { limit: self.rows[place], value: self.values[place], held: self.held }
    }
}

/// A threshold to hold a number against.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    limit: Limit,
    /// What it is.
    pub(super) value: f64,
    held: bool,
}

impl Bound {
    /// The number is at the limit or above it.
    pub(super) fn reached(&self, number: f64) -> bool {
        number >= if self.held { self.value * HYSTERESIS } else { self.value }
    }

    /// A setting is at the limit or above it: settings do not waver.
    pub(super) fn reached_now(&self, number: f64) -> bool {
        number >= self.value
    }

    /// A setting is above the limit.
    pub(super) fn exceeded_now(&self, number: f64) -> bool {
        number > self.value
    }

    /// The number is above the limit.
    pub(super) fn exceeded(&self, number: f64) -> bool {
        if self.held { number > self.value * HYSTERESIS } else { number > self.value }
    }

    /// The number is below the limit.
    pub(super) fn missed(&self, number: f64) -> bool {
        number < if self.held { self.value / HYSTERESIS } else { self.value }
    }

    /// The number beside the limit.
    pub(super) fn evidence(&self, number: f64) -> Evidence {
        Evidence {
            name: self.limit.key.into(),
            value: number,
            unit: self.limit.unit.into(),
            threshold: Some(self.value),
        }
    }
}
