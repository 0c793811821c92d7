//! Noticing that devices are registered or moved, which lets the probes take an address for a device.

use anyhow::{Context as _, Result, bail};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry},
};

use super::{cache::Cache, kernel::Kernel};
use crate::record::{Known, Probe};

/// How it is noticed that the kernel registers a device.
pub(crate) struct Registrations {
    program: &'static str,
    hook: &'static str,
    /// That one does not notice when a device moves to another namespace.
    pub(crate) moves_unnoticed: bool,
}

impl Registrations {
    /// Through its notifiers, which speak of moves too; where the kernel has no tracepoint for them, at the function.
    pub(crate) fn of(kernel: &Kernel, without: &[String]) -> Self {
        let has = kernel.tracepoint_args(NOTIFIERS).is_some() && !without.iter().any(|it| it == NOTIFIERS);
        if has {
            return Self { program: "notify", hook: "tp_btf:notifier_run", moves_unnoticed: false };
        }
        Self { program: "register", hook: "fentry:register_netdevice", moves_unnoticed: true }
    }
}

/// The tracepoint of notifiers, which newer kernels have.
pub(crate) const NOTIFIERS: &str = "notifier_run";

impl Registrations {
    /// Has registrations of devices noticed, which lets the probes take an address for a device. Without it they read
    /// each device's identity, which costs more and tells as much.
    pub(crate) fn watch(&self, ebpf: &mut Ebpf, cache: &Cache, btf: &Btf, without: &[String]) -> Probe {
        let Self { program, hook, .. } = self;
        let opened = cache.open().context("map CACHE cannot be mapped");
        let attached = opened.and_then(|cache| {
            attach_registration(ebpf, program, hook, btf, without)?;
            Ok(cache)
        });
        let (via, reason) = match attached {
            Ok(cache) => {
                cache.count_epochs();
                (*hook, None)
            }
            Err(error) => {
                ("kernfs_node.id", Some(format!("a packet costs more: {hook} cannot be watched: {error:#}")))
            }
        };
        Probe::new("devices", via, Known::Exact, reason)
    }
}

fn attach_registration(
    ebpf: &mut Ebpf,
    program: &str,
    hook: &str,
    btf: &Btf,
    without: &[String],
) -> Result<()> {
    let (kind, target) = hook.split_once(':').unwrap_or_default();
    if without.iter().any(|absent| absent == target) {
        bail!("{target} is left out");
    }
    let program =
        ebpf.program_mut(program).context("the object has no such program: it is of another version")?;
    if kind == "fentry" {
        let program: &mut FEntry = program.try_into()?;
        program.load(target, btf)?;
        program.attach()?;
    } else {
        let program: &mut BtfTracePoint = program.try_into()?;
        program.load(target, btf)?;
        program.attach()?;
    }
    Ok(())
}
