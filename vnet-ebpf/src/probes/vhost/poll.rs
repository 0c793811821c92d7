//! How long a worker polls for more, instead of sleeping (`vhost_net_busy_poll`).

use aya_ebpf::helpers::bpf_ktime_get_ns;

use super::pair;
use crate::probes::store;

/// The current thread, the worker of a device, begins to poll.
#[inline(always)]
pub(crate) fn begin(dev: u64) -> bool {
    let Some(pair) = pair::current().filter(|pair| pair.dev == dev && pair.polls_since == 0) else {
        return false;
    };
    // SAFETY: no arguments.
    pair.polls_since = unsafe { bpf_ktime_get_ns() };
    true
}

/// It has found something, or its time is over.
#[inline(always)]
pub(crate) fn end(dev: u64) -> bool {
    let Some(pair) = pair::current().filter(|pair| pair.dev == dev && pair.polls_since != 0) else {
        return false;
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    store!(pair.polled, pair.polled.wrapping_add(now.wrapping_sub(pair.polls_since)));
    pair.polls_since = 0;
    true
}
