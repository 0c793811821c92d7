//! A lab machine: QEMU in pure emulation, which needs no KVM and no rights but those of its tap.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use vnet_driver::netns::Netns;

use super::{qemu::Qemu, verdict::tail};

/// Address of a machine's NIC; QEMU passes on only what is for it.
pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// How long the machine may be silent.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a machine is made of.
pub(crate) struct Machine<'a> {
    /// Kernel image.
    pub(crate) kernel: &'a Path,
    /// Initramfs, a file.
    pub(crate) initramfs: &'a Path,
    /// CPUs, as QEMU's `-smp` takes them.
    pub(crate) cpus: &'a str,
    /// Tap of the NIC, made in the machine's namespace.
    pub(crate) tap: &'a str,
    /// Queue pairs of the NIC.
    pub(crate) pairs: u32,
    /// Where its console goes.
    pub(crate) console: &'a Path,
}

/// A running machine; killed when dropped.
pub(crate) struct Vm {
    child: Child,
    to: ChildStdin,
    from: Receiver<String>,
    console: PathBuf,
}

impl Vm {
    /// Boots a machine inside `netns`.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub(crate) fn boot(qemu: &Qemu, machine: &Machine<'_>, netns: &Netns) -> Result<Self> {
        let mut command = qemu.command()?;
        command.args(["-m", "1024", "-smp"]).arg(machine.cpus);
        command.arg("-serial").arg(format!("file:{}", machine.console.display()));
        command.args(["-serial", "stdio"]);
        command.arg("-kernel").arg(machine.kernel).arg("-initrd").arg(machine.initramfs);
        command.args(["-append", "console=ttyS0 loglevel=4 ipv6.disable=1 panic=-1"]);
        command.arg("-netdev").arg(format!(
            "tap,id=net,ifname={},script=no,downscript=no,queues={},vhost=off",
            machine.tap, machine.pairs
        ));
        command
            .arg("-device")
            .arg(format!("virtio-net-pci,netdev=net,mq=on,vectors={},romfile=", 2 * machine.pairs + 2));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = netns.run(|| command.spawn().context("cannot start QEMU"))?;
        let to = child.stdin.take().context("no stdin")?;
        let (say, from) = mpsc::channel();
        for stream in [
            child.stdout.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
        ] {
            let lines = BufReader::new(stream.context("no output")?).lines();
            let say = say.clone();
            thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        }
        Ok(Self { child, to, from, console: machine.console.to_owned() })
    }

    /// The next line that the machine says.
    ///
    /// # Errors
    /// When it says none: with the end of its console.
    pub(crate) fn hear(&mut self) -> Result<String> {
        self.from.recv_timeout(PATIENCE).map_err(|_| self.fault("it fell silent"))
    }

    /// The next line, which must begin with `expected`; what follows it.
    ///
    /// # Errors
    /// As [`Vm::hear`], and when it says something else.
    pub(crate) fn expect(&mut self, expected: &str) -> Result<String> {
        let line = self.hear()?;
        match line.trim().strip_prefix(expected) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!(self.fault(&format!("it said `{line}` instead of `{expected}`"))),
        }
    }

    /// Says a line to the machine.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.to, "{line}")?)
    }

    fn fault(&self, what: &str) -> anyhow::Error {
        let console = fs::read_to_string(&self.console).unwrap_or_default();
        anyhow::anyhow!("lab machine: {what}{}", tail(&console))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
