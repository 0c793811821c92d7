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
    /// Suites that are searched, as `trixie`, `trixie-backports`, `trixie-security`.
    pub(crate) suites: &'a [&'a str],
    /// Which packages.
    pub(crate) packages: Packages<'a>,
}

/// Which packages are fetched.
pub(crate) enum Packages<'a> {
    /// These (`NAME` or `NAME/SUITE`), and what they depend on and this machine does not have.
    WithDependencies(&'a [&'a str]),
    /// This one, without what it depends on.
    Alone(&'a str),
    /// The newest cloud kernel of a series, as `6.12`: its image and, where they are packages of their own, its modules.
    Kernel(&'a str),
}

/// The folder with the unpacked packages.
///
/// # Errors
/// When the machine is no Debian, has no network, or the archive has no such package.
pub(crate) fn fetch(wanted: &Wanted<'_>) -> Result<PathBuf> {
    cache::entry(wanted.entry, |folder| {
        let private = folder.join("apt");
        let apt = Apt::new(&private, wanted.suites)?;
        let suites = wanted.suites.join(", ");
        progress::step(format!("fetch the package lists of Debian {suites}"), || apt.update())?;
        let archives = match wanted.packages {
            Packages::WithDependencies(names) => {
                let mut arguments = vec!["--yes", "--no-install-recommends", "--download-only", "install"];
                arguments.extend(names);
                progress::step(format!("fetch {}", names.join(" ")), || apt.get(&arguments))?;
                private.join("cache/archives")
            }
            Packages::Alone(name) => {
                progress::step(format!("fetch {name}"), || apt.get(&["download", name]))?;
                private.clone()
            }
            Packages::Kernel(series) => {
                let names = apt.kernel(series)?;
                let mut arguments = vec!["download"];
                arguments.extend(names.iter().map(String::as_str));
                progress::step(format!("fetch {}", names.join(" ")), || apt.get(&arguments))?;
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
    fn new(folder: &'a Path, suites: &[&str]) -> Result<Self> {
        for program in ["apt-get", "dpkg-deb"] {
            paths::on_path(program).with_context(|| format!("this machine has no {program}"))?;
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("sources.list"), sources(&mirrors()?, suites)?)?;
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

    /// The newest kernel's package, and those parts of it that newer releases ship apart.
    fn kernel(&self, series: &str) -> Result<Vec<String>> {
        let names = self.cache(&["pkgnames", &format!("linux-image-{series}.")])?;
        let image = newest(names.lines()).with_context(|| {
            format!("the archive has no kernel {series} for the cloud (any more?); one that is cached stays usable")
        })?;
        let depends = self.cache(&["depends", image])?;
        let parts = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ").map(str::trim));
        let parts = parts.filter(|name| {
            ["linux-base-", "linux-binary-", "linux-modules-"].iter().any(|p| name.starts_with(p))
        });
        Ok([image].into_iter().chain(parts).map(str::to_owned).collect())
    }

    fn cache(&self, arguments: &[&str]) -> Result<String> {
        command::text(self.command("apt-cache").args(arguments))
    }
}

/// The newest signed image for the cloud among names of packages.
fn newest<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // `linux-image-6.1.0-0.deb11.52-cloud-amd64`, `linux-image-7.2.12+deb13-cloud-amd64`: their numbers tell the age.
    let age = |name: &&str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    names.filter(|name| name.ends_with("-cloud-amd64")).max_by_key(age)
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

fn sources(mirrors: &Mirrors, suites: &[&str]) -> Result<String> {
    let mut text = String::new();
    for suite in suites {
        let mirror = if suite.ends_with("-security") { &mirrors.security } else { &mirrors.main };
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
            let sources = sources(&mirrors, &["sid", "bookworm-security"]).unwrap();
            assert!(sources.contains("] http://mirror.example/debian sid main\n"), "{sources}");
            assert!(sources.contains("/debian-security bookworm-security main\n"), "{sources}");
        }
        assert!(Mirrors::parse("deb http://mirror.example/ubuntu jammy main\n").is_none());
    }

    #[test]
    fn the_newest_kernel_is_found_by_its_numbers() {
        let names = [
            "linux-image-7.2.9+deb13-cloud-amd64",
            "linux-image-7.2.12+deb13-cloud-amd64",
            "linux-image-7.2.13+deb13-rt-amd64",
            "linux-image-7.2.13+deb13-cloud-amd64-dbg",
            "linux-image-7.2.13+deb13-cloud-amd64-unsigned",
        ];
        assert_eq!(newest(names.into_iter()), Some(names[1]));
        assert_eq!(newest(["linux-image-cloud-amd64-dbg"].into_iter()), None);
    }
}
