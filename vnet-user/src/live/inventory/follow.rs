//! Events, lists and searches brought into the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Inventory,
    book::{Change, Entry},
    message::{Link, What, dump_links},
    scan::{self, Depth, Request},
    search::{REST, SOON},
    socket::Event,
};
use crate::topology::{DeviceKey, DeviceKind, IfIndex, Netns};

/// Least time between two readings of the mounts.
const MOUNTS: Duration = Duration::from_millis(100);
/// How often a list that changed while it was read is read again.
pub(super) const RETRIES: u32 = 4;

/// Links of one namespace.
struct Listed {
    links: Vec<Link>,
    /// Indexes of which events spoke before the end of the list.
    settled: Vec<IfIndex>,
    /// The list is not one instant's state.
    interrupted: bool,
}

impl Inventory {
    /// First lists of everything; owners come later.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.scanner.ask(Request { depth: Depth::Threads, ..Request::default() });
        let own = self.spaces.own;
        if let Some(id) = self.with_events(|this, events| this.spaces.own_id(&mut this.listener, events))? {
            self.spaces.install(own, id, Vec::new());
        }
        self.list(own)?;
        let found = self.scanner.wait()?;
        self.take_found(&found)?;
        self.identify(false)?;
        // Threads and open files too, and owners.
        self.plan.rest = Instant::now();
        self.plan.depth = Depth::Files;
        self.plan.holders = Some(Instant::now());
        self.search();
        Ok(())
    }

    /// All that is queued: events, mounts, results of searches.
    pub(super) fn take_in(&mut self) -> Result<()> {
        self.take_events()?;
        if self.plan.mounts && self.plan.mounts_rest <= Instant::now() {
            self.plan.mounts = false;
            let begin = Instant::now();
            let mut spaces = BTreeMap::new();
            scan::bound(&mut spaces);
            self.plan.mounts_rest = Instant::now() + MOUNTS.max(begin.elapsed() * REST);
            self.enter(&spaces)?;
        }
        if let Some(found) = self.scanner.result() {
            // Whatever was renamed or removed while the search ran must be in the book first.
            self.take_events()?;
            self.take_found(&found)?;
        }
        self.identify(false)?;
        self.search();
        Ok(())
    }

    /// Listens to the namespaces that are new.
    pub(super) fn enter(&mut self, found: &BTreeMap<u64, Vec<PathBuf>>) -> Result<()> {
        if !self.strangers.is_empty()
            && let Some(id) =
                self.with_events(|this, events| this.spaces.own_id(&mut this.listener, events))?
        {
            self.spaces.install(self.spaces.own, id, Vec::new());
            self.list(self.spaces.own)?;
        }
        if self.listener.own_only.is_some() {
            return Ok(());
        }
        for (netns, ways) in found {
            let netns = Netns(*netns);
            if self.knows(netns) {
                continue;
            }
            let id =
                self.with_events(|this, events| this.spaces.id(netns, ways, &mut this.listener, events))?;
            if let Some(id) = id {
                self.strangers.remove(&id);
                self.plan.vain = false;
                self.spaces.install(netns, id, ways.clone());
                self.list(netns)?;
            }
        }
        Ok(())
    }

    /// Does something that may bring events, and handles those before its result is used.
    fn with_events<T>(&mut self, work: impl FnOnce(&mut Self, &mut Vec<Event>) -> Result<T>) -> Result<T> {
        let mut events = Vec::new();
        let result = work(self, &mut events)?;
        for event in events {
            self.handle(event);
        }
        Ok(result)
    }

    fn take_events(&mut self) -> Result<()> {
        for event in self.listener.events()? {
            self.handle(event);
        }
        // What came while a lost list was read again may itself have been lost.
        for _ in 0..RETRIES {
            if !std::mem::take(&mut self.listener.overflow) {
                break;
            }
            self.lost += 1;
            self.recover()?;
        }
        Ok(())
    }

    /// Events were lost: lists everything anew.
    fn recover(&mut self) -> Result<()> {
        let lost = self.with_events(|this, events| this.spaces.lost(&mut this.listener, events))?;
        for netns in lost {
            self.drop_space(netns);
        }
        for netns in self.spaces.all() {
            self.list(netns)?;
        }
        self.identify(true)?;
        self.plan.spaces = Instant::now();
        self.dirty = true;
        Ok(())
    }

    pub(super) fn handle(&mut self, event: Event) {
        let Some(netns) = self.spaces.of(event.nsid) else {
            // One search for each namespace that only the kernel knows of.
            if event.nsid.is_some_and(|id| self.strangers.insert(id)) {
                self.plan.spaces = Instant::now();
            }
            return;
        };
        let change = match event.what {
            What::New(link) => match self.facts(netns, link) {
                Ok(facts) => self.book.link(netns, facts),
                Err(ifindex) => self.book.gone(netns, ifindex),
            },
            What::Del(ifindex) => self.book.gone(netns, ifindex),
            What::NsidDel(id) => {
                self.strangers.remove(&id);
                if let Some(netns) = self.spaces.gone(id) {
                    self.drop_space(netns);
                }
                Change::None
            }
            What::NsidNew(id) => {
                if id >= 0 && self.spaces.of(Some(id)).is_none() && self.strangers.insert(id) {
                    self.plan.spaces = Instant::now();
                }
                Change::None
            }
            What::Done(_) | What::Answer(_) => Change::None,
        };
        self.note(change);
    }

    /// Draws the consequences of a change.
    pub(super) fn note(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::Facts(_) => {}
            Change::New(key) | Change::Queues(key) => {
                self.owners.forget(key);
                if self.book.get(key).is_some_and(|entry| entry.is_live_tun() && !entry.idle()) {
                    self.plan.backoff = SOON;
                    self.search_owners(Duration::ZERO);
                } else if let Some(entry) = self.book.get_mut(key)
                    && entry.is_live_tun()
                {
                    entry.owner = None;
                }
            }
            Change::Gone(key) => {
                self.owners.forget(key);
                self.channels.remove(&(key.netns, key.ifindex));
            }
        }
        self.dirty = true;
    }

    fn drop_space(&mut self, netns: Netns) {
        if netns != self.spaces.own {
            for key in self.book.namespace_gone(netns) {
                self.note(Change::Gone(key));
            }
        }
    }

    /// All links of a namespace, brought into the book.
    fn list(&mut self, netns: Netns) -> Result<()> {
        for attempt in 0..=RETRIES {
            let Some(Listed { links, settled, interrupted }) = self.dump(netns, false)? else { break };
            if interrupted && attempt < RETRIES {
                continue;
            }
            let links = links.into_iter().filter_map(|link| self.facts(netns, link).ok()).collect();
            for change in self.book.resync(netns, links, &settled) {
                self.note(change);
            }
            break;
        }
        Ok(())
    }

    /// Links of a namespace. Events that came before the end of the list are in the book. `None` when the namespace is gone or refuses.
    fn dump(&mut self, netns: Netns, tun: bool) -> Result<Option<Listed>> {
        let Some(space) = self.spaces.get(netns) else { return Ok(None) };
        let answer = self.listener.ask(dump_links(space.nsid, tun, tun && self.wants_stats))?;
        let mut settled = Vec::new();
        for event in answer.events {
            if self.spaces.of(event.nsid) == Some(netns) {
                match &event.what {
                    What::New(link) => settled.push(link.ifindex),
                    What::Del(ifindex) => settled.push(*ifindex),
                    _ => {}
                }
            }
            self.handle(event);
        }
        match answer.error {
            0 if self.knows(netns) => {}
            libc::EPERM | libc::EACCES => {
                let why = "its devices may not be listed (needs CAP_NET_ADMIN there)".to_owned();
                self.spaces.refuse(netns, why);
                return Ok(None);
            }
            // EINVAL: no such namespace any more; the kernel's word of its end is on the way.
            _ => return Ok(None),
        }
        let links = answer.replies.into_iter().filter_map(|what| match what {
            What::New(link) => Some(link),
            _ => None,
        });
        Ok(Some(Listed { links: links.collect(), settled, interrupted: answer.interrupted }))
    }

    /// Reads again what the kernel does not report.
    pub(super) fn reread(&mut self) -> Result<()> {
        self.take_events()?;
        let spaces: BTreeSet<Netns> =
            self.book.iter().filter(|(_, entry)| entry.is_live_tun()).map(|(key, _)| key.netns).collect();
        self.stats.clear();
        for netns in spaces {
            let Some(Listed { links, settled, .. }) = self.dump(netns, true)? else { continue };
            for link in links {
                self.stats.extend(link.stats.map(|stats| ((netns, link.ifindex), stats)));
                if !settled.contains(&link.ifindex)
                    && let Ok(facts) = self.facts(netns, link)
                {
                    let change = self.book.link(netns, facts);
                    self.note(change);
                }
            }
        }
        let nics = |(key, entry): (DeviceKey, &Entry)| {
            (entry.present && entry.facts.kind == DeviceKind::VirtioNet).then_some(key)
        };
        let nics: Vec<_> = self.book.iter().filter_map(nics).collect();
        for key in nics {
            let queues = self.read_channels(key.netns, key.ifindex);
            if let Some(entry) = self.book.get_mut(key)
                && let Some(queues) = queues
                && entry.facts.queues != queues
            {
                entry.facts.queues = queues;
                self.dirty = true;
            }
        }
        self.identify(false)?;
        self.search();
        Ok(())
    }
}
