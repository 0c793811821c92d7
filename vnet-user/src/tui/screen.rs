//! The screens there are.
//!
//! A new screen is a variant of [`Screen`], a row of [`SCREENS`] and an arm in `view::body`; one with a table also
//! names it in [`Screen::table`]. Keys, tabs and help follow from the table.

use super::columns::Table;
use crate::report::DeviceKey;

/// What is open, with what it was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// All devices.
    Overview,
    /// Queues of one device, or of all.
    Queues(Option<DeviceKey>),
    /// What is wrong: the list, or with true one finding in full.
    Findings(bool),
}

/// The screens in the order of Tab, each with its digit, as they open when jumped to.
pub const SCREENS: &[(char, &str, Screen)] = &[
    ('1', "Overview", Screen::Overview),
    ('2', "Queues", Screen::Queues(None)),
    ('5', "Findings", Screen::Findings(false)),
];

impl Screen {
    /// Its table, where it is one.
    pub fn table(self) -> Option<Table> {
        match self {
            Self::Overview => Some(Table::Devices),
            Self::Queues(_) => Some(Table::Queues),
            Self::Findings(_) => None,
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
            Self::Queues(Some(_)) => Some(Self::Overview),
            Self::Findings(true) => Some(Self::Findings(false)),
            Self::Overview | Self::Queues(None) | Self::Findings(false) => None,
        }
    }
}
