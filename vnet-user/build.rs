//! Embeds the probes' object that `VNET_BPF_OBJECT` names; without it, a build that has none and says so when asked to
//! measure.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=VNET_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("probes.bpf.o");
    let object = env::var_os("VNET_BPF_OBJECT").map(PathBuf::from).map(|path| {
        println!("cargo::rerun-if-changed={}", path.display());
        fs::read(&path)
            .unwrap_or_else(|error| panic!("VNET_BPF_OBJECT: {} cannot be read: {error}", path.display()))
    });
    fs::write(&out, object.unwrap_or_default())
        .unwrap_or_else(|error| panic!("{} cannot be written: {error}", out.display()));
}
