//! What vnet costs on a host with 500 taps of 8 queues, each figure beside its limit.
//!
//! The taps are real and in namespaces of their own, the program is the real one, and every queue has carried a packet,
//! so that the probes count for all of them. Ends with status 1 when a limit is missed.

mod advice;
mod program;
mod table;

use std::{
    env,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use vnet::live;
use vnet_driver::{frame::Frame, need, scale, tap::Tap};

use program::{Reporting, Watching};
use table::{Figure, Table, Unit};

const NAMESPACES: u16 = 10;
const TAPS: u16 = 500;
const QUEUES: u16 = 8;
/// Queues with traffic where it is light.
const BUSY: usize = 50;
const RUNS: usize = 5;
/// Time between two samples where their cost is measured.
const SHORT: Duration = Duration::from_millis(100);
/// How long CPU time is gathered for one value.
const WINDOW: Duration = Duration::from_secs(5);

fn main() -> Result<ExitCode> {
    if env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::default();
    advice::advice(&mut table);
    let fatal = live::prereq::check().into_iter().find(|problem| problem.fatal);
    if let Some(why) = fatal.map(|problem| problem.sentence).or_else(need::taps).or_else(need::bpf) {
        println!("skipped: {why}");
        return Ok(status(&table));
    }
    live::object().context("nothing to measure")?;
    let taps = scale::taps(NAMESPACES, TAPS, QUEUES)?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!(
        "kernel {}, {} CPUs; {TAPS} taps x {QUEUES} queues in {NAMESPACES} namespaces; medians (ranges)",
        kernel.trim(),
        thread::available_parallelism()?
    );
    let vnet = Path::new(env!("CARGO_BIN_EXE_vnet"));
    reports(&mut table, vnet, &taps)?;
    samples(&mut table, vnet, &taps)?;
    screens(&mut table, vnet, &taps)?;
    maps(&mut table);
    Ok(status(&table))
}

fn status(table: &Table) -> ExitCode {
    if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// From start to end of `vnet report`.
fn reports(table: &mut Table, vnet: &Path, taps: &[Tap]) -> Result<()> {
    let mut ready = Figure::new("start to `counting since`", Unit::Millis).limit(1000.0);
    let mut start = Figure::new("  CPU of it", Unit::Millis);
    let mut resident = Figure::new("resident memory, most until counting", Unit::Mega).limit(40.0);
    let mut now = Figure::new("  while counting", Unit::Mega);
    let mut own = Figure::new("  of that, its own (the rest are files and maps)", Unit::Mega);
    let mut last = Figure::new("  most, report in JSON included", Unit::Mega).limit(40.0);
    let mut told = Figure::new("SIGINT to the report in JSON", Unit::Millis);
    let mut cpu = Figure::new("  CPU of it: last samples, report, JSON", Unit::Millis).limit(50.0);
    let mut bytes = Figure::new("  its size", Unit::Mega);
    let mut exit = Figure::new("  CPU of the end of the process: programs, maps", Unit::Millis);
    let mut whole = Figure::new("CPU of `vnet report --for 2s` as a whole", Unit::Millis);
    for _ in 0..RUNS {
        let report = Reporting::start(vnet, "1s", "json")?;
        ready.add(millis(report.ready));
        let begun = scale::cpu(report.pid())?;
        start.add(millis(begun));
        let memory = scale::Resident::of(report.pid())?;
        resident.add(mega(memory.peak));
        scale::touch(taps, usize::MAX)?;
        // What is measured is a report on counts that a sample has seen.
        thread::sleep(Duration::from_secs(2));
        let memory = scale::Resident::of(report.pid())?;
        now.add(mega(memory.now));
        own.add(mega(memory.own));
        let end = report.finish()?;
        last.add(mega(end.resident.peak));
        told.add(millis(end.told));
        cpu.add(millis(end.cpu));
        bytes.add(mega(end.bytes));
        exit.add(millis(end.exit_cpu));
        let before = scale::children_cpu()?;
        program::run(vnet, &["report", "--for", "2s"])?;
        whole.add(millis(scale::children_cpu()?.saturating_sub(before)));
    }
    table.print([ready, start, resident, now, own, last, told, cpu, bytes, exit, whole]);
    Ok(())
}

/// One sample, as a report, an exporter or the screen takes it each interval.
fn samples(table: &mut Table, vnet: &Path, taps: &[Tap]) -> Result<()> {
    let report = Reporting::start(vnet, "100ms", "text")?;
    scale::touch(taps, usize::MAX)?;
    thread::sleep(Duration::from_secs(1));
    let queues = taps.len() * usize::from(QUEUES);
    for (name, busy) in [
        ("CPU of a sample, all queues idle", 0),
        ("  50 queues with traffic", BUSY),
        ("  all queues with traffic", queues),
    ] {
        let mut figure = Figure::new(name, Unit::Millis).limit(50.0);
        let pid = report.pid();
        traffic(taps, busy, || {
            for _ in 0..3 {
                let used = used(|| scale::cpu(pid))?;
                figure.add(millis(used) * SHORT.as_secs_f64() / WINDOW.as_secs_f64());
            }
            Ok(())
        })?;
        table.print([figure]);
    }
    report.finish()?;
    Ok(())
}

/// `vnet top` on a terminal, once a second.
fn screens(table: &mut Table, vnet: &Path, taps: &[Tap]) -> Result<()> {
    let mut shown = Figure::new("start of `vnet top` to the first numbers", Unit::Millis).limit(1000.0);
    for _ in 0..RUNS {
        shown.add(millis(Watching::start(vnet)?.shown));
    }
    table.print([shown]);
    for (screen, key) in [("devices", "1"), ("queues", "2")] {
        let mut top = Watching::start(vnet)?;
        top.press(key)?;
        scale::touch(taps, usize::MAX)?;
        thread::sleep(Duration::from_secs(3));
        for (load, busy) in [("idle", 0), ("50 queues with traffic", BUSY)] {
            let name = format!("`vnet top`, {screen}, {load}");
            let mut figure = Figure::new(&name, Unit::Percent).limit(1.0);
            let pid = top.pid();
            traffic(taps, busy, || {
                for _ in 0..3 {
                    let used = used(|| scale::cpu(pid))?;
                    figure.add(100.0 * used.as_secs_f64() / WINDOW.as_secs_f64());
                }
                Ok(())
            })?;
            table.print([figure]);
        }
        let resident = scale::Resident::of(top.pid())?;
        let mut figure = Figure::new("  resident memory, most", Unit::Mega).limit(40.0);
        figure.add(mega(resident.peak));
        table.print([figure]);
    }
    Ok(())
}

/// Memory of the counters on machines that are larger than this.
fn maps(table: &mut Table) {
    for queues in [3200, 4000] {
        for cpus in [2, 64, 256] {
            let mut figure = Figure::new(&format!("maps, {queues} queues, {cpus} possible CPUs"), Unit::Mega);
            if (queues, cpus) == (3200, 64) {
                figure = figure.limit(64.0);
            }
            figure.add(mega(live::map_bytes(live::slots_for(queues, cpus), cpus)));
            table.print([figure]);
        }
    }
}

/// Does `work` while packets go through `busy` queues, 20 a second each where they are few.
fn traffic(taps: &[Tap], busy: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let frame = Frame::plain(60);
    let files: Vec<_> = taps.iter().flat_map(Tap::files).step_by(QUEUES.into()).collect();
    let rest = taps.iter().flat_map(|tap| &tap.files()[1..]);
    let files: Vec<_> = files.into_iter().chain(rest).take(busy).collect();
    let (done, stop) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        let sender = scope.spawn(move || -> Result<()> {
            let mut next = Instant::now();
            while !files.is_empty() {
                for file in &files {
                    file.transmit(&frame)?;
                }
                next += Duration::from_millis(50);
                match stop.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
            Ok(())
        });
        let worked = work();
        drop(done);
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        worked
    })
}

/// CPU time that is used in [`WINDOW`].
fn used(mut cpu: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let before = cpu()?;
    thread::sleep(WINDOW);
    Ok(cpu()?.saturating_sub(before))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
