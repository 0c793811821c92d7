//! What the outputs see, and its text and JSON forms.

pub mod doctor;
pub mod format;
pub mod json;
mod schema;
mod table;
pub mod text;

pub use schema::*;
