//! OpenMetrics 1.0, which the `prometheus` crate does not write.

use std::fmt::Write;

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// What [`write`] writes.
pub(super) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Units that a name may end in.
const UNITS: [&str; 4] = ["seconds", "bytes", "packets", "buffers"];

/// Writes families; `created` tells since when a counter counts, in seconds since 1970.
pub(super) fn write(
    families: &[MetricFamily],
    created: impl Fn(&MetricFamily, &[LabelPair]) -> Option<f64>,
) -> String {
    let mut out = Out(String::new());
    for family in families {
        let kind = family.get_field_type();
        let name = family.name();
        let (base, kind_name) = match kind {
            MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            MetricType::HISTOGRAM => (name, "histogram"),
            _ => name.strip_suffix("_info").map_or((name, "gauge"), |base| (base, "info")),
        };
        out.line(&["# TYPE ", base, " ", kind_name]);
        if let Some(unit) = UNITS.iter().find(|unit| base.ends_with(&format!("_{unit}"))) {
            out.line(&["# UNIT ", base, " ", unit]);
        }
        out.line(&["# HELP ", base, " ", &escape(family.help())]);
        for series in family.get_metric() {
            let labels = series.get_label();
            let since = || created(family, labels);
            match kind {
                MetricType::COUNTER => {
                    out.sample(base, "_total", labels, None, series.get_counter().get_value());
                    out.created(base, labels, since());
                }
                MetricType::HISTOGRAM => {
                    let histogram = series.get_histogram();
                    for bucket in histogram.get_bucket() {
                        let le = format!("{:?}", bucket.upper_bound());
                        out.sample(base, "_bucket", labels, Some(&le), bucket.cumulative_count() as f64);
                    }
                    let count = histogram.get_sample_count() as f64;
                    out.sample(base, "_bucket", labels, Some("+Inf"), count);
                    out.sample(base, "_sum", labels, None, histogram.get_sample_sum());
                    out.sample(base, "_count", labels, None, count);
                    out.created(base, labels, since());
                }
                _ => {
                    let suffix = if kind_name == "info" { "_info" } else { "" };
                    out.sample(base, suffix, labels, None, series.get_gauge().get_value());
                }
            }
        }
    }
    out.line(&["# EOF"]);
    out.0
}

struct Out(String);

impl Out {
    fn line(&mut self, parts: &[&str]) {
        self.0.extend(parts.iter().copied().chain(["\n"]));
    }

    fn sample(&mut self, base: &str, suffix: &str, labels: &[LabelPair], le: Option<&str>, value: f64) {
        self.0.push_str(base);
        self.0.push_str(suffix);
        let pairs = labels.iter().map(|label| (label.name(), escape(label.value())));
        let pairs = pairs.chain(le.map(|le| ("le", le.to_owned())));
        let mut open = "{";
        for (name, value) in pairs {
            self.0.push_str(open);
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.0.push_str(&value);
            self.0.push('"');
            open = ",";
        }
        if open == "," {
            self.0.push('}');
        }
        // A string takes everything.
        let _infallible = writeln!(self.0, " {value}");
    }

    fn created(&mut self, base: &str, labels: &[LabelPair], since: Option<f64>) {
        if let Some(since) = since {
            self.sample(base, "_created", labels, None, since);
        }
    }
}

/// As the format wants labels and help.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
