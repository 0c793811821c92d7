//! How numbers and names are written for people, the same in text and on screen.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands for a value that is not known.
pub const UNKNOWN: &str = "—";

/// A number in at most five columns: three significant digits and a decimal prefix.
///
/// Whole numbers below 1000 stand as they are: `0`, `7`, `999`; fractions as `0.12`, `12.3`; above `1.23k`, `12.3M`, `123G`.
pub fn si(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return UNKNOWN.into();
    }
    // No more precise than it is shown: 999.7 is 1.00k, not 1000.
    let mut scaled = value;
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if scaled < 999.5 {
            let whole = prefix.is_empty() && scaled.fract() == 0.0;
            // The width follows the rounded value, so that 9.996 is 10.0 and not 10.00.
            return match scaled {
                _ if whole => format!("{scaled:.0}"),
                s if s < 9.995 => format!("{s:.2}{prefix}"),
                s if s < 99.95 => format!("{s:.1}{prefix}"),
                s => format!("{s:.0}{prefix}"),
            };
        }
        scaled /= 1000.0;
    }
    format!("{value:.0e}")
}

/// A count in at most six columns: exact below a million, then as [`si`].
pub fn count(value: u64) -> String {
    if value < 1_000_000 { value.to_string() } else { si(value as f64) }
}

/// A ratio from 0 to 1 in at most four columns: `0%`, `<1%`, `12%`, `100%`.
pub fn percent(ratio: f64) -> String {
    match ratio {
        r if !r.is_finite() || r < 0.0 => UNKNOWN.into(),
        r if r > 0.0 && r < 0.01 => "<1%".into(),
        // Not all of it is never shown as all of it.
        r if r < 1.0 => format!("{:.0}%", (r * 100.0).min(99.0)),
        r => format!("{:.0}%", r * 100.0),
    }
}

/// A value as `show` writes it, or a dash when it is not known.
pub fn maybe<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.into(), show)
}

/// `1 queue`, `2 queues`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A name that came from outside, safe to write to a terminal.
///
/// Interface and process names may hold any byte but `/` and NUL: escape sequences, line breaks, characters that turn
/// the writing direction or take no room. Each becomes U+FFFD, so that nothing is hidden or moved.
pub fn clean(name: &str) -> Cow<'_, str> {
    let hostile = |c: char| {
        // Control characters have no width; bidi controls, joiners, tags and the like have width 0. What is left of
        // the invisible ones has a width and is named.
        c.width().unwrap_or(0) == 0
            || matches!(c, '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
    };
    if name.contains(hostile) { name.replace(hostile, "\u{fffd}").into() } else { name.into() }
}

/// A text in lines of at most `columns`, broken between words; a longer word has a line of its own.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A name made safe by [`clean`] and cut to `columns` by display width, the cut shown by `…`.
pub fn cut(name: &str, columns: usize) -> String {
    let name = clean(name);
    if width(&name) <= columns {
        return name.into_owned();
    }
    let mut kept = String::new();
    for c in name.chars() {
        kept.push(c);
        if width(&kept) + 1 > columns {
            kept.pop();
            break;
        }
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A text filled up with spaces to `columns` by display width, at its right end or, for numbers, its left.
pub fn pad(text: &str, columns: usize, right_aligned: bool) -> String {
    let fill = " ".repeat(columns.saturating_sub(width(text)));
    if right_aligned { fill + text } else { text.to_owned() + &fill }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_take_five_columns_and_round_into_the_next_prefix() {
        let cases = [
            (0.0, "0"),
            (0.004, "0.00"),
            (0.5, "0.50"),
            (7.0, "7"),
            (9.996, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (999.0, "999"),
            (999.4, "999"),
            (999.7, "1.00k"),
            (1234.0, "1.23k"),
            (999_600.0, "1.00M"),
            (12_345_678.0, "12.3M"),
            (123_456_789_012.0, "123G"),
            (f64::NAN, UNKNOWN),
            (f64::INFINITY, UNKNOWN),
            (-1.0, UNKNOWN),
        ];
        for (value, shown) in cases {
            assert_eq!(si(value), shown, "{value}");
        }
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_to_all() {
        let shown: Vec<_> = [0.0, 0.000_1, 0.01, 0.123, 0.995, 0.999_9, 1.0].map(percent).into();
        assert_eq!(shown, ["0%", "<1%", "1%", "12%", "99%", "99%", "100%"]);
    }

    #[test]
    fn names_cannot_move_the_cursor_hide_or_turn_the_line() {
        assert_eq!(clean("tap0"), "tap0");
        assert_eq!(clean("ta\x1b[31mp"), "ta\u{fffd}[31mp");
        assert_eq!(clean("a\nb\tc\u{7f}\u{9b}"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{ad}f\u{2028}"), {
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}"
        });
        assert_eq!(clean("Gerät网"), "Gerät网");
    }

    #[test]
    fn a_cut_never_exceeds_its_columns() {
        assert_eq!(cut("tap0123456", 6), "tap01…");
        assert_eq!(cut("网网网", 6), "网网网");
        assert_eq!(cut("网网网", 5), "网网…");
        assert_eq!(cut("网网网", 4), "网…");
        assert_eq!(cut("网", 1), "…");
        assert_eq!(cut("tap", 0), "");
    }

    proptest! {
        #[test]
        fn any_number_and_any_name_fit(value in 0.0..1e17f64, name in ".*", columns in 0usize..20) {
            prop_assert!(width(&si(value)) <= 5, "{}", si(value));
            prop_assert!(width(&cut(&name, columns)) <= columns);
            prop_assert!(!clean(&name).contains(char::is_control));
        }
    }
}
