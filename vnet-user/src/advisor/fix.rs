//! Commands that are right for this very host: its devices, domains, threads, nodes and CPUs.

use super::{
    rules::Mend,
    scene::{Device, Place, Queue},
};
use crate::report::{VmReport, Where};

/// The initial network namespace has an inode number below this; those made later have larger ones
/// (`PROC_DYNAMIC_FIRST` in fs/proc/generic.c).
const FIRST_MADE_NETNS: u64 = 4_026_532_000;

/// Nothing to run: no change helps.
pub(super) fn nothing(place: Where) -> Mend {
    Mend { place, commands: Vec::new() }
}

/// A word that the shell takes as it is written.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:+@%/".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A name that stays within a remark: nothing in it ends the line.
fn remark(name: &str) -> String {
    name.replace(char::is_control, "?")
}

/// The name of a VM's libvirt domain; asked of its command line where it is not known.
fn domain(vm: Option<&VmReport>, pid: Option<u32>) -> String {
    match (vm.and_then(|vm| vm.name.as_deref()), pid) {
        (Some(name), _) => quoted(name),
        (None, Some(pid)) => {
            format!(r#""$(tr '\0' '\n' </proc/{pid}/cmdline | sed -n 's/^guest=\([^,]*\).*/\1/p')""#)
        }
        (None, None) => "DOMAIN".into(),
    }
}

pub(super) fn domain_of(device: &Device<'_>) -> String {
    domain(device.vm, device.report.vm_pid)
}

/// A change of the VM's definition: what libvirt is told, and the same for QEMU by itself.
pub(super) fn defined(place: &Place<'_>, xml: &str, qemu: &str) -> Mend {
    let Some(device) = place.devices.first() else { return nothing(Where::Domain) };
    let domain = domain_of(device);
    let taps: Vec<_> = place
        .devices
        .iter()
        .map(|device| format!("<target dev='{}'/>", remark(&device.report.name)))
        .collect();
    Mend {
        place: Where::Domain,
        commands: vec![
            format!("virsh edit {domain}  # in the <interface> with {}: {xml}", taps.join(" or ")),
            format!("virsh shutdown {domain}"),
            format!("virsh start {domain}  # once it is off; without libvirt, start QEMU with {qemu}"),
        ],
    }
}

/// As many queues as this.
pub(super) fn queues(place: &Place<'_>, queues: u32) -> Mend {
    let qemu = format!(
        "-netdev tap,…,vhost=on,queues={queues} -device virtio-net-pci,…,mq=on,vectors={}",
        2 * queues + 2
    );
    defined(place, &format!("<driver name='vhost' queues='{queues}'/>"), &qemu)
}

/// A command in the guest for each of its virtio NICs for which `only` holds, with `$i` for its name. On a virtio NIC of
/// this machine it is that one.
pub(super) fn nic(device: &Device<'_>, only: &str, command: &str) -> String {
    if device.report.kind == "virtio_net" {
        return command.replace("$i", &quoted(&device.report.name));
    }
    let only = if only.is_empty() { String::new() } else { format!("{only} && ") };
    format!(
        "for d in /sys/class/net/*; do i=${{d##*/}}; case $(readlink $d/device/driver) in */virtio_net) {only}{command};; esac; done"
    )
}

/// CPUs of a node (or of the host) but for some, as a list for `taskset` and `virsh`, found by the shell.
pub(super) fn cpus(node: Option<u32>, except: &[u32]) -> String {
    let folder = node.map_or_else(|| "cpu".into(), |node| format!("node/node{node}"));
    let mut except: Vec<_> = except.iter().map(u32::to_string).collect();
    except.sort_unstable();
    except.dedup();
    let without =
        if except.is_empty() { String::new() } else { format!(" | grep -vxE '{}'", except.join("|")) };
    format!(
        r#""$(ls -d /sys/devices/system/{folder}/cpu[0-9]* | sed 's/.*cpu//'{without} | sort -n | paste -sd, -)""#
    )
}

/// Host CPUs that the VM's vCPUs ran on last.
pub(super) fn vcpu_cpus(device: &Device<'_>) -> Vec<u32> {
    let vcpus = device.vm.and_then(|vm| vm.vcpus.as_ref());
    vcpus.into_iter().flatten().filter_map(|vcpu| vcpu.cpu).collect()
}

/// The node that all of the VM's vCPUs are on; `None` where it is not known, or not one.
pub(super) fn vcpu_node(device: &Device<'_>) -> Option<u32> {
    let mut nodes = device.vm?.vcpus.as_ref()?.iter().map(|vcpu| vcpu.node);
    let first = nodes.next()??;
    nodes.all(|node| node == Some(first)).then_some(first)
}

/// Moves the workers of these queues to those CPUs: the threads now, the domain for good.
pub(super) fn move_workers(place: &Place<'_>, cpus: &str) -> Mend {
    let mut tids: Vec<_> =
        place.queues.iter().filter_map(|queue| Queue::tid(queue)).map(|tid| tid.to_string()).collect();
    tids.sort_unstable();
    tids.dedup();
    let mut commands = match &tids[..] {
        [] => Vec::new(),
        [tid] => vec![format!("taskset -pc {cpus} {tid}")],
        _ => vec![format!("for t in {}; do taskset -pc {cpus} $t; done", tids.join(" "))],
    };
    let mut domains: Vec<_> = place.devices.iter().map(|device| domain_of(device)).collect();
    domains.dedup();
    // Without libvirt the threads' own affinity is all there is.
    commands
        .extend(domains.iter().map(|domain| format!("virsh emulatorpin {domain} {cpus} --live --config")));
    Mend { place: Where::Host, commands }
}

/// `ip` in the namespace of the device.
pub(super) fn ip(device: &Device<'_>, arguments: &str) -> String {
    let netns = device.report.netns;
    if netns < FIRST_MADE_NETNS {
        return format!("ip {arguments}");
    }
    format!("nsenter -n -t \"$(lsns -t net -n -o NS,PID | awk '$1 == {netns} {{print $2}}')\" ip {arguments}")
}

/// Loads `vhost_net` with zero-copy on or off, which needs all VMs off.
pub(super) fn zerocopy(on: bool) -> Mend {
    let on = u8::from(on);
    Mend {
        place: Where::Host,
        commands: vec![
            format!("echo 'options vhost_net experimental_zcopytx={on}' > /etc/modprobe.d/vhost-net.conf"),
            "modprobe -r vhost_net && modprobe vhost_net  # with every VM of this host off: the parameter is read only".into(),
        ],
    }
}
