//! What a machine holds: busybox, modules, a program with its libraries, files; and the script that starts it all.
//!
//! The guest has three serial ports: the kernel's console, the program's input and output, and one on which the script
//! says `lab: …` how far it is.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    initramfs::Initramfs,
    kernel::{Kernel, Module},
    nested::Nested,
    qemu,
};
use crate::paths;

/// Where programs are put.
const PROGRAMS: &str = "/usr/local/bin";
/// Where a program starts, and where files without a place of their own are put.
const HOME: &str = "/lab";

/// What runs in a machine, and with what.
#[derive(Clone, Default)]
pub(crate) struct Guest {
    /// Modules to load, by the kernel's names; those that they need come by themselves.
    pub(crate) modules: Vec<String>,
    /// The modules are brought, and it is left to the program to load them: `sh /modules/load`.
    pub(crate) later: bool,
    /// Parameters of modules: module, `name=value`.
    pub(crate) parameters: Vec<(String, String)>,
    /// Environment of the program.
    pub(crate) environment: Vec<(String, String)>,
    /// Files of this machine (folders with all that is in them), and their place in the guest.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// What it needs to have guests of its own.
    pub(crate) nested: Option<Nested>,
    /// The program and its arguments; a program that is no command of busybox is brought with its libraries.
    pub(crate) command: Vec<String>,
    /// A shell at the end, for a user.
    pub(crate) shell: bool,
}

impl Guest {
    /// The archive that a machine starts from.
    ///
    /// # Errors
    /// When the program, a library, a file or a module is not there.
    pub(crate) fn initramfs(&self, kernel: &Kernel) -> Result<Vec<u8>> {
        let mut archive = Initramfs::default();
        archive.file("/bin/busybox", &fs::read(qemu::busybox()?)?)?;
        archive.file("/etc/passwd", b"root:x:0:0:root:/lab:/bin/sh\n")?;
        archive.file("/etc/group", b"root:x:0:\n")?;
        archive.file("/etc/hosts", b"127.0.0.1 localhost\n")?;
        let modules = kernel.modules(&self.modules)?;
        let mut load = String::new();
        for (module, parameters) in with_parameters(&modules, &self.parameters)? {
            archive.file(&format!("/modules/{}", module.name), &module.content)?;
            writeln!(load, "load {}{parameters}", module.name)?;
        }
        if self.later {
            archive.file("/modules/load", (LOAD.to_owned() + &std::mem::take(&mut load)).as_bytes())?;
        }
        for (from, to) in &self.files {
            files(&mut archive, from, to)?;
        }
        let mut environment = self.environment.clone();
        if let Some(nested) = &self.nested {
            nested.carry(&mut archive)?;
            environment.push(Nested::variable());
        }
        let mut words = self.command.clone();
        if let Some(first) = words.first_mut()
            && let Some(program) = find(first)?
        {
            let name = Path::new(first.as_str())
                .file_name()
                .context("a program has a name")?
                .to_string_lossy()
                .into_owned();
            *first = format!("{PROGRAMS}/{name}");
            archive.program(&program, first)?;
        }
        archive.file("/etc/lab/environment", exports(&environment).as_bytes())?;
        archive.file("/etc/lab/command", script(&words).as_bytes())?;
        archive.file("/init", init(&load, self.shell).as_bytes())?;
        archive.finish()
    }
}

/// The program of this machine that a word names: a path, or a name that busybox has no command of.
fn find(word: &str) -> Result<Option<PathBuf>> {
    let path = Path::new(word);
    if word.contains('/') {
        return if path.is_file() {
            Ok(Some(path.to_owned()))
        } else {
            // A program of the guest, as one that came by --file.
            ensure!(path.is_absolute(), "no program {word} here");
            Ok(None)
        };
    }
    let commands = crate::command::text(std::process::Command::new(qemu::busybox()?).arg("--list"))?;
    if commands.lines().any(|command| command == word) {
        return Ok(None);
    }
    paths::on_path(word)
        .map(Some)
        .with_context(|| format!("neither this machine nor busybox has a program {word}"))
}

/// Adds a file, or a folder with all that is in it; a program among them with its libraries.
fn files(archive: &mut Initramfs, from: &Path, to: &str) -> Result<()> {
    let to = if to.is_empty() {
        let name = from.canonicalize().with_context(|| format!("no {}", from.display()))?;
        format!("{HOME}/{}", name.file_name().unwrap_or_default().to_string_lossy())
    } else {
        to.to_owned()
    };
    if !from.is_dir() {
        return archive.program(from, &to);
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        files(archive, &entry.path(), &format!("{to}/{}", entry.file_name().to_string_lossy()))?;
    }
    Ok(())
}

/// Each module with the parameters that are for it.
fn with_parameters<'a>(
    modules: &'a [Module],
    parameters: &[(String, String)],
) -> Result<Vec<(&'a Module, String)>> {
    let own = |module: &Module, of: &str| module.name.strip_suffix(".ko") == Some(&of.replace('-', "_"));
    for (of, parameter) in parameters {
        let module = modules.iter().find(|module| own(module, of));
        let module = module.with_context(|| format!("{of}.{parameter}: that module is not loaded here"))?;
        let name = parameter.split('=').next().unwrap_or_default();
        ensure!(module.has_parameter(name), "{of} has no parameter {name} in this kernel");
    }
    let words = |module: &Module| {
        let mine = parameters.iter().filter(|(of, _)| own(module, of));
        mine.fold(String::new(), |all, (_, parameter)| all + " " + &quote(parameter))
    };
    Ok(modules.iter().map(|module| (module, words(module))).collect())
}

/// A word that a shell takes as it stands.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Lines that set the environment.
fn exports(environment: &[(String, String)]) -> String {
    environment
        .iter()
        .fold(String::new(), |all, (name, value)| all + "export " + name + "=" + &quote(value) + "\n")
}

/// The line that becomes the program; none when there is no program.
fn script(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    if words.is_empty() { String::new() } else { format!("exec {}\n", words.join(" ")) }
}

/// The first process: what it cannot do it says, and the machine ends.
fn init(load: &str, shell: bool) -> String {
    let shell = if shell {
        "say shell\nstty -F /dev/ttyS1 sane\ncd /lab\n. /etc/lab/environment\nsetsid -c sh \
         </dev/ttyS1 >/dev/ttyS1 2>&1\n"
    } else {
        ""
    };
    INIT.replace("@load@", load).replace("@shell@", shell)
}

/// Begins a script that loads modules, ends at the first that cannot be.
const LOAD: &str = "set -e\nload() { name=$1; shift; insmod \"/modules/$name\" \"$@\"; }\n";

const INIT: &str = r#"#!/bin/busybox sh
export PATH=/usr/local/bin:/bin HOME=/lab TERM=linux
/bin/busybox --install -s /bin
say() { echo "lab: $*" >/dev/ttyS2; }
end() { sync; poweroff -f; }
fault() { say "fault $*"; end; }
on() { mkdir -p "$2"; mount -t "$1" "$1" "$2" || fault "cannot mount $1 on $2"; }
load() { name=$1; shift; why=$(insmod "/modules/$name" "$@" 2>&1) || fault "cannot load $name $*: $why"; }
on proc /proc
on sysfs /sys
on devtmpfs /dev
on devpts /dev/pts
for folder in tmp run; do on tmpfs "/$folder"; done
on tracefs /sys/kernel/tracing
on debugfs /sys/kernel/debug
on bpf /sys/fs/bpf
stty -F /dev/ttyS2 raw -echo
stty -F /dev/ttyS1 raw -echo
ln -s /proc/self/fd /dev/fd
mkdir -p /var/tmp /mnt /lab
hostname lab
ulimit -l unlimited
ip link set lo up || fault "cannot bring lo up"
@load@say "start $(uname -r)"
(cd /lab; . /etc/lab/environment; . /etc/lab/command) </dev/null >/dev/ttyS1 2>&1
status=$?
stty -F /dev/ttyS1 raw -echo # waits until all is written
say "exit $status"
@shell@end
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_are() {
        let environment = [("A".to_owned(), "it's $HOME".to_owned())];
        let words =
            ["printf".to_owned(), "%s|".to_owned(), "a b".to_owned(), "'\"\\".to_owned(), String::new()];
        let run = |words: &[String]| {
            let text = exports(&environment) + &script(words);
            crate::command::text(std::process::Command::new("sh").arg("-c").arg(text)).unwrap()
        };
        assert_eq!(run(&words), "a b|'\"\\||");
        assert_eq!(run(&["sh", "-c", "printf %s \"$A\""].map(str::to_owned)), "it's $HOME");
        assert_eq!(run(&[]), "");
    }

    #[test]
    fn parameters_go_to_their_module() {
        let modules = ["vhost.ko", "vhost_net.ko"].map(|name| Module {
            name: name.to_owned(),
            content: b"\0parmtype=experimental_zcopytx:int\0".to_vec(),
        });
        let parameters = |of: &str, parameter: &str| [(of.to_owned(), parameter.to_owned())];
        let zero_copy = parameters("vhost-net", "experimental_zcopytx=1");
        let lines: Vec<_> =
            with_parameters(&modules, &zero_copy).unwrap().into_iter().map(|(_, p)| p).collect();
        assert_eq!(lines, ["", " 'experimental_zcopytx=1'"]);
        for (of, parameter) in [("tun", "experimental_zcopytx=1"), ("vhost", "zcopytx=1")] {
            assert!(with_parameters(&modules, &parameters(of, parameter)).is_err());
        }
    }

    #[test]
    fn the_script_of_the_guest_is_one_a_shell_understands() {
        let folder = tempfile::tempdir().unwrap();
        for shell in [false, true] {
            let path = folder.path().join("init");
            fs::write(&path, init("load vhost.ko\n", shell)).unwrap();
            crate::command::text(std::process::Command::new("sh").arg("-n").arg(&path)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap().contains("setsid"), shell);
        }
    }
}
