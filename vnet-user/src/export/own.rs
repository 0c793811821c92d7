//! What vnet itself costs and refused.

use std::{fs, sync::Mutex, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    time::{ClockId, clock_gettime},
};

/// Why a connection or request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It made room for newer ones.
    Crowded,
    /// It took too long.
    Slow,
    /// It was no HTTP, or too much of it.
    Malformed,
    /// Name or password were missing or wrong.
    Unauthorized,
    /// It was no TLS that this side speaks.
    Handshake,
    /// Such a path or method there is not.
    Unknown,
}

impl Refused {
    /// All of them, as the label has them.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Crowded, "crowded"),
        (Self::Slow, "slow"),
        (Self::Malformed, "malformed"),
        (Self::Unauthorized, "unauthorized"),
        (Self::Handshake, "handshake"),
        (Self::Unknown, "unknown"),
    ];
}

/// What was counted of the exporter itself.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counted>);

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    refused: [u64; Refused::ALL.len()],
    scrape: Option<Duration>,
}

impl Tally {
    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts a refusal.
    pub fn refuse(&self, why: Refused) {
        self.counted().refused[why as usize] += 1;
    }

    /// Notes how long a scrape took to make.
    pub fn scraped(&self, took: Duration) {
        self.counted().scrape = Some(took);
    }
}

/// What vnet itself is and did, at the time of a scrape; `None` where the system does not tell.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// CPU seconds.
    pub cpu: Option<f64>,
    /// Bytes of resident memory.
    pub resident: Option<f64>,
    /// Open file descriptors.
    pub descriptors: Option<f64>,
    /// Start, in seconds since 1970.
    pub started: Option<f64>,
    /// Seconds that the last scrape took.
    pub scrape: Option<f64>,
    /// Refusals by reason.
    pub refused: [u64; Refused::ALL.len()],
}

impl Own {
    /// Reads it.
    pub fn read(tally: &Tally, started: Option<f64>) -> Self {
        let counted = *tally.counted();
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        // One of them is the one that reads the folder.
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(|open| open.count().saturating_sub(1));
        Self {
            cpu: Some(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9),
            resident: pages.map(|pages| (pages * page_size() as u64) as f64),
            descriptors: descriptors.map(|n| n as f64),
            started,
            scrape: counted.scrape.map(|took| took.as_secs_f64()),
            refused: counted.refused,
        }
    }
}

/// When this process was started, in seconds since 1970, from clock ticks since boot.
pub(super) fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; the start is the 20th field after it.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 =
        boot.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|n| n.trim().parse().ok())?;
    Some(boot as f64 + ticks as f64 / clock_ticks_per_second() as f64)
}
