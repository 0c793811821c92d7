//! Rules on any text file: its length, what it must not name, and what must be there.

use super::Finding;
use super::files::File;

/// A file past this is two files.
const LINES: usize = 400;

/// Registries and their hosts, in halves so that this file does not name them either.
const REGISTRIES: &[(&str, &str)] = &[
    ("crates", "io"),
    ("static.rust-lang", "org"),
    ("deb.debian", "org"),
    ("security.debian", "org"),
    ("snapshot.debian", "org"),
    ("archive.ubuntu", "com"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
];

/// Folders that only one machine or user has, in halves for the same reason.
const PLACES: &[(&str, &str)] = &[("/wo", "rk"), ("/ro", "ot"), ("/ho", "me"), ("/Us", "ers"), ("/t", "mp")];

/// The commands the README promises.
const COMMANDS: &[&str] = &["cargo xtask run", "cargo xtask test"];

/// The landing gate.
const GATE: &str = ".ci/run";

impl File {
    /// Something that breaks a rule in this file.
    pub(super) fn finding(&self, line: usize, what: String) -> Finding {
        Finding { path: self.path.clone(), line, what }
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// A Rust file is not too long to be read at once.
pub(super) fn length(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    let long = file.is_rust() && lines > LINES;
    long.then(|| file.finding(lines, format!("{lines} lines: past {LINES} a file is two files")))
        .into_iter()
        .collect()
}

/// Where packages come from is the business of the user's own configuration.
pub(super) fn registries(file: &File) -> Vec<Finding> {
    if file.path == "Cargo.lock" {
        return Vec::new(); // cargo writes the source of every crate into it
    }
    let hosts = REGISTRIES.iter().map(|(left, right)| format!("{left}.{right}"));
    hosts
        .flat_map(|host| {
            let lines = file.lines().filter(|(_, line)| line.contains(&host)).map(|(number, _)| number);
            lines
                .map(|number| file.finding(number, "a package registry is named".to_owned()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// No file depends on where its author keeps things. Tests may use the folder for temporary files.
pub(super) fn places(file: &File) -> Vec<Finding> {
    let mut tests = file.is_test();
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        tests |= file.is_rust() && line.trim_start().starts_with("#[cfg(test)]");
        for (left, right) in PLACES {
            let place = format!("{left}{right}");
            if names(line, &place) && !(tests && place.ends_with("tmp")) {
                found.push(file.finding(number, format!("`{place}` is a place of one machine")));
            }
        }
    }
    found
}

/// Whether `line` names the folder `place`, rather than having it inside a longer path or word.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        let inside = |c: char| c.is_alphanumeric() || "./-_~$}>*)".contains(c);
        !before.is_some_and(inside) && !after.is_some_and(|c| c.is_alphanumeric() || "-_.".contains(c))
    })
}

/// The README tells how to start and how to check.
pub(super) fn readme(file: &File) -> Vec<Finding> {
    if file.path != "README.md" {
        return Vec::new();
    }
    let absent = COMMANDS.iter().filter(|command| !file.text.contains(**command));
    absent.map(|command| file.finding(1, format!("`{command}` is not told"))).collect()
}

/// The gate is what the README says.
pub(super) fn gate(file: &File) -> Vec<Finding> {
    if file.path != GATE {
        return Vec::new();
    }
    let mut found = Vec::new();
    if !file.executable {
        found.push(file.finding(1, "it is not executable".to_owned()));
    }
    if !file.lines().any(|(_, line)| line.trim_start().starts_with("exec cargo xtask test")) {
        found.push(file.finding(1, "it does not end in `cargo xtask test`".to_owned()));
    }
    found
}

/// Files that must be there.
pub(super) fn missing(files: &[File]) -> Vec<Finding> {
    let absent = ["README.md", GATE].into_iter().filter(|path| !files.iter().any(|file| file.path == *path));
    absent.map(|path| Finding { path: path.to_owned(), line: 0, what: "it is missing".to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(rule: super::super::Rule, path: &str, text: &str) -> usize {
        rule(&File::of(path, text)).len()
    }

    #[test]
    fn a_long_file_is_told() {
        assert_eq!(count(length, "a.rs", &"\n".repeat(LINES)), 0);
        assert_eq!(count(length, "a.rs", &"\n".repeat(LINES + 1)), 1);
        assert_eq!(count(length, "a.md", &"\n".repeat(LINES + 1)), 0);
    }

    #[test]
    fn a_registry_is_told() {
        for (left, right) in REGISTRIES {
            let text = format!("url = \"https://{left}.{right}/x\"");
            assert_eq!(count(registries, "a/b.toml", &text), 1);
            assert_eq!(count(registries, "Cargo.lock", &text), 0);
        }
        assert_eq!(count(registries, "a.md", "the crate registry, Debian's mirror"), 0);
    }

    #[test]
    fn a_place_of_one_machine_is_told() {
        for (left, right) in PLACES {
            for text in
                [format!("cd {left}{right}/x"), format!("\"{left}{right}\""), format!("a={left}{right}")]
            {
                assert_eq!(count(places, "a/b.sh", &text), 1, "{text}");
            }
            let inside = format!(
                "a{left}{right}/x ${{A}}{left}{right} b{left}{right} {left}{right}er ./x{left}{right}"
            );
            assert_eq!(count(places, "a/b.sh", &inside), 0, "{inside}");
        }
        let scratch =
            format!("#[cfg(test)]\nmod tests {{ const DIR: &str = \"{}\"; }}", ["/t", "mp/x"].concat());
        assert_eq!(count(places, "a.rs", &scratch), 0);
        assert_eq!(count(places, "a.rs", &scratch.replace("test", "unix")), 1);
    }

    #[test]
    fn the_readme_and_the_gate_are_checked() {
        assert_eq!(count(readme, "README.md", "cargo xtask run\ncargo xtask test"), 0);
        assert_eq!(count(readme, "README.md", "cargo xtask run"), 1);
        let mut file = File::of(GATE, "#!/bin/sh\nexec cargo xtask test\n");
        assert_eq!(gate(&file).len(), 1);
        file.executable = true;
        assert_eq!(gate(&file).len(), 0);
        file.text = "#!/bin/sh\nexit 0 # cargo xtask test\n".to_owned();
        assert_eq!(gate(&file).len(), 1);
        assert_eq!(missing(&[file]).len(), 1);
    }
}
