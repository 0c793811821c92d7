//! A real Prometheus for the tests: Debian's package, unpacked in the cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::lab::packages::{self, Packages, Wanted};

/// The folder with `prometheus` and `promtool`; nothing is installed.
///
/// # Errors
/// When they cannot be fetched.
pub(crate) fn programs() -> Result<PathBuf> {
    // It depends on libc only; what else the package wants is for its service and its old screens.
    let folder = packages::fetch(&Wanted {
        entry: "prometheus-2.42-1",
        suites: &["bookworm"],
        packages: Packages::Alone("prometheus"),
    })?;
    Ok(folder.join("usr/bin"))
}

/// Brings it and tells where it is.
pub(crate) fn run() -> Result<()> {
    println!("{}", programs()?.display());
    Ok(())
}
