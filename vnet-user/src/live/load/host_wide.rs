//! Programs that every packet of the host pays for, attached and detached while vnet runs. They stay loaded, with their maps.

use aya::programs::tp_btf::BtfTracePointLink;

use super::{Loaded, PROGRAMS, attach, counters};

/// Said of their signals while they are not attached.
const SPARED: &str = "not attached: vhost serves every tap, and its own programs count all of their packets";

/// The links of those that are attached.
pub(super) struct HostWide {
    _links: Vec<BtfTracePointLink>,
    /// For whom they are.
    why: Option<String>,
}

impl HostWide {
    pub(super) fn new(links: Vec<BtfTracePointLink>) -> Self {
        Self { _links: links, why: None }
    }
}

impl Loaded {
    /// Whether they are attached, but for those that this kernel refuses.
    pub(crate) fn is_host_wide(&self) -> bool {
        self.host_wide.is_some()
    }

    /// Says for whom they are attached; true when that was not known.
    pub(crate) fn host_wide_for(&mut self, why: &str) -> bool {
        let Some(attached) = &mut self.host_wide else { return false };
        let news = attached.why.as_deref() != Some(why);
        attached.why = Some(why.to_owned());
        if news {
            self.probes = self.describe();
        }
        news
    }

    /// Attaches them. Packets that were handed to a device before are forgotten first: their addresses are others' now.
    pub(crate) fn attach_host_wide(&mut self, why: &str) {
        if self.host_wide.is_some() {
            return;
        }
        counters::forget_last(&self.maps);
        let mut links = Vec::new();
        for (index, program) in PROGRAMS.iter().enumerate().filter(|(_, program)| program.host_wide) {
            if self.refused[index].is_none() {
                match attach(&mut self.ebpf, program) {
                    Ok(link) => links.push(link),
                    Err(error) => self.refused[index] = Some(format!("{error:#}")),
                }
            }
        }
        self.host_wide = Some(HostWide { why: Some(why.to_owned()), ..HostWide::new(links) });
        self.probes = self.describe();
    }

    /// Detaches them.
    pub(crate) fn detach_host_wide(&mut self) {
        self.host_wide = None;
        self.probes = self.describe();
    }

    /// What there is to say of a signal of theirs.
    pub(super) fn remark(&self) -> Option<String> {
        match &self.host_wide {
            Some(attached) => attached.why.as_ref().map(|why| format!("attached {why}")),
            None => Some(SPARED.to_owned()),
        }
    }
}
