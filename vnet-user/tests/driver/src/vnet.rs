//! Runs the real vnet beside the traffic and compares its report with the truth.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::truth::{Flow, Ledger, Queue};

/// How long anything that ends by itself may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `vnet report --format json`; killed when dropped.
#[derive(Debug)]
pub struct Vnet {
    child: Child,
    said: Receiver<String>,
    stdout: Option<thread::JoinHandle<std::io::Result<String>>>,
    /// From the start of the process to `counting since`.
    pub ready_after: Duration,
}

impl Vnet {
    /// Starts `binary` and waits until it counts.
    pub fn start(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let began = Instant::now();
        let mut vnet = Self::spawn(binary, arguments)?;
        let mut heard = String::new();
        loop {
            match vnet.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("counting since") => break,
                Ok(line) => heard.push_str(&line),
                Err(RecvTimeoutError::Timeout) => bail!("vnet does not begin to count; it said: {heard}"),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = vnet.child.wait()?;
                    bail!("vnet ended ({status}) before it counted: {heard}");
                }
            }
        }
        vnet.ready_after = began.elapsed();
        Ok(vnet)
    }

    /// Starts `binary` and waits for nothing.
    pub fn spawn(binary: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary)
            .args(["report", "--format", "json", "--for", "600s"])
            .args(arguments.iter().map(OsStr::new))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut stdout = child.stdout.take().context("no stdout")?;
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| say.send(line + "\n"))
        });
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        Ok(Self { child, said, stdout: Some(stdout), ready_after: Duration::ZERO })
    }

    /// Ends the observation as a user does (SIGINT) and takes the report.
    pub fn finish(self) -> Result<Report> {
        kill_process(self.pid(), Signal::INT)?;
        let text = self.end()?;
        Ok(Report(serde_json::from_str(&text).with_context(|| format!("not JSON: {text:.200}"))?))
    }

    /// Waits until it has ended, and in order; what it wrote to standard output.
    pub fn end(mut self) -> Result<String> {
        let stdout = self.stdout.take().context("already finished")?;
        let text = stdout.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let status = self.child.wait()?;
        if !status.success() {
            let said: String = self.said.try_iter().collect();
            bail!("vnet report failed ({status}): {said}");
        }
        Ok(text)
    }

    /// Kills it as nobody can catch (SIGKILL).
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Vnet {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What vnet says.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

impl Report {
    /// Rows of one namespace.
    pub fn queues(&self, netns: u64) -> impl Iterator<Item = &Value> {
        rows(&self.0["queues"]).filter(move |row| row["netns"] == netns)
    }

    /// Devices of one namespace.
    pub fn devices(&self, netns: u64) -> impl Iterator<Item = &Value> {
        rows(&self.0["devices"]).filter(move |row| row["netns"] == netns)
    }

    /// The device with this index and generation.
    pub fn device(&self, netns: u64, ifindex: u32, generation: u32) -> Option<&Value> {
        self.devices(netns).find(|d| d["ifindex"] == ifindex && d["generation"] == generation)
    }

    /// The row of one queue.
    pub fn queue(&self, key: Queue) -> Option<&Value> {
        self.queues(key.netns).find(|row| key_of(row) == Some(key))
    }

    /// How a signal is known.
    pub fn state(&self, signal: &str) -> Option<&str> {
        rows(&self.0["probes"]).find(|probe| probe["signal"] == signal)?["state"].as_str()
    }

    /// Every difference between the report and the truth in the namespaces that the truth speaks of: one line each.
    ///
    /// A row that the truth does not know must have counted nothing.
    pub fn differences(&self, truth: &Ledger) -> String {
        let mut lines = String::new();
        if self.0["lost"]["events"] != 0 || self.0["lost"]["records"] != 0 {
            let _infallible = writeln!(lines, "lost: {}", self.0["lost"]);
        }
        for (key, counts) in &truth.0 {
            let Some(row) = self.queue(*key) else {
                if counts.tx != Flow::default() || counts.rx != Flow::default() {
                    let _infallible = writeln!(lines, "{key:?}: no row");
                }
                continue;
            };
            for (side, flow) in [("tx", &counts.tx), ("rx", &counts.rx)] {
                compare(&row[side], flow, |what, seen, real| {
                    let _infallible = writeln!(lines, "{key:?} {side} {what}: vnet {seen}, truth {real}");
                });
            }
        }
        let spaces: std::collections::BTreeSet<u64> = truth.0.keys().map(|key| key.netns).collect();
        for row in spaces.into_iter().flat_map(|netns| self.queues(netns)) {
            let known = key_of(row).is_some_and(|key| truth.0.contains_key(&key));
            for side in ["tx", "rx"] {
                let counted = ["packets", "bytes", "segments"].iter().any(|what| row[side][what] != 0)
                    || row[side]["drops"].as_object().is_none_or(|drops| !drops.is_empty());
                if !known && counted {
                    let _infallible = writeln!(lines, "counted out of nothing: {side} of {row}");
                }
            }
        }
        lines
    }
}

fn compare(seen: &Value, truth: &Flow, mut differs: impl FnMut(&str, &Value, &dyn std::fmt::Display)) {
    for (what, real) in [("packets", truth.packets()), ("bytes", truth.bytes()), ("segments", truth.segments)]
    {
        if seen[what] != real {
            differs(what, &seen[what], &real);
        }
    }
    let drops = serde_json::json!(truth.drops);
    if seen["drops"] != drops {
        differs("drops", &seen["drops"], &drops);
    }
    let edges: Vec<u32> = rows(&seen["sizes"])
        .filter_map(|class| class["le"].as_u64().and_then(|le| u32::try_from(le).ok()))
        .collect();
    let classes = serde_json::json!(truth.classes(&edges));
    let counts = Value::Array(rows(&seen["sizes"]).map(|class| class["count"].clone()).collect());
    if counts != classes {
        differs("sizes", &counts, &classes);
    }
}

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn key_of(row: &Value) -> Option<Queue> {
    Some(Queue {
        netns: row["netns"].as_u64()?,
        ifindex: u32::try_from(row["ifindex"].as_u64()?).ok()?,
        generation: u32::try_from(row["generation"].as_u64()?).ok()?,
        queue: u16::try_from(row["queue"].as_u64()?).ok()?,
    })
}
