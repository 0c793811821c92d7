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
    /// Part of tun is not there under its name.
    #[error("the kernel's symbols have no {0}")]
    Incomplete(&'static str),
}

/// The running kernel's symbols, as far as they are of use.
pub(crate) struct Symbols {
    /// Where tun's code is.
    pub(crate) code: Result<Code, SymbolError>,
    /// Addresses of functions that programs may attach to, as often as they occur; `None` when they are hidden.
    functions: Option<Vec<(String, u64)>>,
}

impl Symbols {
    /// Reads them; `without` may name `kallsyms`, which are then hidden. `wanted` says which functions are of use.
    pub(crate) fn read(without: &[String], wanted: impl Fn(&str) -> bool) -> Self {
        if without.iter().any(|absent| absent == "kallsyms") {
            return Self { code: Err(SymbolError::Hidden), functions: None };
        }
        match fs::read_to_string("/proc/kallsyms") {
            Ok(text) => Self::parse(&text, wanted),
            Err(error) => Self { code: Err(error.into()), functions: None },
        }
    }

    /// Those that the text of `/proc/kallsyms` names.
    pub(crate) fn parse(kallsyms: &str, wanted: impl Fn(&str) -> bool) -> Self {
        Self { code: find(kallsyms), functions: functions(kallsyms, wanted) }
    }

    /// How many functions have this name; `None` when that is not known.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        Some(self.functions.as_ref()?.iter().filter(|(known, _)| known == name).count())
    }

    /// Where the one function of this name is.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        let mut found = self.functions.as_ref()?.iter().filter(|(known, _)| known == name);
        let (_, address) = found.next()?;
        found.next().is_none().then_some(*address)
    }
}

/// Symbols of code: address as it is written, and name.
fn code_symbols(kallsyms: &str) -> impl Iterator<Item = (&str, &str)> {
    kallsyms.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(address), Some("t" | "T"), Some(symbol)) => Some((address, symbol)),
            _ => None,
        }
    })
}

fn address(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or(0)
}

/// Functions that are wanted; `None` when addresses are hidden.
fn functions(kallsyms: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<(String, u64)>> {
    let found = code_symbols(kallsyms).filter(|(_, symbol)| wanted(symbol));
    let found: Vec<_> = found.map(|(start, symbol)| (symbol.to_owned(), address(start))).collect();
    found.iter().all(|(_, address)| *address != 0).then_some(found)
}

/// Whether a symbol is this function, or its cold part. Compilers append to the name what they did to a function, as in
/// `tun_get_user.constprop.0`.
fn is(symbol: &str, name: &str) -> bool {
    if !symbol.starts_with("tun_") {
        return false; // which spares nearly all of 200,000 symbols the rest
    }
    let (function, cold) = name.strip_suffix(".cold").map_or((name, false), |function| (function, true));
    let mut parts = symbol.split('.');
    parts.next() == Some(function) && parts.any(|part| part == "cold") == cold
}

/// A function ends where the next symbol begins.
fn find(kallsyms: &str) -> Result<Code, SymbolError> {
    let wanted = |symbol: &str| XMIT.into_iter().chain(RECV).find(|name| is(symbol, name));
    let starts = code_symbols(kallsyms).filter_map(|(start, symbol)| Some((address(start), wanted(symbol)?)));
    let starts: Vec<(u64, &str)> = starts.collect();
    if starts.is_empty() {
        return Err(SymbolError::Absent);
    }
    if starts.iter().any(|(start, _)| *start == 0) {
        return Err(SymbolError::Hidden);
    }
    // Without one of these, its drops would be taken for another's.
    for needed in ["tun_net_xmit", "tun_get_user"] {
        if !starts.iter().any(|(_, name)| *name == needed) {
            return Err(SymbolError::Incomplete(needed));
        }
    }
    let mut ends = vec![u64::MAX; starts.len()];
    for line in kallsyms.lines() {
        let Some(address) = line.split_ascii_whitespace().next().map(address) else { continue };
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
    fn a_function_that_the_compiler_renamed_is_found() {
        let text = "ff10 t tun_net_xmit\nff20 t tun_get_user.constprop.0\nff30 t tun_get_user_x\n\
                    ff40 t tun_get_user.constprop.0.cold\nff50 t y\nff60 d tun_sendmsg\nff70 t z\n";
        let code = find(text).unwrap();
        assert_eq!(code.recv, [[0xff20, 0xff30], [0xff40, 0xff50], [0, 0], [0, 0]]);
    }

    #[test]
    fn drops_are_not_told_apart_by_half_of_the_code() {
        let error = find("ff10 t tun_net_xmit\nff20 t tun_sendmsg\n").unwrap_err();
        assert_eq!(error.to_string(), "the kernel's symbols have no tun_get_user");
    }

    #[test]
    fn hidden_addresses_are_not_taken_for_code() {
        let hidden = "0000000000000000 t tun_net_xmit\n0000000000000000 t tun_get_user\n";
        assert!(matches!(find(hidden), Err(SymbolError::Hidden)));
        assert!(matches!(find("ffff10 t other\n"), Err(SymbolError::Absent)));
    }
}
