//! A real Prometheus: it scrapes as it would anywhere, and is asked for what it has.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::run::{PATIENCE, ask};

/// Killed when dropped, its data removed.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts it with a configuration, `rules` being files of rules.
    pub(crate) fn start(programs: &Path, scrape: &str, rules: &[&Path]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prometheus.yml");
        let rules = serde_json::to_string(rules)?;
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 250ms\n  scrape_timeout: 200ms\n  evaluation_interval: 250ms\n\
                 rule_files: {rules}\nscrape_configs:\n  - job_name: vnet\n{scrape}"
            ),
        )?;
        let checked =
            Command::new(programs.join("promtool")).args(["check", "config"]).arg(&config).output()?;
        ensure!(checked.status.success(), "promtool: {}", String::from_utf8_lossy(&checked.stdout));
        // Whoever takes the port in between makes it fail, aloud.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = fs::File::create(folder.path().join("log"))?;
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run prometheus")?;
        let mut prometheus = Self { child, address, folder };
        let deadline = Instant::now() + PATIENCE;
        while !prometheus.get("/-/ready").is_ok_and(|answer| answer.contains(" 200 ")) {
            if prometheus.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("prometheus does not start:\n{}", prometheus.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(prometheus)
    }

    /// Scrapes one address by plain HTTP.
    pub(crate) fn of(programs: &Path, target: SocketAddr, rules: &[&Path]) -> Result<Self> {
        Self::start(programs, &format!("    static_configs: [{{targets: ['{target}']}}]\n"), rules)
    }

    /// What it said itself.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Result<String> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n");
        ask(self.address, request.as_bytes())
    }

    fn api(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        let body = answer.split_once("\r\n\r\n").context("no HTTP")?.1;
        let mut answer: Value = serde_json::from_str(body).with_context(|| format!("{path}: {body}"))?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].take())
    }

    /// The series that an expression has now: labels and value.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let mut encoded = String::new();
        for byte in expression.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => encoded.push(byte.into()),
                _ => write!(encoded, "%{byte:02X}")?,
            }
        }
        let data = self.api(&format!("/api/v1/query?query={encoded}"))?;
        let series = data["result"].as_array().with_context(|| format!("{expression}: {data}"))?;
        let value = |series: &Value| {
            let value = series["value"][1].as_str().context("no value")?.parse()?;
            Ok((series["metric"].clone(), value))
        };
        series.iter().map(value).collect()
    }

    /// All rules, as it evaluates them.
    pub(crate) fn rules(&self) -> Result<Vec<Value>> {
        let data = self.api("/api/v1/rules")?;
        let groups = data["groups"].as_array().context("no groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    /// The one value of an expression; `None` where it has no series.
    pub(crate) fn value(&self, expression: &str) -> Result<Option<f64>> {
        let series = self.query(expression)?;
        ensure!(series.len() < 2, "{expression} has {} series", series.len());
        Ok(series.first().map(|(_, value)| *value))
    }

    /// Waits until an expression has this value, or no series.
    pub(crate) fn becomes(&self, expression: &str, wanted: Option<f64>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.value(expression)?;
            if value == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{expression} is {value:?}, not {wanted:?}; targets: {}", self.api("/api/v1/targets")?);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
