//! Figures and their limits, a line each.

use std::fmt::Write as _;

/// What a figure is in.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Milliseconds.
    Millis,
    /// Millions of bytes.
    Mega,
    /// Percent of one CPU.
    Percent,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Mega => "MB",
            Self::Percent => "% ",
        }
    }
}

/// One thing that was measured, several times.
pub(crate) struct Figure {
    name: String,
    unit: Unit,
    limit: Option<f64>,
    values: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: Unit) -> Self {
        Self { name: name.to_owned(), unit, limit: None, values: Vec::new() }
    }

    /// What the median may not exceed.
    pub(crate) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Takes one measured value.
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
        self.values.sort_by(f64::total_cmp);
    }

    fn median(&self) -> f64 {
        self.values.get(self.values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// A figure without values meets no limit.
    fn missed(&self) -> bool {
        self.limit.is_some_and(|limit| !matches!(self.median().partial_cmp(&limit), Some(o) if o.is_le()))
    }
}

/// What was printed so far.
#[derive(Default)]
pub(crate) struct Table {
    missed: usize,
}

impl Table {
    /// Prints figures as they become known.
    pub(crate) fn print(&mut self, figures: impl IntoIterator<Item = Figure>) {
        for figure in figures {
            let unit = figure.unit.name();
            let mut line = format!("{:50}{:8.2} {unit}", figure.name, figure.median());
            if let [low, .., high] = figure.values[..] {
                let _infallible = write!(line, "  ({low:.2} to {high:.2})");
            }
            if let Some(limit) = figure.limit {
                let verdict = if figure.missed() { "MISSED" } else { "holds" };
                line = format!("{line:90}<= {limit} {unit}  {verdict}");
            }
            self.missed += usize::from(figure.missed());
            println!("{}", line.trim_end());
        }
    }

    /// Limits that do not hold.
    pub(crate) fn missed(&self) -> usize {
        self.missed
    }
}
