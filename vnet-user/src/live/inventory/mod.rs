//! Which devices there are, in every network namespace in use, whose they are, and which were there before.
//!
//! - `socket`: one netlink socket for all namespaces; no namespace is held alive.
//! - `scan`: the search for namespaces and owners, in its own thread.
//! - `book` and `bind`: generations, and what the kernel side calls instances. Pure.
//! - `follow`, `search`, `look`: events, searches and looks brought into the book.
//!
//! New namespaces come to notice through a mount (`ip netns add`, container engines), through an id that the kernel
//! gives them (a veth into them), through [`Inventory::rescan`], else through a search every 10 s. Namespaces that are
//! gone are told by the kernel. An id that vnet has given a namespace (`ip netns list-id` shows it) stays until one of
//! the two namespaces is gone; it has no effect.

mod bind;
mod book;
mod channels;
mod follow;
#[cfg(test)]
mod interleave;
mod look;
mod message;
mod owners;
mod place;
mod proc;
mod scan;
mod search;
mod socket;
mod spaces;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
    sync::Notify,
    time,
};

use self::{
    book::{Book, Queues},
    channels::Ethtool,
    owners::Owners,
    place::Sysfs,
    scan::{Depth, Scanner},
    socket::Listener,
    spaces::Spaces,
};
pub(crate) use self::{message::LinkStats, proc::start_time};
use crate::{
    live::ioctl::watch,
    topology::{DeviceKey, DeviceKind, IfIndex, Netns, Topology},
};

/// Time between two searches for namespaces when nothing tells of new ones.
const SLOW: Duration = Duration::from_secs(10);

/// Memory for events not read yet; a burst of 500 new taps takes some 8 MiB.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Follows the devices of this host.
pub struct Inventory {
    listener: Listener,
    readable: AsyncFd<OwnedFd>,
    mounts: Option<AsyncFd<OwnedFd>>,
    woken: Arc<Notify>,
    scanner: Scanner,
    spaces: Spaces,
    book: Book,
    owners: Owners,
    sysfs: Option<Sysfs>,
    ethtool: Option<Ethtool>,
    channels: HashMap<(Netns, IfIndex), Queues>,
    /// Counters of taps are read with their queues.
    wants_stats: bool,
    /// Those that the last reading gave.
    stats: HashMap<(Netns, IfIndex), LinkStats>,
    /// Ids of namespaces that no search has found.
    strangers: HashSet<i32>,
    plan: Plan,
    problems: Vec<String>,
    /// Processes and files that the last search could not see.
    hidden: (usize, usize),
    lost: u64,
    /// The topology is another than when this was last asked.
    dirty: bool,
}

/// When to search next, and for what.
struct Plan {
    /// For namespaces.
    spaces: Instant,
    /// For owners.
    holders: Option<Instant>,
    /// Wait after the next search for owners that leaves some device without.
    backoff: Duration,
    /// How deep the next search looks.
    depth: Depth,
    /// The next search is one that the kernel side asked for.
    asked: bool,
    /// The last such search found no new namespace.
    vain: bool,
    /// Not before.
    rest: Instant,
    /// Mounts have changed since they were read.
    mounts: bool,
    /// Mounts are not read before.
    mounts_rest: Instant,
}

impl Inventory {
    /// Opens the sockets, lists the devices of all namespaces, and starts the search for owners. To be called within a
    /// tokio runtime that has I/O and time enabled.
    pub fn start() -> Result<Self> {
        Self::with_buffer(RECEIVE_BUFFER)
    }

    fn with_buffer(bytes: usize) -> Result<Self> {
        Handle::try_current().context("the inventory needs a tokio runtime")?;
        let listener = Listener::open(bytes)?;
        let readable = listener.duplicate().and_then(|fd| watch(fd, Interest::READABLE));
        let woken = Arc::new(Notify::new());
        let now = Instant::now();
        let mut this = Self {
            readable: readable.context("cannot wait on a netlink socket")?,
            listener,
            // Without it, bind mounts are found by the slow search.
            mounts: File::open("/proc/thread-self/mountinfo")
                .and_then(|file| watch(file.into(), Interest::PRIORITY))
                .ok(),
            scanner: Scanner::start(Arc::clone(&woken))?,
            woken,
            spaces: Spaces::new()?,
            book: Book::default(),
            owners: Owners::default(),
            sysfs: Sysfs::here().or_else(|_| Sysfs::mounted()).ok(),
            ethtool: None,
            channels: HashMap::new(),
            wants_stats: false,
            stats: HashMap::new(),
            strangers: HashSet::new(),
            plan: Plan {
                spaces: now + SLOW,
                holders: None,
                backoff: search::SOON,
                depth: Depth::Files,
                asked: false,
                vain: false,
                rest: now,
                mounts: false,
                mounts_rest: now,
            },
            problems: Vec::new(),
            hidden: (0, 0),
            lost: 0,
            dirty: true,
        };
        this.begin()?;
        Ok(this)
    }

    /// Takes in all that has been reported, without waiting. True when the topology is another than before.
    pub fn drain(&mut self) -> Result<bool> {
        if self.mounts.as_ref().is_some_and(|mounts| is_ready(mounts.get_ref(), PollFlags::PRI)) {
            self.plan.mounts = true;
        }
        self.take_in()?;
        Ok(std::mem::take(&mut self.dirty))
    }

    /// Resolves when there may be something to [`drain`](Self::drain). Nothing is lost when it is dropped.
    pub async fn changed(&mut self) {
        let due = self.next_search().saturating_duration_since(Instant::now());
        let mut mounts_changed = false;
        tokio::select! {
            () = readable(&self.readable) => {}
            () = remounted(self.mounts.as_ref()) => mounts_changed = true,
            () = self.woken.notified() => {}
            () = time::sleep(due) => {}
        }
        self.plan.mounts |= mounts_changed;
    }

    /// Reads again what the kernel does not report: queues of taps and virtio NICs, XDP programs. True when the
    /// topology is another than before.
    pub fn refresh(&mut self) -> Result<bool> {
        self.reread()?;
        Ok(std::mem::take(&mut self.dirty))
    }

    /// Has [`refresh`](Self::refresh) read the taps' own counters too.
    pub(crate) fn want_stats(&mut self) {
        self.wants_stats = true;
    }

    /// A tap's own counters at the last refresh; `None` where they were not read, or it is gone.
    pub(crate) fn stats(&self, key: DeviceKey) -> Option<LinkStats> {
        let present = self.book.get(key).is_some_and(|entry| entry.present);
        self.stats.get(&(key.netns, key.ifindex)).filter(|_| present).copied()
    }

    /// Searches for namespaces in threads and open files too: the kernel side has seen one that is not
    /// [known](Self::knows). As soon as may be, but after such a search in vain only when the next is due.
    pub fn rescan(&mut self) {
        (self.plan.depth, self.plan.asked) = (Depth::Files, true);
        if !self.plan.vain {
            self.plan.spaces = Instant::now();
        }
    }

    /// Devices of this namespace are followed.
    pub fn knows(&self, netns: Netns) -> bool {
        self.spaces.get(netns).is_some()
    }

    /// The device that the kernel side knows by `instance`, the node id of its sysfs directory
    /// (`stat /sys/class/net/NAME/`). The same instance gives the same key for ever. A device that netlink has not told
    /// of is made from `name` and `kind`.
    ///
    /// [`drain`](Self::drain) between reading the instance from the kernel and this: else a device may be taken for an
    /// earlier one, or a new one for one that is gone.
    pub fn bind(
        &mut self,
        netns: Netns,
        ifindex: IfIndex,
        instance: u64,
        name: &str,
        kind: DeviceKind,
    ) -> DeviceKey {
        let listed = self.knows(netns);
        self.book.bind(netns, ifindex, instance, name, kind, listed)
    }

    /// All devices seen so far, sorted by key.
    pub fn topology(&self) -> Arc<Topology> {
        self.book.topology()
    }

    /// Forgets devices that are gone.
    pub(crate) fn forget(&mut self, devices: &HashSet<DeviceKey>) {
        self.book.entries().retain(|key, entry| entry.present || !devices.contains(key));
        let book = &self.book;
        let there = |(netns, ifindex): &(Netns, IfIndex)| book.open(*netns, *ifindex).is_some();
        self.channels.retain(|place, _| there(place));
        self.stats.retain(|place, _| there(place));
    }

    /// Packets of a tap go through NAPI, so that its counts come from softirq context; `None` when not known.
    pub fn napi(&self, key: DeviceKey) -> Option<bool> {
        self.book.get(key).and_then(|entry| entry.napi)
    }

    /// What cannot be seen, and why: one sentence each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Why there may be devices that are not listed.
    pub(crate) fn hides_devices(&self) -> Option<&str> {
        let hides = self.listener.own_only.is_some() || !self.spaces.refused.is_empty() || self.hidden.0 > 0;
        // They are described before what is less.
        self.problems.first().filter(|_| hides).map(String::as_str)
    }

    /// How often the kernel had no room for events. All devices were listed anew each time; those that came and went
    /// meanwhile are missing.
    pub fn lost_events(&self) -> u64 {
        self.lost
    }
}

/// Waits until the descriptor has something to read.
async fn readable(fd: &AsyncFd<OwnedFd>) {
    // Readiness is remembered, also when `drain` has read all in the meantime: only the descriptor itself knows.
    while let Ok(mut guard) = fd.readable().await {
        if is_ready(fd.get_ref(), PollFlags::IN | PollFlags::ERR) {
            return;
        }
        guard.clear_ready();
    }
    std::future::pending::<()>().await;
}

/// Waits until the mounts that this process sees have changed.
async fn remounted(mounts: Option<&AsyncFd<OwnedFd>>) {
    let Some(mounts) = mounts else { return std::future::pending().await };
    match mounts.ready(Interest::PRIORITY).await {
        Ok(mut guard) => guard.clear_ready(),
        Err(_) => std::future::pending().await,
    }
}

fn is_ready(fd: &impl std::os::fd::AsFd, flags: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(fd, flags)];
    poll(&mut polled, Some(&now)).is_ok() && polled.first().is_some_and(|fd| fd.revents().intersects(flags))
}
