//! Rules on `unsafe` and on exceptions to lints.

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use super::files::File;
use super::tokens::{Tests, attributes, paths};

/// Where `unsafe` may stand: the probes with what both sides share, the three small files of `live`, and tests.
const UNSAFE: &[&str] = &[
    "vnet-ebpf/src/",
    "vnet-user/src/live/bpf.rs",
    "vnet-user/src/live/ioctl.rs",
    "vnet-user/src/live/mmap.rs",
];

/// `unsafe` stands only where it has a place.
pub(super) fn unsafety(file: &File) -> Vec<Finding> {
    if !file.is_rust() || file.is_test() || UNSAFE.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let found = paths(&file.text, Tests::Count);
    let found = found.iter().filter(|path| path.segments == ["unsafe"]);
    let what = format!("`unsafe` may stand only in {}", UNSAFE.join(", "));
    found.map(|path| file.finding(path.line, what.clone())).collect()
}

/// `#[expect]` has a reason, and `#[allow]` is not used: it would stay when its cause has gone.
pub(super) fn reasons(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (attribute, line) in attributes(&file.text) {
        for (name, list) in calls(attribute) {
            if name == "allow" {
                found.push(file.finding(
                    line,
                    "`#[allow]` stays for ever: use `#[expect(…, reason = \"…\")]`".to_owned(),
                ));
            }
            if name == "expect" && !mentions(list, "reason") {
                found.push(file.finding(line, "`#[expect]` without a reason".to_owned()));
            }
        }
    }
    found
}

/// Names that are followed by a list, also below `cfg_attr`.
fn calls(stream: TokenStream) -> Vec<(String, TokenStream)> {
    let mut found = Vec::new();
    let mut name = None;
    for token in stream {
        match token {
            TokenTree::Ident(ident) => name = Some(ident.to_string()),
            TokenTree::Group(group) => {
                found.extend(calls(group.stream()));
                found.extend(name.take().map(|name| (name, group.stream())));
            }
            _ => name = None,
        }
    }
    found
}

fn mentions(stream: TokenStream, word: &str) -> bool {
    stream.into_iter().any(|token| matches!(token, TokenTree::Ident(ident) if ident == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    #[test]
    fn unsafe_has_its_places() {
        let count = |path: &str| unsafety(&File::of(path, "fn f() {\n    unsafe { g() }\n}")).len();
        assert_eq!(count("vnet-user/src/live/load.rs"), 1);
        assert_eq!(count("xtask/src/main.rs"), 1);
        assert_eq!(count("vnet-user/src/live/mmap.rs"), 0);
        assert_eq!(count("vnet-ebpf/src/probes/tap.rs"), 0);
        let said =
            File::of("vnet-user/src/app.rs", "// unsafe\n#![deny(unsafe_code)] fn f() { g(\"unsafe\") }");
        assert!(unsafety(&said).is_empty());
    }

    #[test]
    fn an_exception_needs_its_reason() {
        let lines = |text: &str| -> Vec<usize> {
            reasons(&File::of("vnet-user/src/app.rs", text)).iter().map(|found| found.line).collect()
        };
        assert_eq!(lines("#[expect(dead_code, reason = \"used by the next\")]\nfn f() {}"), NONE);
        assert_eq!(lines("\n#[expect(dead_code)]\nfn f() {}"), [2]);
        assert_eq!(lines("#![allow(dead_code, reason = \"r\")]\nfn f() {}"), [1]);
        assert_eq!(lines("mod m {\n#[cfg_attr(test, expect(dead_code))]\nfn f() {}\n}"), [2]);
        assert_eq!(lines("fn f() { x.expect(\"y\"); allow(z) }"), NONE);
    }
}
