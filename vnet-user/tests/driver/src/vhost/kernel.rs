//! What of this kernel's `vhost_net` changes counts: measured, since stable patch levels differ inside one version.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Config, Guest, Kick, Packet, SHORTEST, Script, Side, Step};
use crate::netns::Netns;

/// Facts about the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `experimental_zcopytx` of `vhost_net`: whether TX may go without a copy.
    pub zerocopy: bool,
    /// Parameters of `vhost_add_used_and_signal_n`: 4, and 5 since used entries of large packets are batched too (6.18).
    /// `None` without module BTF.
    pub used_parameters: Option<usize>,
    /// It exports `vhost_get_vq_desc_n`, as those kernels do.
    pub counts_descriptors: bool,
}

impl Kernel {
    /// Looks; the module must be there.
    pub fn look() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let parameter = "/sys/module/vhost_net/parameters/experimental_zcopytx";
        let zerocopy = fs::read_to_string(parameter).with_context(|| format!("cannot read {parameter}"))?;
        let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
        let is = |line: &str| line.split_whitespace().nth(2) == Some("vhost_get_vq_desc_n");
        let kernel = Self {
            release,
            zerocopy: zerocopy.trim() != "0",
            used_parameters: btf("vhost").and_then(|btf| parameters(&btf, "vhost_add_used_and_signal_n")),
            counts_descriptors: symbols.lines().any(is),
        };
        let agree = kernel.used_parameters.is_none_or(|count| (count == 5) == kernel.counts_descriptors);
        ensure!(agree, "a vhost_net of a kind that is not known: {kernel:?}");
        Ok(kernel)
    }

    /// Used entries of packets that are too large for a batch are handed over up to 64 at once, not one by one
    /// (`handle_tx_copy`: on `ENOSPC` it flushes only what is batched).
    pub fn batches_large(&self) -> bool {
        self.counts_descriptors
    }
}

/// Whether a packet that the tap refuses comes back to the guest when it was sent by itself, not in a batch. Where it does
/// not (5.10), vhost tries it again for ever and the queue is stuck (`handle_tx_copy`, `handle_tx_zerocopy`). Sends one.
pub fn returns_refused() -> Result<bool> {
    let patience = Duration::from_secs(2);
    let guest =
        Guest::new(&Netns::new()?, Config { send_buffer: Some(1 << 20), patience, ..Config::default() })?;
    let runt = vec![Packet::new(SHORTEST - 1)];
    guest.run(&Script::new().on(0, Step::Publish(runt)).on(0, Step::Kick(Side::Tx, Kick::Always)))?;
    Ok(guest.step(0, &Step::Wait(Side::Tx)).is_ok())
}

/// vmlinux's BTF, then that of the module, unless it is built in.
fn btf(module: &str) -> Option<Vec<Vec<u8>>> {
    let base = fs::read("/sys/kernel/btf/vmlinux").ok()?;
    let split = fs::read(format!("/sys/kernel/btf/{module}")).ok();
    Some([base].into_iter().chain(split).collect())
}

/// How many parameters the function called `name` has; `None` if there is none, or not one of that name.
fn parameters(btf: &[Vec<u8>], name: &str) -> Option<usize> {
    const FUNC: u32 = 12;
    const FUNC_PROTO: u32 = 13;
    let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let section = |blob: &'_ Vec<u8>, field: usize| {
        let start = word(blob, 4)? as usize + word(blob, field)? as usize;
        blob.get(start..start + word(blob, field + 4)? as usize).map(<[u8]>::to_vec)
    };
    // Types and strings of the module go on where those of vmlinux end.
    let strings = btf.iter().map(|blob| section(blob, 16)).collect::<Option<Vec<_>>>()?.concat();
    let types = btf.iter().map(|blob| section(blob, 8)).collect::<Option<Vec<_>>>()?.concat();
    let is = |offset: u32| {
        strings.get(offset as usize..).is_some_and(|rest| {
            rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        })
    };
    let (mut at, mut id, mut wanted) = (0, 1_u32, None);
    let mut prototypes = std::collections::HashMap::new();
    while at < types.len() {
        let (info, target) = (word(&types, at + 4)?, word(&types, at + 8)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        match kind {
            FUNC if is(word(&types, at)?) => wanted = Some(target),
            FUNC_PROTO => drop(prototypes.insert(id, count)),
            _ => {}
        }
        at += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | FUNC_PROTO => 8 * count,
                _ => 0,
            };
        id += 1;
    }
    prototypes.get(&wanted?).copied()
}
