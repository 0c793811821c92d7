//! The screen with made-up reports: to look at it without a host full of guests, and to test it on a real terminal.
//!
//! `cargo run --example screen -- [empty|small|vhost|large] [run|end|panic|panic-elsewhere]`: what is shown, and what happens
//! when the third report is due.

#[path = "../tests/screens/build.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod build;

use std::{
    env,
    io::{self, Write},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::bail;
use tokio::{
    sync::{mpsc, watch},
    time::interval,
};
use vnet::{
    report::Report,
    tui::{self, TuiOptions},
};

/// Time between two reports; short, for the tests.
const INTERVAL: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let report = match arguments.next().unwrap_or("small") {
        "empty" => build::empty(),
        "small" => build::small(),
        "vhost" => build::vhost(),
        "large" => build::large(),
        other => bail!("no such report: {other}"),
    };
    let last = match arguments.next().unwrap_or("run") {
        "run" => None,
        "end" => Some(Last::End),
        "panic" => Some(Last::Panic),
        "panic-elsewhere" => Some(Last::PanicElsewhere),
        other => bail!("no such end: {other}"),
    };
    let (sender, receiver) = watch::channel(Arc::new(build::starting()));
    tokio::spawn(feed(sender, report, last));
    let (asked, _nobody) = mpsc::unbounded_channel();
    let exit = tui::run(receiver, TuiOptions::from_env(), asked, None).await?;
    // Not `println!`, which panics when the terminal is gone.
    let _ = writeln!(io::stdout(), "ended: {exit:?}");
    Ok(())
}

enum Last {
    End,
    Panic,
    PanicElsewhere,
}

async fn feed(sender: watch::Sender<Arc<Report>>, report: Report, last: Option<Last>) {
    let mut ticks = interval(INTERVAL);
    for n in 0.. {
        ticks.tick().await;
        match &last {
            Some(Last::End) if n == 3 => return,
            Some(Last::Panic) if n == 3 => panic!("asked for"),
            Some(Last::PanicElsewhere) if n == 3 => drop(thread::spawn(|| panic!("asked for"))),
            _ => {}
        }
        let mut report = build::later(&report, f64::from(n) * INTERVAL.as_secs_f64());
        for (i, queue) in (0..).zip(&mut report.queues) {
            let swing = 1.0 + 0.5 * (f64::from(n) / 10.0 + f64::from(i)).sin();
            for rate in [&mut queue.tx_rate, &mut queue.rx_rate].into_iter().flatten() {
                rate.pps *= swing;
                rate.bps *= swing;
            }
        }
        if sender.send(report.into()).is_err() {
            return;
        }
    }
}
