//! `vnet serve`, the real program, in front of a real Prometheus and of clients of all kinds.

mod clients;
mod dashboards;
mod exposition;
mod full;
mod live;
mod prometheus;
mod run;
mod secret;

use std::path::PathBuf;

/// Why tests with the live source cannot run here, or `None`.
fn live() -> Option<String> {
    let fatal = vnet::live::prereq::check().into_iter().find(|problem| problem.fatal);
    let object = || vnet::live::object().err().map(|e| format!("{e:#}"));
    fatal.map(|problem| problem.sentence).or_else(object).or_else(vnet_driver::need::bpf)
}

/// Where Debian's `prometheus` and `promtool` are: the folder that `VNET_PROMETHEUS` names, or one of the path.
fn prometheus() -> Result<PathBuf, String> {
    let named = std::env::var_os("VNET_PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = named.into_iter().chain(std::env::split_paths(&path));
    let has = |folder: &PathBuf| ["prometheus", "promtool"].iter().all(|name| folder.join(name).is_file());
    folders
        .into_iter()
        .find(has)
        .ok_or_else(|| "no prometheus: let VNET_PROMETHEUS be what `cargo xtask prometheus` tells".to_owned())
}
