//! bpf-linker: the one on `PATH` if it fits, else one built into the cache against the compiler's own LLVM.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::rust::Rust;
use super::{cache, libraries};
use crate::{command, paths, progress};

/// The version that is built and accepted.
pub(crate) const VERSION: &str = "0.13.0";
/// The LLVM versions this version knows.
const LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// bpf-linker and where its LLVM lies.
pub(crate) struct Linker {
    /// Its path.
    pub(crate) program: PathBuf,
    /// Folder of its `libLLVM`, unless the system's loader finds it.
    pub(crate) llvm_folder: Option<PathBuf>,
}

/// Finds or builds a bpf-linker for `rust`.
///
/// # Errors
/// When the compiler's LLVM is not a shared library or is unknown to bpf-linker, or the build fails.
pub(crate) fn get(rust: &Rust, verbose: bool) -> Result<Linker> {
    if let Some(program) = paths::on_path("bpf-linker").filter(|program| fits(program, rust.llvm)) {
        return Ok(Linker { program, llvm_folder: None });
    }
    let linked = libraries::linked(&rust.rustc, &rust.libraries)?;
    let Some((llvm, major)) = libraries::llvm(&linked) else {
        bail!("{} has no shared libLLVM: install bpf-linker {VERSION} for LLVM {}", rust.label, rust.llvm);
    };
    if !LLVMS.contains(&major) {
        bail!("{} has LLVM {major}, bpf-linker {VERSION} knows only {LLVMS:?}", rust.label);
    }
    let llvm_folder = llvm.parent().map(Path::to_owned);
    let name = format!("bpf-linker-{VERSION}-{}", rust.id);
    let folder = cache::entry(&name, |folder| {
        let step = format!("build bpf-linker {VERSION} with LLVM {major} (about a minute)");
        progress::step(step, || build(folder, &llvm, major, verbose))?;
        version(&folder.join("bin/bpf-linker"), &rust.search_path(llvm_folder.as_deref())?).map(drop)
    })?;
    Ok(Linker { program: folder.join("bin/bpf-linker"), llvm_folder })
}

fn build(folder: &Path, llvm: &Path, major: u32, verbose: bool) -> Result<()> {
    // Its build script links `libLLVM.so` of LLVM_PREFIX/lib and needs nothing else of LLVM, neither headers nor tools.
    let prefix = folder.join("llvm");
    fs::create_dir_all(prefix.join("lib"))?;
    symlink(llvm, prefix.join("lib/libLLVM.so"))?;
    let target = folder.join("target");
    let mut install = Command::new(paths::cargo());
    command::scrub(&mut install)
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--no-default-features"])
        .args(["--features", &format!("llvm-{major}"), "--root"])
        .arg(folder)
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", &target);
    if let Some(rustc) = paths::host_rustc() {
        install.env("RUSTC", rustc);
    }
    let installed =
        if verbose { command::run(&mut install, true) } else { command::text(&mut install).map(drop) };
    installed.context("cannot build bpf-linker (it needs the crate registry and a C linker)")?;
    fs::remove_dir_all(target).context("cannot remove bpf-linker's build folder")
}

/// Whether an installed bpf-linker is of the right version and uses that LLVM.
fn fits(program: &Path, llvm: u32) -> bool {
    let minor = VERSION.rsplit_once('.').map_or(VERSION, |(minor, _)| minor);
    let right =
        version(program, OsStr::new("")).is_ok_and(|text| text.starts_with(&format!("bpf-linker {minor}.")));
    right
        && libraries::linked(program, &[])
            .is_ok_and(|text| libraries::llvm(&text).is_some_and(|it| it.1 == llvm))
}

fn version(program: &Path, libraries: &OsStr) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("--version").env_remove("LD_LIBRARY_PATH");
    if !libraries.is_empty() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command::text(&mut command)
}
