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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_whole() {
        let cache = tempfile::tempdir().unwrap();
        // What a killed run leaves behind: a draft, and an entry of an older kind without its stamp.
        fs::create_dir_all(cache.path().join("tool.part/usr")).unwrap();
        fs::create_dir_all(cache.path().join("tool")).unwrap();

        let failed = entry_in(cache.path(), "tool", |folder| {
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "the leftover is still there");
            fs::write(folder.join("half"), "").unwrap();
            anyhow::bail!("no network")
        });
        assert!(failed.unwrap_err().to_string().contains("no network"));
        assert!(!cache.path().join("tool").exists() && !cache.path().join("tool.part").exists());

        let folder =
            entry_in(cache.path(), "tool", |folder| Ok(fs::write(folder.join("program"), "")?)).unwrap();
        assert!(folder.join("program").is_file() && folder.join(STAMP).is_file());
        let again = entry_in(cache.path(), "tool", |_| panic!("it is made a second time"));
        assert_eq!(again.unwrap(), folder);
    }

    #[test]
    fn two_at_once_make_it_once() {
        let cache = tempfile::tempdir().unwrap();
        let count = std::sync::atomic::AtomicU32::new(0);
        let make = || {
            let fill = |folder: &Path| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(fs::write(folder.join("program"), "")?)
            };
            entry_in(cache.path(), "tool", fill).unwrap()
        };
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            assert!(runs.into_iter().all(|run| run.join().unwrap().join("program").is_file()));
        });
        assert_eq!(count.into_inner(), 1);
    }
}
