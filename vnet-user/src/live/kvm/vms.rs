//! Which VMs there are, and which thread runs which vCPU.
//!
//! No name of a thread is trusted. KVM says in debugfs which thread runs a vCPU (Linux 6.1 and later), and the probes say it of
//! each vCPU that a call interrupts. A process whose vCPUs are not known yet is a monitor when it holds a file of KVM's.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use super::names::named;
use crate::{
    live::inventory::start_time,
    record::{Known, Probe, VcpuKey, VcpuPlace},
    topology::{Owner, Vcpu, Vm},
};

/// Where KVM shows its VMs.
const DEBUG: &str = "/sys/kernel/debug/kvm";

/// Doublings of the time between two looks at the files of a process.
const RARELY: u32 = 5;

/// A process, told from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Process {
    pid: u32,
    start: u64,
}

/// What is known of a process that holds queues of a tap.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    /// It holds a VM too.
    vm: bool,
    /// Refreshes until its files are looked at again.
    rest: u32,
    /// Looks at them that found no VM.
    vain: u32,
}

impl Holder {
    /// Looks whether it holds a VM by now: less and less often, for who holds no VM at first hardly ever comes to, and its
    /// files may be many.
    fn look(&mut self, holds_vm: impl FnOnce() -> bool) {
        if self.vm || self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return;
        }
        self.vm = holds_vm();
        self.rest = (4 << self.vain.min(RARELY)) - 1;
        self.vain += 1;
    }
}

/// All VMs seen that still run.
#[derive(Debug, Default)]
pub(crate) struct Vms {
    seen: BTreeMap<Process, Vm>,
    /// Per thread of a vCPU.
    threads: HashMap<u32, (Process, u32)>,
    /// Processes that hold queues of a tap.
    owners: HashMap<Process, Holder>,
    /// Where threads were when they were last told.
    places: HashMap<u32, u32>,
}

impl Vms {
    /// Looks for VMs: those of KVM's debugfs, and `owners` of devices that hold one. Forgets those that ended.
    pub(crate) fn refresh<'a>(&mut self, owners: impl Iterator<Item = &'a Owner>) {
        self.seen.retain(|process, _| start(process.pid) == Some(process.start));
        let runs = |pid: u32, tid: u32| Path::new(&format!("/proc/{pid}/task/{tid}")).exists();
        for vm in self.seen.values_mut() {
            vm.vcpus.retain(|vcpu| runs(vm.pid, vcpu.tid));
        }
        let vms = &self.seen;
        self.threads.retain(|tid, (process, _)| vms.contains_key(process) && runs(process.pid, *tid));
        let running = &self.threads;
        self.places.retain(|tid, _| running.contains_key(tid));
        for (id, tid) in threads(Path::new(DEBUG)) {
            self.learn(tid, id);
        }
        let mut present: HashMap<Process, Holder> = HashMap::new();
        for owner in owners {
            let process = Process { pid: owner.pid, start: owner.start };
            if present.contains_key(&process) {
                continue; // it holds several devices
            }
            let mut holder = self.owners.get(&process).copied().unwrap_or_default();
            holder.look(|| holds_vm(owner.pid));
            present.insert(process, holder);
            if holder.vm {
                self.vm(process);
            }
        }
        self.owners = present;
    }

    /// All of them, sorted by process.
    pub(crate) fn all(&self) -> Vec<Vm> {
        self.seen.values().cloned().collect()
    }

    /// Takes note that a thread runs this vCPU; the process of its VM.
    pub(crate) fn learn(&mut self, tid: u32, id: u32) -> Option<u32> {
        if let Some((process, known)) = self.threads.get(&tid)
            && *known == id
        {
            return Some(process.pid);
        }
        let pid = monitor(tid)?;
        let process = Process { pid, start: start(pid)? };
        let vm = self.vm(process);
        vm.vcpus.retain(|vcpu| vcpu.tid != tid);
        vm.vcpus.push(Vcpu { id, tid });
        vm.vcpus.sort_unstable();
        self.threads.insert(tid, (process, id));
        Some(pid)
    }

    /// The vCPU that a thread runs, if it is known to run one.
    pub(crate) fn vcpu_of(&self, tid: u32) -> Option<VcpuKey> {
        let (process, vcpu) = self.threads.get(&tid)?;
        Some(VcpuKey { vm: Some(process.pid), vcpu: *vcpu })
    }

    /// Where vCPUs are that were elsewhere when they were last told, sorted by thread.
    pub(crate) fn moved(&mut self) -> Vec<VcpuPlace> {
        let mut moved = Vec::new();
        for (tid, (process, _)) in &self.threads {
            let stat = fs::read_to_string(format!("/proc/{}/task/{tid}/stat", process.pid));
            let Some(cpu) = stat.ok().as_deref().and_then(cpu) else { continue };
            if self.places.insert(*tid, cpu) != Some(cpu) {
                moved.push(VcpuPlace { tid: *tid, cpu });
            }
        }
        moved.sort_unstable_by_key(|place| place.tid);
        moved
    }

    fn vm(&mut self, process: Process) -> &mut Vm {
        self.seen.entry(process).or_insert_with(|| {
            let Process { pid, start } = process;
            let named = named(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
            let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
            let monitor = exe.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            Vm { pid, start, monitor, name: named.name, uuid: named.uuid, vcpus: Vec::new() }
        })
    }
}

/// How the vCPUs of VMs are known.
pub(crate) fn vcpus() -> Probe {
    let told = |state, reason: Option<String>| Probe::new("kvm.vcpus", "debugfs:kvm", state, reason);
    match fs::read_dir(DEBUG) {
        Ok(_) => told(Known::Exact, None),
        Err(_) if !Path::new("/dev/kvm").exists() => {
            told(Known::Unavailable, Some("there is no /dev/kvm: no VM runs here by KVM".to_owned()))
        }
        Err(error) => told(
            Known::Derived,
            Some(format!("only vCPUs that calls interrupt are told: {DEBUG} cannot be read ({error})")),
        ),
    }
}

/// vCPUs and their threads, of KVM's folder in debugfs.
fn threads(folder: &Path) -> Vec<(u32, u32)> {
    let list = |path: &Path| fs::read_dir(path).ok().into_iter().flatten().flatten();
    let vms = list(folder).map(|entry| entry.path()).filter(|path| path.is_dir());
    let vcpu = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.strip_prefix("vcpu")?.parse().ok()?;
        let tid = fs::read_to_string(entry.path().join("pid")).ok()?.trim().parse().ok()?;
        (tid != 0).then_some((id, tid)) // 0: it has not run
    };
    vms.flat_map(|vm| list(&vm).filter_map(vcpu).collect::<Vec<_>>()).collect()
}

/// Process of a thread.
fn monitor(tid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn start(pid: u32) -> Option<u64> {
    start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// CPU that a thread ran on last: field 39 of `stat`, behind a name that may hold anything.
fn cpu(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(36)?.parse().ok()
}

/// Whether a process holds a VM of KVM's.
fn holds_vm(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.as_os_str() == "anon_inode:kvm-vm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcpus_are_found_by_what_kvm_says_of_them() {
        let folder = tempfile::tempdir().unwrap();
        for (path, pid) in
            [("7-11/vcpu0", "41\n"), ("7-11/vcpu1", "42\n"), ("7-11/vcpu2", "0\n"), ("9-3/x", "5")]
        {
            fs::create_dir_all(folder.path().join(path)).unwrap();
            fs::write(folder.path().join(path).join("pid"), pid).unwrap();
        }
        fs::write(folder.path().join("exits"), "0").unwrap();
        let mut found = threads(folder.path());
        found.sort_unstable();
        assert_eq!(found, [(0, 41), (1, 42)]);
        assert!(threads(&folder.path().join("absent")).is_empty());
    }

    #[test]
    fn files_without_a_vm_are_looked_at_less_and_less_often() {
        let (mut holder, mut looks) = (Holder::default(), Vec::new());
        for refresh in 0..64 {
            holder.look(|| {
                looks.push(refresh);
                false
            });
        }
        assert_eq!(looks, [0, 4, 12, 28, 60]);
        holder = Holder { rest: 0, ..holder };
        holder.look(|| true);
        assert!(holder.vm);
        holder.look(|| panic!("nothing is left to find out"));
    }

    #[test]
    fn a_thread_that_runs_a_vcpu_leads_to_its_vm() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let mut vms = Vms::default();
        assert_eq!(vms.vcpu_of(tid), None);
        assert_eq!(vms.learn(tid, 3), Some(std::process::id()));
        assert_eq!(vms.vcpu_of(tid), Some(VcpuKey { vm: Some(std::process::id()), vcpu: 3 }));
        assert_eq!(vms.learn(tid, 3), Some(std::process::id()));
        let [vm] = &vms.all()[..] else { panic!("one VM") };
        assert_eq!(vm.vcpus, [Vcpu { id: 3, tid }]);
        assert!(vm.monitor.is_some());
        vms.refresh(std::iter::empty());
        assert_eq!(vms.moved().len(), 1);
    }
}
