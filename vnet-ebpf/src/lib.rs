//! The contract between the probes and user space: one set of numbers and layouts, compiled into both sides.
//!
//! Nothing here is turned from raw kernel bytes into an enum: shared memory holds integers, and each side maps them
//! through the `const` tables of this crate, so an unknown value is seen as unknown.
#![no_std]

pub mod counter;
pub mod device;
pub mod files;
pub mod hist;
pub mod kvm;
pub mod offsets;
pub mod vhost;
