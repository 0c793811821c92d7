//! vnet: what every virtqueue of a KVM host does, live, from a recording, or from a model.
//!
//! Data flows one way: a source yields [`record::Record`]s, state folds them, the report is
//! read off the state, and every output shows the report.

pub mod advisor;
pub mod export;
pub mod filter;
pub mod live;
pub mod model;
pub mod perfetto;
pub mod record;
pub mod report;
pub mod settings;
pub mod state;
pub mod topology;
pub mod trace;
pub mod tui;
