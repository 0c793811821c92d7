//! Who may import whom in `vnet-user`: its modules are layers, and each outside crate has one place.

use super::Finding;
use super::files::File;
use super::tokens::{Path, Tests, paths};

/// The program's source folder.
const HOME: &str = "vnet-user/src/";

/// Per top-level module, the other top-level modules it may name. A new module is a new row.
///
/// Sources make records, `state` folds them, outputs see only the report: ids that an output needs are exported by it.
const LAYERS: &[(&str, &[&str])] = &[
    // The waist.
    ("record", &["topology"]),
    ("topology", &[]),
    ("filter", &["record", "topology"]),
    // Sources.
    ("live", &["record", "topology", "filter"]),
    ("trace", &["record", "topology", "filter"]),
    ("model", &["record", "topology", "filter"]),
    // What is derived.
    ("state", &["record", "topology", "report", "advisor"]),
    ("settings", &[]),
    ("advisor", &["record", "topology", "report", "state", "settings"]),
    ("report", &["record", "topology", "state", "advisor"]),
    // Outputs.
    ("export", &["report"]),
    ("perfetto", &["report"]),
    ("tui", &["report"]),
];

/// Modules that wire the others and may name all of them.
const WIRING: &[&str] = &["main", "lib", "cli", "app"];

/// Outside crates that have one place: what they are for, the crates, and the paths that may name them.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("the kernel", &["aya", "aya_obj", "aya_log", "libc"], &["live/"]),
    ("the terminal", &["ratatui", "ratatui_core", "crossterm"], &["tui/"]),
    (
        "the exposition",
        &[
            "prometheus",
            "hyper",
            "hyper_util",
            "http_body_util",
            "tokio_rustls",
            "bcrypt",
            "base64",
            "serde_saphyr",
        ],
        &["export/"],
    ),
    ("the command line", &["clap", "clap_complete", "clap_mangen"], &["cli.rs", "cli/"]),
];

/// Modules whose result depends on their input alone.
const PURE: &[&str] = &["model", "state", "advisor"];

/// What would make them depend on more.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "time::Instant",
    "time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "tokio",
];

/// A module names only the modules below it.
pub(super) fn imports(file: &File) -> Vec<Finding> {
    let Some(place) = Place::of(file) else { return Vec::new() };
    if WIRING.contains(&place.top) {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == place.top) else {
        let what = format!("`{}` has no row in LAYERS of xtask's tidy: say there what it may see", place.top);
        return vec![file.finding(1, what)];
    };
    let known = |name: &str| LAYERS.iter().any(|(module, _)| *module == name) || WIRING.contains(&name);
    let mut found = Vec::new();
    for path in paths(&file.text, Tests::Skip) {
        let Some(target) = place.resolve(&path) else { continue };
        if known(&target) && target != place.top && !allowed.contains(&target.as_str()) {
            found.push(file.finding(path.line, format!("`{}` may not see `{target}`", place.top)));
        }
    }
    found
}

/// A crate that has its one place is named only there.
pub(super) fn crates(file: &File) -> Vec<Finding> {
    let Some(rest) = file.path.strip_prefix(HOME).filter(|_| file.is_rust()) else { return Vec::new() };
    let mut found = Vec::new();
    for path in paths(&file.text, Tests::Count).iter().filter(|path| path.segments.len() > 1) {
        for (what, crates, places) in CRATES {
            let named = crates.contains(&path.segments[0].as_str());
            if named && !places.iter().any(|place| rest.starts_with(place)) {
                let message =
                    format!("`{}` is {what}: only {} may name it", path.segments[0], places.join(", "));
                found.push(file.finding(path.line, message));
            }
        }
    }
    found
}

/// The pure modules reach for nothing outside their input.
pub(super) fn purity(file: &File) -> Vec<Finding> {
    let Some(place) = Place::of(file).filter(|place| PURE.contains(&place.top)) else { return Vec::new() };
    let mut found = Vec::new();
    for path in paths(&file.text, Tests::Skip) {
        if let Some(reached) = IMPURE.iter().find(|prefix| path.reaches(prefix)) {
            let what = format!("`{}` has no clock, thread or I/O, and this reaches `{reached}`", place.top);
            found.push(file.finding(path.line, what));
        }
    }
    found
}

/// Where a file of the program is in its tree of modules.
struct Place<'a> {
    top: &'a str,
    /// Segments below the crate, its own name last.
    module: Vec<&'a str>,
}

impl<'a> Place<'a> {
    fn of(file: &'a File) -> Option<Self> {
        let rest = file.path.strip_prefix(HOME)?.strip_suffix(".rs")?;
        let mut module: Vec<&str> = rest.split('/').collect();
        if module.len() > 1 && module.last() == Some(&"mod") {
            module.pop();
        }
        (!file.is_test()).then_some(Self { top: module[0], module })
    }

    /// The top-level module that a path names, if it is one of this crate's.
    fn resolve(&self, path: &Path) -> Option<String> {
        let mut segments = path.segments.iter().map(String::as_str);
        match segments.next()? {
            "crate" | "vnet" => segments.next().map(str::to_owned),
            "super" => {
                let ups = 1 + segments.clone().take_while(|segment| *segment == "super").count();
                let above = self.module.len().checked_sub(ups)?;
                match above {
                    0 => segments.nth(ups - 1).map(str::to_owned),
                    _ => None, // inside its own top-level module
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn found(rule: super::super::Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&File::of(path, text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_output_sees_only_the_report() {
        let tui = "vnet-user/src/tui/view/queues.rs";
        assert_eq!(found(imports, tui, "use crate::report::Report;\nuse crate::state::State;"), [2]);
        assert_eq!(found(imports, tui, "use super::super::super::live;"), [1]);
        assert_eq!(found(imports, tui, "use super::super::keys;\nuse super::cell;"), NONE);
        assert_eq!(found(imports, "vnet-user/src/tui/mod.rs", "fn f() { super::live::g() }"), [1]);
        assert_eq!(found(imports, "vnet-user/src/export/mod.rs", "use crate::{report, topology::Id};"), [1]);
    }

    #[test]
    fn a_source_never_sees_the_state() {
        for source in ["live", "trace", "model"] {
            let path = format!("vnet-user/src/{source}/mod.rs");
            assert_eq!(found(imports, &path, "use crate::record::Record;"), NONE);
            assert_eq!(found(imports, &path, "use crate::record::Record;\nuse crate::state;"), [2]);
            assert_eq!(found(imports, &path, "fn f() { let s = vnet::state::State::new(); }"), [1]);
        }
    }

    #[test]
    fn a_module_without_a_row_is_told() {
        assert_eq!(found(imports, "vnet-user/src/helpers.rs", ""), [1]);
        assert_eq!(found(imports, "vnet-user/src/app.rs", "use vnet::{live, state, tui};"), NONE);
        assert_eq!(found(imports, "xtask/src/main.rs", "use crate::state;"), NONE);
    }

    #[test]
    fn a_crate_is_named_only_in_its_place() {
        assert_eq!(found(crates, "vnet-user/src/live/load.rs", "use aya::Ebpf;"), NONE);
        assert_eq!(found(crates, "vnet-user/src/state/mod.rs", "use aya::Ebpf;"), [1]);
        assert_eq!(found(crates, "vnet-user/src/app.rs", "\nfn f() { libc::getuid(); }"), [2]);
        assert_eq!(found(crates, "vnet-user/src/report/text.rs", "use ratatui::style::Color;"), [1]);
        assert_eq!(found(crates, "vnet-user/src/tui/ui.rs", "use ratatui::style::Color;"), NONE);
        assert_eq!(found(crates, "vnet-user/src/main.rs", "use clap::Parser;"), [1]);
        assert_eq!(found(crates, "vnet-user/src/cli.rs", "use clap::Parser;"), NONE);
        assert_eq!(found(crates, "vnet-user/src/app.rs", "// aya::Ebpf\nfn libc() { clap() }"), NONE);
    }

    #[test]
    fn a_pure_module_has_no_clock_thread_or_io() {
        for module in PURE {
            let path = format!("vnet-user/src/{module}/fold.rs");
            for text in [
                "use std::time::Instant;",
                "use std::time;\nfn f() { time::SystemTime::now(); }",
                "use std::{fs::File};",
                "use std::*;",
                "fn f() { std::thread::sleep(d) }",
                "async fn f() { tokio::time::sleep(d).await }",
            ] {
                assert_eq!(found(purity, &path, text).len(), 1, "{text}");
            }
            assert_eq!(found(purity, &path, "use std::time::Duration;\nuse std::fmt;"), NONE);
            assert_eq!(found(purity, &path, "#[cfg(test)]\nmod tests { use std::fs; }"), NONE);
        }
        assert_eq!(found(purity, "vnet-user/src/live/mod.rs", "use std::time::Instant;"), NONE);
    }
}
