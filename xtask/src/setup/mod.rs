//! Brings what builds the probes, without root and without touching an installed package.
//!
//! A Rust toolchain with the sources of `core` (`rust-src`) is looked for on the machine, then in the cache, then
//! asked from rustup, then fetched as Debian's `rustc-web` packages. bpf-linker is built once against the very LLVM
//! that this rustc uses, so that the two always understand each other.

mod apt;
pub(crate) mod cache;
mod debian;
mod elf;
mod installed;
pub(crate) mod libraries;
mod linker;
mod rust;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Error, Result, bail};

use self::rust::Rust;
use crate::{paths, progress};

pub(crate) use self::elf::check as check_object;

/// Where the probes come from.
pub(crate) enum Probes {
    /// An object that somebody else built, named by `VNET_BPF_OBJECT`.
    Prebuilt(PathBuf),
    /// They are built with this.
    Built(Toolchain),
}

/// All that turns the probes' source into an object.
pub(crate) struct Toolchain {
    /// Its compiler.
    pub(crate) rust: Rust,
    /// Path of bpf-linker.
    pub(crate) linker: PathBuf,
    /// Value of `LD_LIBRARY_PATH` under which compiler and linker find their libraries.
    pub(crate) libraries: OsString,
}

/// Sets up and says what there is now.
pub(crate) fn run(verbose: bool) -> Result<()> {
    match probes(verbose)? {
        Probes::Prebuilt(object) => progress::note(format_args!(
            "VNET_BPF_OBJECT names a built object, {}: nothing to set up",
            object.display()
        )),
        Probes::Built(toolchain) => progress::note(format_args!(
            "BPF toolchain ready: {}, LLVM {}, bpf-linker {} (kept in {})",
            toolchain.rust.label,
            toolchain.rust.llvm,
            linker::VERSION,
            paths::cache()?.display()
        )),
    }
    Ok(())
}

/// Finds or brings what the probes come from.
///
/// # Errors
/// When nothing here can build them; the error says what to install.
pub(crate) fn probes(verbose: bool) -> Result<Probes> {
    if let Some(object) = elf::prebuilt()? {
        return Ok(Probes::Prebuilt(object));
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("vnet is built on x86-64 Linux only for now");
    }
    let rust = find(&Wish::read()?)?;
    let linker = linker::get(&rust, verbose)?;
    let libraries = rust.search_path(linker.llvm_folder.as_deref())?;
    Ok(Probes::Built(Toolchain { rust, linker: linker.program, libraries }))
}

/// Which sources of a toolchain the user allows, from `VNET_BPF_TOOLCHAIN`.
struct Wish {
    installed: bool,
    debian: bool,
}

impl Wish {
    fn read() -> Result<Self> {
        match paths::var("VNET_BPF_TOOLCHAIN").as_deref().and_then(|text| text.to_str()) {
            None | Some("auto") => Ok(Self { installed: true, debian: true }),
            Some("installed") => Ok(Self { installed: true, debian: false }),
            Some("debian") => Ok(Self { installed: false, debian: true }),
            Some(other) => bail!("VNET_BPF_TOOLCHAIN is `{other}`: it takes auto, installed or debian"),
        }
    }
}

/// An error in one line: of a program's output only what it calls an error.
fn brief(error: &Error) -> String {
    let text = format!("{error:#}");
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let cause = lines.find(|line| line.starts_with("error: ") || line.starts_with("E: "));
    cause.map_or_else(|| first.to_owned(), |cause| format!("{first}: {cause}"))
}

fn find(wish: &Wish) -> Result<Rust> {
    let mut missing = Vec::new();
    if wish.installed
        && let Some(rust) = installed::find(&mut missing)
    {
        return Ok(rust);
    }
    if wish.debian
        && let Some(rust) = debian::ready()
    {
        return Ok(rust);
    }
    if wish.installed {
        match installed::add_source() {
            Ok(rust) => return Ok(rust),
            Err(error) => missing.push(format!("rustup's nightly: {}", brief(&error))),
        }
    }
    if wish.debian {
        match debian::fetch() {
            Ok(rust) => return Ok(rust),
            Err(error) => missing.push(format!("Debian's packages: {}", brief(&error))),
        }
    }
    for reason in &missing {
        progress::note(format_args!("  {reason}"));
    }
    bail!(
        "nothing here can build the probes: install rust-src with `rustup toolchain install nightly --component \
         rust-src` and run this again, or name a built object with VNET_BPF_OBJECT=FILE"
    )
}
