//! Kernels of the lab: Debian's own, with the modules that a lab machine loads, in order.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages::{self, Packages, Wanted};
use crate::command;

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// Its image.
    pub(crate) image: PathBuf,
    /// Its release, as `uname -r` says.
    pub(crate) release: String,
    modules: PathBuf,
}

/// A module: its file's name and its content, ready to load.
pub(crate) struct Module {
    /// `virtio_net.ko`.
    pub(crate) name: String,
    /// Uncompressed.
    pub(crate) content: Vec<u8>,
}

/// Brings a kernel series.
///
/// # Errors
/// When the series is not known or cannot be fetched.
pub(crate) fn fetch(series: &str) -> Result<Kernel> {
    let release = match series {
        "6.1" => "bookworm",
        "6.12" => "trixie",
        _ => bail!("no kernel {series} in the lab; there are 6.1 and 6.12"),
    };
    let entry = format!("kernel-{series}-1");
    let root = packages::fetch(&Wanted {
        entry: &entry,
        release,
        packages: Packages::Behind { meta: "linux-image-cloud-amd64", prefix: "linux-image-" },
    })?;
    Kernel::look(&root)
}

impl Kernel {
    fn look(root: &Path) -> Result<Self> {
        let image = fs::read_dir(root.join("boot"))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
            .context("the package has no kernel image")?;
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let release = name.trim_start_matches("vmlinuz-").to_owned();
        let folder = ["lib/modules", "usr/lib/modules"].map(|part| root.join(part).join(&release));
        let modules = folder.into_iter().find(|path| path.is_dir()).context("the package has no modules")?;
        Ok(Self { image, release, modules })
    }

    /// `names` and all that they depend on, each after what it needs. What is built in is not listed.
    ///
    /// # Errors
    /// When a module cannot be read.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut files = Vec::new();
        walk(&self.modules.join("kernel"), &mut files)?;
        let (mut done, mut ordered) = (BTreeSet::new(), Vec::new());
        for name in names {
            add(name, &files, &mut done, &mut ordered)?;
        }
        Ok(ordered)
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn add(name: &str, files: &[PathBuf], done: &mut BTreeSet<String>, ordered: &mut Vec<Module>) -> Result<()> {
    if !done.insert(name.to_owned()) {
        return Ok(());
    }
    let Some((path, compressed)) = files.iter().find_map(|path| {
        let file = path.file_name()?.to_string_lossy().replace('-', "_");
        let (stem, compressed) = match file.strip_suffix(".xz") {
            Some(stem) => (stem.to_owned(), true),
            None => (file, false),
        };
        (stem.strip_suffix(".ko") == Some(name)).then_some((path, compressed))
    }) else {
        return Ok(());
    };
    let content =
        if compressed { command::bytes(Command::new("xz").arg("-dc").arg(path))? } else { fs::read(path)? };
    for needed in depends(&content) {
        add(&needed.replace('-', "_"), files, done, ordered)?;
    }
    ordered.push(Module { name: format!("{name}.ko"), content });
    Ok(())
}

/// What a module's `.modinfo` names in `depends=`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let rest = &module[start + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(depends(b"x\0license=GPL\0depends=net_failover,virtio\0y"), ["net_failover", "virtio"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"nothing").is_empty());
    }
}
