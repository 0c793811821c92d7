//! A running guest.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Config, PORT, agent::Agent, parts, threads};
use crate::{link::Links, netns::Netns, truth::Queue};

/// How long a guest may take to open its monitor's socket, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of its console that an error shows.
const TAIL: usize = 25;

/// A real guest; killed when dropped.
#[derive(Debug)]
pub struct Vm {
    config: Config,
    netns: Netns,
    child: Child,
    folder: PathBuf,
    agent: Agent,
    ifindex: u32,
}

/// QEMU, killed when dropped unless it was taken out.
struct Starting(Option<Child>);

impl Vm {
    /// Boots a guest whose tap is in `netns`, until its agent answers and its tap is up; its NIC is still down. A boot that
    /// fails is tried a second time, aloud: what emulates the host is not perfect.
    pub fn boot(netns: &Netns, config: &Config) -> Result<Self> {
        let began = Instant::now();
        let vm = Self::attempt(netns, config).or_else(|error| {
            println!("guest {} does not boot, trying once more: {error:#}", config.name);
            Self::attempt(netns, config)
        })?;
        println!("guest {} answers after {:.1} s", config.name, began.elapsed().as_secs_f64());
        Ok(vm)
    }

    fn attempt(netns: &Netns, config: &Config) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("vnet-guest-{}-{}", std::process::id(), config.name));
        fs::create_dir_all(&folder)?;
        let mut command = command(config, &folder)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.join("qemu"))?);
        let child = netns.run(|| command.spawn().context("cannot start QEMU"))?;
        let mut starting = Starting(Some(child));
        let started = answer(&mut starting, &folder).and_then(|agent| {
            let links = Links::open(netns)?;
            let ifindex = links.index(&config.tap())?;
            links.up(ifindex)?;
            Ok((agent, ifindex))
        });
        let (agent, ifindex) = started.with_context(|| said(&folder))?;
        let child = starting.0.take().context("QEMU is gone")?;
        Ok(Self { config: config.clone(), netns: netns.clone(), child, folder, agent, ifindex })
    }

    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its tap.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The key of a pair of its tap.
    pub fn key(&self, queue: u16) -> Queue {
        Queue { netns: self.netns.inode(), ifindex: self.ifindex, generation: 0, queue }
    }

    /// Threads of its vCPUs, by number.
    pub fn vcpus(&self) -> Result<Vec<u32>> {
        let found = threads::vcpus(self.pid())?;
        ensure!(found.len() == self.config.vcpus, "{} vCPU threads of {}", found.len(), self.config.vcpus);
        Ok(found)
    }

    /// Its vhost workers, by pair.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let found = threads::workers(self.pid())?;
        let wanted = if self.config.vhost { usize::from(self.config.pairs) } else { 0 };
        ensure!(found.len() == wanted, "{} vhost workers of {wanted}", found.len());
        Ok(found)
    }

    /// Runs a line of shell in the guest; what it writes.
    pub fn run(&mut self, line: &str) -> Result<String> {
        let answer = self.agent.tell(line).and_then(|()| self.agent.hear());
        answer.with_context(|| format!("guest {}: `{line}`{}", self.config.name, said(&self.folder)))
    }

    /// The guest powers off, and its monitor ends with it.
    pub fn end(mut self) -> Result<()> {
        self.agent.tell("poweroff -f")?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "guest {} does not end{}",
                self.config.name,
                said(&self.folder)
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _best_effort = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// The line to the agent, once it answers.
fn answer(starting: &mut Starting, folder: &Path) -> Result<Agent> {
    let deadline = Instant::now() + PATIENCE;
    let socket = loop {
        let child = starting.0.as_mut().context("QEMU is gone")?;
        if let Some(status) = child.try_wait()? {
            bail!("QEMU ended: {status}");
        }
        match UnixStream::connect(folder.join("agent")) {
            Ok(socket) => break socket,
            Err(e) if Instant::now() > deadline => return Err(e).context("QEMU opens no socket"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut agent = Agent::new(socket)?;
    agent.tell("uname -r")?;
    agent.hear()?;
    Ok(agent)
}

/// A command line as libvirt writes them.
fn command(config: &Config, folder: &Path) -> Result<Command> {
    let parts = parts()?;
    let cpu = fs::read_to_string(parts.join("cpu"))?;
    let mac = config.mac().map(|byte| format!("{byte:02x}")).join(":");
    let vhost = if config.vhost { "on" } else { "off" };
    let Config { name, vcpus, pairs, .. } = config;
    let mut command = Command::new("qemu-system-x86_64");
    command.env("PATH", "/usr/bin");
    command.args(["-name", &format!("guest={name},debug-threads=on")]);
    command.args(["-machine", "pc,accel=kvm,usb=off", "-cpu", cpu.trim(), "-m", "192"]);
    command.args(["-smp", &format!("{vcpus},sockets={vcpus},cores=1,threads=1")]);
    command.args(["-no-user-config", "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot"]);
    command.args([
        "-netdev",
        &format!(
            "tap,id=hostnet0,ifname={},script=no,downscript=no,queues={pairs},vhost={vhost}",
            config.tap()
        ),
    ]);
    command.args([
        "-device",
        &format!("virtio-net-pci,mq=on,vectors={},netdev=hostnet0,id=net0,mac={mac},romfile=", 2 * pairs + 2),
    ]);
    command
        .arg("-chardev")
        .arg(format!("socket,id=channel0,path={}/agent,server=on,wait=off", folder.display()));
    command.args(["-device", "virtio-serial-pci,id=serial0,max_ports=2"]);
    command.args(["-device", &format!("virtserialport,bus=serial0.0,nr=1,chardev=channel0,name={PORT}")]);
    command.arg("-chardev").arg(format!("file,id=console0,path={}/console", folder.display()));
    command.args(["-serial", "chardev:console0"]);
    command.arg("-kernel").arg(parts.join("kernel")).arg("-initrd").arg(parts.join("initramfs"));
    command.args(["-append", "console=ttyS0 loglevel=4 ipv6.disable=1 panic=-1 oops=panic"]);
    Ok(command)
}

/// What QEMU complained of, and the end of the guest's console.
fn said(folder: &Path) -> String {
    let tail = |file: &str| {
        let bytes = fs::read(folder.join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    };
    format!("\nQEMU: {}\nconsole: {}", tail("qemu"), tail("console"))
}
