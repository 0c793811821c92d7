//! The part of the report's schema that says what is wrong.

use std::borrow::Cow;

use serde::Serialize;

use crate::topology::{DeviceKey, IfIndex, Netns};

/// How bad a finding is; the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Costs something.
    Warning,
    /// Loses packets, or costs much.
    Critical,
}

impl Level {
    /// As it is written in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where the commands of a fix are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// On this host.
    Host,
    /// In the guest.
    Guest,
    /// In the definition of the VM, which starts anew for it.
    Domain,
}

impl Where {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "on the host",
            Self::Guest => "in the guest",
            Self::Domain => "in the VM's definition",
        }
    }
}

/// What a finding is about. What does not apply to it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its interface index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifindex: Option<u32>,
    /// Inode number of its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u64>,
    /// Its generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Queue pairs of the device that show it, the one of the evidence first; empty when it is about the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<u16>,
    /// Process of the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_pid: Option<u32>,
    /// Name of the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// CPU of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

impl Subject {
    /// The device, where it is about one.
    pub fn device_key(&self) -> Option<DeviceKey> {
        let (netns, ifindex) = (Netns(self.netns?), IfIndex(self.ifindex?));
        Some(DeviceKey { netns, ifindex, generation: self.generation? })
    }
}

/// One number that a finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What was measured; where there is a threshold, its key in the thresholds file.
    pub name: Cow<'static, str>,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Cow<'static, str>,
    /// The limit that it is past; `None` for a fact that is stated for the reader.
    pub threshold: Option<f64>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Rule that found it.
    pub rule: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub subject: Subject,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Why it matters.
    pub why: String,
    /// Commands that mend it, in order; empty when no change helps.
    pub fix: Vec<String>,
    /// Where they are run.
    #[serde(rename = "where")]
    pub place: Where,
    /// What is to be seen after the fix, or why there is none.
    pub expect: String,
    /// Where the rule comes from.
    pub source: String,
    /// Other rules that found something which this one explains; their evidence is part of this finding's.
    pub explains: Vec<String>,
}

/// A rule that cannot be judged yet, or not here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unsure {
    /// The rule.
    pub rule: String,
    /// How many devices, queues, VMs or CPUs it could not be judged for.
    pub subjects: u32,
    /// Seconds of the same evidence until it is a finding; `None` where something else is missing.
    pub lacks_seconds: Option<f64>,
    /// What is missing.
    pub why: String,
}
