//! Entries of the cache folder: made once, whole or not at all, by one process at a time.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{paths, progress};

/// Written last: an entry without it was left half-made.
const STAMP: &str = "complete";

/// The folder of entry `name`, if it is complete.
pub(crate) fn ready(name: &str) -> Option<PathBuf> {
    let folder = paths::cache().ok()?.join(name);
    folder.join(STAMP).is_file().then_some(folder)
}

/// The folder of entry `name`; `fill` makes its content in a folder of another name when it is not there.
///
/// # Errors
/// When the cache folder cannot be written or `fill` fails; nothing is left behind then.
pub(crate) fn entry(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    entry_in(&paths::cache()?, name, fill)
}

fn entry_in(cache: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    if folder.join(STAMP).is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{name}.lock")))?;
    if folder.join(STAMP).is_file() {
        return Ok(folder);
    }
    let draft = cache.join(format!("{name}.part"));
    for leftover in [&folder, &draft] {
        remove(leftover)?;
    }
    fs::create_dir(&draft).with_context(|| format!("cannot make {}", draft.display()))?;
    let filled = fill(&draft).and_then(|()| {
        fs::write(draft.join(STAMP), format!("{name}\n"))?;
        fs::rename(&draft, &folder).with_context(|| format!("cannot rename {}", draft.display()))
    });
    if filled.is_err() {
        remove(&draft)?;
    }
    filled.map(|()| folder)
}

/// Waits until no other process makes the same entry; the lock falls with the process that holds it.
fn lock(path: &Path) -> Result<File> {
    let explain = || format!("cannot lock {}", path.display());
    let file = File::create(path).with_context(explain)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).with_context(explain),
    }
    progress::note("another run is doing this now: waiting for it");
    file.lock().with_context(explain)?;
    Ok(file)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
