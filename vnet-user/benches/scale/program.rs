//! The real program: reporting, and on a terminal.

use std::{
    io::{BufRead, BufReader, Read, Write},
    num::NonZero,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pty_process::{Size, blocking};
use rustix::process::{Pid, Signal, kill_process};
use vnet_driver::scale::{self, Resident};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Long enough to fill a pipe. A process that runs is asked in vain how long it has: it must wait.
const FULL_PIPE: Duration = Duration::from_millis(100);

/// The terminal of the screen.
const ROWS: NonZero<u16> = NonZero::new(50).expect("not 0");
const COLUMNS: NonZero<u16> = NonZero::new(160).expect("not 0");

/// Runs it to its end; what it prints is of no interest.
pub(crate) fn run(vnet: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(vnet);
    let output = command.args(arguments).stdin(Stdio::null()).output().context("cannot run vnet")?;
    ensure!(output.status.success(), "vnet failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A `vnet report` that counts; killed when dropped.
pub(crate) struct Reporting {
    child: Killed,
    stdout: ChildStdout,
    /// From its start to `counting since`.
    pub(crate) ready: Duration,
}

/// How a report ended.
pub(crate) struct Ended {
    /// Memory while it wrote the report.
    pub(crate) resident: Resident,
    /// From SIGINT to the first byte of the output.
    pub(crate) told: Duration,
    /// CPU time until it wrote.
    pub(crate) cpu: Duration,
    /// CPU time after that: writing, and what the kernel takes back.
    pub(crate) exit_cpu: Duration,
    /// Bytes written.
    pub(crate) bytes: u64,
}

impl Reporting {
    /// Starts it and waits until it counts.
    pub(crate) fn start(vnet: &Path, interval: &str, format: &str) -> Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(vnet);
        command.args(["report", "--for", "600s", "--interval", interval, "--format", format, "--all"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().context("cannot run vnet")?);
        let stdout = child.0.stdout.take().context("no stdout")?;
        let stderr = BufReader::new(child.0.stderr.take().context("no stderr")?);
        let (say, said) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut heard = String::new();
        loop {
            match said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("counting since") => break,
                Ok(line) => heard += &line,
                Err(_) => bail!("vnet does not begin to count; it said: {heard}"),
            }
        }
        Ok(Self { child, stdout, ready: began.elapsed() })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child.0)
    }

    /// Ends it as a user does.
    pub(crate) fn finish(mut self) -> Result<Ended> {
        let pid = self.pid();
        let (before, children) = (scale::cpu(pid)?, scale::children_cpu()?);
        let asked = Instant::now();
        kill_process(pid, Signal::INT)?;
        // The report does not fit into the pipe: vnet has all of it and waits until somebody reads on.
        let mut text = vec![0];
        self.stdout.read_exact(&mut text).context("vnet wrote no report")?;
        let told = asked.elapsed();
        thread::sleep(FULL_PIPE);
        let (at_report, resident) = (scale::cpu(pid)?, Resident::of(pid)?);
        self.stdout.read_to_end(&mut text)?;
        let status = self.child.0.wait()?;
        ensure!(status.success(), "vnet report failed ({status})");
        let whole = scale::children_cpu()?.saturating_sub(children);
        Ok(Ended {
            resident,
            told,
            cpu: at_report.saturating_sub(before),
            exit_cpu: whole.saturating_sub(at_report),
            bytes: text.len() as u64,
        })
    }
}

/// A `vnet top` on a terminal that somebody reads; killed when dropped.
pub(crate) struct Watching {
    child: Killed,
    keys: blocking::Pty,
    /// From its start until a device is on the screen.
    pub(crate) shown: Duration,
}

impl Watching {
    /// Starts it and waits for the first numbers.
    pub(crate) fn start(vnet: &Path) -> Result<Self> {
        let (pty, pts) = blocking::open()?;
        pty.resize(Size::new(ROWS.get(), COLUMNS.get()))?;
        let began = Instant::now();
        let command = blocking::Command::new(vnet).arg("top").env("TERM", "xterm").env("LANG", "C.UTF-8");
        let child = Killed(command.spawn(pts)?);
        let mut screen = std::fs::File::from(std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned()?);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut parser = vt100::Parser::new(ROWS, COLUMNS, 0);
            let mut bytes = vec![0; 1 << 16];
            let mut listening = true;
            // To the end, so that the screen never waits for its reader.
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                if listening {
                    parser.process(&bytes[..n]);
                    listening = tell.send(parser.screen().contents()).is_ok();
                }
            }
        });
        let mut seen = String::new();
        while !seen.contains("tap") {
            let next = told.recv_timeout(PATIENCE);
            seen = next.with_context(|| format!("vnet top shows no device, but this:\n{seen}"))?;
        }
        let shown = began.elapsed();
        Ok(Self { child, keys: pty, shown })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child.0)
    }

    pub(crate) fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
