//! A machine that runs one program and ends: boot, output as it comes, verdict.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    guest::Guest,
    kernel::Kernel,
    qemu::Qemu,
    verdict::{Fault, Phase, Progress, Verdict, complaints, tail},
};
use crate::{paths, progress};

/// How long a machine may take until its program starts; emulation on a busy machine is slow.
const BOOT: Duration = Duration::from_mins(3);
/// How long it may take to power off.
const END: Duration = Duration::from_secs(20);

/// What a machine is made of.
#[derive(Clone)]
pub(crate) struct Machine {
    /// CPUs, as QEMU's `-smp` takes them: `2`, `8,sockets=4,cores=1,threads=2`.
    pub(crate) cpus: String,
    /// Memory in MiB; none: what its files need and 1 GiB more.
    pub(crate) memory: Option<u64>,
    /// More words on the kernel's command line.
    pub(crate) append: Vec<String>,
    /// Its clock counts instructions, so that costs are the same in every run.
    pub(crate) icount: bool,
    /// More arguments for QEMU.
    pub(crate) qemu: Vec<String>,
    /// How long the program may take.
    pub(crate) limit: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        let limit = Duration::from_mins(10);
        Self {
            cpus: "2".to_owned(),
            memory: None,
            append: Vec::new(),
            icount: false,
            qemu: Vec::new(),
            limit,
        }
    }
}

/// Memory of each node, in MiB.
const NODE: u64 = 1024;

/// A machine with a node for each of these ranges of CPUs; with none it has one of all.
pub(crate) fn of_nodes(cpus: &[&str]) -> Machine {
    let node = |(id, cpus): (usize, &&str)| {
        [
            "-object".to_owned(),
            format!("memory-backend-ram,id=node{id},size={NODE}M"),
            "-numa".to_owned(),
            format!("node,nodeid={id},cpus={cpus},memdev=node{id}"),
        ]
    };
    if cpus.is_empty() {
        return Machine::default();
    }
    let nodes = cpus.iter().enumerate().flat_map(node);
    Machine { memory: Some(NODE * cpus.len() as u64), qemu: nodes.collect(), ..Machine::default() }
}

/// Runs a guest's program; what it writes is given to `output` as it comes. A boot that fails is tried a second time.
///
/// # Errors
/// When the machine does not start, ends early, or takes too long: with the end of its console.
pub(crate) fn run(
    qemu: &Qemu,
    kernel: &Kernel,
    machine: &Machine,
    guest: &Guest,
    output: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Verdict> {
    let folder = tempfile::tempdir().context("cannot make a folder for the machine")?;
    let initramfs = folder.path().join("initramfs");
    fs::write(&initramfs, guest.initramfs(kernel)?).context("cannot write the initramfs")?;
    let console = folder.path().join("console");
    let mut attempt = || -> Result<Result<Verdict, (bool, String)>> {
        let running = Running::start(command(qemu, kernel, machine, [&initramfs, &console])?, guest.shell)?;
        let ended = running.watch(machine.limit, output)?;
        let log = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).replace('\r', "");
        Ok(match ended {
            Ok(verdict) => Ok(Verdict { complaints: complaints(&log), ..verdict }),
            Err(fault) => {
                let again = fault.again || log.contains("int3");
                Err((again, format!("machine with {}: {}{}", kernel.release, fault.why, tail(&log))))
            }
        })
    };
    match attempt()? {
        Ok(verdict) => return Ok(verdict),
        Err((true, why)) => progress::note(format_args!("{why}\nemulation is not perfect: trying once more")),
        Err((false, why)) => bail!(why),
    }
    attempt()?.map_err(|(_, why)| anyhow!(why))
}

fn command(
    qemu: &Qemu,
    kernel: &Kernel,
    machine: &Machine,
    [initramfs, console]: [&Path; 2],
) -> Result<Command> {
    let mut command = qemu.command()?;
    // The unpacked files take their size once more, beside the archive.
    let need = 1024 + 2 * fs::metadata(initramfs)?.len().div_ceil(1 << 20);
    command.arg("-m").arg(machine.memory.unwrap_or(need).to_string()).arg("-smp").arg(&machine.cpus);
    if machine.icount {
        command.args(["-icount", "shift=1,sleep=off"]);
    }
    command.arg("-chardev").arg(format!("file,id=console,path={}", console.display()));
    command.arg("-chardev").arg("stdio,id=program,signal=off");
    // A pipe to this program, on which QEMU's own complaints come too.
    command.args(["-chardev", "file,id=lab,path=/dev/stderr"]);
    for port in ["console", "program", "lab"] {
        command.arg("-serial").arg(format!("chardev:{port}"));
    }
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initramfs);
    let mut words = vec!["console=ttyS0", "loglevel=5", "ipv6.disable=1", "panic=-1", "oops=panic"];
    words.extend(machine.append.iter().map(String::as_str));
    command.arg("-append").arg(words.join(" ")).args(&machine.qemu);
    Ok(tied(&command))
}

/// The command, ended by the kernel when this program is killed: an orphaned machine would keep the CPUs busy.
/// More exactly when the thread ends that starts it, so it is not for a machine that is started on a thread of its own,
/// inside a namespace (`vm`).
fn tied(command: &Command) -> Command {
    let mut tied = match paths::on_path("setpriv") {
        Some(setpriv) => {
            let mut tied = Command::new(setpriv);
            tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
            tied
        }
        None => Command::new(command.get_program()),
    };
    tied.args(command.get_args());
    tied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    tied
}

enum Event {
    Output(Vec<u8>),
    Said(String),
}

/// A running QEMU; killed when dropped.
struct Running {
    child: Child,
    events: Receiver<Event>,
    started: Instant,
}

impl Running {
    fn start(mut command: Command, shell: bool) -> Result<Self> {
        if shell {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let started = Instant::now();
        let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start QEMU")?;
        let (send, events) = mpsc::channel();
        if let Some(mut stdout) = child.stdout.take() {
            let send = send.clone();
            thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(n @ 1..) = stdout.read(&mut bytes) {
                    if send.send(Event::Output(bytes[..n].to_vec())).is_err() {
                        return;
                    }
                }
            });
        }
        let lines = BufReader::new(child.stderr.take().context("QEMU has no stderr")?).lines();
        thread::spawn(move || {
            let mut lines = lines.map_while(Result::ok);
            lines.try_for_each(|line| send.send(Event::Said(line)))
        });
        Ok(Self { child, events, started })
    }

    /// Until QEMU ends; its last words are all heard by then.
    fn watch(
        mut self,
        limit: Duration,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Result<Verdict, Fault>> {
        let mut heard = Progress::default();
        let mut deadline = Some(self.started + BOOT);
        loop {
            let event = match deadline {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(end) => self.events.recv_timeout(end.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(Event::Output(bytes)) => output(&bytes)?,
                Ok(Event::Said(line)) => match heard.take(&line, Instant::now()) {
                    Some(Phase::Program) => deadline = Some(Instant::now() + limit),
                    Some(Phase::End) => deadline = Some(Instant::now() + END),
                    Some(Phase::Shell) => deadline = None,
                    None => {}
                },
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    heard.timed_out = true;
                    deadline = Some(Instant::now() + END);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.child.wait()?;
        Ok(heard.verdict(self.started, limit))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
