//! Whom the calls of the selected queue interrupt, and from how far.

use crate::{
    report::{Called, QueueReport},
    tui::{look::Look, units},
};

/// Most vCPUs that are named.
const VCPUS: usize = 4;

/// `97.0% to vCPU 0 · 3.0% to vCPU 1 · LLC 97.0%, remote 3.0% · 12 by a kernel thread · 97.0% private`. Nothing where no call was
/// followed.
pub(super) fn parts(queue: &QueueReport, look: Look) -> Vec<String> {
    let mut called = Called::of(queue);
    let all = called.interrupts();
    let share = |n: u64| {
        let share = (all > 0).then(|| n as f64 / all as f64).and_then(units::share);
        share.unwrap_or_else(|| look.glyphs().unknown.to_owned())
    };
    called.vcpus.sort_by_key(|(vcpu, n)| (std::cmp::Reverse(*n), *vcpu));
    let named = called.vcpus.iter().take(VCPUS);
    let mut parts: Vec<_> = named.map(|(vcpu, n)| format!("{} to vCPU {vcpu}", share(*n))).collect();
    if called.vcpus.len() > VCPUS {
        parts.push(format!("{} more vCPUs", called.vcpus.len() - VCPUS));
    }
    let levels: Vec<_> = called.levels.iter().map(|(level, n)| format!("{level} {}", share(*n))).collect();
    if !levels.is_empty() {
        parts.push(levels.join(", "));
    }
    for (n, what) in [(called.by_kernel_thread, "by a kernel thread"), (called.unreached, "to no irqfd")] {
        parts.extend(units::count(n as f64).filter(|_| n > 0).map(|n| format!("{n} {what}")));
    }
    let private = queue.private.and_then(|private| units::share(private.calls));
    parts.extend(private.map(|private| format!("{private} private")));
    parts
}
