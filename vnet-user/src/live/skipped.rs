//! Packets that no program was run for: the kernel runs none within itself.
//!
//! A packet may be dropped outside of softirqs, with an interrupt just then; what the softirq behind it drops on the same CPU
//! meets a program that is already running, and is skipped. That is loss, and told like any other.

use std::{fs, os::fd::RawFd};

/// Runs of a program that were skipped since it was loaded, each for a packet that may not have been counted, or not as
/// refused. Kernels before 5.12 do not say.
pub(crate) fn runs(program: RawFd) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{program}"));
    text.ok().and_then(|text| misses(&text)).unwrap_or(0)
}

/// Runs of a program, and nanoseconds that they took while the kernel timed them.
pub(crate) fn times(program: RawFd) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{program}")).ok()?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some((number("run_cnt:")?, number("run_time_ns:")?))
}

fn misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_runs_are_found_where_the_kernel_tells_them() {
        let text = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t156\nverified_insns:\t403\n";
        assert_eq!(misses(text), Some(156));
        assert_eq!(misses("pos:\t0\nprog_type:\t26\n"), None);
    }
}
