//! Counts calls of kernel functions with ftrace, which needs neither BPF nor kprobes: a witness of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// Why functions cannot be traced here, or `None`.
pub fn missing() -> Option<String> {
    let file = Path::new("/sys/kernel/tracing/available_tracers");
    match fs::read_to_string(file) {
        Ok(tracers) if tracers.split_whitespace().any(|tracer| tracer == "function") => None,
        Ok(tracers) => Some(format!("needs the function tracer; the kernel has {}", tracers.trim())),
        Err(e) => Some(format!("needs tracefs: {}: {e}", file.display())),
    }
}

/// A trace buffer of one's own; gone when dropped.
#[derive(Debug)]
pub(crate) struct Instance(PathBuf);

impl Instance {
    /// Makes one, empty and with nothing turned on.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(INSTANCES).join(format!("vnet-driver-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let instance = Self(folder);
        instance.write("buffer_size_kb", "8192")?;
        Ok(instance)
    }

    /// Writes one of its files.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
    }

    /// All that it holds, a line per event in the order of time; nothing was lost.
    pub(crate) fn trace(&self) -> Result<String> {
        for cpu in fs::read_dir(self.0.join("per_cpu"))? {
            let stats = fs::read_to_string(cpu?.path().join("stats"))?;
            ensure!(stats.contains("\noverrun: 0\n"), "the trace ran over: {stats}");
        }
        let trace = fs::read_to_string(self.0.join("trace"))?;
        Ok(trace
            .lines()
            .filter(|line| !line.starts_with('#'))
            .fold(String::new(), |all, line| all + line + "\n"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _best_effort = fs::write(self.0.join("current_tracer"), "nop");
        let _best_effort = fs::remove_dir(&self.0);
    }
}

/// Functions being counted.
#[derive(Debug)]
pub struct Functions {
    instance: Instance,
    calls: BTreeMap<String, u64>,
}

impl Functions {
    /// Counts calls of those of `names` that the kernel has from now on.
    pub fn count(names: &[&str]) -> Result<Self> {
        let mut functions = Self { instance: Instance::new()?, calls: BTreeMap::new() };
        for name in names {
            let filter =
                fs::OpenOptions::new().append(true).open(functions.instance.0.join("set_ftrace_filter"))?;
            if std::io::Write::write_all(&mut &filter, format!("{name}\n").as_bytes()).is_ok() {
                functions.calls.insert((*name).to_owned(), 0);
            }
        }
        ensure!(!functions.calls.is_empty(), "the kernel has none of {names:?}");
        functions.instance.write("current_tracer", "function")?;
        Ok(functions)
    }

    /// Calls so far, by function; those that the kernel does not have are not in it.
    pub fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.calls.clone();
        for line in self.instance.trace()?.lines() {
            // `vhost-71-73 [001] ..... 12.345678: tun_sendmsg <-handle_tx_copy`
            let name = line.split(" <-").next().and_then(|head| head.split_whitespace().last());
            if let Some(count) = name.and_then(|name| calls.get_mut(name)) {
                *count += 1;
            }
        }
        Ok(calls)
    }
}
