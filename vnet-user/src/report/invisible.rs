//! Devices of guests whose queues vnet cannot show: who has them, and why.

use serde::Serialize;

use super::{Report, format::clean};
use crate::topology::{Invisible, InvisibleKind};

/// One device of a guest whose queues no probe sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvisibleReport {
    /// What it is.
    pub kind: InvisibleKind,
    /// Process that holds it.
    pub pid: u32,
    /// Its command name.
    pub name: String,
    /// Which device: its file below `/dev`, or the id that the monitor has for it.
    pub device: String,
    /// Why its queues are not seen: one sentence.
    pub why: &'static str,
}

impl From<&Invisible> for InvisibleReport {
    fn from(row: &Invisible) -> Self {
        Self {
            kind: row.kind,
            pid: row.pid,
            name: row.comm.clone(),
            device: row.device.clone(),
            why: why(row.kind),
        }
    }
}

fn why(kind: InvisibleKind) -> &'static str {
    match kind {
        InvisibleKind::VhostVsock => {
            "sockets between guest and host: its vhost worker serves no network queue"
        }
        InvisibleKind::VhostScsi => "a storage controller: its vhost worker serves no network queue",
        InvisibleKind::VhostVdpa => {
            "vDPA: the device itself serves the queues, past the host's network stack"
        }
        InvisibleKind::Vfio => "handed to the guest (VFIO): its queues pass the host's kernel by",
        InvisibleKind::VhostUser => "vhost-user: another process serves the queues, past the host's kernel",
    }
}

/// A line for each, for people.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let line = |row: &InvisibleReport| {
        format!("{} of {} (pid {}): {}", clean(&row.device), clean(&row.name), row.pid, row.why)
    };
    report.invisible.iter().map(line).collect()
}
