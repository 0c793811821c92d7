//! Differences between kernels that change what `vhost_net` does, as switches with names.
//!
//! Stable patch levels differ inside one version, so a profile is named after the kernel on which it was read, and is
//! where one starts: each switch can be set by itself.

/// With what `vhost_enable_notify` compares the available index that it reads to tell whether something slipped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// With the index as it was read last, so that buffers which were not enough do not count as new.
    Cached,
    /// With the index of the next buffer to be taken: a worker that needs more buffers than there are looks again and
    /// again until the guest adds some.
    Taken,
}

/// What a kernel's `vhost_net` does where others do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The kernel on which it was read.
    pub kernel: &'static str,
    /// When the transmit ring is empty, what is batched is handed over before kicks are asked for, not after
    /// (drivers/vhost/net.c: `handle_tx_copy`, since 6.17).
    pub flush_before_enable: bool,
    /// A packet too large for a batch flushes only when something is batched, so that used entries of large packets are
    /// put into the ring 64 at once (`handle_tx_copy` on `-ENOSPC`, since 6.18).
    pub large_share_updates: bool,
    /// See [`Compared`] (drivers/vhost/vhost.c: `vhost_enable_notify`).
    pub compared: Compared,
    /// A packet that is handed to a local receiver is copied first (net/core/dev.c: `__netif_receive_skb_core`, until
    /// 6.12); later ones keep the guest's pages until it is read.
    pub copies_for_receiver: bool,
}

const fn profile(kernel: &'static str, batches_more: bool, compared: Compared, receiver: bool) -> Profile {
    Profile {
        kernel,
        flush_before_enable: batches_more,
        large_share_updates: batches_more,
        compared,
        copies_for_receiver: receiver,
    }
}

/// One row per kernel, oldest first.
pub const PROFILES: &[Profile] = &[
    profile("5.15.100", false, Compared::Cached, true),
    profile("6.1.192", false, Compared::Cached, true),
    profile("6.6.63", false, Compared::Taken, true),
    profile("6.12.117", false, Compared::Cached, true),
    profile("6.18.15", true, Compared::Taken, false),
    profile("7.2.13", true, Compared::Cached, false),
];

impl Profile {
    /// The profile of the newest kernel that is not newer than `release` (`uname -r`); `None` for one that is older than
    /// all, or no release.
    pub fn of(release: &str) -> Option<Self> {
        let wanted = version(release)?;
        PROFILES.iter().rev().find(|row| version(row.kernel).is_some_and(|row| row <= wanted)).copied()
    }
}

/// Major and minor version.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_the_profile_of_the_kernel_before_it() {
        let of = |release| Profile::of(release).map(|profile| profile.kernel);
        assert_eq!(of("6.1.0-56-cloud-amd64"), Some("6.1.192"));
        assert_eq!(of("6.8.12"), Some("6.6.63"));
        assert_eq!(of("7.2.13+deb14-cloud-amd64"), Some("7.2.13"));
        assert_eq!(of("8.0"), Some("7.2.13"));
        assert_eq!((of("5.10.0"), of(""), of("next")), (None, None, None));
    }

    #[test]
    fn rows_are_sorted() {
        assert!(PROFILES.is_sorted_by_key(|row| version(row.kernel)));
    }
}
