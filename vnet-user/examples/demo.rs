//! Makes the recording that `--demo` opens: real taps in a namespace of their own, with a bad layout, and `vnet record` beside.
//!
//! `cargo xtask demo` runs it. Three guests' worth of taps:
//!
//! - `web0`: four queues, and nearly all of the traffic in the last; what it receives is not fetched fast enough.
//! - `db0`: one queue for everything, small frames.
//! - `idle0`: four queues of which one carries now and then a packet.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vnet_driver::{
    frame::{Frame, Gso},
    host::Sender,
    load,
    netns::Netns,
    tap::{Config, Tap},
    truth::Flow,
};

/// Time between two bursts.
const PACE: Duration = Duration::from_millis(20);

/// Frames of one queue per burst, each way, and the bursts after which it is fetched from.
struct Queue {
    tx: u64,
    rx: u64,
    fetch: u64,
}

fn main() -> Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let program = arguments.next().context("name the program")?;
    let output = arguments.next().context("name the file")?;
    let seconds =
        arguments.next().and_then(|n| n.to_str()?.parse::<u32>().ok()).context("name the seconds")?;
    let netns = Netns::new()?;
    let tap = |name, queues| -> Result<Tap> {
        let tap = Tap::new(&netns, &Config::new(name, queues))?;
        tap.steer_by_address()?;
        Ok(tap)
    };
    let (web, db, idle) = (tap("web0", 4)?, tap("db0", 1)?, tap("idle0", 4)?);
    let long = [Frame::plain(1514), Frame::gso(Gso::Tcp4, 4000, 1448)];
    let short = [Frame::plain(90)];
    let quiet = |tx| Queue { tx, rx: 0, fetch: 1 };
    let uneven = [
        Queue { tx: 1, rx: 0, fetch: 1 },
        Queue { tx: 2, rx: 1, fetch: 1 },
        Queue { tx: 10, rx: 5, fetch: 1 },
        Queue { tx: 400, rx: 160, fetch: 20 },
    ];
    let done = AtomicBool::new(false);
    let mut record = Command::new(program);
    record
        .args(["record", "--netns", &netns.inode().to_string(), "--for", &format!("{seconds}s"), "-o"])
        .arg(&output);
    thread::scope(|scope| {
        let drivers = [
            scope.spawn(|| drive(&web, &long, &uneven, &done)),
            scope.spawn(|| drive(&db, &short, &[Queue { tx: 150, rx: 120, fetch: 1 }], &done)),
            scope.spawn(|| drive(&idle, &short, &[quiet(0), quiet(0), quiet(1), quiet(0)], &done)),
        ];
        let status = record.stdin(Stdio::null()).status();
        done.store(true, Ordering::Relaxed);
        for driver in drivers {
            driver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        ensure!(status.context("vnet cannot be started")?.success(), "vnet record failed");
        Ok(())
    })
}

/// Sends in bursts, with a slow swing, until it is done.
fn drive(tap: &Tap, frames: &[Frame], queues: &[Queue], done: &AtomicBool) -> Result<()> {
    let sender = Sender::open(&tap.netns, tap.ifindex)?;
    let began = Instant::now();
    let mut bursts = 0;
    while !done.load(Ordering::Relaxed) {
        bursts += 1;
        // Up and down by two fifths, once in 40 s.
        let swing = 60 + 4 * (began.elapsed().as_secs() % 40).abs_diff(20);
        for (file, queue) in tap.files().iter().zip(queues) {
            let scaled = |frames: u64| if frames > 1 { frames * swing / 100 } else { frames };
            load::transmit(file, frames, scaled(queue.tx))?;
            let index = u8::try_from(file.index())?;
            let down: Vec<_> = frames.iter().cloned().map(|frame| frame.to(index)).collect();
            load::send(&sender, &down, scaled(queue.rx))?;
            if bursts % queue.fetch == 0 {
                load::drain(file, &mut Flow::default())?;
            }
        }
        thread::sleep(PACE);
    }
    Ok(())
}
