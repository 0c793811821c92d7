//! Where things are: the workspace, its target folder, the user's cache folder.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub(crate) fn target() -> PathBuf {
    match var("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// vnet's folder in the user's cache: what is fetched or built once for all clones.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match var("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        Some(dir) => dir,
        None => {
            PathBuf::from(var("HOME").context("neither XDG_CACHE_HOME nor HOME is set: no cache folder")?)
                .join(".cache")
        }
    };
    Ok(base.join("vnet"))
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> PathBuf {
    var("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The rustc that belongs to [`cargo`], if it lies beside it.
pub(crate) fn host_rustc() -> Option<PathBuf> {
    Some(cargo().with_file_name("rustc")).filter(|path| path.is_file())
}

/// The program `name`, if a folder of `PATH` has it.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&var("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// An environment variable that is set and not empty.
pub(crate) fn var(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
