//! Numbers for people: three significant digits and an SI prefix, the same everywhere.

const PREFIXES: [&str; 7] = ["", " k", " M", " G", " T", " P", " E"];

/// A rate or another measure: `0`, `<0.01`, `0.25`, `12.3`, `930 k`, `1.23 M`; at most six columns. `None` when it is
/// not a finite number.
pub fn si(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let (sign, value) = if value < 0.0 { ("-", -value) } else { ("", value) };
    if value == 0.0 {
        return Some("0".to_owned());
    }
    if value < 0.005 {
        return Some(format!("{sign}<0.01"));
    }
    let mut scaled = value;
    let mut prefix = 0;
    // 999.5 would print as 1000: it belongs to the next prefix already.
    while scaled >= 999.5 && prefix + 1 < PREFIXES.len() {
        scaled /= 1000.0;
        prefix += 1;
    }
    let digits = digits(scaled);
    Some(format!("{sign}{digits}{}", PREFIXES[prefix]))
}

fn digits(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A count: whole below 1000, then like [`si`].
pub fn count(value: f64) -> Option<String> {
    if (0.0..999.5).contains(&value) { Some(format!("{value:.0}")) } else { si(value) }
}

/// A measure with the symbol of its unit: `12.3 Mbit/s`, `512 B`.
pub fn with_unit(value: f64, unit: &str) -> Option<String> {
    let value = si(value)?;
    let space = if value.ends_with(|c: char| c.is_ascii_digit()) { " " } else { "" };
    Some(format!("{value}{space}{unit}"))
}

/// A size in bytes, whole: `1514`, `65550`.
pub fn size(bytes: f64) -> Option<String> {
    if bytes.is_finite() && bytes < 99_999.5 { Some(format!("{bytes:.0}")) } else { si(bytes) }
}

/// A part of a whole, 0 to 1: `0%`, `<0.1%`, `12.3%`, `100%`.
pub fn share(part: f64) -> Option<String> {
    let percent = part * 100.0;
    if !percent.is_finite() {
        None
    } else if percent == 0.0 {
        Some("0%".to_owned())
    } else if percent < 0.05 {
        Some("<0.1%".to_owned())
    } else if percent < 99.95 {
        Some(format!("{percent:.1}%"))
    } else {
        Some(format!("{percent:.0}%"))
    }
}

/// A time: `0.5 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `4 d 03 h`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates, which is right here"
)]
pub fn duration(seconds: f64) -> Option<String> {
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    if seconds > 0.0 && seconds < 0.95 {
        return Some(format!("{seconds:.1} s"));
    }
    let s = seconds.round() as u64;
    Some(match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {:02} h", s / 86_400, s % 86_400 / 3600),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn si_keeps_three_digits_across_every_edge() {
        for (value, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.25, "0.25"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (999.4, "999"),
            (999.6, "1.00 k"),
            (930e3, "930 k"),
            (1.234e6, "1.23 M"),
            (999.6e6, "1.00 G"),
            (12.3e9, "12.3 G"),
            (-5.0, "-5.00"),
        ] {
            assert_eq!(si(value).as_deref(), Some(text), "{value}");
        }
        assert_eq!(si(f64::NAN), None);
        assert_eq!(si(f64::INFINITY), None);
    }

    #[test]
    fn positive_numbers_fit_six_columns() {
        let mut value = 1e-6;
        while value < 9e20 {
            assert!(si(value).is_some_and(|text| text.len() <= 6), "{value}");
            value *= 1.07;
        }
        assert_eq!(count(u64::MAX as f64).as_deref(), Some("18.4 E"));
    }

    #[test]
    fn counts_below_a_thousand_are_whole() {
        assert_eq!(count(0.0).as_deref(), Some("0"));
        assert_eq!(count(999.0).as_deref(), Some("999"));
        assert_eq!(count(1000.0).as_deref(), Some("1.00 k"));
        assert_eq!(with_unit(12.3e6, "bit/s").as_deref(), Some("12.3 Mbit/s"));
        assert_eq!(with_unit(512.0, "B").as_deref(), Some("512 B"));
    }

    #[test]
    fn sizes_shares_and_times() {
        assert_eq!(size(65_549.7).as_deref(), Some("65550"));
        assert_eq!(size(f64::NAN), None);
        assert_eq!(share(0.0004).as_deref(), Some("<0.1%"));
        assert_eq!(share(0.123).as_deref(), Some("12.3%"));
        assert_eq!(share(1.0).as_deref(), Some("100%"));
        assert_eq!(duration(0.5).as_deref(), Some("0.5 s"));
        assert_eq!(duration(59.6).as_deref(), Some("1 min 00 s"));
        assert_eq!(duration(7620.0).as_deref(), Some("2 h 07 min"));
        assert_eq!(duration(-1.0), None);
    }
}
