//! When to search `/proc`, and what becomes of the result.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Inventory, SLOW,
    scan::{Depth, Found, Request},
};

/// Least time between two searches.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// Most time between two searches for the owner of a device that has none.
const SELDOM: Duration = Duration::from_secs(64);
/// A search rests this many times its own cost.
pub(super) const REST: u32 = 100;

impl Inventory {
    /// When to wake up for a search, at the latest.
    pub(super) fn next_search(&self) -> Instant {
        let plan = &self.plan;
        let mounts = plan.mounts.then_some(plan.mounts_rest);
        if self.scanner.busy() {
            return mounts.unwrap_or_else(|| Instant::now() + SLOW);
        }
        let due = plan.holders.map_or(plan.spaces, |holders| holders.min(plan.spaces)).max(plan.rest);
        mounts.map_or(due, |mounts| mounts.min(due))
    }

    pub(super) fn search(&mut self) {
        let now = Instant::now();
        let plan = &mut self.plan;
        let holders = plan.holders.is_some_and(|due| due <= now);
        if self.scanner.busy() || plan.rest > now || !(holders || plan.spaces <= now) {
            return;
        }
        self.scanner.ask(Request {
            depth: std::mem::take(&mut plan.depth),
            asked: std::mem::take(&mut plan.asked),
            holders,
            known: if holders { self.owners.known() } else { HashSet::new() },
            epoch: self.book.epoch(),
        });
        plan.spaces = now + SLOW;
        if holders {
            plan.holders = None;
        }
    }

    pub(super) fn take_found(&mut self, found: &Found) -> Result<()> {
        self.plan.rest = Instant::now() + SOON.max(found.took * REST);
        self.spaces.update_ways(&found.spaces, found.depth == Depth::Files);
        // Entering a namespace proves the opposite.
        self.plan.vain |= found.asked;
        self.enter(&found.spaces)?;
        self.hidden.0 = found.hidden;
        if found.holders.is_some() {
            self.hidden.1 = found.hidden_files;
            let complete = found.hidden == 0 && self.spaces.refused.is_empty();
            let outcome = self.owners.apply(found, &mut self.book, complete);
            self.dirty |= outcome.changed;
            if outcome.again {
                self.search_owners(self.plan.backoff);
                self.plan.backoff = (self.plan.backoff * 2).min(SELDOM);
            } else {
                self.plan.backoff = SOON;
            }
        }
        self.describe_problems(found);
        Ok(())
    }

    pub(super) fn search_owners(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.plan.holders = Some(self.plan.holders.map_or(at, |due| due.min(at)));
    }

    fn describe_problems(&mut self, found: &Found) {
        let mut problems = Vec::new();
        if let Some(error) = &self.listener.own_only {
            problems.push(format!(
                "only devices of this network namespace are seen: cannot listen to others: {error} (needs \
                 CAP_NET_BROADCAST)"
            ));
        }
        for (netns, why) in &self.spaces.refused {
            problems.push(format!("devices of network namespace {} are not seen: {why}", netns.0));
        }
        if self.hidden.0 > 0 {
            problems.push(format!(
                "network namespaces of {} process(es) are not seen: permission denied (needs CAP_SYS_PTRACE)",
                self.hidden.0
            ));
        }
        if self.hidden.1 > 0 {
            problems.push(format!(
                "owners of taps may be missing: open files of {} process(es) are not seen: permission denied (needs \
                 CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH)",
                self.hidden.1
            ));
        }
        if found.depth == Depth::Files {
            let spaces: BTreeSet<_> =
                self.book.iter().filter(|(_, entry)| entry.present).map(|(key, _)| key.netns).collect();
            for netns in spaces.into_iter().filter(|netns| !self.knows(*netns)) {
                problems.push(format!(
                    "devices of network namespace {} carry traffic, but no process, file or mount leads to it",
                    netns.0
                ));
            }
        }
        self.problems = problems;
    }
}
