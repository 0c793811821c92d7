//! The object with the probes.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};

/// The object built with this program; empty in a build without a BPF toolchain.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probes.bpf.o"));

/// The object: the one that `VNET_BPF_OBJECT` names, else the one built in.
///
/// # Errors
/// When it can't be read, or this build has none.
pub fn object() -> Result<Cow<'static, [u8]>> {
    match std::env::var_os("VNET_BPF_OBJECT") {
        Some(path) => {
            let bytes = std::fs::read(&path);
            let bytes =
                bytes.with_context(|| format!("VNET_BPF_OBJECT: {} cannot be read", path.display()))?;
            if !bytes.starts_with(b"\x7fELF") {
                bail!("VNET_BPF_OBJECT: {} is not an object of vnet's probes", path.display());
            }
            Ok(Cow::Owned(bytes))
        }
        None if EMBEDDED.is_empty() => bail!(
            "this build of vnet has no probes: build it with `cargo xtask build`, or set VNET_BPF_OBJECT to an \
             object that was built elsewhere"
        ),
        None => Ok(Cow::Borrowed(EMBEDDED)),
    }
}
