//! What a scrape costs on hosts of 100 VMs with two devices of 8 queue pairs each, and of 4 and 16 times as many.
//!
//! Reports are made up, in them everything is known; exporter and connections are real. Ends with status 1 when a limit is
//! missed.

#[path = "../tests/serve/full.rs"]
mod full;
#[path = "scale/table.rs"]
mod table;

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::getpid;
use vnet::export::PerQueue;
use vnet_driver::scale::Resident;

use table::{Figure, Table, Unit};

const VMS: u32 = 100;
const NICS: u32 = 2;
const PAIRS: u16 = 8;
/// Scrapes of one size.
const SCRAPES: usize = 200;
/// Who scrapes at once, and for how long.
const SCRAPERS: usize = 20;
const LONG: Duration = Duration::from_mins(1);

fn main() -> Result<ExitCode> {
    if env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{VMS} VMs x {NICS} devices x {PAIRS} queue pairs, everything known; medians (ranges)");
    let mut table = Table::default();
    many(&mut table)?;
    for times in [1, 4, 16] {
        for (name, per_queue) in
            [("per device", PerQueue::Auto), ("per queue pair", PerQueue::Cap(usize::MAX))]
        {
            scrapes(&mut table, times, name, per_queue)?;
        }
    }
    Ok(if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Scrapes of one host, made one after the other in this thread: what one core needs.
fn scrapes(table: &mut Table, times: u32, name: &str, per_queue: PerQueue) -> Result<()> {
    let exporter = full::exporter(full::report(123_456_789, 1e5, VMS * times, NICS, PAIRS), per_queue)?;
    let limit = f64::from(20 * times);
    let text = exporter.text()?;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!("{times} x, {name}: {series} series, {} kB as text", text.len() / 1000);
    for (format, open) in [("text", false), ("OpenMetrics", true)] {
        let mut took = Vec::new();
        let mut median = Figure::new(&format!("  scrape, {format}"), Unit::Millis);
        for _ in 0..SCRAPES {
            let began = Instant::now();
            let length = if open { exporter.openmetrics().len() } else { exporter.text()?.len() };
            took.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(length > 0, "an empty scrape");
        }
        for ms in &took {
            median.add(*ms);
        }
        took.sort_by(f64::total_cmp);
        let mut worst = Figure::new("    99 of 100 are below", Unit::Millis).limit(limit);
        worst.add(took[SCRAPES * 99 / 100]);
        let mut share = Figure::new("    of a core, one scrape each 15 s", Unit::Percent);
        share.add(100.0 * took[SCRAPES / 2] / 15e3);
        table.print([median, worst, share]);
    }
    Ok(())
}

/// Twenty scrapers at once for a minute, by the network, while the counts change.
fn many(table: &mut Table) -> Result<()> {
    let address = full::serve(VMS, NICS, PAIRS)?;
    let end = Instant::now() + LONG;
    let done: Vec<Result<usize>> = thread::scope(|scope| {
        let scrapers: Vec<_> = (0..SCRAPERS)
            .map(|_| {
                scope.spawn(move || {
                    let mut scrapes = 0;
                    while Instant::now() < end {
                        scrape(address)?;
                        scrapes += 1;
                    }
                    Ok(scrapes)
                })
            })
            .collect();
        scrapers
            .into_iter()
            .map(|scraper| scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let scrapes: usize = done.into_iter().sum::<Result<usize>>()?;
    let mut resident = Figure::new("resident memory, most", Unit::Mega).limit(64.0);
    resident.add(Resident::of(getpid())?.peak as f64 / 1e6);
    println!("{SCRAPERS} scrapers at once for {} s: {scrapes} scrapes, no error", LONG.as_secs());
    table.print([resident]);
    Ok(())
}

/// One whole answer.
fn scrape(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let accept = "Accept: application/openmetrics-text;version=1.0.0";
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: vnet\r\n{accept}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("cut off")?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"# EOF\n"), "no whole answer");
    Ok(())
}
