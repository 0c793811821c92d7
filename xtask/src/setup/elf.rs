//! Is this file an object that holds BPF programs?

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::paths;

/// ELF header bytes that are read: `e_ident`, `e_type`, `e_machine`.
const HEADER: usize = 20;
/// `e_ident` of a 64-bit little-endian file.
const IDENT: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
/// `ET_REL` and `EM_BPF`, as they stand in the header.
const TYPE_AND_MACHINE: [u8; 4] = [1, 0, 247, 0];

/// The object that `VNET_BPF_OBJECT` names, checked.
///
/// # Errors
/// When it is set to something that is not a BPF object.
pub(crate) fn prebuilt() -> Result<Option<PathBuf>> {
    let Some(path) = paths::var("VNET_BPF_OBJECT").map(PathBuf::from) else { return Ok(None) };
    check(&path).with_context(|| format!("VNET_BPF_OBJECT names {}", path.display()))?;
    Ok(Some(path.canonicalize()?))
}

/// Checks that `path` is a relocatable BPF object.
///
/// # Errors
/// When it cannot be read or is something else.
pub(crate) fn check(path: &Path) -> Result<()> {
    let mut header = [0; HEADER];
    let mut file = File::open(path).context("it cannot be opened")?;
    file.read_exact(&mut header).context("it is too short for an ELF file")?;
    ensure!(is_bpf(&header), "it is not an ELF object for BPF (build one with `cargo xtask ebpf`)");
    Ok(())
}

fn is_bpf(header: &[u8; HEADER]) -> bool {
    header.starts_with(&IDENT) && header.ends_with(&TYPE_AND_MACHINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpf_object_passes() {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(&IDENT);
        header[16..].copy_from_slice(&TYPE_AND_MACHINE);
        assert!(is_bpf(&header));
        header[18] = 62; // EM_X86_64
        assert!(!is_bpf(&header));
        // The test program itself is an executable for this machine.
        assert!(check(&std::env::current_exe().unwrap()).is_err());
        assert!(check(Path::new("/dev/null")).is_err());
    }
}
