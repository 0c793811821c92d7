//! Recordings for other programs.

pub mod ndjson;
pub mod text;
