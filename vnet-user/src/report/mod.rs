//! What the outputs see, and its text and JSON forms.

pub mod doctor;
mod finding;
pub mod findings;
pub mod format;
mod invisible;
pub mod json;
mod locality;
pub mod rules;
mod schema;
mod served;
mod table;
pub mod text;
mod vhost;

// What outputs need to name what a report says; they see nothing below it.
pub use crate::{
    record::{Known, SourceKind},
    topology::{DeviceKey, DeviceKind, IfIndex, InvisibleKind, Netns, QueuePair},
};
pub use finding::*;
pub use invisible::InvisibleReport;
pub use locality::{Called, Distance, InterruptReport, KickReport, PrivateReport, VcpuStateReport};
pub use schema::*;
pub use vhost::*;
