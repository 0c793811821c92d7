//! The probes alone.

use anyhow::Result;

use super::{
    kernel::Kernel,
    load::Loaded,
    maps::{possible_cpus, slots_for},
};

/// The probes alone, counting for nobody: for measuring what they cost.
pub struct Attached {
    loaded: Loaded,
}

impl Attached {
    /// Attaches them.
    ///
    /// # Errors
    /// As [`Live::start`](super::Live::start).
    pub fn new() -> Result<Self> {
        let mut kernel = Kernel::read(&[])?;
        Ok(Self { loaded: Loaded::new(&mut kernel, slots_for(0, possible_cpus()?), &[])? })
    }

    /// As while vhost serves every tap: without the programs that every packet of the host pays for.
    pub fn spare(&mut self) {
        self.loaded.detach_host_wide();
    }
}
