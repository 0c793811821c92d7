//! Embeds the probes' object that `VNET_BPF_OBJECT` names; without it, a build that has none and says so when asked to
//! measure.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=VNET_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(error) = embed() {
        println!("cargo::error={error}");
    }
}

fn embed() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("probes.bpf.o");
    let mut object = Vec::new();
    if let Some(path) = env::var_os("VNET_BPF_OBJECT").map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", path.display());
        let told = |what: &str| {
            format!("VNET_BPF_OBJECT: {} {what}; `cargo xtask ebpf` makes an object", path.display())
        };
        object = fs::read(&path).map_err(|error| told(&format!("cannot be read: {error}")))?;
        if !object.starts_with(b"\x7fELF") {
            return Err(told("is no ELF object"));
        }
    }
    fs::write(&out, object).map_err(|error| format!("{} cannot be written: {error}", out.display()))
}
