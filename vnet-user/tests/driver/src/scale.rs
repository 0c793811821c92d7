//! vnet on a host with many taps: how long until it counts, and what that costs.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    frame::Frame,
    load,
    netns::Netns,
    sys,
    tap::{Config, Tap},
    truth::Ledger,
    vnet::Vnet,
};

/// What was measured.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Taps.
    pub taps: u16,
    /// Queues of each.
    pub queues: u16,
    /// From the start of the process to `counting since`.
    pub ready: Duration,
    /// CPU time until then.
    pub start_cpu: Duration,
    /// CPU time of the quiet second after it.
    pub idle_cpu: Duration,
    /// From SIGINT to the end, the report written.
    pub report: Duration,
    /// CPU time of that.
    pub report_cpu: Duration,
    /// Largest resident memory, bytes.
    pub resident: u64,
    /// Differences to the truth (one packet per queue and more), one a line; empty when exact.
    pub differences: String,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} taps x {} queues: counting after {:?} ({:?} CPU), an idle second {:?} CPU, report {:?} ({:?} CPU), \
             {} KiB resident, {}",
            self.taps,
            self.queues,
            self.ready,
            self.start_cpu,
            self.idle_cpu,
            self.report,
            self.report_cpu,
            self.resident / 1024,
            if self.differences.is_empty() { "exact" } else { &self.differences }
        )
    }
}

/// Makes the taps, runs `binary` beside them, sends through every queue, and measures.
pub fn measure(binary: &Path, taps: u16, queues: u16) -> Result<Scale> {
    raise_open_files(u64::from(taps) * u64::from(queues) + 1000)?;
    let netns = Netns::new()?;
    let devices = (0..taps)
        .map(|n| Tap::new(&netns, &Config::new(&format!("tap{n}"), queues)))
        .collect::<Result<Vec<_>>>()?;
    let vnet = Vnet::start(binary, &[])?;
    let task = format!("/proc/{}", vnet.pid());
    let (ready, start_cpu) = (vnet.ready_after, cpu(&task)?);
    // The pause is what is measured: what vnet costs while nothing happens.
    std::thread::sleep(Duration::from_secs(1));
    let idle_cpu = cpu(&task)?.saturating_sub(start_cpu);
    let mut truth = Ledger::default();
    for (n, tap) in devices.iter().enumerate() {
        for (queue, file) in (0..).zip(tap.files()) {
            let flow = load::transmit(file, &[Frame::plain(60 + n)], u64::from(queue) + 1)?;
            truth.tx(tap.key(queue), flow);
        }
    }
    let resident = status(&task, "VmHWM:")? * 1024;
    let (before, children) = (cpu(&task)?, sys::children_cpu()?);
    let asked = Instant::now();
    let report = vnet.finish()?;
    let elapsed = asked.elapsed();
    let whole = sys::children_cpu()?.saturating_sub(children);
    Ok(Scale {
        taps,
        queues,
        ready,
        start_cpu,
        idle_cpu,
        report: elapsed,
        report_cpu: whole.saturating_sub(before),
        resident,
        differences: report.differences(&truth),
    })
}

/// CPU time of all threads of a process, from the scheduler.
fn cpu(task: &str) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("{task}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split_whitespace().next().context("empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn status(task: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("{task}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn raise_open_files(wanted: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        let maximum = now.maximum.map(|maximum| maximum.max(wanted));
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
            .context("cannot raise the limit of open files")?;
    }
    Ok(())
}
