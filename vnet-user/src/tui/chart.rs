//! The history of a queue over more columns or fewer than it has intervals. Arithmetic alone.

use crate::report::HISTORY;

/// How many intervals a history can show, from the longest to the shortest time.
pub const SPANS: [usize; 4] = [HISTORY, HISTORY / 2, HISTORY / 4, HISTORY / 8];

/// The last `span` values over `columns`, oldest first; `None` before the first value. Where several share a column it shows the
/// largest, so that no peak is lost.
pub fn columns(values: &[f32], span: usize, columns: usize) -> Vec<Option<f32>> {
    let past = &values[values.len().saturating_sub(span)..];
    let missing = span - past.len();
    let shown = |column: usize| {
        let from = column * span / columns;
        let to = ((column + 1) * span / columns).max(from + 1);
        let within = |at: usize| past.get(at.checked_sub(missing)?).copied();
        (from..to).filter_map(within).reduce(f32::max)
    };
    (0..columns).map(shown).collect()
}

/// How many eighths of `rows` rows a value takes: at least one where there is anything, all for the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates; clamped just after"
)]
pub fn eighths(value: f32, largest: f32, rows: usize) -> usize {
    let all = rows * 8;
    if !value.is_finite() || value <= 0.0 || largest <= 0.0 {
        return 0;
    }
    ((value / largest * all as f32).round() as usize).clamp(1, all)
}

/// The largest finite value; 0 where there is none.
pub fn largest(values: &[Option<f32>]) -> f32 {
    values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_intervals_in_a_column_show_their_peak() {
        let values = [1.0, 9.0, 2.0, 3.0];
        assert_eq!(columns(&values, 4, 2), [Some(9.0), Some(3.0)]);
        assert_eq!(columns(&values, 2, 2), [Some(2.0), Some(3.0)]);
    }

    #[test]
    fn an_interval_over_several_columns_is_as_wide() {
        assert_eq!(columns(&[1.0, 2.0], 2, 4), [Some(1.0), Some(1.0), Some(2.0), Some(2.0)]);
    }

    #[test]
    fn before_the_first_value_there_is_nothing() {
        assert_eq!(columns(&[7.0], 4, 4), [None, None, None, Some(7.0)]);
        assert_eq!(columns(&[], 4, 2), [None, None]);
    }

    #[test]
    fn a_bar_tells_little_from_none() {
        assert_eq!(eighths(0.0, 10.0, 4), 0);
        assert_eq!(eighths(0.001, 10.0, 4), 1);
        assert_eq!(eighths(5.0, 10.0, 4), 16);
        assert_eq!(eighths(10.0, 10.0, 4), 32);
        assert_eq!(eighths(f32::NAN, 10.0, 4), 0);
        assert_eq!(largest(&[None, Some(f32::INFINITY), Some(2.0)]).to_bits(), 2f32.to_bits());
    }
}
