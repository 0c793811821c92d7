//! What probes cost is told only while it is asked for.

use std::time::Duration;

use anyhow::Result;
use vnet::{
    filter::Filter,
    live::{Live, Options},
    record::{Probe, Record},
};
use vnet_driver::{
    load::{self, Mix, Share},
    need,
    netns::Netns,
    tap::{Config, Tap},
    truth::Ledger,
};

use crate::live;

/// The probes as the records tell them last.
fn probes(records: &[Record]) -> Option<Vec<Probe>> {
    records.iter().rev().find_map(|record| match record {
        Record::Source(source) => Some(source.probes.clone()),
        _ => None,
    })
}

#[test]
fn programs_are_timed_while_that_is_wanted() -> Result<()> {
    need!(live());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut live = Live::start(Options {
            interval: Duration::from_millis(50),
            filter: Filter::default(),
            probe_stats: false,
            without: Vec::new(),
        })?;
        let first = probes(&live.next().await?).unwrap_or_default();
        assert!(
            !first.is_empty() && first.iter().all(|probe| probe.runs.is_none() && probe.run_ns.is_none())
        );

        live.time(true)?;
        let tap = Tap::new(&Netns::new()?, &Config::new("tap0", 1))?;
        load::both(&tap, &Mix::everything(), &[Share { tx: 300, rx: 200 }], &mut Ledger::default())?;
        let ran = |probes: Vec<Probe>| {
            probes
                .iter()
                .any(|probe| probe.signal == "tap.tx" && probe.runs >= Some(300) && probe.run_ns > Some(0))
        };
        while !probes(&live.next().await?).is_some_and(ran) {}

        live.time(false)?;
        let untold = |probes: Vec<Probe>| probes.iter().all(|probe| probe.runs.is_none());
        while !probes(&live.next().await?).is_some_and(untold) {}
        Ok(())
    })
}
