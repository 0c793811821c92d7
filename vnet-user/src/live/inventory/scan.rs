//! The search of `/proc`: namespaces in use, and who holds queue files. It runs in a thread of its own, for it takes
//! milliseconds, and a holder's device is read under the kernel's lock of all network devices.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tokio::sync::Notify;

use super::proc::{bound_netns, netns_of_link, start_time, tun_name};
use crate::live::ioctl::{tun_interface, tun_netns};

/// Ways to a namespace that are remembered: a process may be gone by the time it is opened.
const WAYS: usize = 3;

/// A process, told from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: u32,
    /// Start time in clock ticks since boot.
    pub(crate) start: u64,
}

/// One file descriptor of one process.
pub(crate) type File = (Process, i32);

/// How deep to look for namespaces; each includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Those that a process is in, or that are bound to a path.
    #[default]
    Processes,
    /// Those that only a thread is in.
    Threads,
    /// Those that only an open file leads to.
    Files,
}

/// What to look for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// How deep to look for namespaces.
    pub(crate) depth: Depth,
    /// The kernel side has seen an unknown namespace.
    pub(crate) asked: bool,
    /// Also holders of queue files.
    pub(crate) holders: bool,
    /// Files whose device is known and needs no reading.
    pub(crate) known: HashSet<File>,
    /// [`super::book::Book::epoch`] at the time of asking.
    pub(crate) epoch: u64,
}

/// The device of a queue file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its name at the time of looking.
    pub(crate) name: String,
    /// Its namespace; `None` when the kernel would not say.
    pub(crate) netns: Option<u64>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The request's.
    pub(crate) epoch: u64,
    /// The request's.
    pub(crate) depth: Depth,
    /// The request's.
    pub(crate) asked: bool,
    /// Namespaces, with paths to open them by.
    pub(crate) spaces: BTreeMap<u64, Vec<PathBuf>>,
    /// Queue files; `None` for those that were known. `None` as a whole when not asked for.
    pub(crate) holders: Option<BTreeMap<File, Option<Held>>>,
    /// Command names of the processes that hold them.
    pub(crate) comms: BTreeMap<Process, String>,
    /// Processes whose namespace may not be seen.
    pub(crate) hidden: usize,
    /// Processes whose files may not be seen.
    pub(crate) hidden_files: usize,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Handle of the thread; it ends when this is dropped.
pub(crate) struct Scanner {
    requests: mpsc::Sender<Request>,
    results: mpsc::Receiver<Found>,
    busy: bool,
}

impl Scanner {
    /// Starts the thread; `wake` is told of every result.
    pub(crate) fn start(wake: Arc<Notify>) -> Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let (outbox, results) = mpsc::channel();
        let work = move || {
            while let Ok(request) = inbox.recv() {
                if outbox.send(search(&request)).is_err() {
                    return;
                }
                wake.notify_one();
            }
        };
        thread::Builder::new()
            .name("vnet-scan".into())
            .spawn(work)
            .context("cannot start the /proc search")?;
        Ok(Self { requests, results, busy: false })
    }

    /// A search is under way.
    pub(crate) fn busy(&self) -> bool {
        self.busy
    }

    /// Starts a search.
    pub(crate) fn ask(&mut self, request: Request) {
        self.busy = self.requests.send(request).is_ok();
    }

    /// The result, once there is one.
    pub(crate) fn result(&mut self) -> Option<Found> {
        let found = self.results.try_recv().ok()?;
        self.busy = false;
        Some(found)
    }

    /// Waits for the result.
    pub(crate) fn wait(&mut self) -> Result<Found> {
        let found = self.results.recv().context("the /proc search ended")?;
        self.busy = false;
        Ok(found)
    }
}

/// Namespaces bound to paths that this process can see.
pub(crate) fn bound(spaces: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let text = fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    for (netns, path) in bound_netns(&String::from_utf8_lossy(&text)) {
        note(spaces, netns, path);
    }
}

fn note(spaces: &mut BTreeMap<u64, Vec<PathBuf>>, netns: u64, path: PathBuf) {
    let ways = spaces.entry(netns).or_default();
    if ways.len() < WAYS {
        ways.push(path);
    }
}

fn search(request: &Request) -> Found {
    let begin = Instant::now();
    let mut found =
        Found { epoch: request.epoch, depth: request.depth, asked: request.asked, ..Found::default() };
    // Bind mounts first: they stay valid longer than a process.
    bound(&mut found.spaces);
    let mut holders = BTreeMap::new();
    for pid in numbers("/proc").unwrap_or_default() {
        process(pid, request, &mut found, &mut holders);
    }
    found.holders = request.holders.then_some(holders);
    found.took = begin.elapsed();
    found
}

fn process(pid: u32, request: &Request, found: &mut Found, holders: &mut BTreeMap<File, Option<Held>>) {
    let root = PathBuf::from(format!("/proc/{pid}"));
    let path = root.join("ns/net");
    match fs::read_link(&path) {
        Ok(link) => {
            if let Some(netns) = link.to_str().and_then(netns_of_link) {
                note(&mut found.spaces, netns, path);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.hidden += 1,
        Err(_) => return,
    }
    if request.depth >= Depth::Threads {
        let tasks: Vec<u32> = numbers(root.join("task")).unwrap_or_default();
        for tid in tasks.into_iter().filter(|tid| *tid != pid) {
            let path = root.join(format!("task/{tid}/ns/net"));
            if let Some(netns) = fs::read_link(&path).ok().as_deref().and_then(|l| netns_of_link(l.to_str()?))
            {
                note(&mut found.spaces, netns, path);
            }
        }
    }
    if request.depth == Depth::Files || request.holders {
        match numbers::<i32>(root.join("fd")) {
            Ok(fds) => files(pid, &root, &fds, request, found, holders),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.hidden_files += 1,
            Err(_) => {}
        }
    }
}

fn files(
    pid: u32,
    root: &std::path::Path,
    fds: &[i32],
    request: &Request,
    found: &mut Found,
    holders: &mut BTreeMap<File, Option<Held>>,
) {
    let (mut process, mut pidfd) = (None, None);
    for fd in fds {
        let path = root.join(format!("fd/{fd}"));
        let Ok(link) = fs::read_link(&path) else { continue };
        let Some(link) = link.to_str() else { continue };
        if let Some(netns) = netns_of_link(link) {
            note(&mut found.spaces, netns, path);
            continue;
        }
        // In a container the file may have another path; its last part stays.
        if !request.holders || !(link == "/dev/net/tun" || link.ends_with("/net/tun")) {
            continue;
        }
        let process = *process.get_or_insert_with(|| identity(pid, root, found));
        let Some(process) = process else { return };
        if request.known.contains(&(process, *fd)) {
            holders.insert((process, *fd), None);
            continue;
        }
        let pidfd = pidfd.get_or_insert_with(|| open_pidfd(process, root));
        if let Some(held) = held(root, *fd, pidfd.as_ref()) {
            holders.insert((process, *fd), Some(held));
        }
    }
}

fn identity(pid: u32, root: &std::path::Path, found: &mut Found) -> Option<Process> {
    let start = start_time(&fs::read_to_string(root.join("stat")).ok()?)?;
    let comm = fs::read(root.join("comm")).ok()?;
    let process = Process { pid, start };
    found.comms.insert(process, String::from_utf8_lossy(&comm).trim_end().to_owned());
    Some(process)
}

/// A handle of the process, checked to be of this one and not of a later one of the same number.
fn open_pidfd(process: Process, root: &std::path::Path) -> Option<std::os::fd::OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(process.pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    let start = start_time(&fs::read_to_string(root.join("stat")).ok()?)?;
    (start == process.start).then_some(pidfd)
}

/// The device of one queue file. A copy of the file tells its namespace too; it is held for microseconds, for while it
/// is, the queue stays attached.
fn held(root: &std::path::Path, fd: i32, pidfd: Option<&std::os::fd::OwnedFd>) -> Option<Held> {
    let copy = pidfd.and_then(|pidfd| pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty()).ok());
    if let Some(copy) = &copy
        && let Ok(netns) = tun_netns(copy.as_fd())
    {
        let (name, _) = tun_interface(copy.as_fd()).ok()?;
        let netns = rustix::fs::fstat(&netns).ok()?.st_ino;
        return Some(Held { name, netns: Some(netns) });
    }
    drop(copy);
    let fdinfo = fs::read_to_string(root.join(format!("fdinfo/{fd}"))).ok()?;
    Some(Held { name: tun_name(&fdinfo)?.to_owned(), netns: None })
}

/// Entries of a folder whose names are numbers.
fn numbers<T: std::str::FromStr>(folder: impl AsRef<std::path::Path>) -> io::Result<Vec<T>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}
