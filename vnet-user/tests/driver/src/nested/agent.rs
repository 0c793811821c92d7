//! The line to a guest's agent (`vnet-agent`).

use std::{
    fmt::Debug,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// How long a command in a guest may take; emulation on a busy machine is slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// A line to the agent.
#[derive(Debug)]
pub(super) struct Agent {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Agent {
    /// Speaks through a socket of QEMU; nobody need listen yet.
    pub(super) fn new(socket: UnixStream) -> Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { to: socket.try_clone()?, from: BufReader::new(socket) })
    }

    /// Tells it a line, and hears nothing.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        ensure!(!line.contains('\n'), "the agent is told one line");
        Ok(self.to.write_all(format!("{line}\n").as_bytes())?)
    }

    /// The answer to the oldest line that has none: what the shell wrote, which must have ended well.
    pub(super) fn hear(&mut self) -> Result<String> {
        let mut head = String::new();
        self.from.read_line(&mut head).context("the guest does not answer")?;
        let (status, length) = head.trim().split_once(' ').context("the guest is gone")?;
        let mut output = vec![0; length.parse().with_context(|| format!("the guest answers {head:?}"))?];
        self.from.read_exact(&mut output).context("the guest does not end its answer")?;
        let output = String::from_utf8_lossy(&output).into_owned();
        if status != "0" {
            bail!("exit status {status}: {}", output.trim());
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_as_long_as_they_say() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut agent = Agent::new(ours).unwrap();
        theirs.write_all(b"0 4\na\nb\n1 3\nno\n0 0\n").unwrap();
        assert_eq!(agent.hear().unwrap(), "a\nb\n");
        assert_eq!(agent.hear().unwrap_err().to_string(), "exit status 1: no");
        assert_eq!(agent.hear().unwrap(), "");
        assert!(agent.tell("two\nlines").is_err());
        drop(theirs);
        assert_eq!(agent.hear().unwrap_err().to_string(), "the guest is gone");
    }
}
