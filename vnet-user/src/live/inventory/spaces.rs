//! The network namespaces that are listened to.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::{
    message::{What, get_nsid, list_nsids, new_nsid},
    place,
    socket::{Event, Listener},
};
use crate::topology::Netns;

/// One namespace.
#[derive(Debug)]
pub(crate) struct Space {
    /// Its id in the own namespace; `None` for the own.
    pub(crate) nsid: Option<i32>,
    /// Paths that led to it when last looked.
    pub(crate) ways: Vec<PathBuf>,
}

/// The namespaces.
pub(crate) struct Spaces {
    /// The one that this runs in.
    pub(crate) own: Netns,
    own_file: File,
    known: BTreeMap<Netns, Space>,
    by_nsid: HashMap<i32, Netns>,
    /// Why a namespace is not listened to.
    pub(crate) refused: BTreeMap<Netns, String>,
}

impl Spaces {
    /// Only the own one.
    pub(crate) fn new() -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let own_file = File::open(path).with_context(|| format!("cannot open {path} (is /proc mounted?)"))?;
        let own = Netns(own_file.metadata().with_context(|| format!("cannot read {path}"))?.ino());
        let space = Space { nsid: None, ways: vec![PathBuf::from(path)] };
        Ok(Self {
            own,
            own_file,
            known: BTreeMap::from([(own, space)]),
            by_nsid: HashMap::new(),
            refused: BTreeMap::new(),
        })
    }

    /// Listened to.
    pub(crate) fn get(&self, netns: Netns) -> Option<&Space> {
        self.known.get(&netns)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Netns> {
        self.known.keys().copied().collect()
    }

    /// Which namespace an event speaks of.
    pub(crate) fn of(&self, nsid: Option<i32>) -> Option<Netns> {
        nsid.map_or(Some(self.own), |id| self.by_nsid.get(&id).copied())
    }

    /// The kernel says that the namespace of this id is gone.
    pub(crate) fn gone(&mut self, nsid: i32) -> Option<Netns> {
        let netns = self.by_nsid.remove(&nsid)?;
        if netns != self.own {
            self.known.remove(&netns);
        }
        Some(netns)
    }

    /// The id that the own namespace has in itself: events of it carry that once someone gave it one. `None` when there
    /// is no news.
    pub(crate) fn own_id(&self, listener: &mut Listener, events: &mut Vec<Event>) -> Result<Option<i32>> {
        let id = nsid_of(listener, &self.own_file, events)?;
        Ok(id.filter(|id| self.by_nsid.get(id) != Some(&self.own)))
    }

    /// Finds or makes the id of a namespace; `None` when that cannot be: `refused` says why, unless it is gone.
    pub(crate) fn id(
        &mut self,
        netns: Netns,
        ways: &[PathBuf],
        listener: &mut Listener,
        events: &mut Vec<Event>,
    ) -> Result<Option<i32>> {
        self.refused.remove(&netns);
        let file = match place::open(netns.0, ways) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.refused.insert(netns, format!("{error:#}"));
                return Ok(None);
            }
        };
        if let Some(id) = nsid_of(listener, &file, events)? {
            return Ok(Some(id));
        }
        let answer = listener.ask(new_nsid(file.as_raw_fd()))?;
        events.extend(answer.events);
        // Someone else may have been faster.
        if answer.error != 0 && answer.error != libc::EEXIST {
            let error = io::Error::from_raw_os_error(answer.error);
            self.refused.insert(netns, format!("cannot give it an id: {error} (needs CAP_NET_ADMIN)"));
            return Ok(None);
        }
        nsid_of(listener, &file, events)
    }

    /// Takes events with this id as this namespace's. All events from before the id was read must have been handled:
    /// they may be those of a namespace that had the id before.
    pub(crate) fn install(&mut self, netns: Netns, id: i32, ways: Vec<PathBuf>) {
        self.by_nsid.insert(id, netns);
        if netns != self.own {
            self.known.insert(netns, Space { nsid: Some(id), ways });
        }
    }

    /// Stops listening to a namespace whose links may not be read.
    pub(crate) fn refuse(&mut self, netns: Netns, why: String) {
        if let Some(id) = self.known.remove(&netns).and_then(|space| space.nsid) {
            self.by_nsid.remove(&id);
        }
        self.refused.insert(netns, why);
    }

    /// Takes the newest paths; a namespace that was refused and is not found any more is forgotten.
    pub(crate) fn update_ways(&mut self, found: &BTreeMap<u64, Vec<PathBuf>>, thorough: bool) {
        for (netns, ways) in found {
            if let Some(space) = self.known.get_mut(&Netns(*netns)) {
                space.ways.clone_from(ways);
            }
        }
        if thorough {
            self.refused.retain(|netns, _| found.contains_key(&netns.0));
        }
    }

    /// Namespaces that are gone, after events were lost.
    pub(crate) fn lost(&mut self, listener: &mut Listener, events: &mut Vec<Event>) -> Result<Vec<Netns>> {
        let answer = listener.ask(list_nsids())?;
        events.extend(answer.events);
        let alive =
            |id: &i32| answer.replies.iter().any(|what| matches!(what, What::NsidNew(other) if other == id));
        let lost: Vec<i32> = self.by_nsid.keys().filter(|id| !alive(id)).copied().collect();
        Ok(lost.into_iter().filter_map(|id| self.gone(id)).collect())
    }
}

/// The id of a namespace, if it has one. The events that were queued before the answer come with it.
fn nsid_of(listener: &mut Listener, file: &File, events: &mut Vec<Event>) -> Result<Option<i32>> {
    let answer = listener.ask(get_nsid(file.as_raw_fd()))?;
    events.extend(answer.events);
    Ok(answer.replies.iter().find_map(|what| match what {
        What::NsidNew(id) if *id >= 0 => Some(*id),
        _ => None,
    }))
}
