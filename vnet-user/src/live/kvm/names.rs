//! What a VM is called, from the command line of its monitor. Pure.

/// Name and UUID that a monitor was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: Option<String>,
    pub(super) uuid: Option<String>,
}

/// Options that name a VM: QEMU's (libvirt writes `guest=NAME,debug-threads=on`), Firecracker's, crosvm's. cloud-hypervisor
/// has none.
const NAMES: [&str; 4] = ["-name", "--id", "--name", "-n"];

/// Reads `/proc/PID/cmdline`.
pub(super) fn named(cmdline: &[u8]) -> Named {
    let words: Vec<_> = cmdline.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let value = |option: &str| {
        let at = words.iter().position(|word| word == option);
        let joined = || words.iter().find_map(|word| word.strip_prefix(option)?.strip_prefix('='));
        at.and_then(|at| words.get(at + 1)).map(AsRef::as_ref).or_else(joined)
    };
    let name = NAMES.into_iter().find_map(value).and_then(|value| {
        let parts = || value.split(',');
        let guest = parts().find_map(|part| part.strip_prefix("guest="));
        let plain = || parts().next().filter(|part| !part.is_empty() && !part.contains('='));
        guest.or_else(plain).map(str::to_owned)
    });
    Named { name, uuid: value("-uuid").map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> (Option<String>, Option<String>) {
        let Named { name, uuid } = named(words.join("\0").as_bytes());
        (name, uuid)
    }

    #[test]
    fn monitors_say_what_their_vms_are_called() {
        let some = |text: &str| Some(text.to_owned());
        let libvirt = ["qemu-system-x86_64", "-name", "guest=web 1,debug-threads=on", "-uuid", "8c2e", "-S"];
        assert_eq!(told(&libvirt), (some("web 1"), some("8c2e")));
        assert_eq!(told(&["qemu-system-x86_64", "-name", "db,process=db"]), (some("db"), None));
        assert_eq!(told(&["qemu-system-x86_64", "-name", "process=db"]), (None, None));
        assert_eq!(told(&["firecracker", "--id", "f1", "--api-sock", "/s"]), (some("f1"), None));
        assert_eq!(told(&["crosvm", "run", "--name=vm", "-uuid"]), (some("vm"), None));
        assert_eq!(told(&["cloud-hypervisor", "--api-socket", "/s"]), (None, None));
        assert_eq!(told(&[]), (None, None));
    }
}
