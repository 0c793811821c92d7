//! How the screen is divided: arithmetic on width and height alone.

/// Smallest terminal, columns and rows.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Rows of each part, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Host, counts, screens.
    pub header: u16,
    /// Rule with the table's title.
    pub title: u16,
    /// Column headings.
    pub headings: u16,
    /// Rows of the table.
    pub body: u16,
    /// What is selected, below a rule.
    pub detail: u16,
    /// Keys.
    pub footer: u16,
}

/// Columns in front of the table for the marker of the selected row.
pub const MARGIN: u16 = 2;

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
    let rest = Heights { header: 3, title: 1, headings: 2, body: 0, detail, footer: 1 };
    let used = rest.header + rest.title + rest.headings + rest.detail + rest.footer;
    Some(Heights { body: height - used, ..rest })
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
            assert_eq!(h.header + h.title + h.headings + h.body + h.detail + h.footer, height);
            assert!(h.body >= 12, "{height}: {} rows", h.body);
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
