//! What CPUs share, from sysfs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::topology::Cpu;

const FOLDER: &str = "/sys/devices/system/cpu";

/// The host's CPUs. They are read again when one comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Cpus {
    online: String,
    cpus: Vec<Cpu>,
}

impl Cpus {
    /// Looks whether CPUs came or went.
    pub(crate) fn refresh(&mut self) {
        let online = fs::read_to_string(Path::new(FOLDER).join("online")).unwrap_or_default();
        if online != self.online {
            self.cpus = list(&online).into_iter().map(|cpu| look(Path::new(FOLDER), cpu)).collect();
            self.online = online;
        }
    }

    /// All that are online, sorted by number.
    pub(crate) fn all(&self) -> &[Cpu] {
        &self.cpus
    }
}

fn look(folder: &Path, cpu: u32) -> Cpu {
    let folder = folder.join(format!("cpu{cpu}"));
    let lowest = |path: PathBuf| list(&fs::read_to_string(path).ok()?).into_iter().min();
    let nodes = || fs::read_dir(&folder).ok().into_iter().flatten().flatten();
    Cpu {
        cpu,
        core: lowest(folder.join("topology/thread_siblings_list")),
        llc: last_level(&folder).and_then(|cache| lowest(cache.join("shared_cpu_list"))),
        node: nodes().find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()),
    }
}

/// The cache of the highest level; those that a CPU has none of are not listed.
fn last_level(folder: &Path) -> Option<PathBuf> {
    let caches = fs::read_dir(folder.join("cache")).ok()?.flatten().map(|entry| entry.path());
    let level = |path: &PathBuf| fs::read_to_string(path.join("level")).ok()?.trim().parse::<u32>().ok();
    caches.filter_map(|path| Some((level(&path)?, path))).max().map(|(_, path)| path)
}

/// Numbers of a list such as `0-3,8`.
fn list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(list("5"), [5]);
        assert!(list("\n").is_empty());
    }

    #[test]
    fn what_a_cpu_shares_is_told_by_the_lowest_that_shares_it() {
        let folder = tempfile::tempdir().unwrap();
        let cpu = folder.path().join("cpu3");
        let write = |path: &str, text: &str| {
            fs::create_dir_all(cpu.join(path).parent().unwrap()).unwrap();
            fs::write(cpu.join(path), text).unwrap();
        };
        assert_eq!(look(folder.path(), 3), Cpu { cpu: 3, ..Cpu::default() });
        write("topology/thread_siblings_list", "2-3\n");
        write("cache/index0/level", "1\n");
        write("cache/index0/shared_cpu_list", "2-3\n");
        write("cache/index3/level", "3\n");
        write("cache/index3/shared_cpu_list", "0-3\n");
        write("node1/x", "");
        assert_eq!(look(folder.path(), 3), Cpu { cpu: 3, core: Some(2), llc: Some(0), node: Some(1) });
    }
}
