//! The model of `vhost_net` against what kernels were seen to do, and against another implementation of virtqueues.

mod golden;
mod rings;

mod sums;
