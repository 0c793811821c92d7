//! Modules that are loaded while vnet runs.
//!
//! For a machine that has the modules and has not loaded them (`cargo xtask lab run --later`): `VNET_LOAD_MODULES` names the
//! script that does.

use std::{env, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;
use vnet::{
    filter::Filter,
    live::{Live, Options},
    record::{Known, Record, Source},
    state::State,
};
use vnet_driver::{
    frame::Frame,
    host::Sender,
    link::Links,
    load, need,
    netns::Netns,
    tap::{self, Tap},
    truth::Flow,
    vhost::{Config, Guest, Kick, Packet, Script, Side, Step},
    vnet::Report,
};

use crate::assert_running;

/// How long attaching may take on a machine that is emulated.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why this cannot be shown here, or `None`.
fn not_here() -> Option<String> {
    if env::var_os("VNET_LOAD_MODULES").is_none() {
        return Some("needs a machine that is yet to load its modules (VNET_LOAD_MODULES)".to_owned());
    }
    crate::live()
}

fn load_modules() -> Result<()> {
    let script = env::var_os("VNET_LOAD_MODULES").context("checked before")?;
    let out = Command::new("sh").arg(script).output()?;
    ensure!(out.status.success(), "the modules cannot be loaded: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// States and reasons of the signals whose names begin so.
fn signals<'a>(source: &'a Source, prefix: &str) -> Vec<(&'a str, Known, &'a str)> {
    let ours = source.probes.iter().filter(|probe| probe.signal.starts_with(prefix));
    ours.map(|probe| (probe.signal.as_str(), probe.state, probe.reason.as_deref().unwrap_or_default()))
        .collect()
}

#[test]
fn what_comes_while_vnet_runs_is_counted_exactly() -> Result<()> {
    need!(not_here());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut live = Live::start(Options {
            interval: Duration::from_millis(100),
            filter: Filter::default(),
            probe_stats: false,
            without: Vec::new(),
        })?;
        let mut state = State::default();
        let first = live.next().await?;
        for record in &first {
            state.apply(record);
        }
        let Some(Record::Source(source)) = first.first() else { bail!("a source comes first") };
        for (signal, known, reason) in signals(source, "vhost.") {
            assert_eq!(known, Known::Unavailable, "{signal}");
            assert_eq!(reason, "vhost_net is not loaded: counted as soon as it is", "{signal}");
        }
        for (signal, known, reason) in signals(source, "tap.") {
            println!("before: {signal} {known:?} {reason}");
        }
        load_modules()?;
        let described = Path::new("/sys/kernel/btf/vhost_net").exists();
        let last = timeout(PATIENCE, until_told(&mut live, &mut state, described)).await??;
        for (signal, known, reason) in signals(&last, "vhost.").into_iter().chain(signals(&last, "tap.")) {
            println!("after: {signal} {known:?} {reason}");
        }
        let guest = Guest::new(&Netns::new()?, Config { pairs: 2, ..Config::default() })?;
        let script = Script::new()
            .transmit(0, Packet::new(100).times(200))
            .transmit(1, Packet::new(1514).times(50))
            .on(0, Step::PostRx(vec![1526; 300]))
            .on(0, Step::Kick(Side::Rx, Kick::Always))
            .receive(0, Packet::new(100).times(200));
        guest.run(&script)?;
        guest.truth()?;
        let tap = Tap::new(&Netns::new()?, &tap::Config::new("late0", 1))?;
        let refused = be_refused(&tap)?;
        // All is told, and nothing is tried again for ever.
        let mut sources = 0;
        for _ in 0..10 {
            let records = live.next().await?;
            sources += records.iter().filter(|record| matches!(record, Record::Source(_))).count();
            for record in &records {
                state.apply(record);
            }
        }
        assert!(sources <= 1, "the source was told {sources} times more");
        live.finish().await?.iter().for_each(|record| state.apply(record));
        let report = Report(serde_json::to_value(state.report())?);
        let row = report.queue(tap.key(0)).context("no row of the tap")?;
        assert_eq!(drops(&row["rx"]), Some(refused), "{row}");
        if described {
            assert_eq!(drops(&row["tx"]), Some(BAD), "{row}");
        }
        assert_running([&guest], &report);
        Ok(())
    })
}

/// Packets of a guest that its tap drops.
const BAD: u64 = 3;

/// Has the tap refuse packets both ways: how many on the way to its guest.
fn be_refused(tap: &Tap) -> Result<u64> {
    Links::open(&tap.netns)?.set_queue_len(tap.ifindex, 16)?;
    let sender = Sender::open(&tap.netns, tap.ifindex)?;
    let file = tap.files().first().context("a tap has a queue")?;
    load::send(&sender, &[Frame::plain(100)], 40)?;
    let mut read = Flow::default();
    load::drain(file, &mut read)?;
    for _ in 0..BAD {
        ensure!(file.transmit(&Frame::bad_header(100)).is_err(), "a bad packet was taken");
    }
    let refused = 40 - read.packets();
    ensure!(refused > 0, "nothing was refused");
    Ok(refused)
}

/// Drops for any reason.
fn drops(flow: &Value) -> Option<u64> {
    flow["drops"].as_object()?.values().map(Value::as_u64).sum()
}

/// Waits until the source tells what came of the modules.
async fn until_told(live: &mut Live, state: &mut State, described: bool) -> Result<Source> {
    loop {
        for record in live.next().await? {
            state.apply(&record);
            let Record::Source(source) = record else { continue };
            let vhost = signals(&source, "vhost.");
            let counted = vhost.iter().all(|(_, known, _)| *known == Known::Exact);
            let learned = vhost.iter().any(|(_, known, _)| *known == Known::Exact);
            if counted || !described && learned {
                return Ok(source);
            }
        }
    }
}
