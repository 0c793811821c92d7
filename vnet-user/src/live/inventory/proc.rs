//! What `/proc` says of namespaces and processes: parsing only.

use std::path::PathBuf;

/// Inode number in a link such as `net:[4026531840]`.
pub(crate) fn netns_of_link(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Network namespaces bound to a path, of `/proc/PID/mountinfo`: inode number and path.
pub(crate) fn bound_netns(mountinfo: &str) -> Vec<(u64, PathBuf)> {
    mountinfo
        .lines()
        .filter_map(|line| {
            // 36 35 0:4 net:[4026532177] /run/netns/blue rw shared:4 - nsfs nsfs rw
            let mut fields = line.split(' ').skip(3);
            let inode = netns_of_link(fields.next()?)?;
            Some((inode, PathBuf::from(unescape(fields.next()?))))
        })
        .collect()
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = escape.get(1..4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.map_or('\\', char::from));
        rest = escape.get(if code.is_some() { 4 } else { 1 }..).unwrap_or_default();
    }
    out + rest
}

/// Start time of a process in clock ticks since boot, of `/proc/PID/stat`.
pub(crate) fn start_time(stat: &str) -> Option<u64> {
    // The command name is in parentheses and may hold anything, parentheses and spaces too.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Name of the device that a tun file is attached to, of `/proc/PID/fdinfo/FD`; `None` when to none.
pub(crate) fn tun_name(fdinfo: &str) -> Option<&str> {
    let name = fdinfo.lines().find_map(|line| line.strip_prefix("iff:"))?.trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bound_namespaces() {
        let text = "22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw\n\
                    36 35 0:4 net:[4026532177] /run/netns/a\\040b\\134 rw shared:4 - nsfs nsfs rw\n\
                    37 35 0:4 mnt:[4026532178] /run/mnt rw - nsfs nsfs rw\n\
                    38";
        assert_eq!(bound_netns(text), [(4_026_532_177, PathBuf::from("/run/netns/a b\\"))]);
    }

    #[test]
    fn reads_the_start_time_behind_any_name() {
        let tail = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200";
        assert_eq!(start_time(&format!("42 (qemu) {tail}")), Some(987_654));
        assert_eq!(start_time(&format!("42 (a) b (c)) {tail}")), Some(987_654));
        assert_eq!(start_time("42 (qemu"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn reads_the_name_of_a_tun_file() {
        assert_eq!(tun_name("pos:\t0\nflags:\t02\niff:\ttap0\n"), Some("tap0"));
        assert_eq!(tun_name("pos:\t0\niff:\t\n"), None);
        assert_eq!(tun_name("pos:\t0\n"), None);
    }

    #[test]
    fn reads_only_network_namespaces() {
        assert_eq!(netns_of_link("net:[12]"), Some(12));
        assert_eq!(netns_of_link("mnt:[12]"), None);
        assert_eq!(netns_of_link("net:[]"), None);
        assert_eq!(netns_of_link("/dev/net/tun"), None);
    }
}
