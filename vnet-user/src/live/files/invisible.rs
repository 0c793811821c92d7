//! Devices of guests whose queues pass this kernel's network stack by, from the files that serve them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use vnet_ebpf::files::{KVM, OpenFile, numbers};

use crate::topology::{Invisible, InvisibleKind};

/// Kinds by the name of their device file (`DEVNAME`).
const KINDS: [(&str, InvisibleKind); 4] = [
    ("vhost-vsock", InvisibleKind::VhostVsock),
    ("vhost-scsi", InvisibleKind::VhostScsi),
    ("vhost-vdpa-", InvisibleKind::VhostVdpa),
    ("vfio/", InvisibleKind::Vfio),
];

/// Holds no device by itself.
const CONTAINER: &str = "vfio/vfio";

/// What the holders of files have beside taps, sorted.
pub(super) fn of(found: Option<&[OpenFile]>) -> Vec<Invisible> {
    let files: BTreeSet<_> = found.into_iter().flatten().map(|file| (file.device, file.holder)).collect();
    let mut names = BTreeMap::new();
    let mut all = BTreeSet::new();
    for (device, pid) in files {
        let name = names.entry(device).or_insert_with(|| device_name(device)).as_deref();
        if let Some((kind, name)) = name.and_then(|name| Some((kind(name)?, name))) {
            all.insert((pid, kind, name.to_owned()));
        } else if device == KVM {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            all.extend(vhost_user(&command).map(|id| (pid, InvisibleKind::VhostUser, id)));
        }
    }
    let row = |(pid, kind, device)| {
        let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
        Some(Invisible { pid, comm: String::from_utf8_lossy(&comm).trim_end().to_owned(), kind, device })
    };
    all.into_iter().filter_map(row).collect() // a process that is gone holds nothing
}

/// Name of a device's file below `/dev`, as its driver asked for it.
fn device_name(device: u32) -> Option<String> {
    let (major, minor) = numbers(device);
    let text = fs::read_to_string(format!("/sys/dev/char/{major}:{minor}/uevent")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(ToOwned::to_owned)
}

fn kind(name: &str) -> Option<InvisibleKind> {
    let row = KINDS.iter().find(|(prefix, _)| name.starts_with(prefix) && name != CONTAINER);
    row.map(|(_, kind)| *kind)
}

/// Network devices that a QEMU was started with whose queues another process serves, by their ids.
fn vhost_user(command: &str) -> impl Iterator<Item = String> {
    let arguments = command.split('\0');
    let netdevs = arguments.clone().zip(arguments.skip(1)).filter(|(option, _)| *option == "-netdev");
    netdevs.filter_map(|(_, value)| {
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(value) {
            return (json["type"] == "vhost-user")
                .then(|| json["id"].as_str().unwrap_or_default().to_owned());
        }
        let mut parts = value.split(',');
        let is = parts.clone().any(|part| part == "vhost-user" || part == "type=vhost-user");
        is.then(|| parts.find_map(|part| part.strip_prefix("id=")).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_name_of_the_device() {
        assert_eq!(kind("vhost-vsock"), Some(InvisibleKind::VhostVsock));
        assert_eq!(kind("vhost-vdpa-3"), Some(InvisibleKind::VhostVdpa));
        assert_eq!(kind("vfio/12"), Some(InvisibleKind::Vfio));
        assert_eq!(kind("vfio/devices/vfio0"), Some(InvisibleKind::Vfio));
        for other in ["vfio/vfio", "vhost-net", "net/tun", "kvm", ""] {
            assert_eq!(kind(other), None, "{other}");
        }
    }

    #[test]
    fn vhost_user_is_told_by_what_qemu_was_started_with() {
        let of = |words: &[&str]| vhost_user(&words.join("\0")).collect::<Vec<_>>();
        assert_eq!(of(&["qemu", "-netdev", "vhost-user,id=n0,chardev=c0,queues=4"]), ["n0"]);
        assert_eq!(of(&["qemu", "-netdev", "type=vhost-user,id=n1", "-netdev", "tap,id=n2"]), ["n1"]);
        assert_eq!(of(&["qemu", "-netdev", r#"{"type":"vhost-user","id":"hostnet0"}"#]), ["hostnet0"]);
        let taps = ["qemu", "-name", "vhost-user", "-netdev", "tap,id=vhost-user", "-netdev"];
        assert!(of(&taps).is_empty());
        assert!(of(&["qemu", "-netdev", r#"{"type":"tap","id":"vhost-user"}"#]).is_empty());
    }

    #[test]
    fn the_name_of_a_device_is_the_kernels() {
        let tun = device_name(vnet_ebpf::files::TUN);
        if fs::exists("/sys/class/misc/tun").unwrap_or(false) {
            assert_eq!(tun.as_deref(), Some("net/tun"));
        } else {
            println!("skipped: there is no tun here");
        }
        assert_eq!(device_name(u32::MAX), None);
    }
}
