//! The screens there are.
//!
//! A new screen is a variant of [`Screen`], a row of [`SCREENS`] and an arm in `view::draw`; one that shows rows of a table also names it
//! in [`Screen::table`]. Keys, tabs and help follow from the table.

use super::columns::Table;
use crate::report::DeviceKey;

/// What is open, with what it was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// All devices, and the verdict on them.
    Overview,
    /// Queues of one device, or of all.
    Queues(Option<DeviceKey>),
    /// The selected one of these queues.
    Queue(Option<DeviceKey>),
    /// The host and what runs where, with the path of the selected one of these queues.
    Layout(Option<DeviceKey>),
    /// What is wrong: the list, or with true one finding in full.
    Findings(bool),
    /// What is measured, and how.
    Probes,
}

/// The screens in the order of Tab, each with its digit, as they open for all devices.
pub const SCREENS: &[(char, &str, Screen)] = &[
    ('1', "Overview", Screen::Overview),
    ('2', "Queues", Screen::Queues(None)),
    ('3', "Queue", Screen::Queue(None)),
    ('4', "Layout", Screen::Layout(None)),
    ('5', "Findings", Screen::Findings(false)),
    ('6', "Probes", Screen::Probes),
];

/// How the tab at this place in [`SCREENS`] is written, with a column behind it.
pub fn tab(place: usize, open: bool, findings: usize) -> String {
    let (digit, title, screen) = SCREENS[place];
    let (left, right) = if open { ('[', ']') } else { (' ', ' ') };
    let found = match screen {
        Screen::Findings(_) if findings > 0 => format!(": {findings}"),
        _ => String::new(),
    };
    format!("{left}{digit} {title}{found}{right} ")
}

impl Screen {
    /// The table whose rows its keys select.
    pub fn table(self) -> Option<Table> {
        match self {
            Self::Overview => Some(Table::Devices),
            Self::Queues(_) | Self::Queue(_) | Self::Layout(_) => Some(Table::Queues),
            Self::Findings(_) | Self::Probes => None,
        }
    }

    /// The device whose queues it is about.
    pub fn scope(self) -> Option<DeviceKey> {
        match self {
            Self::Queues(device) | Self::Queue(device) | Self::Layout(device) => device,
            Self::Overview | Self::Findings(_) | Self::Probes => None,
        }
    }

    /// The same about the queues of this device, where it is about one queue: a table jumped to shows all of them.
    #[must_use]
    pub fn of(self, device: Option<DeviceKey>) -> Self {
        match self {
            Self::Queue(_) => Self::Queue(device),
            Self::Layout(_) => Self::Layout(device),
            other => other,
        }
    }

    /// Its place in [`SCREENS`].
    pub fn place(self) -> usize {
        let same = |other: Self| std::mem::discriminant(&other) == std::mem::discriminant(&self);
        SCREENS.iter().position(|&(_, _, screen)| same(screen)).unwrap_or(0)
    }

    /// The screen `steps` further, round and round.
    #[must_use]
    pub fn step(self, steps: usize) -> Self {
        SCREENS[(self.place() + steps) % SCREENS.len()].2
    }

    /// The screen that Esc goes back to.
    pub fn back(self) -> Option<Self> {
        match self {
            Self::Queue(device) | Self::Layout(device) => Some(Self::Queues(device)),
            Self::Queues(Some(_)) => Some(Self::Overview),
            Self::Findings(true) => Some(Self::Findings(false)),
            Self::Overview | Self::Queues(None) | Self::Findings(false) | Self::Probes => None,
        }
    }
}
