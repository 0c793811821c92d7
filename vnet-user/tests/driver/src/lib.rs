//! The driver: plays the guest on real taps, plays the host's stack behind them, and keeps the exact truth of both.
//!
//! Tests compare what vnet reports with this truth, and [`truth`] itself with the kernel's own device counters. Nothing
//! here is simulated: the devices are the kernel's, in network namespaces that vanish with the values that hold them.
//!
//! TX and RX are the guest's: TX is a write to a queue file, RX is what a queue file reads.

pub mod bpf;
pub mod ethtool;
pub mod frame;
pub mod ftrace;
pub mod hold;
pub mod host;
pub mod kvm;
pub mod link;
pub mod load;
pub mod macvtap;
pub mod need;
pub mod nested;
pub mod netns;
pub mod nic;
pub mod scale;
mod sys;
pub mod tap;
pub mod truth;
pub mod vhost;
pub mod vnet;
