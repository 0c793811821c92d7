//! From the object to running programs: maps are sized for this host, each program is loaded and attached on its own,
//! and what could not be is said per signal.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use anyhow::{Context, Result, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, ProgramError, tp_btf::BtfTracePointLink},
};
use vnet_ebpf::{
    counter::lost,
    offsets::{Field, by},
};

use super::{
    bpf::verdict,
    cache::Cache,
    counters,
    files::Walker,
    kernel::Kernel,
    maps::{self, Maps, possible_cpus},
    object::object,
    registrations::{self, Registrations},
    relocate, skipped,
    symbols::Symbols,
    vhost::{self, Vhost},
};
use crate::record::{Known, Probe};

/// A program of the object and where it is attached.
struct Program {
    name: &'static str,
    tracepoint: &'static str,
    /// Arguments that the program reads.
    args: usize,
    /// Its bit in the table of offsets.
    by: u32,
    /// What is measured through it.
    signals: &'static [&'static str],
    /// Every packet of the host pays for it.
    host_wide: bool,
}

/// All programs. A new one is a row here and a function in the object.
const PROGRAMS: &[Program] = &[
    Program {
        name: "drop",
        tracepoint: "kfree_skb",
        args: 2,
        by: by::DROP,
        signals: &["tap.rx.drops", "tap.tx.drops", "tap.tx.stack_drops"],
        host_wide: false,
    },
    Program {
        name: "recv",
        tracepoint: "netif_receive_skb_entry",
        args: 1,
        by: by::RECV,
        signals: &["tap.tx"],
        host_wide: true,
    },
    Program {
        name: "recv_napi",
        tracepoint: "napi_gro_receive_entry",
        args: 1,
        by: by::RECV,
        signals: &["tap.tx.napi", "virtio_net.rx"],
        host_wide: true,
    },
    Program {
        name: "recv_frags",
        tracepoint: "napi_gro_frags_entry",
        args: 1,
        by: by::RECV,
        signals: &["tap.tx.napi_frags"],
        host_wide: true,
    },
    Program {
        name: "xmit",
        tracepoint: "net_dev_start_xmit",
        args: 2,
        by: by::XMIT,
        signals: &["tap.rx", "virtio_net.tx"],
        host_wide: true,
    },
];

/// The probes, attached. Everything is detached when this is dropped, or when the process ends however it does.
pub(crate) struct Loaded {
    /// Owns programs and links.
    ebpf: Ebpf,
    /// The signals and how they are known.
    pub(crate) probes: Vec<Probe>,
    /// What they count into.
    pub(crate) maps: Maps,
    /// The programs that see vhost.
    pub(crate) vhost: Vhost,
    /// The walk through open files.
    pub(crate) walker: Walker,
    /// Files of all maps, for programs that are loaded later.
    files: Vec<(String, OwnedFd)>,
    /// What the programs were made for.
    kernel: Kernel,
    /// Why a program cannot be attached; in the order of [`PROGRAMS`].
    refused: Vec<Option<String>>,
    /// Those that every packet pays for, while they are attached.
    host_wide: Option<HostWide>,
    /// How registrations are noticed.
    registrations: Probe,
    /// Why the tap driver's code is not known.
    unlocated: Option<String>,
    /// `drop`, made anew for a tap driver that came later.
    drop: Option<late::Drop>,
    /// What they say.
    #[cfg(feature = "probe-log")]
    pub(crate) log: super::probe_log::ProbeLog,
}

/// The tracepoints that programs attach to.
pub(crate) fn tracepoints() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|program| program.tracepoint).chain([registrations::NOTIFIERS])
}

impl Loaded {
    /// Loads and attaches what this kernel allows, with room for `slots` queues.
    pub(crate) fn new(kernel: &mut Kernel, slots: u32, without: &[String]) -> Result<Self> {
        let cpus = possible_cpus()?;
        let cache = Cache::new(slots)?;
        kernel.set(Field::cpus, cpus);
        kernel.set(Field::cache_mask, cache.mask());
        let registrations = Registrations::of(kernel, without);
        kernel.set(Field::learning, u32::from(vhost::learns(kernel)));
        kernel.set(Field::moves_unnoticed, u32::from(registrations.moves_unnoticed));
        let object = relocate::fields(&object()?, &kernel.offsets, cache.fd())?;
        let mut ebpf = EbpfLoader::new()
            .btf(None) // the object has no CO-RE relocations
            .map_max_entries("BANKS", slots.checked_mul(cpus).context("too many queues for this many CPUs")?)
            .map_max_entries("LOST", cpus)
            .map_max_entries("META", slots)
            .map_max_entries("SLOTS", slots)
            .map_max_entries("FREE", slots)
            .map_max_entries("VHOST", slots)
            .map_max_entries("PAIRS", maps::pairs_for(slots))
            .map_max_entries("DEVICES", maps::pairs_for(slots))
            .map_max_entries("WORKERS", maps::pairs_for(slots))
            .map_max_entries("FREE_PAIRS", maps::pairs_for(slots))
            .map_max_entries("PATHS", maps::paths_for(slots))
            .map_max_entries("PATH_ROWS", maps::paths_for(slots))
            .map_max_entries("FREE_PATHS", maps::paths_for(slots))
            .map_max_entries("WAKING", cpus)
            .load(&object)
            .context("the maps of the probes cannot be made")?;
        // Programs hold on to their maps once they are loaded; only then may the maps be taken out of aya's hands.
        let btf = Btf::from_sys_fs().context("the kernel's BTF cannot be read")?;
        let loads: Vec<Result<()>> =
            PROGRAMS.iter().map(|program| load(&mut ebpf, program, kernel, &btf, without)).collect();
        let files = maps::files(&ebpf)?;
        let mut maps = Maps::take(&mut ebpf, slots, cpus, cache)?;
        maps.reset(slots)?;
        let registrations = registrations.watch(&mut ebpf, &maps.cache, &btf, without);
        drop(btf);
        let symbols = Symbols::read(without, vhost::wanted);
        maps.locate(symbols.code.as_ref().ok(), vhost::handlers(&symbols))?;
        let (mut refused, mut host_wide) = (Vec::new(), Vec::new());
        for (program, load) in PROGRAMS.iter().zip(loads) {
            let attached = load.and_then(|()| {
                if program.host_wide {
                    host_wide.push(attach(&mut ebpf, program)?);
                    return Ok(());
                }
                tracepoint(&mut ebpf, program)?.attach().context(UNATTACHED).map(drop)
            });
            refused.push(attached.err().map(|error| format!("{error:#}")));
        }
        if refused.iter().all(Option::is_some) {
            let reason = refused.into_iter().flatten().next().unwrap_or_default();
            bail!("no probe can be attached here: {reason}");
        }
        #[cfg(feature = "probe-log")]
        let log = super::probe_log::ProbeLog::new(&mut ebpf)?;
        let walker = late::walker(kernel, &maps, &files, without);
        let mut loaded = Self {
            ebpf,
            probes: Vec::new(),
            maps,
            vhost: Vhost::new(vhost::learns(kernel)),
            walker,
            files,
            kernel: kernel.clone(),
            refused,
            host_wide: Some(HostWide::new(host_wide)),
            registrations,
            unlocated: symbols.code.as_ref().err().map(ToString::to_string),
            drop: None,
            #[cfg(feature = "probe-log")]
            log,
        };
        loaded.attach_vhost(&symbols, without);
        loaded.probes = loaded.describe();
        Ok(loaded)
    }

    /// How each signal is known.
    fn describe(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (program, refused) in PROGRAMS.iter().zip(&self.refused) {
            let via = format!("tp_btf:{}", program.tracepoint);
            let remark = self.remark().filter(|_| program.host_wide);
            let probe = |signal: &&str| match refused {
                Some(_) => Probe::exact_unless(signal, &via, refused.clone()),
                None => Probe::new(signal, &via, Known::Exact, remark.clone()),
            };
            probes.extend(program.signals.iter().map(probe));
        }
        refine(&mut probes, &self.kernel, self.unlocated.as_deref());
        probes.insert(0, self.registrations.clone());
        probes.extend(self.vhost.probes());
        probes.extend(self.walker.probes());
        probes
    }
}

impl Loaded {
    /// Files of all maps.
    #[cfg(test)]
    pub(crate) fn files(&self) -> Vec<(String, std::os::fd::BorrowedFd<'_>)> {
        maps::borrow(&self.files)
    }

    /// Runs that the kernel left out and nothing made good, of all programs.
    pub(crate) fn skipped(&self) -> u64 {
        let own = PROGRAMS.iter().filter_map(|program| self.program(program.name));
        let earlier = self.drop.as_ref().map_or(0, |drop| drop.skipped_before);
        let vhost = self.vhost.programs().map(|fd| skipped::runs(fd.as_raw_fd())).sum::<u64>();
        let good = counters::lost(&self.maps)[lost::MADE_GOOD];
        earlier + own.map(skipped::runs).sum::<u64>() + vhost.saturating_sub(good)
    }

    /// Fills in how often the program behind each signal ran and for how long. A program may stand behind several.
    pub(crate) fn time(&self, probes: &mut [Probe]) {
        for program in PROGRAMS {
            let times = self.program(program.name).and_then(skipped::times);
            for probe in probes.iter_mut().filter(|probe| program.signals.contains(&probe.signal.as_str())) {
                (probe.runs, probe.run_ns) = (times.map(|(runs, _)| runs), times.map(|(_, ns)| ns));
            }
        }
    }

    /// Descriptor of a program that is attached.
    fn program(&self, name: &str) -> Option<RawFd> {
        let own = || Some(self.ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd());
        let late = self.drop.as_ref().filter(|_| name == late::DROP);
        late.map(late::Drop::fd).or_else(own)
    }
}

/// Says why a program cannot work here, if so.
fn check(program: &Program, kernel: &Kernel, without: &[String]) -> Result<()> {
    if without.iter().any(|absent| absent == program.tracepoint) {
        bail!("this kernel has no tracepoint {} (left out)", program.tracepoint);
    }
    let args = kernel.tracepoint_args(program.tracepoint);
    let args = args.with_context(|| format!("this kernel has no tracepoint {}", program.tracepoint))?;
    if args < program.args {
        bail!("tracepoint {} has {args} arguments here, not {}", program.tracepoint, program.args);
    }
    if let Some(error) = kernel.lacks(program.by) {
        bail!("{error}");
    }
    Ok(())
}

fn load(ebpf: &mut Ebpf, program: &Program, kernel: &Kernel, btf: &Btf, without: &[String]) -> Result<()> {
    check(program, kernel, without)?;
    let refused = tracepoint(ebpf, program)?.load(program.tracepoint, btf).err();
    refused.map_or(Ok(()), |error| bail!("the kernel refused the program: {}", summary(&error)))
}

/// The kernel's verdict without the thousand lines that led to it.
fn summary(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.to_string() };
    verdict(io_error, &verifier_log.to_string())
}

const UNATTACHED: &str = "the program cannot be attached";

/// Attaches a program until the link is dropped.
fn attach(ebpf: &mut Ebpf, program: &Program) -> Result<BtfTracePointLink> {
    let program = tracepoint(ebpf, program)?;
    let link = program.attach().context(UNATTACHED)?;
    Ok(program.take_link(link)?)
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, program: &Program) -> Result<&'a mut BtfTracePoint> {
    let found = ebpf.program_mut(program.name);
    let found = found
        .with_context(|| format!("the object has no program {}: it is of another version", program.name))?;
    Ok(found.try_into()?)
}

/// Fields of the tap driver by which the sender of a packet that has no device yet is told.
const SENDER: [Field; 4] =
    [Field::tun_file_sk, Field::tun_file_tun, Field::tun_file_queue_index, Field::tun_dev];

/// What else a signal needs than its program.
fn refine(probes: &mut [Probe], kernel: &Kernel, code: Option<&str>) {
    if let Some(error) = code {
        for signal in ["tap.rx.drops", "tap.tx.drops", "tap.tx.stack_drops"] {
            degrade(
                probes,
                signal,
                Known::Unavailable,
                &format!("a drop cannot be told to be the tap's own: {error}"),
            );
        }
    }
    if let Some(error) = SENDER.iter().find_map(|field| kernel.why_not(*field)) {
        degrade(probes, "tap.tx.drops", Known::Unavailable, &error.to_string());
    }
    if probes.iter().any(|probe| probe.signal == "tap.rx.drops" && probe.state != Known::Exact) {
        degrade(probes, "tap.rx", Known::Derived, "packets that the tap refuses are counted as accepted");
    }
}

/// Lowers a signal that was exact so far.
fn degrade(probes: &mut [Probe], signal: &str, state: Known, reason: &str) {
    if let Some(probe) = probes.iter_mut().find(|probe| probe.signal == signal && probe.state == Known::Exact)
    {
        probe.state = state;
        probe.reason = Some(reason.to_owned());
    }
}

mod host_wide;
mod late;

use self::host_wide::HostWide;

#[cfg(test)]
pub(super) mod shapes;
#[cfg(test)]
pub(super) mod verified;
