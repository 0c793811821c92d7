//! Threads of a guest on its host: vCPUs, and the vhost workers that serve it.

use std::fs;

use anyhow::{Context, Result};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

/// vCPU threads of a process by number, from the names that QEMU gives them (`debug-threads=on`).
pub fn vcpus(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for (tid, name) in threads(pid)? {
        if let Some(vcpu) = name.strip_prefix("CPU ").and_then(|rest| rest.strip_suffix("/KVM")) {
            found.push((vcpu.parse::<u32>()?, tid));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, tid)| tid).collect())
}

/// The vhost workers of a process, oldest first: that of the first pair is made first. They are threads of their own up to
/// 6.3, and the process's since then.
pub fn workers(pid: u32) -> Result<Vec<u32>> {
    let name = format!("vhost-{pid}");
    let mut found: Vec<_> = threads(pid)?.into_iter().filter(|(_, comm)| *comm == name).collect();
    for entry in fs::read_dir("/proc")? {
        if let Ok(tid) = entry?.file_name().to_string_lossy().parse() {
            let comm = fs::read_to_string(format!("/proc/{tid}/comm")).unwrap_or_default();
            found.extend((tid != pid && comm.trim() == name).then_some((tid, comm)));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(tid, _)| tid).collect())
}

fn threads(pid: u32) -> Result<Vec<(u32, String)>> {
    let folder = format!("/proc/{pid}/task");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
        let entry = entry?;
        // A thread may end at any time.
        if let Ok(comm) = fs::read_to_string(entry.path().join("comm")) {
            found.push((entry.file_name().to_string_lossy().parse()?, comm.trim_end().to_owned()));
        }
    }
    Ok(found)
}

/// Lets a thread (`None`: this one) run on these CPUs only.
pub fn pin(tid: Option<u32>, cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    let pid = tid.map(i32::try_from).transpose()?.map(|tid| Pid::from_raw(tid).context("no thread 0"));
    sched_setaffinity(pid.transpose()?, &set).with_context(|| format!("cannot pin {tid:?} to {cpus:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_known_by_their_names() {
        let me = std::process::id();
        let (named, seen) = (std::sync::Barrier::new(3), std::sync::Barrier::new(3));
        std::thread::scope(|scope| {
            for name in ["CPU 1/KVM".to_owned(), format!("vhost-{me}")] {
                let live = || (named.wait(), seen.wait());
                std::thread::Builder::new().name(name).spawn_scoped(scope, live).unwrap();
            }
            named.wait();
            let found = (vcpus(me).map(|found| found.len()), workers(me).map(|found| found.len()));
            seen.wait();
            assert_eq!((found.0.unwrap(), found.1.unwrap()), (1, 1));
        });
    }
}
