//! Names from outside made harmless, and text cut by display width.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Blocks whose characters run from right to left (Unicode's `DerivedBidiClass` gives R or AL to all of them, assigned
/// or not): a terminal that reorders text would move their neighbours, other columns too.
const RIGHT_TO_LEFT: [(u32, u32); 5] =
    [(0x0590, 0x08ff), (0xfb1d, 0xfdff), (0xfe70, 0xfeff), (0x1_0800, 0x1_0fff), (0x1_e800, 0x1_efff)];

/// Characters that melt into their neighbour on some terminals: regional indicators and skin tones.
const JOINING: [(u32, u32); 2] = [(0x1_f1e6, 0x1_f1ff), (0x1_f3fb, 0x1_f3ff)];

/// `name` with everything that could move the cursor, hide, reorder or overlap written as `\u{…}`: control, zero-width,
/// combining, joining and right-to-left characters; in ASCII, everything else too.
pub fn clean(name: &str, ascii: bool) -> Cow<'_, str> {
    if name.chars().all(|c| harmless(c, ascii)) {
        return Cow::Borrowed(name);
    }
    let mut clean = String::with_capacity(name.len() * 2);
    for c in name.chars() {
        if harmless(c, ascii) { clean.push(c) } else { clean.extend(c.escape_unicode()) }
    }
    Cow::Owned(clean)
}

fn harmless(c: char, ascii: bool) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let within = |ranges: &[(u32, u32)]| ranges.iter().any(|&(low, high)| (low..=high).contains(&(c as u32)));
    !ascii
        && !c.is_control()
        && c.width().is_some_and(|width| width > 0)
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{00ad}')
        && !within(&RIGHT_TO_LEFT)
        && !within(&JOINING)
}

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns` columns; where something is missing, `mark` (one column) ends it.
pub fn cut(text: &str, columns: usize, mark: char) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    let mut taken = 0;
    let mut short = String::with_capacity(columns + mark.len_utf8());
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        short.push(c);
    }
    short.push(mark);
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in ["tap0", "vnet-1.5@x", "täp", "虚拟网卡", "🦀", ""] {
            assert_eq!(clean(name, false), name);
        }
    }

    #[test]
    fn hostile_names_are_spelt_out() {
        assert_eq!(clean("a\x1b[31mb", false), r"a\u{1b}[31mb");
        assert_eq!(clean("a\u{202e}b", false), r"a\u{202e}b");
        assert_eq!(clean("a\u{200b}b\u{feff}", false), r"a\u{200b}b\u{feff}");
        assert_eq!(clean("e\u{301}", false), r"e\u{301}");
        assert_eq!(clean("\u{9b}2J", false), r"\u{9b}2J", "C1 controls too");
        assert_eq!(clean("שלום", false), r"\u{5e9}\u{5dc}\u{5d5}\u{5dd}");
        assert_eq!(clean("täp", true), r"t\u{e4}p");
    }

    #[test]
    fn every_character_comes_out_with_a_width() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            let clean = clean(&text, false);
            assert!(width(&clean) > 0, "{:?}", c.escape_unicode());
            assert_eq!(clean.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>(), width(&clean));
        }
    }

    #[test]
    fn cut_counts_columns_not_characters() {
        assert_eq!(cut("tap0", 4, '…'), "tap0");
        assert_eq!(cut("tap10", 4, '…'), "tap…");
        assert_eq!(cut("虚拟网卡", 8, '…'), "虚拟网卡");
        assert_eq!(cut("虚拟网卡", 7, '…'), "虚拟网…");
        assert_eq!(cut("虚拟网卡", 6, '…'), "虚拟…", "half a wide character is none");
        assert_eq!(cut("tap0", 1, '…'), "…");
        assert_eq!(cut("tap0", 0, '…'), "");
    }
}
