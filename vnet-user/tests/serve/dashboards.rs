//! Dashboards, rules and runbooks against the table of metrics and a real Prometheus: none of them speaks of what is not there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vnet::export::METRICS;
use vnet_driver::need;

use crate::{full, prometheus, prometheus::Prometheus};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// Files of the folder with this ending, by name.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut files: Vec<_> =
        entries.into_iter().filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    Ok(files)
}

fn dashboards() -> Result<Vec<(String, Value)>> {
    let read = |path: &PathBuf| {
        let name = path.file_name().context("no name")?.to_string_lossy().into_owned();
        Ok((name, serde_json::from_str(&fs::read_to_string(path)?)?))
    };
    let all = files(&folder(), "json")?.iter().map(read).collect::<Result<Vec<_>>>()?;
    ensure!(all.len() == 4, "fleet, host, VM and queue");
    Ok(all)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// An expression as Grafana sends it with all variables at "All".
fn filled(expression: &str) -> String {
    let names = ["instance", "vm", "netns", "device"];
    let filled = expression.replace("$__rate_interval", "1m");
    names.iter().fold(filled, |text, name| text.replace(&format!("\"${name}\""), "\".*\""))
}

/// Names of metrics and recorded series in an expression.
fn names(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| word.contains(':') || word.starts_with("vnet_") || word.starts_with("process_"))
        .collect()
}

fn is_known(name: &str, recorded: &BTreeSet<String>) -> bool {
    let part = ["_sum", "_count", "_bucket"].iter().find_map(|part| name.strip_suffix(part));
    METRICS.iter().any(|metric| metric.name == name || Some(metric.name) == part) || recorded.contains(name)
}

#[test]
fn every_panel_says_what_it_shows_and_leads_on() -> Result<()> {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards()? {
        let uid = dashboard["uid"].as_str().with_context(|| format!("{name} has no uid"))?;
        assert!(uids.insert(uid.to_owned()), "{uid} twice");
        assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource", "{name}");
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty(), "{name}: {panel}");
            let described = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(described, "{name}, {title}: no description");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}, {title}: no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}, {title}");
            assert!(!list(panel, "targets").is_empty(), "{name}, {title}: nothing is shown");
            for link in list(panel, "links") {
                let url = link["url"].as_str().unwrap_or_default();
                assert!(folder().join(url).is_file(), "{name}, {title}: {url} is not there");
            }
        }
        for link in list(&dashboard, "links") {
            let url = link["url"].as_str().unwrap_or_default();
            assert!(
                ["fleet", "host", "vm", "queue"].iter().any(|to| url == format!("/d/vnet-{to}")),
                "{name}: {url}"
            );
        }
    }
    Ok(())
}

#[test]
fn rules_are_sound_and_each_alert_fires_and_clears() -> Result<()> {
    need!(prometheus().err());
    let promtool = prometheus().map_err(anyhow::Error::msg)?.join("promtool");
    for arguments in
        [["check", "rules", "rules.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "tests.yml"]]
    {
        let output = Command::new(&promtool).args(arguments).current_dir(folder()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !said.contains("FAILED"), "{arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn every_expression_has_data() -> Result<()> {
    need!(prometheus().err());
    let programs = prometheus().map_err(anyhow::Error::msg)?;
    let target = full::serve(2, 2, 4)?;
    let rules = ["rules.yml", "alerts.yml"].map(|name| folder().join(name));
    let server = Prometheus::of(&programs, target, &rules.each_ref().map(PathBuf::as_path))?;
    server.becomes("count(instance:vnet_rx_drops:rate5m > 0)", Some(1.0))?;
    server.becomes("count(vnet_scrape_duration_seconds)", Some(1.0))?;

    let (mut recorded, mut alerts) = (BTreeSet::new(), Vec::new());
    for rule in server.rules()? {
        let name = rule["name"].as_str().context("no name")?.to_owned();
        assert_eq!(rule["health"], "ok", "{rule}");
        if rule["type"] == "recording" {
            assert!(!server.query(&name)?.is_empty(), "{name} has no data");
            recorded.insert(name);
        } else {
            alerts.push((name, rule));
        }
    }
    let mut wrong = Vec::new();
    for (name, dashboard) in dashboards()? {
        for panel in panels(&dashboard) {
            for target in list(panel, "targets") {
                let expression = target["expr"].as_str().context("no expression")?;
                let unknown: Vec<_> =
                    names(expression).into_iter().filter(|name| !is_known(name, &recorded)).collect();
                if !unknown.is_empty() {
                    wrong.push(format!("{name}, {}: no such metric: {unknown:?}", panel["title"]));
                } else if server.query(&filled(expression))?.is_empty() {
                    wrong.push(format!("{name}, {}: no data: {expression}", panel["title"]));
                }
            }
        }
    }
    let mut books: BTreeSet<_> = files(&folder().join("runbooks"), "md")?.into_iter().collect();
    for (name, rule) in &alerts {
        let expression = rule["query"].as_str().context("no expression")?;
        // What an alert compares is there, whatever it compares it with.
        for metric in names(expression) {
            if !is_known(metric, &recorded) {
                wrong.push(format!("{name}: no such metric: {metric}"));
            } else if server.query(metric)?.is_empty() {
                wrong.push(format!("{name}: no data: {metric}"));
            }
        }
        let book = folder().join(rule["annotations"]["runbook_url"].as_str().context("no runbook")?);
        let text = fs::read_to_string(&book).with_context(|| format!("{name}: {}", book.display()))?;
        let headings = ["Meaning", "Impact", "Diagnosis", "Mitigation"];
        if !text.starts_with(&format!("# {name}\n"))
            || !headings.iter().all(|h| text.contains(&format!("\n## {h}\n")))
        {
            wrong.push(format!("{name}: its runbook has another form"));
        }
        books.remove(&book);
    }
    assert!(books.is_empty(), "runbooks without an alert: {books:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}
