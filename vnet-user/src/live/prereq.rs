//! What this process and this kernel must allow, checked before anything is loaded and told together.

use std::fs;

/// Capabilities by bit (include/uapi/linux/capability.h).
const CAPABILITIES: [(u32, &str); 5] =
    [(19, "CAP_SYS_PTRACE"), (21, "CAP_SYS_ADMIN"), (34, "CAP_SYSLOG"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is, and what to do: one sentence.
    pub sentence: String,
    /// Nothing can be measured while it lasts; otherwise only a part is lost.
    pub fatal: bool,
}

/// Looks at this process and this kernel.
pub fn check() -> Vec<Problem> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut problems = capabilities(effective(&status));
    if let Ok(lockdown) = fs::read_to_string("/sys/kernel/security/lockdown")
        && lockdown.contains("[confidentiality]")
    {
        problems.push(Problem {
            sentence: "the kernel is locked down to confidentiality, which forbids reading its memory: boot without \
                       lockdown=confidentiality"
                .to_owned(),
            fatal: true,
        });
    }
    if fs::metadata("/sys/kernel/btf/vmlinux").is_err() {
        problems.push(Problem {
            sentence: "this kernel has no type information (/sys/kernel/btf/vmlinux): boot one built with \
                       CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are"
                .to_owned(),
            fatal: true,
        });
    }
    problems
}

fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn capabilities(effective: u64) -> Vec<Problem> {
    let has = |name: &str| CAPABILITIES.iter().any(|(bit, n)| *n == name && effective >> bit & 1 == 1);
    let admin = has("CAP_SYS_ADMIN");
    let mut problems = Vec::new();
    let missing: Vec<&str> =
        ["CAP_BPF", "CAP_PERFMON"].into_iter().filter(|name| !admin && !has(name)).collect();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        let sentence = format!("this process lacks {missing}, which loading probes needs: run vnet as root");
        problems.push(Problem { sentence, fatal: true });
    }
    if !admin {
        let sentence = "this process lacks CAP_SYS_ADMIN, so only its own network namespace can be looked into: run \
                        vnet as root to see all";
        problems.push(Problem { sentence: sentence.to_owned(), fatal: false });
    }
    if !has("CAP_SYSLOG") {
        let sentence = "this process lacks CAP_SYSLOG, so the tap driver's code cannot be found and its drops cannot be \
                        told: run vnet as root";
        problems.push(Problem { sentence: sentence.to_owned(), fatal: false });
    }
    if !has("CAP_SYS_PTRACE") {
        let sentence = "this process lacks CAP_SYS_PTRACE, so the processes that own taps cannot be found: run vnet \
                        as root";
        problems.push(Problem { sentence: sentence.to_owned(), fatal: false });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_no_problem() {
        assert_eq!(capabilities(effective("Name:\tx\nCapEff:\t000001ffffffffff\n")), []);
    }

    #[test]
    fn an_ordinary_user_is_told_what_is_missing() {
        let problems = capabilities(effective("CapEff:\t0000000000000000\n"));
        assert!(problems[0].fatal);
        assert_eq!(
            problems[0].sentence,
            "this process lacks CAP_BPF and CAP_PERFMON, which loading probes needs: run vnet as root"
        );
        assert_eq!(problems.iter().filter(|problem| !problem.fatal).count(), 3);
    }

    #[test]
    fn what_is_granted_is_not_missed() {
        let bpf_only = capabilities(1 << 39);
        assert!(bpf_only[0].sentence.contains("lacks CAP_PERFMON,"));
        assert!(!capabilities(1 << 39 | 1 << 38).iter().any(|problem| problem.fatal));
    }
}
