//! How the screen is divided: arithmetic on width and height alone.

/// Smallest terminal, columns and rows.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Rows of each part, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Host, counts, screens.
    pub header: u16,
    /// The worst findings, where the screen begins with them.
    pub verdict: u16,
    /// Rule with the table's title.
    pub title: u16,
    /// Column headings.
    pub headings: u16,
    /// Rows of the table.
    pub body: u16,
    /// What is selected, below a rule.
    pub detail: u16,
    /// Where a recording is, while one is played.
    pub timeline: u16,
    /// Keys.
    pub footer: u16,
}

impl Heights {
    /// The same with rows for the verdict and for the timeline where they are wanted: what is selected has fewer.
    #[must_use]
    pub fn with(self, verdict: bool, timeline: bool) -> Self {
        let verdict = if verdict { self.detail / 4 } else { 0 };
        let timeline = u16::from(timeline);
        Self { verdict, timeline, detail: self.detail - verdict - timeline, ..self }
    }

    /// Rows between header and footer that a screen without a table has.
    pub fn middle(self) -> u16 {
        self.title + self.headings + self.body + self.detail
    }
}

/// Columns in front of the table for the marker of the selected row.
pub const MARGIN: u16 = 2;

/// Rows of the list of findings; the chosen one has the rest.
pub const FINDINGS: u16 = 8;

/// Divides a terminal; `None` when it is too small.
pub fn heights(width: u16, height: u16) -> Option<Heights> {
    if width < SMALLEST.0 || height < SMALLEST.1 {
        return None;
    }
    let detail = match height {
        ..28 => 5,
        28..40 => 8,
        _ => 11,
    };
    let rest =
        Heights { header: 3, verdict: 0, title: 1, headings: 2, body: 0, detail, timeline: 0, footer: 1 };
    let used = rest.header + rest.title + rest.headings + rest.detail + rest.footer;
    Some(Heights { body: height - used, ..rest })
}

/// Columns of the timeline's bar in a terminal of this width; behind it stands how long the recording is.
pub fn timeline_columns(width: u16) -> usize {
    usize::from(width.saturating_sub(18))
}

/// Columns of a table in a terminal of this width.
pub fn table_width(width: u16) -> usize {
    usize::from(width.saturating_sub(MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_height() {
        for height in 24..300 {
            let h = heights(80, height).unwrap();
            assert!(h.body >= 12, "{height}: {} rows", h.body);
            for (verdict, timeline) in [(false, false), (true, false), (false, true), (true, true)] {
                let h = h.with(verdict, timeline);
                assert_eq!(h.header + h.verdict + h.middle() + h.timeline + h.footer, height);
                assert_eq!((h.verdict > 0, h.timeline > 0), (verdict, timeline));
                assert!(h.detail >= 3);
            }
        }
    }

    #[test]
    fn smaller_is_too_small() {
        assert_eq!(heights(79, 24), None);
        assert_eq!(heights(80, 23), None);
        assert_eq!(heights(0, 0), None);
        assert!(heights(80, 24).is_some());
    }
}
