//! A program with what it needs to run elsewhere: its shared libraries, found by `ldd`, and no debugging information.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{command, paths};

/// A program above this size is carried without its debugging information: a machine's memory holds its files.
const LARGE: u64 = 4 << 20;

/// The shared libraries that `program` is linked to, its loader among them; none when it is static or a script. They are
/// looked for in `folders` first.
///
/// # Errors
/// When this machine lacks one of them, or `ldd` cannot be run.
pub(crate) fn libraries(program: &Path, folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.env("LC_ALL", "C").env("LD_LIBRARY_PATH", env::join_paths(folders)?).arg(program);
    let output = ldd.output().context("cannot run ldd")?;
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    if complaint.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    ensure!(output.status.success(), "ldd {}: {}", program.display(), complaint.trim());
    parse(&said).with_context(|| format!("cannot carry {} elsewhere", program.display()))
}

fn parse(said: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in said.lines() {
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
        let path = line.rsplit("=> ").next().unwrap_or_default().trim();
        if path == "not found" {
            bail!("this machine has no {}", line.split_whitespace().next().unwrap_or_default());
        }
        let path = path.rsplit_once(" (0x").map_or(path, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// The content of a program or file; a large program's debugging information is left out where `objcopy` is at hand.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn content(file: &Path) -> Result<Vec<u8>> {
    let explain = || format!("cannot read {}", file.display());
    let whole = || fs::read(file).with_context(explain);
    if fs::metadata(file).with_context(explain)?.len() < LARGE || paths::on_path("objcopy").is_none() {
        return whole();
    }
    let folder = tempfile::tempdir()?;
    let stripped = folder.path().join("stripped");
    let mut objcopy = Command::new("objcopy");
    objcopy.arg("--strip-debug").arg(file).arg(&stripped);
    match command::text(&mut objcopy) {
        Ok(_) => fs::read(&stripped)
            .with_context(|| format!("cannot read what objcopy made of {}", file.display())),
        Err(_) => whole(), // no program of this machine: data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_by_path() {
        let said = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibgcc_s.so.1 => /lib/a b/libgcc_s.so.1 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse(said).unwrap();
        assert_eq!(found, [Path::new("/lib/a b/libgcc_s.so.1"), Path::new("/lib64/ld-linux-x86-64.so.2")]);
        assert!(parse("\tstatically linked\n").unwrap().is_empty());
        let error = parse("\tlibz3.so.4 => not found\n").unwrap_err();
        assert_eq!(error.to_string(), "this machine has no libz3.so.4");
    }

    #[test]
    fn a_program_of_this_machine_has_a_loader_and_a_script_has_none() {
        let found = libraries(&env::current_exe().unwrap(), &[]).unwrap();
        assert!(found.iter().any(|path| path.to_string_lossy().contains("ld-linux")), "{found:?}");
        let script = tempfile::NamedTempFile::new().unwrap();
        fs::write(script.path(), "#!/bin/sh\n").unwrap();
        assert!(libraries(script.path(), &[]).unwrap().is_empty());
    }

    #[test]
    fn a_large_program_is_carried_without_debugging_information_and_data_whole() {
        let program = env::current_exe().unwrap();
        let carried = content(&program).unwrap();
        assert!(
            carried.starts_with(b"\x7fELF") && carried.len() as u64 <= fs::metadata(&program).unwrap().len()
        );
        let data = tempfile::NamedTempFile::new().unwrap();
        let bytes = vec![7; usize::try_from(LARGE).unwrap() + 1];
        fs::write(data.path(), &bytes).unwrap();
        assert!(content(data.path()).unwrap() == bytes);
    }
}
