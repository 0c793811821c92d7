//! How much of each program the verifier goes through, on any kernel: a ceiling. What rises above it is a mistake, or is worth
//! a new one.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
};

/// Instructions, all paths together: about a fifth more than Linux 6.18 needs.
///
/// `cargo xtask lab shapes --all -v` prints what the lab's kernels need, each program as a row of this table, and
/// `cargo test -p vnet-user --lib shapes -- --nocapture` what this one does.
const CEILINGS: &[(&str, u64)] = &[
    ("apic_accept", 1500),
    ("backend", 1900),
    ("completed", 360),
    ("drop", 3800),
    ("eventfd", 50),
    ("irqfd_begin", 1100),
    ("irqfd_end", 310),
    ("k_close", 50),
    ("k_eventfd", 40),
    ("k_recvmsg", 1200),
    ("k_rx", 1300),
    ("k_sendmsg", 50),
    ("k_tx_copy", 1300),
    ("k_tx_zerocopy", 1300),
    ("k_used", 330),
    ("k_used_end", 180),
    ("k_used_one", 310),
    ("k_weight", 220),
    ("notify", 10),
    ("poll_begin", 50),
    ("poll_end", 60),
    ("recv", 1300),
    ("recv, learning", 3400),
    ("recv_frags", 1400),
    ("recv_napi", 1400),
    ("recvmsg", 2800),
    ("register", 10),
    ("rx_begin", 2000),
    ("rx_end", 1400),
    ("sendmsg", 231_000),
    ("tx_copy", 2000),
    ("tx_end", 1800),
    ("tx_zerocopy", 2000),
    ("used_begin", 880),
    ("used_end", 1500),
    ("vhost_close", 50),
    ("wakeup", 3600),
    ("xmit", 2900),
];

/// Takes note of a program that was loaded; kernels before 5.16 do not say.
pub(crate) fn most<'a>(seen: &mut BTreeMap<&'a str, u64>, name: &'a str, program: &OwnedFd) {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap_or_default();
    let count: Option<u64> =
        info.lines().find_map(|line| line.strip_prefix("verified_insns:")?.trim().parse().ok());
    if let Some(count) = count {
        let most = seen.entry(name).or_default();
        *most = count.max(*most);
    }
}

/// Fails if the verifier had more to do than is allowed.
#[track_caller]
pub(crate) fn assert_no_more(seen: &BTreeMap<&str, u64>) {
    if seen.is_empty() {
        println!("skipped: this kernel does not say what it verified");
    }
    for (name, count) in seen {
        println!("verified: (\"{name}\", {count}),");
    }
    let more = |(name, count): &(&&str, &u64)| {
        !CEILINGS.iter().any(|(known, ceiling)| known == *name && *count <= ceiling)
    };
    let more: Vec<_> = seen.iter().filter(more).collect();
    assert!(more.is_empty(), "the verifier has more to do than is allowed: {more:?}");
}
