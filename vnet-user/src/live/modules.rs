//! Notices that a module is loaded while vnet runs, or was taken away and loaded again.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::kernel::MODULES;

/// Where the kernel shows its modules.
const FOLDER: &str = "/sys/module";

/// Modules that are ready for use, each by the inode of its folder, which is another one when it is loaded again. What is
/// built in is never among them.
type Ready = [Option<u64>; MODULES.len()];

/// What was last seen.
pub(crate) struct Modules {
    seen: Ready,
    /// The last look found a module more.
    again: bool,
}

impl Modules {
    /// Looks for the first time. Do so before anything is read that a module may change.
    pub(crate) fn look() -> Self {
        Self { seen: ready(Path::new(FOLDER)), again: false }
    }

    /// Looks again: whether a module has come since, or came just before the last look. The kernel says that a module
    /// lives a moment before programs may attach to it, so what was refused then is worth one more try.
    /// When nothing is left to try (`complete`), only a module that has come since is told.
    pub(crate) fn changed(&mut self, complete: bool) -> bool {
        self.take(ready(Path::new(FOLDER)), complete)
    }

    fn take(&mut self, now: Ready, complete: bool) -> bool {
        let came = now.iter().zip(self.seen).any(|(now, seen)| now.is_some() && *now != seen);
        self.seen = now;
        let again = std::mem::replace(&mut self.again, came);
        came || again && !complete
    }
}

/// Three small reads where all are there, three failed ones where none is.
fn ready(folder: &Path) -> Ready {
    MODULES.map(|module| {
        let folder = folder.join(module);
        let state = fs::read_to_string(folder.join("initstate")).ok()?;
        if state.trim() != "live" {
            return None;
        }
        Some(fs::metadata(folder).ok()?.ino())
    })
}

/// Why nothing of a module can be seen that this kernel does not describe.
pub(crate) fn why_absent(module: &str) -> String {
    if fs::exists(format!("{FOLDER}/{module}")).unwrap_or(false) {
        return format!(
            "{module} is loaded, but this kernel does not describe its functions: that takes Linux 5.11 with \
             CONFIG_DEBUG_INFO_BTF_MODULES=y"
        );
    }
    if fs::exists("/proc/modules").unwrap_or(false) {
        format!("{module} is not loaded: counted as soon as it is")
    } else {
        format!("this kernel has no {module} and loads no modules")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_that_comes_is_told_twice_and_then_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let state = |module: &str, state: &str| {
            fs::create_dir_all(folder.path().join(module)).unwrap();
            fs::write(folder.path().join(module).join("initstate"), state).unwrap();
        };
        fs::create_dir(folder.path().join("tun")).unwrap(); // built in
        let mut modules = Modules { seen: ready(folder.path()), again: false };
        let mut changed = || modules.take(ready(folder.path()), false);
        assert!(!changed());
        state("vhost", "coming\n");
        assert!(!changed());
        state("vhost", "live\n");
        assert_eq!([changed(), changed(), changed()], [true, true, false]);
        state("vhost_net", "live\n");
        assert_eq!([changed(), changed(), changed()], [true, true, false]);
        fs::remove_dir_all(folder.path().join("vhost_net")).unwrap();
        assert!(!changed(), "one that goes leaves nothing to do");
        fs::create_dir(folder.path().join("another")).unwrap();
        state("vhost_net", "live\n");
        assert_eq!([changed(), changed(), changed()], [true, true, false]);
        state("tun", "live\n");
        let mut changed = || modules.take(ready(folder.path()), true);
        assert_eq!([changed(), changed()], [true, false]);
    }
}
