//! The CPUs of this host, as the kernel describes them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

/// Pairs of CPUs at each level, nearest first; a level that this host has not is left out.
pub(crate) fn levels() -> Result<Vec<(&'static str, usize, usize)>> {
    let count = std::thread::available_parallelism()?.get();
    let mut found = vec![("same_cpu", 1, 1)];
    for level in ["smt", "llc", "node", "remote"] {
        let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
        for (a, b) in pairs.filter(|(a, b)| a != b) {
            if between(a, b)? == level {
                found.push((level, a, b));
                break;
            }
        }
    }
    Ok(found)
}

/// How far apart two CPUs are.
fn between(a: usize, b: usize) -> Result<&'static str> {
    let share = |of: &str| -> Result<bool> {
        let list =
            fs::read_to_string(format!("/sys/devices/system/cpu/cpu{a}/{of}")).context(of.to_owned())?;
        Ok(numbers(&list).contains(&b))
    };
    if share("topology/thread_siblings_list")? {
        return Ok("smt");
    }
    // A machine may describe no caches.
    if share("cache/index3/shared_cpu_list").unwrap_or(false) {
        return Ok("llc");
    }
    let node = |cpu: usize| {
        (0..8).find(|n| Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}/node{n}")).exists())
    };
    Ok(if node(a) == node(b) { "node" } else { "remote" })
}

fn numbers(text: &str) -> BTreeSet<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}
