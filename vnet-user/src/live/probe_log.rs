//! What the probes say of their slow paths, to stderr: for whoever works on them.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// The probes' messages, kept in a ring by the kernel.
pub(crate) struct ProbeLog(EbpfLogger<Stderr>);

impl ProbeLog {
    /// Of programs that are loaded.
    ///
    /// # Errors
    /// When the object was built without messages.
    pub(crate) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let log = EbpfLogger::init_with_logger(ebpf, Stderr).context(
            "this vnet was built with probe-log and its probes were not: build them with `cargo xtask ebpf -F \
             probe-log` and name the object with VNET_BPF_OBJECT",
        )?;
        Ok(Self(log))
    }

    /// Writes what was said since the last call.
    pub(crate) fn tell(&mut self) {
        self.0.flush();
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // That nobody can read it is no error.
        let _ = writeln!(io::stderr(), "probe: {}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}
