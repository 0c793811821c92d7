//! What the probes must know of the running kernel, looked up in its BTF: see [`vnet_ebpf::offsets`].

use std::{collections::BTreeMap, fs};

use vnet_ebpf::offsets::{ABSENT, COUNT, FIELDS, Field, Lookup, Offsets};

use super::btf::{Btf, BtfError, Kind};

/// Where the kernel shows its type information.
const BTF_DIR: &str = "/sys/kernel/btf";

/// Facts of the running kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    btf: Btf,
    /// The table, without its settings.
    pub(crate) offsets: Offsets,
    /// Per field of the table, why it is absent.
    missing: Vec<(Field, BtfError)>,
    /// Names of the drop reasons, without their common prefix.
    pub(crate) reasons: BTreeMap<u32, String>,
}

impl Kernel {
    /// Reads the running kernel. `without` names fields and tracepoints that are treated as absent: for tests of what
    /// happens on kernels that lack them.
    pub(crate) fn read(without: &[String]) -> anyhow::Result<Self> {
        let vmlinux = fs::read(format!("{BTF_DIR}/vmlinux")).map_err(|error| {
            anyhow::anyhow!(
                "this kernel has no type information ({BTF_DIR}/vmlinux: {error}), so nothing can be measured: \
                 boot one built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are"
            )
        })?;
        let tun = fs::read(format!("{BTF_DIR}/tun")).ok();
        let parts: Vec<&[u8]> = std::iter::once(vmlinux.as_slice()).chain(tun.as_deref()).collect();
        Ok(Self::from_btf(Btf::parse(&parts)?, without))
    }

    fn from_btf(btf: Btf, without: &[String]) -> Self {
        let mut offsets = Offsets([ABSENT; COUNT]);
        let mut missing = Vec::new();
        for (field, name, lookup, _) in FIELDS {
            let value = if without.iter().any(|absent| absent == name) {
                Err(BtfError::NoMember("(left out)".to_owned(), (*name).to_owned()))
            } else {
                look_up(&btf, *lookup)
            };
            match value {
                Ok(value) => offsets.0[*field as usize] = value,
                Err(error) => missing.push((*field, error)),
            }
        }
        let mut reasons = btf.enumeration("skb_drop_reason");
        for name in reasons.values_mut() {
            *name = name.trim_start_matches("SKB_DROP_REASON_").trim_start_matches("SKB_").to_owned();
        }
        let mut kernel = Self { btf, offsets, missing, reasons };
        let has_reason = kernel.tracepoint_args("kfree_skb").is_ok_and(|args| args >= 3);
        kernel.set(Field::has_reason, u32::from(has_reason));
        kernel
    }

    /// Sets one of the table's settings.
    pub(crate) fn set(&mut self, field: Field, value: u32) {
        self.offsets.0[field as usize] = value;
    }

    /// Why a program of the set `by` can't work here: the first field that it needs and the kernel lacks.
    pub(crate) fn lacks(&self, by: u32) -> Option<&BtfError> {
        let needed = |field: Field| FIELDS.iter().any(|(f, _, _, who)| *f == field && who & by != 0);
        self.missing.iter().find(|(field, _)| needed(*field)).map(|(_, error)| error)
    }

    /// Why a field is absent.
    pub(crate) fn why_not(&self, field: Field) -> Option<&BtfError> {
        self.missing.iter().find(|(absent, _)| *absent == field).map(|(_, error)| error)
    }

    /// Arguments of a tracepoint as this kernel has it.
    pub(crate) fn tracepoint_args(&self, name: &str) -> Result<usize, BtfError> {
        self.btf.tracepoint_args(name)
    }
}

fn look_up(btf: &Btf, lookup: Lookup) -> Result<u32, BtfError> {
    match lookup {
        Lookup::Offset(structure, path) => btf.member(structure, path).map(super::btf::Member::byte),
        Lookup::Mask(structure, path) => btf
            .member(structure, path)?
            .mask()
            .ok_or_else(|| BtfError::NoMember(structure.to_owned(), format!("{path} as a bit-field"))),
        Lookup::Enumerator(name) => {
            btf.enumerator(name).ok_or_else(|| BtfError::NoType(Kind::Enum, name.to_owned()))
        }
        Lookup::Setting => Ok(0),
    }
}
