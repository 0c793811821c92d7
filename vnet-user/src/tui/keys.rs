//! All keys: a new key is one row of [`KEYS`] and one arm in `Ui::act`. Dispatch, footer and help read the table.

use Context::{Filter, Findings, Help, Layout, Overview, Probes, Queue, Queues};

/// A key as the state machine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Key {
    /// A printable character.
    Char(char),
    /// A letter with Control.
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Where a key has its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The device table.
    Overview,
    /// The queue table.
    Queues,
    /// One queue.
    Queue,
    /// The host and what runs where.
    Layout,
    /// What is wrong.
    Findings,
    /// What is measured, and how.
    Probes,
    /// The filter is being typed.
    Filter,
    /// The help is open.
    Help,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the help of its key says it")]
pub enum Action {
    Quit,
    Suspend,
    Repaint,
    Help,
    Back,
    NextScreen,
    PreviousScreen,
    Jump,
    Open,
    ZoomIn,
    ZoomOut,
    Pause,
    SeekBack,
    SeekOn,
    NextMark,
    PreviousMark,
    Faster,
    Slower,
    SortNext,
    SortPrevious,
    Reverse,
    Filter,
    FilterKeep,
    FilterClear,
    Erase,
    EraseAll,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

/// One row of [`KEYS`].
#[derive(Debug)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [Key],
    /// How they are written.
    pub label: &'static str,
    /// One or two words for the footer; empty to keep it out.
    pub footer: &'static str,
    /// What they do, for the help.
    pub help: &'static str,
    /// Where.
    pub contexts: &'static [Context],
    /// What they do.
    pub action: Action,
}

const ANYWHERE: &[Context] = &[Overview, Queues, Queue, Layout, Findings, Probes, Filter, Help];
const READING: &[Context] = &[Overview, Queues, Queue, Layout, Findings, Probes, Help];
const SCREENS: &[Context] = &[Overview, Queues, Queue, Layout, Findings, Probes];
const LISTS: &[Context] = &[Overview, Queues];
const OPENING: &[Context] = &[Overview, Queues, Queue, Layout, Findings];
const PAGES: &[Context] = &[Overview, Queues, Queue, Layout, Findings, Probes, Filter];
const TYPING: &[Context] = &[Filter];

/// All keys, the most useful first: the footer shows as many as fit.
#[rustfmt::skip] // a table reads by column
pub const KEYS: &[Binding] = &[
    Binding { keys: &[Key::Char('?')], label: "?", footer: "help", help: "this help", contexts: READING, action: Action::Help },
    Binding { keys: &[Key::Char('q')], label: "q", footer: "quit", help: "quit (Ctrl-C anywhere)", contexts: READING, action: Action::Quit },
    Binding { keys: &[Key::Enter], label: "Enter", footer: "open", help: "open queues, queue, its finding", contexts: OPENING, action: Action::Open },
    Binding { keys: &[Key::Enter], label: "Enter", footer: "keep", help: "keep the filter", contexts: TYPING, action: Action::FilterKeep },
    Binding { keys: &[Key::Esc], label: "Esc", footer: "clear", help: "clear the filter", contexts: TYPING, action: Action::FilterClear },
    Binding { keys: &[Key::Esc], label: "Esc", footer: "back", help: "go back, or clear the filter", contexts: READING, action: Action::Back },
    Binding { keys: &[Key::Tab], label: "Tab", footer: "next", help: "next screen, Shift-Tab back", contexts: SCREENS, action: Action::NextScreen },
    Binding { keys: &[Key::BackTab], label: "", footer: "", help: "", contexts: SCREENS, action: Action::PreviousScreen },
    Binding { keys: &DIGITS, label: "1 to 6", footer: "", help: "open the screen of that number", contexts: SCREENS, action: Action::Jump },
    Binding { keys: &[Key::Char('/')], label: "/", footer: "filter", help: "filter by device, VM or kind", contexts: LISTS, action: Action::Filter },
    Binding { keys: &[Key::Char('s'), Key::Char('>')], label: "s >", footer: "sort", help: "sort by the next column, < back", contexts: LISTS, action: Action::SortNext },
    Binding { keys: &[Key::Char('<')], label: "", footer: "", help: "", contexts: LISTS, action: Action::SortPrevious },
    Binding { keys: &[Key::Char('r')], label: "r", footer: "reverse", help: "reverse the order", contexts: LISTS, action: Action::Reverse },
    Binding { keys: &[Key::Char('z')], label: "z Z", footer: "zoom", help: "shorter or longer history", contexts: &[Queue], action: Action::ZoomIn },
    Binding { keys: &[Key::Char('Z')], label: "", footer: "", help: "", contexts: &[Queue], action: Action::ZoomOut },
    Binding { keys: &[Key::Char(' ')], label: "space", footer: "pause", help: "pause; counting goes on", contexts: SCREENS, action: Action::Pause },
    Binding { keys: &[Key::Char('['), Key::Left], label: "[ ]", footer: "", help: "in a recording: 10 s back or on", contexts: SCREENS, action: Action::SeekBack },
    Binding { keys: &[Key::Char(']'), Key::Right], label: "", footer: "", help: "", contexts: SCREENS, action: Action::SeekOn },
    Binding { keys: &[Key::Char('n')], label: "n N", footer: "", help: "to where the next finding begins", contexts: SCREENS, action: Action::NextMark },
    Binding { keys: &[Key::Char('N')], label: "", footer: "", help: "", contexts: SCREENS, action: Action::PreviousMark },
    Binding { keys: &[Key::Char('+')], label: "+ -", footer: "", help: "in a recording: faster or slower", contexts: SCREENS, action: Action::Faster },
    Binding { keys: &[Key::Char('-')], label: "", footer: "", help: "", contexts: SCREENS, action: Action::Slower },
    Binding { keys: &[Key::Up], label: "", footer: "", help: "", contexts: TYPING, action: Action::Up },
    Binding { keys: &[Key::Down], label: "", footer: "", help: "", contexts: TYPING, action: Action::Down },
    Binding { keys: &[Key::Up, Key::Char('k')], label: "k j", footer: "", help: "row or queue above or below", contexts: SCREENS, action: Action::Up },
    Binding { keys: &[Key::Down, Key::Char('j')], label: "", footer: "", help: "", contexts: SCREENS, action: Action::Down },
    Binding { keys: &[Key::PageUp, Key::Ctrl('b')], label: "PgUp PgDn", footer: "", help: "page above or below", contexts: PAGES, action: Action::PageUp },
    Binding { keys: &[Key::PageDown, Key::Ctrl('f')], label: "", footer: "", help: "", contexts: PAGES, action: Action::PageDown },
    Binding { keys: &[Key::Home, Key::Char('g')], label: "g G", footer: "", help: "top row as it comes, last row", contexts: SCREENS, action: Action::First },
    Binding { keys: &[Key::End, Key::Char('G')], label: "", footer: "", help: "", contexts: SCREENS, action: Action::Last },
    Binding { keys: &[Key::Backspace, Key::Ctrl('h')], label: "", footer: "", help: "", contexts: TYPING, action: Action::Erase },
    Binding { keys: &[Key::Ctrl('u')], label: "", footer: "", help: "", contexts: TYPING, action: Action::EraseAll },
    Binding { keys: &[Key::Ctrl('l')], label: "Ctrl-L", footer: "", help: "paint the screen anew", contexts: ANYWHERE, action: Action::Repaint },
    Binding { keys: &[Key::Ctrl('z')], label: "Ctrl-Z", footer: "", help: "suspend", contexts: ANYWHERE, action: Action::Suspend },
    Binding { keys: &[Key::Ctrl('c')], label: "", footer: "", help: "", contexts: ANYWHERE, action: Action::Quit },
];

/// The digits that jump to a screen.
const DIGITS: [Key; 6] =
    [Key::Char('1'), Key::Char('2'), Key::Char('3'), Key::Char('4'), Key::Char('5'), Key::Char('6')];

/// What `key` does in `context`.
pub fn action(key: Key, context: Context) -> Option<Action> {
    let binding = KEYS.iter().find(|b| b.contexts.contains(&context) && b.keys.contains(&key));
    binding.map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for &context in ANYWHERE {
            let keys: Vec<_> = KEYS
                .iter()
                .filter(|binding| binding.contexts.contains(&context))
                .flat_map(|binding| binding.keys)
                .collect();
            for (i, key) in keys.iter().enumerate() {
                assert!(!keys[..i].contains(key), "{key:?} twice in {context:?}");
            }
        }
    }

    #[test]
    fn typing_takes_no_letters_away() {
        let taken = |binding: &&Binding| binding.contexts.contains(&Filter);
        let mut keys = KEYS.iter().filter(taken).flat_map(|binding| binding.keys);
        assert!(keys.all(|key| !matches!(key, Key::Char(_))));
    }
}
