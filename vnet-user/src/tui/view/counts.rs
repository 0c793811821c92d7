//! What was counted of a queue, both directions side by side, and its packets by size. A new count is one row of [`ROWS`].

use ratatui::text::{Line, Span};

use crate::{
    report::{QueueReport, SizeReport},
    tui::{look::Look, units},
};

/// Columns of a label, and of a number.
const LABEL: usize = 18;
const NUMBER: usize = 10;

/// One count, in both directions; `None` where it is not known.
struct Count {
    label: &'static str,
    of: fn(&QueueReport) -> [Option<String>; 2],
}

#[rustfmt::skip] // a table reads by column
const ROWS: &[Count] = &[
    Count { label: "packets/s", of: |queue| [queue.tx_rate, queue.rx_rate].map(|rate| units::si(rate?.pps)) },
    Count { label: "bit/s", of: |queue| [queue.tx_rate, queue.rx_rate].map(|rate| units::si(rate?.bps)) },
    Count { label: "mean size", of: |queue| [queue.tx_rate, queue.rx_rate].map(|rate| units::size(rate?.mean_size?)) },
    Count { label: "drops/s", of: |queue| [queue.tx_rate, queue.rx_rate].map(|rate| units::si(rate?.drops?)) },
    Count { label: "packets", of: |queue| [queue.tx.packets, queue.rx.packets].map(count) },
    Count { label: "bytes", of: |queue| [queue.tx.bytes, queue.rx.bytes].map(count) },
    Count { label: "segments", of: |queue| [queue.tx.segments, queue.rx.segments].map(count) },
    Count { label: "kicks per packet", of: |queue| [each(queue.tx.kicks, queue.tx.packets), each(queue.rx.kicks, queue.rx.packets)] },
    Count { label: "calls per packet", of: |queue| [each(queue.tx.calls, queue.tx.packets), each(queue.rx.calls, queue.rx.packets)] },
    Count { label: "calls not wanted", of: |queue| [queue.tx.calls_suppressed, queue.rx.calls_suppressed].map(count) },
    Count { label: "buffers used", of: |queue| [queue.tx.used, queue.rx.buffers].map(count) },
    Count { label: "dropped later", of: |queue| [count(queue.tx.stack_drops), Some(String::new())] },
];

fn count(n: Option<u64>) -> Option<String> {
    units::count(n? as f64)
}

fn each(n: Option<u64>, packets: Option<u64>) -> Option<String> {
    let packets = packets.filter(|packets| *packets > 0)?;
    units::si(n? as f64 / packets as f64)
}

/// ```text
///                     TX sent  RX given   bytes            TX              RX
/// packets/s            1.23 M     123 k      64   12.3% ▄▄▄▄▄▄   97.0% ▄▄▄▄▄▄
/// ```
pub(super) fn lines(queue: &QueueReport, width: u16, look: Look) -> Vec<Line<'static>> {
    let classes = [&queue.tx.sizes, &queue.rx.sizes].map(|sizes| sizes.as_deref().map(<[_; _]>::as_slice));
    let bar = usize::from(width).saturating_sub(LABEL + 2 * NUMBER + 3 + 9 + 2 * 9) / 2;
    let bar = bar.min(24);
    let side = |title: &str| format!("{title:>7}  {:bar$}", "");
    let right = format!("   {:>7} {}{}", "bytes", side("TX"), side("RX"));
    let head = format!("{:LABEL$}{:>NUMBER$}{:>NUMBER$}{}", "", "TX sent", "RX given", right.trim_end());
    let mut lines = vec![Line::styled(head, look.strong())];
    for (i, row) in ROWS.iter().enumerate() {
        let [tx, rx] = (row.of)(queue).map(|text| text.unwrap_or_else(|| look.glyphs().unknown.to_owned()));
        let counts = format!("{tx:>NUMBER$}{rx:>NUMBER$}");
        let right = size(classes, i, bar, look);
        lines.push(Line::from(vec![
            Span::styled(format!("{:LABEL$}", row.label), look.plain()),
            Span::styled((counts + &right).trim_end().to_owned(), look.plain()),
        ]));
    }
    lines
}

/// The size class at this place; where no sizes are known the first says so.
fn size(sides: [Option<&[SizeReport]>; 2], place: usize, bar: usize, look: Look) -> String {
    let Some(class) = sides.iter().flatten().find_map(|sizes| sizes.get(place)) else {
        let said = place == 0 && sides == [None, None];
        return if said {
            format!("   {:>7} {:>7}", look.glyphs().unknown, look.glyphs().unknown)
        } else {
            String::new()
        };
    };
    let edge = class.le.map_or_else(|| "more".to_owned(), |le| format!("to {le}"));
    let share = |sizes: Option<&[SizeReport]>| {
        let all = sizes?.iter().fold(0u64, |sum, class| sum.saturating_add(class.count));
        (all > 0).then(|| sizes?.get(place).map(|class| class.count as f64 / all as f64))?
    };
    let side = |sizes| {
        let share = share(sizes);
        let told = share.and_then(units::share).unwrap_or_else(|| look.glyphs().unknown.to_owned());
        format!("{told:>7}  {:bar$}", strip(share.unwrap_or(0.0), bar, look))
    };
    format!("   {edge:>7} {}{}", side(sides[0]), side(sides[1]))
}

/// A strip as long as its share of `columns`; anything has one column at least.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates; clamped just after"
)]
fn strip(share: f64, columns: usize, look: Look) -> String {
    let length = (share * columns as f64).round() as usize;
    let length = if share > 0.0 { length.clamp(1, columns.max(1)) } else { 0 };
    look.glyphs().bars[4].to_string().repeat(length.min(columns))
}
