//! The source that a command reads.

use anyhow::Result;
use vnet::{live::Live, record::Record, topology::DeviceKey};

/// Any source.
pub(crate) enum Source {
    /// This host.
    Live(Box<Live>),
    /// Prepared records, to test what is done with them.
    #[cfg(test)]
    Records(std::collections::VecDeque<Vec<Record>>),
}

impl Source {
    /// The next records; see [`Live::next`].
    pub(crate) async fn next(&mut self) -> Result<Vec<Record>> {
        match self {
            Self::Live(live) => live.next().await,
            #[cfg(test)]
            Self::Records(records) => match records.pop_front() {
                Some(records) => Ok(records),
                None => std::future::pending().await,
            },
        }
    }

    /// Forgets devices that are gone for good, for an observation without an end; see [`Live::forget_gone`].
    pub(crate) fn forget_gone(&mut self) -> Vec<DeviceKey> {
        match self {
            Self::Live(live) => live.forget_gone(),
            #[cfg(test)]
            Self::Records(_) => Vec::new(),
        }
    }

    /// The last records; see [`Live::finish`].
    pub(crate) async fn finish(&mut self) -> Result<Vec<Record>> {
        match self {
            Self::Live(live) => live.finish().await,
            #[cfg(test)]
            Self::Records(records) => Ok(records.drain(..).flatten().collect()),
        }
    }
}
