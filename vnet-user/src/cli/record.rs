//! `vnet record`.

use std::{path::PathBuf, time::Duration};

pub(super) const EXAMPLES: &str = "\
Examples:
  vnet record -o night.vnet                     until Ctrl-C
  vnet record -o r.vnet --for 30s --vm 4711     30 seconds of the devices of one process
  vnet record -o r.vnet --retain 100M           for as long as one likes: the newest 100 MiB stay
  vnet report --trace r.vnet                    what was recorded, as a report

The file is readable at any time, also after a crash: up to the last 5 seconds. With --retain its
oldest part is dropped; all counts stay right, because they are cumulative.";

/// Least that can be kept.
const LEAST: u64 = 1 << 20;

#[derive(clap::Args)]
pub(super) struct RecordArgs {
    /// File to write; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How long to record; until Ctrl-C when not given
    #[arg(long = "for", value_name = "DURATION", value_parser = super::positive)]
    duration: Option<Duration>,
    /// Keep the newest part only: the file takes no more than this, e.g. 64M or 2G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    retain: Option<u64>,
}

/// What to record, and where to.
#[derive(Debug)]
pub(crate) struct RecordOptions {
    /// The file.
    pub(crate) output: PathBuf,
    /// How long; `None` is until a signal.
    pub(crate) duration: Option<Duration>,
    /// Bytes to keep; `None` is all.
    pub(crate) retain: Option<u64>,
}

impl From<RecordArgs> for RecordOptions {
    fn from(typed: RecordArgs) -> Self {
        Self { output: typed.output, duration: typed.duration, retain: typed.retain }
    }
}

/// Bytes, in units of 1024.
fn size(text: &str) -> Result<u64, String> {
    let unit = text.trim_end_matches(['B', 'b']).trim_end_matches('i');
    let (digits, shift) = match unit.char_indices().last() {
        Some((at, 'k' | 'K')) => (&unit[..at], 10),
        Some((at, 'M')) => (&unit[..at], 20),
        Some((at, 'G')) => (&unit[..at], 30),
        Some((at, 'T')) => (&unit[..at], 40),
        _ => (unit, 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    match bytes.ok_or("write it as 64M or 2G")? {
        bytes if bytes < LEAST => Err("it must be 1M at least".into()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1M", LEAST), ("64MiB", 64 << 20), ("2GB", 2 << 30), ("2048k", 2 << 20), ("3000000", 3_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1023k", "-1M", "1.5G", "99999999T", "1X"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
