//! Lines broken at spaces before they are drawn, so that it is known how many there are.

use ratatui::{
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::Pen;
use crate::tui::text;

/// `line` in as many lines as it takes; a word that is longer than a line is broken anywhere.
pub(super) fn wrap(line: Line<'static>, columns: usize) -> Vec<Line<'static>> {
    if line.width() <= columns {
        return vec![line];
    }
    let mut lines = Vec::new();
    let mut current: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for span in line.spans {
        for word in span.content.split_inclusive(' ') {
            let mut word = word;
            while used + text::width(word.trim_end()) > columns {
                let fits = if text::width(word.trim_end()) > columns {
                    prefix(word, columns.saturating_sub(used))
                } else {
                    0
                };
                if fits > 0 {
                    current.push(Span::styled(word[..fits].to_owned(), span.style));
                    word = &word[fits..];
                } else if used == 0 {
                    // Not even one character fits.
                    word = "";
                }
                lines.push(Line::from(std::mem::take(&mut current)));
                used = 0;
            }
            used += text::width(word);
            current.push(Span::styled(word.to_owned(), span.style));
        }
    }
    lines.push(Line::from(current));
    lines
}

/// Bytes of the characters that fit.
fn prefix(word: &str, columns: usize) -> usize {
    let (mut used, mut bytes) = (0, 0);
    for c in word.chars() {
        used += text::width(c.encode_utf8(&mut [0; 4]));
        if used > columns {
            break;
        }
        bytes += c.len_utf8();
    }
    bytes
}

/// Draws lines from the `scrolled`-th on, or the last that fill `area`, and says how many are below, and the key that shows them.
pub(super) fn scrolled(lines: Vec<Line<'static>>, scrolled: usize, key: &str, pen: &mut Pen<'_>, area: Rect) {
    let lines: Vec<_> = lines.into_iter().flat_map(|line| wrap(line, area.width.into())).collect();
    let hidden = lines.len().saturating_sub(area.height.into());
    pen.end = hidden;
    let top = scrolled.min(hidden);
    for (y, line) in (area.y..area.bottom()).zip(&lines[top..]) {
        line.render(Rect { y, height: 1, ..area }.intersection(pen.buffer.area), pen.buffer);
    }
    if top < hidden && area.height > 0 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        pen.right(last, &format!(" {} more below: {key} ", hidden - top), pen.look.accent());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &'static str, columns: usize) -> Vec<String> {
        wrap(Line::from(text), columns).iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 20), ["one two three"]);
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 3), ["one", "two", "thr", "ee"]);
    }

    #[test]
    fn wide_characters_and_no_room_do_no_harm() {
        assert_eq!(wrapped("虚拟网卡", 5), ["虚拟", "网卡"]);
        assert_eq!(wrapped("虚拟 网卡", 1), ["", "", ""]);
        assert_eq!(wrapped("", 0), [""]);
    }
}
