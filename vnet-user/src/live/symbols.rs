//! Where the tap driver's code is: a drop there is the tap's own.

use std::{fs, io};

use vnet_ebpf::offsets::Code;

/// Functions of the tap driver that refuse packets on the way to the guest.
const XMIT: [&str; 2] = ["tun_net_xmit", "tun_net_xmit.cold"];

/// Functions that drop what the guest sent.
const RECV: [&str; 4] = ["tun_get_user", "tun_get_user.cold", "tun_sendmsg", "tun_sendmsg.cold"];

/// Why the code is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SymbolError {
    /// The list of symbols can't be read.
    #[error("/proc/kallsyms cannot be read ({0})")]
    Read(#[from] io::Error),
    /// Addresses read as zero.
    #[error("kernel addresses are hidden: needs CAP_SYSLOG, and kernel.kptr_restrict below 2")]
    Hidden,
    /// tun is not there.
    #[error("the tun module is not loaded")]
    Absent,
}

/// Reads the running kernel's symbols; `without` may name `kallsyms`, which are then hidden.
pub(crate) fn code(without: &[String]) -> Result<Code, SymbolError> {
    if without.iter().any(|absent| absent == "kallsyms") {
        return Err(SymbolError::Hidden);
    }
    find(&fs::read_to_string("/proc/kallsyms")?)
}

/// A function ends where the next symbol begins.
fn find(kallsyms: &str) -> Result<Code, SymbolError> {
    let wanted = |name: &str| XMIT.contains(&name) || RECV.contains(&name);
    let mut starts: Vec<(u64, &str)> = Vec::new();
    for line in kallsyms.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if wanted(name) {
            starts.push((u64::from_str_radix(address, 16).unwrap_or(0), name));
        }
    }
    if starts.is_empty() {
        return Err(SymbolError::Absent);
    }
    if starts.iter().any(|(start, _)| *start == 0) {
        return Err(SymbolError::Hidden);
    }
    let mut ends = vec![u64::MAX; starts.len()];
    for line in kallsyms.lines() {
        let Some(address) = line.split_ascii_whitespace().next() else { continue };
        let address = u64::from_str_radix(address, 16).unwrap_or(0);
        for ((start, _), end) in starts.iter().zip(&mut ends) {
            if address > *start {
                *end = address.min(*end);
            }
        }
    }
    let range = |name: &str| {
        let found = starts.iter().zip(&ends).find(|((_, symbol), _)| *symbol == name);
        found.map_or([0, 0], |((start, _), end)| [*start, *end])
    };
    Ok(Code { xmit: XMIT.map(range), recv: RECV.map(range) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_at_the_next_symbol() {
        let text = "ffff10 t before\nffff80 t tun_net_xmit\nffffa0 t other\nffff20 t tun_net_xmit.cold\n\
                    ffff28 t x [tun]\nffff30 t tun_get_user\t[tun]\nffff38 t y\n";
        let code = find(text).unwrap();
        assert_eq!(code.xmit, [[0x00ff_ff80, 0x00ff_ffa0], [0x00ff_ff20, 0x00ff_ff28]]);
        assert_eq!(code.recv, [[0x00ff_ff30, 0x00ff_ff38], [0, 0], [0, 0], [0, 0]]);
    }

    #[test]
    fn hidden_addresses_are_not_taken_for_code() {
        let hidden = "0000000000000000 t tun_net_xmit\n0000000000000000 t tun_get_user\n";
        assert!(matches!(find(hidden), Err(SymbolError::Hidden)));
        assert!(matches!(find("ffff10 t other\n"), Err(SymbolError::Absent)));
    }
}
