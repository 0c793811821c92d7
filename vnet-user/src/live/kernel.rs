//! What the probes must know of the running kernel, looked up in its BTF: see [`vnet_ebpf::offsets`].

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use vnet_ebpf::offsets::{ABSENT, COUNT, FIELDS, Field, Lookup, Offsets};

use super::{
    btf::{Btf, BtfError, Kind},
    files, load, vhost,
};

/// Where the kernel shows its type information.
const BTF_DIR: &str = "/sys/kernel/btf";

/// Facts of the running kernel. Its type information, megabytes, is not kept.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The table, without its settings.
    pub(crate) offsets: Offsets,
    /// Per field of the table, why it is absent.
    missing: Vec<(Field, BtfError)>,
    /// Names of the drop reasons, without their common prefix.
    pub(crate) reasons: BTreeMap<u32, String>,
    /// Types and numbers of arguments of the tracepoints that programs attach to, where this kernel has them.
    tracepoints: BTreeMap<&'static str, (u32, usize)>,
    /// It describes the functions and structures of modules (Linux 5.11 with `CONFIG_DEBUG_INFO_BTF_MODULES`).
    pub(crate) describes_modules: bool,
    /// Functions that programs attach to, by module and name, where this kernel has them.
    functions: BTreeMap<(&'static str, &'static str), Function>,
}

/// What tests name to have the descriptions of modules hidden.
const MODULE_BTF: &str = "module_btf";

/// Modules that programs attach to or read the memory of. What is built in is in the kernel's own type information.
pub(crate) const MODULES: [&str; 4] = ["tun", "vhost", "vhost_net", "kvm"];

/// A function as type information describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// The module that it is in; `None` for the kernel itself.
    pub(crate) module: Option<&'static str>,
    /// Id of its type.
    pub(crate) id: u32,
    /// Arguments that it takes.
    pub(crate) args: usize,
}

impl Kernel {
    /// Reads the running kernel. `without` names fields and tracepoints that are treated as absent: for tests of what
    /// happens on kernels that lack them.
    pub(crate) fn read(without: &[String]) -> Result<Self> {
        Self::read_in(Path::new(BTF_DIR), without)
    }

    fn read_in(folder: &Path, without: &[String]) -> Result<Self> {
        let path = folder.join("vmlinux");
        let vmlinux = fs::read(&path).map_err(|error| {
            anyhow!(
                "this kernel has no type information ({}: {error}), so nothing can be measured: boot one built with \
                 CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are",
                path.display()
            )
        })?;
        let mut btf = Btf::parse(&[&vmlinux]).with_context(|| {
            format!("the kernel's type information cannot be understood ({})", path.display())
        })?;
        drop(vmlinux);
        let mut kernel = Self::from_btf(&btf);
        kernel.describes_modules &= !without.iter().any(|absent| absent == MODULE_BTF);
        let modules = if kernel.describes_modules { &MODULES[..] } else { &[] };
        for module in modules.iter().copied() {
            // A module that does not speak the kernel's format costs only what is looked up in it.
            if fs::read(folder.join(module)).is_ok_and(|bytes| btf.follow(&bytes).is_ok()) {
                kernel.add_module(&btf, module);
            }
        }
        for name in without {
            kernel.leave_out(name);
        }
        Ok(kernel)
    }

    /// What the kernel itself knows.
    fn from_btf(btf: &Btf) -> Self {
        let mut reasons = btf.enumeration("skb_drop_reason");
        for name in reasons.values_mut() {
            *name = name.trim_start_matches("SKB_DROP_REASON_").trim_start_matches("SKB_").to_owned();
        }
        if reasons.is_empty() {
            reasons.insert(0, "NOT_SPECIFIED".to_owned()); // before 5.17 the kernel says no reason
        }
        let args = |name| Some((name, (btf.tracepoint(name).ok()?, btf.tracepoint_args(name).ok()?)));
        let mut kernel = Self {
            offsets: Offsets([ABSENT; COUNT]),
            missing: Vec::new(),
            reasons,
            tracepoints: load::tracepoints().filter_map(args).collect(),
            describes_modules: btf.size("btf_module").is_ok(),
            functions: BTreeMap::new(),
        };
        for (field, _, lookup, _) in FIELDS {
            match look_up(btf, *lookup) {
                Ok(value) => kernel.set(*field, value),
                Err(error) => kernel.missing.push((*field, error)),
            }
        }
        for (module, name) in vhost::functions().chain([files::ITERATOR]) {
            if let Ok((id, args)) = btf.function(name) {
                kernel.functions.insert((module, name), Function { module: None, id, args });
            }
        }
        let has_reason = kernel.tracepoint_args("kfree_skb").is_some_and(|args| args >= 3);
        kernel.set(Field::has_reason, u32::from(has_reason));
        kernel
    }

    /// What a module adds.
    fn add_module(&mut self, btf: &Btf, module: &'static str) {
        let mut missing = std::mem::take(&mut self.missing);
        missing.retain(|(field, _)| {
            let lookup = FIELDS.iter().find(|(f, ..)| f == field).map(|(_, _, lookup, _)| *lookup);
            match lookup.map(|lookup| look_up(btf, lookup)) {
                Some(Ok(value)) => {
                    self.set(*field, value);
                    false
                }
                _ => true,
            }
        });
        self.missing = missing;
        for (owner, name) in vhost::functions().filter(|(owner, _)| *owner == module) {
            match btf.function(name) {
                Ok((id, args)) if btf.is_modules(id) => {
                    self.functions.insert((owner, name), Function { module: Some(module), id, args });
                }
                // One of that name in the kernel itself is another function.
                _ => drop(self.functions.remove(&(owner, name))),
            }
        }
    }

    /// A function that programs attach to; `None` if this kernel has none of that name, or does not describe it.
    pub(crate) fn function(&self, module: &'static str, name: &'static str) -> Option<Function> {
        self.functions.get(&(module, name)).copied()
    }

    /// Treats a field as absent; any other name is of no interest here.
    pub(crate) fn leave_out(&mut self, absent: &str) {
        for (field, _, lookup, _) in FIELDS.iter().filter(|(_, name, ..)| *name == absent) {
            if let Err(error) = left_out(*lookup) {
                self.set(*field, ABSENT);
                self.missing.push((*field, error));
            }
        }
    }

    /// Sets one of the table's settings.
    pub(crate) fn set(&mut self, field: Field, value: u32) {
        self.offsets.0[field as usize] = value;
    }

    /// Takes over the settings of an earlier look at the same kernel: programs share maps by them.
    pub(crate) fn keep_settings(&mut self, earlier: &Self) {
        for (field, ..) in FIELDS.iter().filter(|(_, _, lookup, _)| *lookup == Lookup::Setting) {
            self.set(*field, earlier.offsets.0[*field as usize]);
        }
    }

    /// Gives a field the value of another.
    #[cfg(test)]
    pub(crate) fn stand_in(&mut self, field: Field, lookup: Lookup) {
        let vmlinux = fs::read(format!("{BTF_DIR}/vmlinux")).expect("this kernel has type information");
        let btf = Btf::parse(&[&vmlinux]).expect("it was understood before");
        self.set(field, look_up(&btf, lookup).expect("this kernel has it"));
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

    /// Arguments of a tracepoint as this kernel has it; `None` if it has not.
    pub(crate) fn tracepoint_args(&self, name: &str) -> Option<usize> {
        self.tracepoints.get(name).map(|(_, args)| *args)
    }

    /// Type of a tracepoint, by which programs attach to it.
    pub(crate) fn tracepoint(&self, name: &str) -> Option<u32> {
        self.tracepoints.get(name).map(|(id, _)| *id)
    }
}

fn look_up(btf: &Btf, lookup: Lookup) -> Result<u32, BtfError> {
    match lookup {
        Lookup::Offset(structure, path) => btf.member(structure, path).map(super::btf::Member::byte),
        Lookup::Mask(structure, path) => btf
            .member(structure, path)?
            .mask()
            .ok_or_else(|| BtfError::NoMember(structure.to_owned(), format!("{path} as a bit-field"))),
        Lookup::Size(structure) => btf.size(structure),
        Lookup::Enumerator(name) => {
            btf.enumerator(name).ok_or_else(|| BtfError::NoEnumerator(name.to_owned()))
        }
        Lookup::Setting => Ok(0),
    }
}

/// What a kernel without it would answer.
fn left_out(lookup: Lookup) -> Result<u32, BtfError> {
    match lookup {
        Lookup::Offset(structure, path) | Lookup::Mask(structure, path) => {
            Err(BtfError::NoMember(structure.to_owned(), path.to_owned()))
        }
        Lookup::Size(structure) => Err(BtfError::NoType(Kind::Struct, structure.to_owned())),
        Lookup::Enumerator(name) => Err(BtfError::NoEnumerator(name.to_owned())),
        Lookup::Setting => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_type_information_is_told_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let told = || format!("{:#}", Kernel::read_in(folder.path(), &[]).unwrap_err());
        assert!(told().starts_with("this kernel has no type information ("), "{}", told());
        assert!(told().contains("No such file") && told().contains("CONFIG_DEBUG_INFO_BTF=y"), "{}", told());
        fs::create_dir(folder.path().join("vmlinux")).unwrap(); // as unreadable as can be, for root too
        assert!(told().contains("Is a directory"), "{}", told());
        fs::remove_dir(folder.path().join("vmlinux")).unwrap();
        for bytes in [&b""[..], b"no BTF at all", b"\x9f\xeb\x01\0\x18\0\0\0\0\0"] {
            fs::write(folder.path().join("vmlinux"), bytes).unwrap();
            assert!(told().starts_with("the kernel's type information cannot be understood ("), "{}", told());
            assert_eq!(told().lines().count(), 1);
        }
    }

    #[test]
    fn a_module_that_cannot_be_understood_costs_only_its_own() {
        let Ok(vmlinux) = fs::read(format!("{BTF_DIR}/vmlinux")) else {
            println!("skipped: this kernel has no BTF ({BTF_DIR}/vmlinux)");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vmlinux"), vmlinux).unwrap();
        fs::write(folder.path().join("tun"), b"no BTF at all").unwrap();
        let kernel = Kernel::read_in(folder.path(), &[]).unwrap();
        assert!(kernel.why_not(Field::skb_len).is_none());
    }

    #[test]
    fn a_field_left_out_is_told_by_structure_and_field() {
        let Ok(kernel) = Kernel::read(&["skb_len".to_owned(), "gso_tcpv4".to_owned()]) else {
            println!("skipped: this kernel has no BTF ({BTF_DIR}/vmlinux)");
            return;
        };
        let told = |field| kernel.why_not(field).unwrap().to_string();
        assert_eq!(told(Field::skb_len), "this kernel's struct sk_buff has no field len");
        assert_eq!(told(Field::gso_tcpv4), "this kernel's BTF has no enumerator SKB_GSO_TCPV4");
    }
}
