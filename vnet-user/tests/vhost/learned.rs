//! A kernel that hides what it knows of its modules: what arguments and nesting tell is as exact, the rest is not told.

use std::time::Duration;

use anyhow::{Context as _, Result};
use vnet::{
    filter::Filter,
    live::{Live, Options},
    record::{Known, Record},
    state::State,
};
use vnet_driver::{need, vnet::Report};

use crate::{Cases, after, assert_running, copies, exact, golden, late, vhost};

/// What is in structures of vhost alone.
const UNKNOWN: [&str; 4] = ["vhost.busy_poll", "vhost.files", "vhost.kicks", "vhost.runs"];

/// Without the descriptions of modules, and without these functions.
fn without(functions: &[&str]) -> Options {
    Options {
        interval: Duration::from_mins(1),
        filter: Filter::default(),
        probe_stats: false,
        without: ["module_btf"].iter().chain(functions).map(ToString::to_string).collect(),
    }
}

/// Observes guests without the descriptions of modules.
fn observed(cases: Cases) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut live = Live::start(without(&[]))?;
        let mut state = State::default();
        for record in live.next().await? {
            if let Record::Source(source) = &record {
                for probe in source.probes.iter().filter(|probe| probe.signal.starts_with("vhost.")) {
                    println!("{} {:?} {} {:?}", probe.signal, probe.state, probe.via, probe.reason);
                    let unknown = UNKNOWN.contains(&&*probe.signal);
                    let expected = if unknown { Known::Unavailable } else { Known::Exact };
                    assert!(probe.state == expected || probe.signal == "vhost.copies", "{probe:?}");
                    assert!(probe.reason.is_some(), "{probe:?}");
                }
            }
            state.apply(&record);
        }
        let guests: Vec<_> = cases.into_iter().map(after).collect::<Result<_>>()?;
        live.finish().await?.iter().for_each(|record| state.apply(record));
        assert_eq!(state.regressions(), 0);
        let report = Report(serde_json::to_value(state.report())?);
        assert_running(&guests, &report);
        Ok(report)
    })
}

/// Why kprobes cannot be tried here, or `None`.
fn kprobes() -> Option<String> {
    let has = std::fs::exists("/sys/bus/event_source/devices/kprobe").unwrap_or(false);
    vhost().or_else(|| (!has).then(|| "this kernel has no kprobes".to_owned()))
}

#[test]
fn arguments_and_nesting_tell_as_much() -> Result<()> {
    need!(kprobes());
    let scenes = [copies::copied, exact::lengths, exact::rings, golden::publications, late::read_or_dropped];
    let report = observed(scenes.iter().flat_map(|scene| scene()).collect())?;
    let kicks = report.0["queues"].as_array().context("no queues")?.iter().map(|row| &row["tx"]["kicks"]);
    assert!(kicks.clone().count() > 10 && kicks.into_iter().all(serde_json::Value::is_null));
    Ok(())
}

#[test]
fn a_function_less_costs_what_is_learned_from_it() -> Result<()> {
    need!(kprobes());
    for (functions, lost) in [
        (&["vhost_exceeds_weight"][..], &["vhost.rx", "vhost.copies"][..]),
        (&["eventfd_signal", "eventfd_signal_mask"], &["vhost.calls"]),
        (&["tun_sendmsg"], &["vhost.copies", "vhost.calls", "vhost.worker"]),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let records = runtime.block_on(async { Live::start(without(functions))?.next().await })?;
        let Some(Record::Source(source)) = records.first() else { anyhow::bail!("a source comes first") };
        for probe in source.probes.iter().filter(|probe| probe.signal.starts_with("vhost.")) {
            let reason = probe.reason.as_deref().unwrap_or_default();
            if lost.contains(&&*probe.signal) {
                assert_eq!(probe.state, Known::Unavailable, "without {functions:?}: {probe:?}");
                let named = format!("this kernel has no function {}", functions.join(" or "));
                assert!(reason.starts_with(&named), "without {functions:?}: {probe:?}");
            } else {
                let known = UNKNOWN.contains(&&*probe.signal) || probe.signal == "vhost.copies";
                assert!(known || probe.state == Known::Exact, "without {functions:?}: {probe:?}");
            }
        }
    }
    Ok(())
}
