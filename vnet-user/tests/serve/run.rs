//! A running `vnet serve`, and a client that speaks HTTP by hand.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything that happens by itself may take before the test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Killed when dropped.
pub(crate) struct Serve {
    child: Child,
    said: Receiver<String>,
    pub(crate) address: SocketAddr,
    /// What it said until it answered.
    pub(crate) heard: String,
}

impl Serve {
    /// Starts it at a free port; returns once it answers.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        Self::with(Command::new(env!("CARGO_BIN_EXE_vnet")).arg("serve").args(arguments))
    }

    pub(crate) fn with(command: &mut Command) -> Result<Self> {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run vnet")?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let (say, said) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut heard = String::new();
        loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else {
                let _gone = child.kill();
                let status = child.wait()?;
                bail!("vnet does not answer ({status}); it said: {heard}");
            };
            heard = heard + &line + "\n";
            if let Some((_, address)) = line.split_once("listening at ") {
                let address = address.split_once("://").context("no URL")?.1.trim_end_matches('/');
                let address = address.parse().context("no address")?;
                return Ok(Self { child, said, address, heard });
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// GETs a path: head and body of the answer.
    pub(crate) fn get(&self, path: &str, headers: &str) -> Result<(String, String)> {
        let answer =
            ask(self.address, format!("GET {path} HTTP/1.1\r\nHost: vnet\r\n{headers}\r\n").as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
        Ok((head.to_ascii_lowercase(), body.to_owned()))
    }

    /// The body at a path that is there.
    pub(crate) fn body(&self, path: &str) -> Result<String> {
        let (head, body) = self.get(path, "")?;
        ensure!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        Ok(body)
    }

    /// Ends it as systemd does; how it ended, and what it said since it answered.
    pub(crate) fn end(mut self) -> Result<(ExitStatus, String)> {
        kill_process(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => bail!("it does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        Ok((status, self.said.iter().fold(String::new(), |said, line| said + &line + "\n")))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Sends bytes and takes what comes until the other side closes.
pub(crate) fn ask(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Who is refused early may find the connection closed while it still writes.
    let _refused = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// Runs a program with something to read: whether it was content, and all that it said.
pub(crate) fn check(program: &Path, arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    child.stdin.take().context("no stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}
