//! Calling other programs: with a clean environment, their output kept for when it is needed, never for ever.

use std::env;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Lets `command` see nothing of the cargo that runs this program, so that another toolchain is not confused by it.
pub(crate) fn scrub(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        // Where cargo keeps crates and rustup its toolchains is the user's choice, not this cargo's state.
        let kept = ["CARGO_HOME", "RUSTUP_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_"];
        let ours = text.starts_with("CARGO") || text.starts_with("RUST") || text == "LD_LIBRARY_PATH";
        if ours && !kept.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `command` to its end; its output is shown when `verbose`, else only if it fails or warns.
///
/// # Errors
/// When it cannot be started or ends with another status than 0; the output is then in the error.
pub(crate) fn run(command: &mut Command, verbose: bool) -> Result<()> {
    command.stdin(Stdio::null());
    if verbose {
        let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
        if !status.success() {
            bail!("{} ended with {status}", name(command));
        }
        return Ok(());
    }
    let (_, stderr) = finish(command)?;
    if stderr.lines().any(|line| line.starts_with("warning: ")) {
        eprint!("{stderr}");
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to its standard output.
///
/// # Errors
/// As [`run`].
pub(crate) fn text(command: &mut Command) -> Result<String> {
    Ok(finish(command)?.0)
}

/// As [`text`], for output that is not text.
///
/// # Errors
/// As [`run`].
pub(crate) fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    checked(command, &output)?;
    Ok(output.stdout)
}

/// As [`text`], but ends the program after `limit`.
///
/// # Errors
/// As [`run`], and when the limit has passed.
pub(crate) fn text_within(command: &mut Command, limit: Duration) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", name(command)))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let Some(status) = wait_until(&mut child, Instant::now() + limit)? else {
        child.kill().and_then(|()| child.wait()).with_context(|| format!("cannot end {}", name(command)))?;
        bail!("{} was ended after {} s without an answer", name(command), limit.as_secs());
    };
    let collect = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    let output = Output { status, stdout: collect(stdout), stderr: collect(stderr) };
    Ok(checked(command, &output)?.0)
}

fn wait_until(child: &mut Child, end: Instant) -> Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(Duration::from_millis(20));
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn finish(command: &mut Command) -> Result<(String, String)> {
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    checked(command, &output)
}

fn checked(command: &Command, output: &Output) -> Result<(String, String)> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok((stdout, stderr));
    }
    bail!("{} ended with {}\n{}{}", name(command), output.status, stdout, stderr.trim_end())
}

/// A command as a user would type it, without its environment.
pub(crate) fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    format!("`{}`", words.join(" "))
}
