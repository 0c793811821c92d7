//! What the outputs see, and its text and JSON forms.

pub mod format;
mod schema;

pub use schema::*;
