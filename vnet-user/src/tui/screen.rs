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
}

/// The screens in the order of Tab and of the digits, as they open when jumped to.
pub const SCREENS: &[(&str, Screen)] = &[("Overview", Screen::Overview), ("Queues", Screen::Queues(None))];

impl Screen {
    /// Its table.
    pub fn table(self) -> Table {
        match self {
            Self::Overview => Table::Devices,
            Self::Queues(_) => Table::Queues,
        }
    }

    /// Its place in [`SCREENS`].
    pub fn place(self) -> usize {
        let same = |other: Self| std::mem::discriminant(&other) == std::mem::discriminant(&self);
        SCREENS.iter().position(|&(_, screen)| same(screen)).unwrap_or(0)
    }

    /// The screen `steps` further, round and round.
    #[must_use]
    pub fn step(self, steps: usize) -> Self {
        SCREENS[(self.place() + steps) % SCREENS.len()].1
    }

    /// The screen that Esc goes back to.
    pub fn back(self) -> Option<Self> {
        match self {
            Self::Queues(Some(_)) => Some(Self::Overview),
            Self::Overview | Self::Queues(None) => None,
        }
    }
}
