//! A host with many taps, and what a process on it costs.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    frame::Frame,
    netns::Netns,
    sys,
    tap::{Config, Tap},
};

/// Files beside the queues' that a test or bench has open.
const OTHER_FILES: u64 = 1000;

/// Makes `taps` multi-queue taps, spread over `namespaces` of their own.
///
/// # Errors
/// When namespaces or taps cannot be made, or so many files cannot be open.
pub fn taps(namespaces: u16, taps: u16, queues: u16) -> Result<Vec<Tap>> {
    raise_open_files(u64::from(taps) * u64::from(queues) + OTHER_FILES)?;
    let spaces = (0..namespaces).map(|_| Netns::new()).collect::<Result<Vec<_>>>()?;
    let names = (0..taps).map(|n| Config::new(&format!("tap{n}"), queues));
    spaces.iter().cycle().zip(names).map(|(netns, config)| Tap::new(netns, &config)).collect()
}

/// The guest sends one packet through each of the first `count` queues, queue 0 of every tap first.
///
/// # Errors
/// When a packet cannot be written.
pub fn touch(taps: &[Tap], count: usize) -> Result<()> {
    let frame = Frame::plain(60);
    let widest = taps.iter().map(|tap| tap.files().len()).max().unwrap_or(0);
    let rounds = (0..widest).flat_map(|queue| taps.iter().filter_map(move |tap| tap.files().get(queue)));
    rounds.take(count).try_for_each(|file| file.transmit(&frame)).context("cannot write a frame")
}

/// CPU time of a running process so far.
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: Pid) -> Result<Duration> {
    sys::process_cpu(pid.as_raw_nonzero().get()).context("no CPU time of the process")
}

/// CPU time of the children of this process that have ended, their own children included.
///
/// # Errors
/// Never in practice.
pub fn children_cpu() -> Result<Duration> {
    Ok(sys::children_cpu()?)
}

/// Resident memory of a process in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Most so far.
    pub peak: u64,
    /// Now.
    pub now: u64,
    /// Of that, its own; the rest are files and maps shared with the kernel.
    pub own: u64,
}

impl Resident {
    /// Of a running process.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: Pid) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Self { peak: field("VmHWM:")?, now: field("VmRSS:")?, own: field("RssAnon:")? })
    }
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
