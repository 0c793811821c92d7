//! What the outputs see, and its text and JSON forms.

mod schema;

pub use schema::*;
