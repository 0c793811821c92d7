//! What a test needs of this machine; without it the test says so and returns.

use crate::{netns::Netns, sys};

/// Why tests on real taps cannot run here, or `None`.
pub fn taps() -> Option<String> {
    if sys::euid() != 0 {
        return Some("needs root (network namespaces, taps)".into());
    }
    if let Err(e) = std::fs::File::open("/dev/net/tun") {
        return Some(format!("needs /dev/net/tun: {e}"));
    }
    Netns::new().err().map(|e| format!("{e:#}"))
}

/// Why tests with BPF cannot run here, or `None`.
pub fn bpf() -> Option<String> {
    taps().or_else(|| crate::bpf::Objects::now().err().map(|e| format!("needs bpf(2): {e}")))
}

/// Why tests with the kernel's `vhost_net` cannot run here, or `None`.
pub fn vhost() -> Option<String> {
    bpf().or_else(|| {
        let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/vhost-net");
        opened.err().map(|e| format!("needs /dev/vhost-net (module vhost_net): {e}"))
    })
}

/// Why tests with KVM beside the kernel's `vhost_net` cannot run here, or `None`.
pub fn kvm() -> Option<String> {
    vhost().or_else(crate::kvm::missing)
}

/// Returns from the test, aloud, when `$why` (an `Option<String>`) says that it cannot run.
#[macro_export]
macro_rules! need {
    ($why:expr) => {
        if let Some(why) = $why {
            eprintln!("skipped: {why}");
            return Ok(());
        }
    };
}
