//! Packets that no program was run for: the kernel runs none within itself.
//!
//! A packet may be dropped outside of softirqs, with an interrupt just then; what the softirq behind it drops on the same CPU
//! meets a program that is already running, and is skipped. That is loss, and told like any other.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};

use aya::Ebpf;

/// Where the kernel describes each of the loaded programs.
pub(crate) struct Skipped(Vec<PathBuf>);

impl Skipped {
    /// Of those of these programs that are loaded.
    pub(crate) fn of<'a>(ebpf: &Ebpf, programs: impl Iterator<Item = &'a str>) -> Self {
        let described = |name| {
            let fd = ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd();
            Some(PathBuf::from(format!("/proc/self/fdinfo/{fd}")))
        };
        Self(programs.filter_map(described).collect())
    }

    /// Runs that were skipped since the programs were loaded, each for a packet that may not have been counted, or not as
    /// refused. Kernels before 5.12 do not say.
    pub(crate) fn runs(&self) -> u64 {
        self.0.iter().filter_map(|path| misses(&fs::read_to_string(path).ok()?)).sum()
    }
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
