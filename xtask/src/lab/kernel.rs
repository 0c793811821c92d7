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

/// The series of the lab, and where Debian has their kernels. What is in the cache needs no archive.
const SERIES: &[(&str, &[&str])] = &[
    ("5.10", &["bullseye", "bullseye-security"]),
    ("6.1", &["bookworm", "bookworm-updates", "bookworm-security"]),
    ("6.12", &["trixie", "trixie-updates", "trixie-security"]),
    ("6.18", &["trixie-backports"]),
    ("7.2", &["trixie-backports", "sid"]),
];

/// The names of all series, oldest first.
pub(crate) fn series() -> Vec<&'static str> {
    SERIES.iter().map(|(name, _)| *name).collect()
}

/// An unpacked kernel.
#[derive(Clone)]
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
    let Some((name, suites)) = SERIES.iter().find(|(name, _)| *name == series) else {
        bail!("no kernel {series} in the lab; there are {}", self::series().join(", "));
    };
    let root = packages::fetch(&Wanted {
        entry: &format!("kernel-{name}-1"),
        suites,
        packages: Packages::Kernel(name),
    })?;
    Kernel::look(&root).with_context(|| format!("kernel {name} in {}", root.display()))
}

impl Kernel {
    fn look(root: &Path) -> Result<Self> {
        let folders = ["lib/modules", "usr/lib/modules"].map(|part| root.join(part));
        let mut releases = folders.iter().flat_map(fs::read_dir).flatten().filter_map(Result::ok);
        let modules = releases.next().context("the package has no modules")?.path();
        let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Newer packages keep the image beside the modules.
        let images = [root.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
        let image =
            images.into_iter().find(|path| path.is_file()).context("the package has no kernel image")?;
        Ok(Self { image, release, modules })
    }

    /// `names` and all that they depend on, each after what it needs. What is built in is not listed.
    ///
    /// # Errors
    /// When a module cannot be read, or this kernel has none of that name.
    pub(crate) fn modules(&self, names: &[impl AsRef<str>]) -> Result<Vec<Module>> {
        let mut files = Vec::new();
        walk(&self.modules.join("kernel"), &mut files)?;
        let builtin = fs::read_to_string(self.modules.join("modules.builtin"))
            .with_context(|| format!("{} lists no built-in modules", self.release))?;
        let mut order = Order {
            files: files.iter().filter_map(|path| Some((stem(path)?, path.as_path()))).collect(),
            builtin: builtin.lines().filter_map(|line| stem(Path::new(line))).collect(),
            seen: BTreeSet::new(),
            ordered: Vec::new(),
        };
        for name in names {
            order
                .add(&name.as_ref().replace('-', "_"), &|path| content(path))
                .with_context(|| format!("cannot load {} into kernel {}", name.as_ref(), self.release))?;
        }
        Ok(order.ordered)
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

/// A module's name as the kernel says it: `vhost_net` for `vhost-net.ko.xz`.
fn stem(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let file = [".xz", ".zst"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    Some(file.strip_suffix(".ko")?.replace('-', "_"))
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    command::bytes(Command::new(program).arg("-dc").arg(path))
}

/// The order in which modules are loaded.
struct Order<'a> {
    files: Vec<(String, &'a Path)>,
    builtin: BTreeSet<String>,
    seen: BTreeSet<String>,
    ordered: Vec<Module>,
}

impl Order<'_> {
    fn add(&mut self, name: &str, read: &dyn Fn(&Path) -> Result<Vec<u8>>) -> Result<()> {
        if self.builtin.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let file = self.files.iter().find(|(stem, _)| stem == name).map(|(_, path)| *path);
        let content = read(file.with_context(|| format!("it has no module {name}"))?)?;
        for needed in depends(&content) {
            self.add(&needed.replace('-', "_"), read)?;
        }
        self.ordered.push(Module { name: format!("{name}.ko"), content });
        Ok(())
    }
}

/// What a module's `.modinfo` names in `depends=`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = find(module, KEY) else { return Vec::new() };
    let rest = &module[start + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Module {
    /// Whether its `.modinfo` knows a parameter of that name: the kernel itself only logs one that it does not know.
    pub(crate) fn has_parameter(&self, name: &str) -> bool {
        find(&self.content, format!("parmtype={name}:").as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_found_in_both_kinds_of_packages() {
        for (modules, image) in [
            ("lib/modules/6.1.0-56-cloud-amd64", "boot/vmlinuz-6.1.0-56-cloud-amd64"),
            ("usr/lib/modules/7.2.13+deb14-cloud-amd64", "usr/lib/modules/7.2.13+deb14-cloud-amd64/vmlinuz"),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join(modules)).unwrap();
            assert!(Kernel::look(root.path()).is_err());
            fs::create_dir_all(root.path().join(image).parent().unwrap()).unwrap();
            fs::write(root.path().join(image), "").unwrap();
            let kernel = Kernel::look(root.path()).unwrap();
            assert_eq!(kernel.image, root.path().join(image));
            assert!(modules.ends_with(&kernel.release));
        }
    }

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(depends(b"x\0license=GPL\0depends=net_failover,virtio\0y"), ["net_failover", "virtio"]);
        assert!(depends(b"\0depends=\0").is_empty());
        assert!(depends(b"nothing").is_empty());
        let content = b"\0parmtype=experimental_zcopytx:int\0".to_vec();
        let module = Module { name: "vhost_net.ko".to_owned(), content };
        assert!(module.has_parameter("experimental_zcopytx") && !module.has_parameter("experimental"));
    }

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let read = |path: &Path| {
            let needs = match path.to_str().unwrap() {
                "vhost-net.ko.xz" => "vhost,tap,virtio",
                "vhost.ko" => "vhost-iotlb",
                "tap.ko.zst" => "tun",
                _ => "",
            };
            Ok(format!("\0depends={needs}\0").into_bytes())
        };
        let files = ["tap.ko.zst", "tun.ko", "vhost-net.ko.xz", "vhost.ko", "vhost_iotlb.ko", "README"];
        let mut order = Order {
            files: files.iter().filter_map(|file| Some((stem(Path::new(file))?, Path::new(file)))).collect(),
            builtin: ["virtio".to_owned()].into(),
            seen: BTreeSet::new(),
            ordered: Vec::new(),
        };
        for name in ["tun", "vhost_net", "virtio"] {
            order.add(name, &read).unwrap();
        }
        let names: Vec<_> = order.ordered.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["tun.ko", "vhost_iotlb.ko", "vhost.ko", "tap.ko", "vhost_net.ko"]);
        let error = order.add("vhost_rdma", &read).unwrap_err();
        assert_eq!(error.to_string(), "it has no module vhost_rdma");
    }
}
