//! What a column says of a row: how it sorts and how it is written.

use std::cmp::Ordering;

use super::{
    columns::Value,
    facts::{Row, Sum},
    look::Look,
    text, units,
};
use crate::report::Level;

/// What a row is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub enum SortKey {
    /// A number; `None` is not known.
    Number(Option<f64>),
    /// A text; `None` is not known.
    Text(Option<String>),
}

impl SortKey {
    /// The key of `row` in a column of this value.
    pub fn of(value: Value, row: Row<'_>) -> Self {
        let sum = |sum: Option<Sum>| Self::Number(sum.map(|sum| sum.value));
        match value {
            Value::Name => Self::Text(Some(row.name().to_lowercase())),
            Value::Verdict => Self::Number(Some(severity(row))),
            Value::Text(text) => Self::Text(text(row).map(|text| text.to_lowercase())),
            Value::Number(number, _) => Self::Number(number(row)),
            Value::Pair(pair) => Self::Number(pair(row)[0].map(f64::from)),
            Value::Sum(of, _) | Value::Drops(of, _) => sum(of(row)),
            Value::History => sum(row.pps()),
        }
    }

    /// The order of two rows; what is not known comes last either way.
    pub fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let order = match (self.known(), other.known()) {
            (false, false) => return Ordering::Equal,
            (known, other) if known != other => return other.cmp(&known),
            _ => match (self, other) {
                (Self::Number(Some(a)), Self::Number(Some(b))) => a.total_cmp(b),
                (Self::Text(Some(a)), Self::Text(Some(b))) => natural(a, b),
                _ => Ordering::Equal,
            },
        };
        if descending { order.reverse() } else { order }
    }

    fn known(&self) -> bool {
        match self {
            Self::Number(number) => number.is_some_and(|number| !number.is_nan()),
            Self::Text(text) => text.is_some(),
        }
    }
}

/// `tap2` before `tap10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    while let (Some(x), Some(y)) = (a_rest.chars().next(), b_rest.chars().next()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(&mut a_rest), digits(&mut b_rest));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (a_rest, b_rest) = (&a_rest[x.len_utf8()..], &b_rest[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    a_rest.len().cmp(&b_rest.len()).then_with(|| a.cmp(b))
}

/// Takes the leading digits off `text`; returns them without leading zeros.
fn digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    number.trim_start_matches('0')
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The text, harmless and not wider than asked for.
    pub text: String,
    /// It is a warning.
    pub warning: bool,
}

impl Cell {
    /// The cell of `row` in a column of this value that is `width` wide.
    pub fn of(value: Value, row: Row<'_>, look: Look, width: usize) -> Self {
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| look.glyphs().unknown.to_owned());
        let mut warning = false;
        let text = match value {
            Value::Name => name(row, look, width),
            Value::Verdict => {
                warning = row.findings().next().is_some_and(|finding| finding.level > Level::Info);
                verdict(row, look)
            }
            Value::Text(text) => {
                or_unknown(text(row).map(|text| text::clean(&text, look.ascii).into_owned()))
            }
            Value::Number(number, unit) => or_unknown(number(row).and_then(unit)),
            Value::Pair(pair) => match pair(row).map(|n| or_unknown(n.map(|n| n.to_string()))) {
                [_, _] if pair(row) == [None; 2] => or_unknown(None),
                [some, all] => format!("{some}/{all}"),
            },
            Value::Sum(sum, unit) => or_unknown(sum(row).and_then(|sum| partial(sum, unit))),
            Value::Drops(sum, unit) => {
                let sum = sum(row);
                warning = sum.is_some_and(|sum| sum.value > 0.0);
                or_unknown(sum.and_then(|sum| partial(sum, unit)))
            }
            Value::History => bars(&row.history(width), look, width),
        };
        Self { text: text::cut(&text, width, look.glyphs().cut).into_owned(), warning }
    }
}

/// How bad the worst finding is; 0 where there is none.
fn severity(row: Row<'_>) -> f64 {
    row.findings().next().map_or(0.0, |finding| match finding.level {
        Level::Info => 1.0,
        Level::Warning => 2.0,
        Level::Critical => 3.0,
    })
}

/// `!!R40 +1`: one mark for a warning, two for what is critical; nothing where there is no finding.
fn verdict(row: Row<'_>, look: Look) -> String {
    let mut findings = row.findings();
    let Some(worst) = findings.next() else { return String::new() };
    let mark = match worst.level {
        Level::Info => "",
        Level::Warning => "!",
        Level::Critical => "!!",
    };
    let more = findings.count();
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    format!("{mark}{}{more}", text::clean(&worst.rule, look.ascii))
}

/// A sum; `+` behind it says that a part is not known.
pub fn partial(sum: Sum, unit: fn(f64) -> Option<String>) -> Option<String> {
    let text = unit(sum.value)?;
    Some(if sum.whole { text } else { text + "+" })
}

fn name(row: Row<'_>, look: Look, width: usize) -> String {
    let state = match (row.gone(), row.uncovered()) {
        (true, true) => " gone*",
        (true, false) => " gone",
        (false, true) => " *",
        (false, false) => "",
    };
    let name = text::clean(row.name(), look.ascii);
    text::cut(&name, width.saturating_sub(state.len()), look.glyphs().cut).into_owned() + state
}

/// Bars as high as the values, scaled to their largest; a zero has the lowest bar to itself, no value has none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates; clamped just after"
)]
fn bars(values: &[f32], look: Look, width: usize) -> String {
    let glyphs = &look.glyphs().bars;
    let finite = |value: f32| if value.is_finite() { value.max(0.0) } else { 0.0 };
    let largest = values.iter().copied().map(finite).fold(0.0, f32::max);
    let steps = glyphs.len() - 1;
    let mut text = " ".repeat(width.saturating_sub(values.len()));
    text.extend(values.iter().copied().map(finite).map(|value| {
        let step = if value > 0.0 { ((value / largest * steps as f32).round() as usize).max(1) } else { 0 };
        glyphs[step.min(steps)]
    }));
    text
}

/// A duration, or unknown.
pub fn duration(seconds: f64, look: Look) -> String {
    units::duration(seconds).unwrap_or_else(|| look.glyphs().unknown.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["tap10", "tap2", "tap02", "eth0", "tap", "tap2a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["eth0", "tap", "tap02", "tap2", "tap2a", "tap10"]);
    }

    #[test]
    fn unknown_comes_last_either_way() {
        let [one, two, none] = [Some(1.0), Some(2.0), None].map(SortKey::Number);
        let nan = SortKey::Number(Some(f64::NAN));
        for descending in [false, true] {
            let mut keys = [&none, &two, &nan, &one];
            keys.sort_by(|a, b| a.compare(b, descending));
            assert_eq!(keys[..2], if descending { [&two, &one] } else { [&one, &two] });
        }
    }

    #[test]
    fn bars_tell_none_from_zero_from_little() {
        assert_eq!(bars(&[0.0, 1e-3, 50.0, 100.0], Look::FULL, 6), "  ▁▂▅█");
        assert_eq!(bars(&[0.0, 0.0], Look::FULL, 3), " ▁▁");
        assert_eq!(bars(&[f32::NAN, f32::INFINITY, 1.0], Look::FULL, 3), "▁▁█");
        assert_eq!(bars(&[f32::MAX, f32::MIN_POSITIVE], Look { ascii: true, colour: false }, 2), "#.");
    }
}
