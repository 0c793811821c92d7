//! apt as an ordinary user: the machine's own sources and keys, but private lists and a private download folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// apt with everything it writes below one folder.
pub(crate) struct Apt {
    folder: PathBuf,
}

/// What the package lists say of a package's candidate version.
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version, as Debian writes it.
    pub(crate) version: String,
    /// Bytes to download.
    pub(crate) size: u64,
    /// Names of the packages it depends on.
    pub(crate) depends: Vec<String>,
}

impl Apt {
    /// Prepares apt to write only below `folder`.
    ///
    /// # Errors
    /// When the machine has no apt or the folder cannot be written.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb", "dpkg-query", "ldd"] {
            crate::paths::on_path(program).with_context(|| format!("this machine has no {program}"))?;
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        // `#clear` drops the machine's hooks, which would write into the machine's own folders.
        let text = format!(
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\nDir::State \"{0}/state\";\nDir::State::lists \
             \"{0}/state/lists\";\nDir::Cache \"{0}/cache\";\nDebug::NoLocking \"true\";\nAPT::Sandbox::User \
             \"root\";\nAcquire::Languages \"none\";\nAcquire::Retries \"2\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n",
            folder.display()
        );
        fs::write(folder.join("apt.conf"), text)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH").arg("-c").arg(self.folder.join("apt.conf"));
        command
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// When one of the machine's sources fails; the lists of the others are there all the same.
    pub(crate) fn update(&self) -> Result<()> {
        command::text(self.command("apt-get").args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]))
            .map(drop)
    }

    /// What the lists say of a package; `None` when no source offers it.
    pub(crate) fn show(&self, name: &str) -> Option<Package> {
        let mut command = self.command("apt-cache");
        let record = command::text(command.args(["--no-all-versions", "show", name])).ok()?;
        Package::parse(&record)
    }

    /// Downloads a package and unpacks it below `root`.
    ///
    /// # Errors
    /// When either fails.
    pub(crate) fn unpack(&self, package: &Package, root: &Path) -> Result<()> {
        let folder = self.folder.join("download");
        fs::create_dir_all(&folder)?;
        let wanted = format!("{}={}", package.name, package.version);
        command::text(self.command("apt-get").current_dir(&folder).args(["-q", "download", &wanted]))?;
        for file in fs::read_dir(&folder)? {
            let file = file?.path();
            command::text(Command::new("dpkg-deb").arg("-x").arg(&file).arg(root))?;
        }
        fs::remove_dir_all(&folder).context("cannot remove what was downloaded")
    }
}

impl Package {
    /// Reads a record of `apt-cache show`.
    fn parse(record: &str) -> Option<Self> {
        let field = |name: &str| record.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let depends = [field("Depends:"), field("Pre-Depends:")].into_iter().flatten();
        Some(Self {
            name: field("Package:")?.to_owned(),
            version: field("Version:")?.to_owned(),
            size: field("Size:")?.parse().ok()?,
            depends: depends.flat_map(|list| list.split([',', '|'])).filter_map(package_name).collect(),
        })
    }
}

/// The name in one term of a dependency list: `libz3-4 (>= 4.8.12)` or `gcc:any`.
fn package_name(term: &str) -> Option<String> {
    let name = term.trim().split([' ', ':', '(']).next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_version_size_and_dependencies() {
        let record = "Package: libstd-rust-web-1.96\nVersion: 1.96.0+dfsg1-1~deb12u2\nPre-Depends: dpkg (>= 1)\n\
                      Depends: libc6 (>= 2.34), gcc:any | clang, libllvm22\nSize: 21977620\n";
        let package = Package::parse(record).unwrap();
        assert_eq!(package.name, "libstd-rust-web-1.96");
        assert_eq!(package.version, "1.96.0+dfsg1-1~deb12u2");
        assert_eq!(package.size, 21_977_620);
        assert_eq!(package.depends, ["libc6", "gcc", "clang", "libllvm22", "dpkg"]);
        assert!(Package::parse("Package: x\n").is_none());
    }
}
