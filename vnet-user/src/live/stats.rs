//! Has the kernel time programs as long as somebody looks at it, because that adds to each run of every program of the host.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use super::Live;

/// The kernel times programs as long as this is open.
pub(super) fn enable() -> Result<OwnedFd> {
    let stats = aya::sys::enable_stats(aya::sys::Stats::RunTime);
    stats.context("the kernel does not time programs (BPF_ENABLE_STATS)")
}

impl Live {
    /// Has programs timed from now on, or no longer; under [`Options::probe_stats`](super::Options::probe_stats) they are in any case.
    ///
    /// # Errors
    /// The kernel does not time programs; nothing else is worse for it.
    pub fn time(&mut self, wanted: bool) -> Result<()> {
        if self.options.probe_stats || wanted == self.stats.is_some() {
            return Ok(());
        }
        self.stats = wanted.then(enable).transpose()?;
        if !wanted {
            for probe in &mut self.source.probes {
                (probe.runs, probe.run_ns) = (None, None);
            }
            self.demand.news = true;
        }
        Ok(())
    }
}
