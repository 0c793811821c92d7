//! What the terminal can show: colours or not, which glyphs, and the styles made of them.

use std::ffi::OsString;

use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours may be used; modifiers (bold, reversed) always are.
    pub colour: bool,
    /// Only ASCII may be printed.
    pub ascii: bool,
}

/// Glyphs with a meaning, in Unicode and in ASCII.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// A value that is not known.
    pub unknown: &'static str,
    /// Something was cut off here; one column wide.
    pub cut: char,
    /// Between the parts of a line.
    pub dot: &'static str,
    /// Horizontal rule.
    pub rule: char,
    /// In front of the selected row.
    pub marker: char,
    /// Sorted from small to large.
    pub ascending: char,
    /// Sorted from large to small.
    pub descending: char,
    /// A finding lasts, on the timeline.
    pub lasts: char,
    /// Where a recording is, on the timeline.
    pub place: char,
    /// Left side of a box.
    pub side: char,
    /// Upper left corner of a box.
    pub corner: char,
    /// Heat: none, then a little to all.
    pub shades: [char; 5],
    /// Bars: nothing happened, then the smallest to the largest.
    pub bars: [char; 8],
}

const UNICODE: Glyphs = Glyphs {
    unknown: "—",
    cut: '…',
    dot: " · ",
    rule: '─',
    marker: '▶',
    ascending: '↑',
    descending: '↓',
    lasts: '═',
    place: '●',
    side: '│',
    corner: '┌',
    shades: ['·', '░', '▒', '▓', '█'],
    bars: ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
};

const ASCII: Glyphs = Glyphs {
    unknown: "-",
    cut: '~',
    dot: " | ",
    rule: '-',
    marker: '>',
    ascending: '^',
    descending: 'v',
    lasts: '=',
    place: 'o',
    side: '|',
    corner: '+',
    shades: [' ', '.', ':', '+', '#'],
    bars: ['_', '.', ':', '-', '=', '+', '*', '#'],
};

impl Look {
    /// Colours and Unicode.
    pub const FULL: Self = Self { colour: true, ascii: false };

    /// What the environment says, read through `var` (`std::env::var_os`): `NO_COLOR` set and not empty takes the
    /// colours away (no-color.org); a locale that is not UTF-8, and the Linux console, whose fonts have no such
    /// glyphs, leave only ASCII.
    pub fn from_env(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        let term = set("TERM").unwrap_or_default();
        Self {
            colour: set("NO_COLOR").is_none() && term != "dumb" && term != "vt100",
            ascii: !utf8 || term == "linux",
        }
    }

    /// The glyphs to use.
    pub fn glyphs(self) -> &'static Glyphs {
        if self.ascii { &ASCII } else { &UNICODE }
    }

    /// Plain text.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// Headings and the name of the program.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is there but matters less: rules, labels, gone devices.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The screen that is open, keys in the footer.
    pub fn accent(self) -> Style {
        self.colour(Style::new().add_modifier(Modifier::BOLD), Color::Cyan)
    }

    /// The path of the selected queue; a marker stands beside it.
    pub fn lit(self) -> Style {
        self.accent().add_modifier(Modifier::UNDERLINED)
    }

    /// Loss, drops, paused: yellow is told apart from the rest by every kind of colour blindness, and the text says
    /// the same.
    pub fn warning(self) -> Style {
        self.colour(Style::new().add_modifier(Modifier::BOLD), Color::Yellow)
    }

    /// The selected row; added to the styles of its cells.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn colour(self, style: Style, colour: Color) -> Style {
        if self.colour { style.fg(colour) } else { style }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(vars: &[(&str, &str)]) -> Look {
        Look::from_env(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_decides() {
        assert_eq!(look(&[("LANG", "en_GB.UTF-8"), ("TERM", "xterm")]), Look::FULL);
        assert_eq!(
            look(&[("LANG", "C.utf8"), ("NO_COLOR", "")]),
            Look::FULL,
            "an empty NO_COLOR means nothing"
        );
        assert!(!look(&[("LANG", "C.utf8"), ("NO_COLOR", "1")]).colour);
        assert!(look(&[]).ascii, "the C locale is ASCII");
        assert!(look(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")]).ascii, "LC_ALL wins");
        assert!(!look(&[("LC_ALL", ""), ("LANG", "en_GB.UTF-8")]).ascii, "an empty one is not set");
        assert!(look(&[("LANG", "en_GB.UTF-8"), ("TERM", "linux")]).ascii);
    }

    #[test]
    fn ascii_glyphs_are_ascii() {
        let Glyphs {
            unknown,
            cut,
            dot,
            rule,
            marker,
            ascending,
            descending,
            lasts,
            place,
            side,
            corner,
            shades,
            bars,
        } = ASCII;
        assert!(unknown.is_ascii() && dot.is_ascii());
        assert!(
            [cut, rule, marker, ascending, descending, lasts, place, side, corner]
                .iter()
                .chain(&bars)
                .chain(&shades)
                .all(char::is_ascii)
        );
    }
}
