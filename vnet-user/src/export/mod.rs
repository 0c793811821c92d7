//! The Prometheus exporter: `/metrics`, a page for people, the report as JSON, and whether all is well.
//!
//! Everything is made from the newest report when it is asked for. A device that is gone has no series; what is not known
//! has none either. Metrics are rows of [`METRICS`].

mod collector;
mod http;
mod metrics;
mod negotiate;
mod openmetrics;
mod own;
mod page;
mod seen;
mod server;
mod values;
mod view;
mod web;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use prometheus::proto::{LabelPair, MetricFamily};
use tokio::{net::TcpListener, sync::watch};

pub use metrics::{Kind, METRICS, Metric, Of};
pub use own::Refused;
pub use seen::{LARGE, PerQueue};
pub use server::CONNECTIONS;
pub use values::{Histogram, Reasons};
pub use view::{Shown, View};
pub use web::Web;

use crate::report::Report;
use collector::Exposition;
use own::{Own, Tally};
use seen::Seen;

/// An exporter of the reports that come through a channel.
pub struct Exporter {
    shared: Arc<Shared>,
    exposition: Exposition,
    web: Web,
}

/// What is read at a scrape.
struct Shared {
    reports: watch::Receiver<Arc<Report>>,
    seen: Mutex<Seen>,
    tally: Tally,
    /// Start of the process, in seconds since 1970.
    started: Option<f64>,
    /// When the newest report came.
    fresh: Mutex<Instant>,
    /// Without a new report for so long something is wrong.
    patience: Duration,
}

impl Exporter {
    /// Exports what comes through `reports`, at least one each `interval`, to whom `web` admits.
    ///
    /// # Errors
    /// Never, unless two rows of [`METRICS`] are the same.
    pub fn new(
        reports: watch::Receiver<Arc<Report>>,
        per_queue: PerQueue,
        interval: Duration,
        web: Web,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            reports,
            seen: Mutex::new(Seen::new(per_queue)),
            tally: Tally::default(),
            started: own::started(),
            fresh: Mutex::new(Instant::now()),
            patience: (interval * 3).max(Duration::from_secs(10)),
        });
        shared.follow();
        Ok(Self { exposition: Exposition::new(&shared)?, shared, web })
    }

    /// Answers at `listener` until `stop` is ready; answers that are under way are given a moment more.
    ///
    /// # Errors
    /// None that ends it: a connection that fails ends alone.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        let exporter = Arc::new(self);
        let mut reports = exporter.shared.reports.clone();
        let follow = async {
            while reports.changed().await.is_ok() {
                exporter.shared.follow();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = follow => {}
            () = server::run(listener, &exporter, stop) => {}
        }
        Ok(())
    }

    /// `/metrics`, in text format 0.0.4.
    ///
    /// # Errors
    /// Never, unless a metric has no series and is told all the same.
    pub fn text(&self) -> Result<String> {
        self.exposition.text()
    }

    /// `/metrics`, in OpenMetrics 1.0.
    pub fn openmetrics(&self) -> String {
        self.exposition.openmetrics()
    }
}

impl Shared {
    fn report(&self) -> Arc<Report> {
        Arc::clone(&self.reports.borrow())
    }

    fn follow(&self) {
        let report = self.report();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).follow(&report);
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let report = self.report();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        look(&View::new(&report, &seen, &Own::read(&self.tally, self.started)))
    }

    /// Why reports no longer come, if they do not.
    fn stale(&self) -> Option<String> {
        let age = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let over = age > self.patience && !self.report().source.complete;
        over.then(|| format!("the last numbers are {} s old", age.as_secs()))
    }

    /// Since when counters count.
    fn created(&self) -> Created {
        let report = self.report();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let there = report.devices.iter().filter(|device| device.present);
        let devices = there.filter_map(|device| {
            Some(((device.netns.to_string(), device.name.clone()), seen.created(device.key())?))
        });
        Created { process: self.started, counting: seen.started(), devices: devices.collect() }
    }
}

/// Since when counters count, in seconds since 1970.
struct Created {
    process: Option<f64>,
    counting: Option<f64>,
    devices: HashMap<(String, String), f64>,
}

impl Created {
    fn of(&self, family: &MetricFamily, labels: &[LabelPair]) -> Option<f64> {
        if ["process_", "vnet_http_"].iter().any(|start| family.name().starts_with(start)) {
            return self.process;
        }
        match labels {
            [netns, device, ..] if device.name() == "device" => {
                let key = (netns.value().to_owned(), device.value().to_owned());
                self.devices.get(&key).copied().or(self.counting)
            }
            _ => self.counting,
        }
    }
}

#[cfg(test)]
mod tests;
