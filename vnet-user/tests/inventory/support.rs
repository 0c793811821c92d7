//! Namespaces of a test, and waiting for what the inventory should see.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use vnet::{
    live::inventory::Inventory,
    topology::{Device, Netns},
};

use crate::tap::Queue;

/// A named namespace, removed at the end.
pub(crate) struct Space {
    /// Name for the ip tool.
    pub(crate) name: String,
    /// Path to open it by.
    pub(crate) path: PathBuf,
    /// Its number.
    pub(crate) netns: Netns,
}

impl Space {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vnet-inv-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let path = Path::new("/run/netns").join(&name);
        let netns = Netns(fs::metadata(&path).expect("the namespace").ino());
        Self { name, path, netns }
    }

    pub(crate) fn ip(&self, args: &[&str]) {
        ip(&[&["-n", &self.name], args].concat());
    }

    pub(crate) fn queue(&self, name: &str) -> Queue {
        Queue::open(Some(&self.path), name, true, None).expect("a tap queue")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(process::Stdio::null()).status();
    }
}

fn ip(args: &[&str]) {
    let out = Command::new("ip").args(args).output().expect("ip is installed");
    assert!(out.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Says aloud why a test does nothing.
pub(crate) fn skipped() -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "needs root to make network namespaces"
    } else if !Path::new("/dev/net/tun").exists() {
        "no /dev/net/tun"
    } else if Command::new("ip").arg("-V").output().is_err() {
        "the ip tool is not installed"
    } else {
        return false;
    };
    eprintln!("skipped: {why}");
    true
}

/// Waits for events until the topology is as wanted.
pub(crate) async fn until(
    inventory: &mut Inventory,
    what: &str,
    wanted: impl Fn(&[Device]) -> bool,
) -> Vec<Device> {
    until_read(inventory, what, false, wanted).await
}

/// The same, with `refresh` every 100 ms: the kernel reports no coming and going of queues.
pub(crate) async fn until_read(
    inventory: &mut Inventory,
    what: &str,
    refresh: bool,
    wanted: impl Fn(&[Device]) -> bool,
) -> Vec<Device> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        inventory.drain().expect("drain");
        if refresh {
            inventory.refresh().expect("refresh");
        }
        let devices = inventory.topology().devices.clone();
        if wanted(&devices) {
            return devices;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero(),
            "never came: {what}; problems {:?}; devices {devices:#?}",
            inventory.problems()
        );
        let wait = if refresh { left.min(Duration::from_millis(100)) } else { left };
        let _ = timeout(wait, inventory.changed()).await;
    }
}

pub(crate) fn in_space(devices: &[Device], netns: Netns) -> Vec<&Device> {
    devices.iter().filter(|device| device.key.netns == netns).collect()
}

/// Open files of this process at rest: the search thread has some open for moments.
pub(crate) fn open_fds() -> usize {
    let count = |_| {
        std::thread::sleep(Duration::from_millis(10));
        fs::read_dir("/proc/self/fd").expect("own files").count()
    };
    (0..30).map(count).min().unwrap_or_default()
}
