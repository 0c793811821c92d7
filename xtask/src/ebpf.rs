//! Builds the probes: one object for any kernel, the same from any folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::{self, Probes, Toolchain};
use crate::{command, paths, progress};

/// How the probes are built.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Features of the probes, as `probe-log`
    #[arg(short = 'F', long, value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    /// A warning is an error
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// Builds the object and says where it is.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<()> {
    println!("{}", object(args, verbose)?.display());
    Ok(())
}

/// Path of the object: the prebuilt one, or the one built now.
///
/// # Errors
/// When there is no toolchain or the probes do not build.
pub(crate) fn object(args: &Args, verbose: bool) -> Result<PathBuf> {
    match setup::probes(verbose)? {
        Probes::Prebuilt(object) => Ok(object),
        Probes::Built(toolchain) => build(&toolchain, args, verbose),
    }
}

fn build(toolchain: &Toolchain, args: &Args, verbose: bool) -> Result<PathBuf> {
    let folder = paths::target().join("bpf");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // cargo gives every set of features the same file: build and copy are one.
    let lock = File::create(folder.join("vnet.lock"))?;
    lock.lock().context("cannot lock the probes' build folder")?;
    let suffix = args.features.iter().fold(String::new(), |name, feature| name + "." + feature);
    let mut cargo = cargo(toolchain, args, &folder)?;
    let step = format!("build the probes{suffix} with {}", toolchain.rust.label);
    progress::step(step, || command::run(&mut cargo, verbose)).context("the probes do not build")?;
    let built = folder.join("bpfel-unknown-none/release/vnet-probes");
    setup::check_object(&built).with_context(|| format!("the build left {}", built.display()))?;
    let object = folder.join(format!("vnet-probes{suffix}.bpf.o"));
    let bytes = copy_if_other(&built, &object)?;
    progress::note(format_args!("the probes' object has {}", progress::size(bytes)));
    Ok(object)
}

fn cargo(toolchain: &Toolchain, args: &Args, folder: &Path) -> Result<Command> {
    let rust = &toolchain.rust;
    let own = rust.rustc.with_file_name("cargo");
    let mut cargo = Command::new(if own.is_file() { own } else { paths::cargo() });
    command::scrub(&mut cargo).current_dir(paths::root());
    cargo.args(["build", "--locked", "--package", "vnet-ebpf", "--bin", "vnet-probes", "--release"]);
    cargo.args(["-Zbuild-std=core", "--target", "bpfel-unknown-none", "--features"]);
    cargo.arg(
        ["bpf"].into_iter().chain(args.features.iter().map(String::as_str)).collect::<Vec<_>>().join(","),
    );
    if args.deny_warnings {
        cargo.args(["-Zwarnings", "--config", "build.warnings=\"deny\""]);
    }
    cargo
        .env("RUSTC", &rust.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?);
    // The workspace's release profile is user space's: these are what BPF needs.
    for (key, value) in [
        ("LTO", "fat"),
        ("CODEGEN_UNITS", "1"),
        ("OPT_LEVEL", "3"),
        ("DEBUG", "2"),
        ("PANIC", "abort"),
        ("STRIP", "none"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    if !toolchain.libraries.is_empty() {
        cargo.env("LD_LIBRARY_PATH", &toolchain.libraries);
    }
    Ok(cargo)
}

/// Compiler flags, in cargo's encoding: separated by 0x1f, so that spaces in paths are kept.
fn flags(toolchain: &Toolchain) -> Result<String> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is not UTF-8");
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Cpanic=abort".to_owned(),
        "-Ctarget-cpu=v3".to_owned(), // 32-bit arithmetic; Linux 5.1 and later
        format!("-Clinker={}", text(&toolchain.linker)?),
        "-Clink-arg=--btf".to_owned(),
    ];
    // BTF names source files: the same names on every machine.
    let home = paths::var("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| paths::var("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let folders =
        [(Some(paths::root()), "vnet"), (home.as_deref(), "cargo"), (Some(&toolchain.rust.sysroot), "rust")];
    for (folder, name) in folders {
        if let Some(folder) = folder {
            flags.push(format!("--remap-path-prefix={}={name}", text(folder)?));
        }
    }
    Ok(flags.join("\x1f"))
}

/// Copies a file unless the copy is the same, so that what depends on it is not built again; returns its size.
fn copy_if_other(from: &Path, to: &Path) -> Result<u64> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).ok().as_deref() != Some(&bytes) {
        let draft = to.with_extension("part");
        fs::write(&draft, &bytes).with_context(|| format!("cannot write {}", draft.display()))?;
        fs::rename(&draft, to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(bytes.len() as u64)
}
