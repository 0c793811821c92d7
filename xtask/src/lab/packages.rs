//! QEMU and kernels from Debian's archive, of releases that this machine need not run: the machine's own mirror and keys,
//! private lists, nothing installed.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{command, paths, progress, setup::cache};

/// A fetch of packages, unpacked together into one entry of the cache.
pub(crate) struct Wanted<'a> {
    /// Name of the cache entry; changes when its content does.
    pub(crate) entry: &'a str,
    /// Release whose archive, updates, security updates and backports are searched.
    pub(crate) release: &'a str,
    /// Which packages.
    pub(crate) packages: Packages<'a>,
}

/// Which packages are fetched.
pub(crate) enum Packages<'a> {
    /// These (`NAME` or `NAME/SUITE`), and what they depend on and this machine does not have.
    WithDependencies(&'a [&'a str]),
    /// The one package whose name begins with `prefix` that `meta` depends on: the newest kernel.
    Behind {
        /// The package without files.
        meta: &'a str,
        /// How the wanted one's name begins.
        prefix: &'a str,
    },
}

/// The folder with the unpacked packages.
///
/// # Errors
/// When the machine is no Debian, has no network, or the archive has no such package.
pub(crate) fn fetch(wanted: &Wanted<'_>) -> Result<PathBuf> {
    cache::entry(wanted.entry, |folder| {
        let private = folder.join("apt");
        let apt = Apt::new(&private, wanted.release)?;
        progress::step(format!("fetch the package lists of Debian {}", wanted.release), || apt.update())?;
        let archives = match wanted.packages {
            Packages::WithDependencies(names) => {
                let mut arguments = vec!["--yes", "--no-install-recommends", "--download-only", "install"];
                arguments.extend(names);
                progress::step(format!("fetch {}", names.join(" ")), || apt.get(&arguments))?;
                private.join("cache/archives")
            }
            Packages::Behind { meta, prefix } => {
                let name = apt.behind(meta, prefix)?;
                progress::step(format!("fetch {name}"), || apt.get(&["download", &name]))?;
                private.clone()
            }
        };
        let mut found = false;
        for file in fs::read_dir(archives)? {
            let file = file?.path();
            if file.extension().is_some_and(|e| e == "deb") {
                command::text(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder))?;
                found = true;
            }
        }
        ensure!(found, "apt downloaded nothing (are the packages installed already?)");
        Ok(fs::remove_dir_all(private)?)
    })
}

struct Apt<'a>(&'a Path);

impl<'a> Apt<'a> {
    fn new(folder: &'a Path, release: &str) -> Result<Self> {
        for program in ["apt-get", "dpkg-deb"] {
            paths::on_path(program).with_context(|| format!("this machine has no {program}"))?;
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("sources.list"), sources(&mirrors()?, release)?)?;
        let here = folder.display();
        let text = format!(
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\nDir::State \"{here}/state\";\n\
             Dir::State::lists \"{here}/state/lists\";\nDir::Cache \"{here}/cache\";\n\
             Dir::Etc::sourcelist \"{here}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
             Debug::NoLocking \"true\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::Retries \"2\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n"
        );
        fs::write(folder.join("apt.conf"), text)?;
        Ok(Self(folder))
    }

    fn command(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH").current_dir(self.0);
        apt.arg("-q").arg("-c").arg(self.0.join("apt.conf"));
        apt
    }

    fn update(&self) -> Result<()> {
        self.get(&["update"])
    }

    fn get(&self, arguments: &[&str]) -> Result<()> {
        command::text(self.command("apt-get").args(arguments)).map(drop)
    }

    fn behind(&self, meta: &str, prefix: &str) -> Result<String> {
        let text = command::text(self.command("apt-cache").args(["depends", meta]))?;
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let name = names.map(str::trim).find(|name| name.starts_with(prefix));
        name.map(str::to_owned).with_context(|| format!("{meta} depends on no {prefix}…"))
    }
}

/// Debian's archives as this machine reaches them: address and key of the main one and of the security one.
struct Mirrors {
    main: String,
    security: String,
    key: String,
}

fn mirrors() -> Result<Mirrors> {
    let mut text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    for file in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten() {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "sources" || e == "list") {
            text += &fs::read_to_string(path)?;
        }
    }
    Mirrors::parse(&text).context("this machine's apt has no Debian archive to fetch from")
}

impl Mirrors {
    fn parse(text: &str) -> Option<Self> {
        let address = |end: &str| {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let mut words = lines.flat_map(str::split_whitespace);
            words
                .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with(end))
                .map(str::to_owned)
        };
        let key = "/usr/share/keyrings/debian-archive-keyring.gpg".to_owned();
        Some(Self { main: address("/debian")?, security: address("/debian-security")?, key })
    }
}

fn sources(mirrors: &Mirrors, release: &str) -> Result<String> {
    let mut text = String::new();
    for (mirror, suite) in [
        (&mirrors.main, release.to_owned()),
        (&mirrors.main, format!("{release}-updates")),
        (&mirrors.main, format!("{release}-backports")),
        (&mirrors.security, format!("{release}-security")),
    ] {
        writeln!(text, "deb [signed-by={}] {mirror} {suite} main", mirrors.key)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_sources_are_read() {
        let deb822 = "Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\n\n\
                      URIs: http://mirror.example/debian-security\n";
        let line = "deb http://mirror.example/debian bookworm main\n\
                    deb http://mirror.example/debian-security bookworm-security main\n";
        for text in [deb822, line] {
            let mirrors = Mirrors::parse(text).unwrap();
            assert_eq!(mirrors.main, "http://mirror.example/debian");
            assert_eq!(mirrors.security, "http://mirror.example/debian-security");
            let sources = sources(&mirrors, "bookworm").unwrap();
            assert!(
                sources.contains("] http://mirror.example/debian bookworm-backports main\n"),
                "{sources}"
            );
        }
        assert!(Mirrors::parse("deb http://mirror.example/ubuntu jammy main\n").is_none());
    }
}
