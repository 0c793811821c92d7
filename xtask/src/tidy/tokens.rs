//! The paths that Rust source names: `a::b::c` wherever it stands, with braces of a `use` spelt out.

use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream::IntoIter};

/// A path and where it stands. A single name is a path too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Its segments; `*` for a glob.
    pub(super) segments: Vec<String>,
    /// Line, from 1.
    pub(super) line: usize,
}

impl Path {
    /// Whether it begins with the segments of `prefix` (`std::fs`), or is a glob that takes them in.
    pub(super) fn reaches(&self, prefix: &str) -> bool {
        let wanted: Vec<&str> = prefix.split("::").collect();
        match self.segments.split_last() {
            Some((last, above)) if last == "*" => {
                wanted.starts_with(&above.iter().map(String::as_str).collect::<Vec<_>>())
            }
            _ => {
                self.segments.len() >= wanted.len()
                    && self.segments.iter().zip(wanted).all(|(have, want)| have == want)
            }
        }
    }
}

/// Whether code under `#[cfg(test)]` counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tests {
    Count,
    Skip,
}

/// All paths in a source text, comments and strings left out.
///
/// Text that is no Rust gives none: the compiler tells that better.
pub(super) fn paths(source: &str, tests: Tests) -> Vec<Path> {
    let mut found = Vec::new();
    if let Ok(stream) = source.parse::<TokenStream>() {
        walk(stream, &[], tests, &mut found);
    }
    found
}

/// The attributes in a source text: each as its own stream, with its line.
pub(super) fn attributes(source: &str) -> Vec<(TokenStream, usize)> {
    let mut found = Vec::new();
    if let Ok(stream) = source.parse::<TokenStream>() {
        collect_attributes(stream, &mut found);
    }
    found
}

fn collect_attributes(stream: TokenStream, found: &mut Vec<(TokenStream, usize)>) {
    let mut after_hash = false;
    for token in stream {
        if let TokenTree::Group(group) = &token {
            if after_hash && group.delimiter() == Delimiter::Bracket {
                found.push((group.stream(), group.span_open().start().line));
            }
            collect_attributes(group.stream(), found);
        }
        // `#![…]` has a `!` between the two.
        after_hash = is_punct(&token, '#') || (after_hash && is_punct(&token, '!'));
    }
}

fn walk(stream: TokenStream, prefix: &[String], tests: Tests, found: &mut Vec<Path>) {
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) => {
                let line = name.span().start().line;
                let name = name.to_string();
                if name == "as" && !prefix.is_empty() {
                    tokens.next(); // the new name of what a `use` takes
                    continue;
                }
                let mut segments = prefix.to_vec();
                segments.push(name);
                follow(&mut tokens, &mut segments, tests, found);
                found.push(Path { segments, line });
            }
            TokenTree::Punct(star) if star.as_char() == '*' && !prefix.is_empty() => {
                let segments = [prefix, &["*".to_owned()]].concat();
                found.push(Path { segments, line: star.span().start().line });
            }
            TokenTree::Punct(hash) if hash.as_char() == '#' && tests == Tests::Skip => skip_test(&mut tokens),
            TokenTree::Group(group) => walk(group.stream(), &[], tests, found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Takes the rest of a path: `::name`, `::*` or `::{…}`.
fn follow(tokens: &mut Peekable<IntoIter>, segments: &mut Vec<String>, tests: Tests, found: &mut Vec<Path>) {
    loop {
        let mut ahead = tokens.clone();
        let colons = ahead.next().is_some_and(|token| is_punct(&token, ':'))
            && ahead.next().is_some_and(|token| is_punct(&token, ':'));
        match ahead.next() {
            Some(TokenTree::Ident(name)) if colons => segments.push(name.to_string()),
            Some(TokenTree::Punct(star)) if colons && star.as_char() == '*' => segments.push("*".to_owned()),
            Some(TokenTree::Group(group)) if colons && group.delimiter() == Delimiter::Brace => {
                walk(group.stream(), segments, tests, found);
            }
            _ => return,
        }
        *tokens = ahead;
    }
}

/// After a `#`: leaves out the item that `[cfg(test)]` holds.
fn skip_test(tokens: &mut Peekable<IntoIter>) {
    let is_test = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.stream().to_string() == "cfg (test)");
    if tokens.next_if(is_test).is_none() {
        return;
    }
    for token in tokens {
        let body = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if body || is_punct(&token, ';') {
            return;
        }
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str, tests: Tests) -> Vec<String> {
        paths(source, tests).iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn a_use_is_spelt_out() {
        let found = names("use std::{fs, io::{self as x, Write}, net::*};", Tests::Count);
        for want in ["std::fs", "std::io::self", "std::io::Write", "std::net::*"] {
            assert!(found.contains(&want.to_owned()), "{want} is not in {found:?}");
        }
        assert!(!found.iter().any(|path| path.ends_with("::x")));
    }

    #[test]
    fn comments_and_strings_say_nothing() {
        let source = "// std::fs\n/* std::fs */ /// std::fs\nfn f() { g(\"std::fs\", 'x', r#\"std::fs\"#) }";
        assert!(!names(source, Tests::Count).iter().any(|path| path.starts_with("std")));
    }

    #[test]
    fn a_path_in_an_expression_or_macro_is_seen_with_its_line() {
        let found = paths("fn f() {\n    println!(\"{}\", ::std::fs::read(a))\n}", Tests::Count);
        assert!(
            found.contains(&Path { segments: ["std", "fs", "read"].map(str::to_owned).to_vec(), line: 2 })
        );
    }

    #[test]
    fn tests_can_be_left_out() {
        let source = "use a::b;\n#[cfg(test)]\nmod tests { use c::d; }\n#[cfg(test)] use e::f;\nuse g::h;";
        assert!(names(source, Tests::Count).contains(&"c::d".to_owned()));
        let found = names(source, Tests::Skip);
        assert!(found.contains(&"a::b".to_owned()) && found.contains(&"g::h".to_owned()));
        assert!(!found.iter().any(|path| path == "c::d" || path == "e::f"));
    }

    #[test]
    fn a_glob_reaches_what_is_below_it() {
        let all =
            |source: &str, prefix: &str| paths(source, Tests::Count).iter().any(|path| path.reaches(prefix));
        assert!(all("use std::*;", "std::fs"));
        assert!(all("use std::time::*;", "std::time::Instant"));
        assert!(all("use std::fs::File;", "std::fs"));
        assert!(!all("use std::fmt::*;", "std::fs"));
        assert!(!all("use std::time::Duration;", "std::time::Instant"));
        assert!(!all("let a = b * c;", "b::c"), "a product is no glob");
    }
}
