//! The metrics as the `prometheus` crate collects and writes them: the one place that knows it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::Arc,
};

use anyhow::{Context, Result};
use prometheus::{
    Registry, TextEncoder,
    core::{Collector, Desc},
    proto::{
        Bucket, Counter, Gauge, Histogram as Buckets, LabelPair, Metric as Series, MetricFamily, MetricType,
    },
};

use super::{
    Shared,
    metrics::{Kind, METRICS, Metric, Of},
    openmetrics,
    own::Refused,
    values::{Histogram, sum, sum_by, sum_sizes},
    view::{Shown, View},
};

/// What [`Exposition::text`] writes.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Collects at each scrape.
pub(super) struct Exposition {
    registry: Registry,
    shared: Arc<Shared>,
}

impl Exposition {
    /// Collects from the report that is `shared`.
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let registry = Registry::new();
        let descriptions = METRICS.iter().map(|metric| {
            let labels = metric.of.labels().iter().map(ToString::to_string).collect();
            Desc::new(metric.name.into(), metric.help.into(), labels, HashMap::new())
        });
        let descriptions = descriptions.collect::<Result<_, _>>().context("a metric is ill-formed")?;
        let collector = Report { shared: Arc::clone(shared), descriptions };
        registry.register(Box::new(collector)).context("two metrics are one")?;
        Ok(Self { registry, shared: Arc::clone(shared) })
    }

    /// Text format 0.0.4.
    pub(super) fn text(&self) -> Result<String> {
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).context("cannot write metrics")?;
        Ok(text)
    }

    /// OpenMetrics 1.0.
    pub(super) fn openmetrics(&self) -> String {
        let families = self.registry.gather();
        let created = self.shared.created();
        openmetrics::write(&families, |family, labels| created.of(family, labels))
    }
}

struct Report {
    shared: Arc<Shared>,
    descriptions: Vec<Desc>,
}

impl Collector for Report {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.shared.view(|view| METRICS.iter().map(|metric| family(metric, view)).collect())
    }
}

fn family(metric: &Metric, view: &View<'_>) -> MetricFamily {
    let mut rows = Rows { metric, series: Vec::new() };
    rows.fill(view);
    let mut family = MetricFamily::default();
    family.set_name(metric.name.into());
    family.set_help(metric.help.into());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(rows.series);
    family
}

/// Series of one metric.
struct Rows<'a> {
    metric: &'a Metric,
    series: Vec<Series>,
}

impl Rows<'_> {
    fn fill(&mut self, view: &View<'_>) {
        match self.metric.of {
            Of::Host(value) => self.add(&[], value(view)),
            Of::Build => self.add(&[&view.report.tool.version], Some(1.0)),
            Of::Probe(value) => {
                // Of a signal that a recording has twice the later one.
                let probes: BTreeMap<_, _> =
                    view.report.probes.iter().map(|probe| (&probe.signal, probe)).collect();
                for (signal, probe) in probes {
                    self.add(&[signal], value(probe));
                }
            }
            Of::Findings => {
                let mut found: BTreeMap<_, u32> = BTreeMap::new();
                for finding in &view.report.findings {
                    let level = format!("{:?}", finding.level).to_lowercase();
                    *found.entry((finding.rule.as_str(), level)).or_default() += 1;
                }
                for ((rule, level), n) in found {
                    self.add(&[&rule, &level], Some(n.into()));
                }
            }
            Of::Worker(value) => {
                for (tid, (vm, worker)) in &view.workers {
                    self.add(&[vm, tid], value(worker));
                }
            }
            Of::Refused => {
                for (why, name) in Refused::ALL {
                    self.add(&[&name], Some(view.own.refused[why as usize] as f64));
                }
            }
            _ => view.devices.iter().for_each(|shown| self.device(shown)),
        }
    }

    fn device(&mut self, shown: &Shown<'_>) {
        let (netns, name) = (shown.device.netns, &shown.device.name);
        let queues = || shown.queues.iter();
        let number = |n: Option<u64>| n.map(|n| n as f64);
        match self.metric.of {
            Of::DeviceInfo => self.add(&[&netns, name, &shown.vm], Some(1.0)),
            Of::WorkerInfo => {
                for tid in shown.workers().keys() {
                    self.add(&[&netns, name, &shown.vm, tid], Some(1.0));
                }
            }
            Of::Device(value) => self.add(&[&netns, name], value(shown.device)),
            Of::Queue(value) if shown.apart => {
                for queue in queues() {
                    self.add(&[&netns, name, &queue.queue], number(value(queue)));
                }
            }
            Of::Queue(value) | Of::Sum(value) => self.add(&[&netns, name], number(sum(queues(), value))),
            Of::Reason(value) | Of::Level(value) => {
                for (reason, n) in sum_by(queues(), value).into_iter().flatten() {
                    self.add(&[&netns, name, &reason], Some(n as f64));
                }
            }
            Of::Sizes(value) => {
                if let Some(sizes) = sum_sizes(queues(), value) {
                    let mut series = self.labelled(&[&netns, name]);
                    series.set_histogram(buckets(&sizes));
                    self.series.push(series);
                }
            }
            _ => {}
        }
    }

    /// The labels that have a value; those at the end may be left out.
    fn labelled(&self, values: &[&dyn Display]) -> Series {
        let labels = self.metric.of.labels().iter().zip(values);
        let labels = labels.map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value(value.to_string());
            label
        });
        Series::from_label(labels.filter(|label| !label.value().is_empty()).collect())
    }

    fn add(&mut self, labels: &[&dyn Display], value: Option<f64>) {
        let Some(value) = value else { return };
        let mut series = self.labelled(labels);
        if self.metric.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            series.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            series.set_gauge(gauge);
        }
        self.series.push(series);
    }
}

fn buckets(sizes: &Histogram) -> Buckets {
    let mut count: u64 = 0;
    let buckets = sizes.classes.iter().map(|(le, n)| {
        count = count.saturating_add(*n);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound((*le).into());
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Buckets::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sizes.sum as f64);
    histogram
}
