//! The first process of a guest inside a lab machine: loads modules, then does what it is told on a virtio-serial port.
//!
//! Told is a line for a shell; the answer is a line with its exit status and the length of its output, and the output. What
//! no shell can do to a NIC, this program does itself, called with arguments.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
};
use vnet_driver::{
    ethtool,
    frame::Frame,
    host::Sender,
    link::Links,
    nested::{self, Sending, threads::pin},
    netns::Netns,
    nic,
};

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [tool, device, rest @ ..] = &arguments[..] {
        return call(tool, device, rest);
    }
    if let Err(e) = serve() {
        // The console is all there is now.
        eprintln!("agent failed: {e:#}");
    }
    Ok(reboot(RebootCommand::PowerOff)?)
}

fn serve() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {target}"))?;
    }
    ensure!(Command::new("/bin/busybox").args(["--install", "-s", "/bin"]).status()?.success(), "busybox");
    for module in fs::read_to_string("/modules/order")?.lines() {
        let file = File::open(Path::new("/modules").join(module))?;
        finit_module(&file, c"", 0).with_context(|| format!("cannot load {module}"))?;
    }
    let port = OpenOptions::new().read(true).write(true).open(port()?).context("the agent's port")?;
    let (mut answers, mut told) = (port.try_clone()?, BufReader::new(port));
    loop {
        let mut line = String::new();
        if told.read_line(&mut line)? == 0 {
            thread::sleep(Duration::from_millis(50)); // nobody at the other end
            continue;
        }
        let mut shell = Command::new("/bin/sh");
        // In one stream, in the order in which it comes.
        shell.args(["-c", &format!("exec 2>&1\n{line}")]).env("PATH", "/bin").stdin(Stdio::null());
        let done = shell.output().context("cannot start a shell")?;
        let status = done.status.code().unwrap_or(128);
        answers
            .write_all(&[format!("{status} {}\n", done.stdout.len()).as_bytes(), &done.stdout].concat())?;
    }
}

/// The port with the agent's name, once it is there.
fn port() -> Result<PathBuf> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while Instant::now() < deadline {
        for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten() {
            let entry = entry?;
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            let device = Path::new("/dev").join(entry.file_name());
            if name.trim() == nested::PORT && device.exists() {
                return Ok(device);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("no port {}", nested::PORT)
}

fn call(tool: &str, device: &str, arguments: &[String]) -> Result<()> {
    let netns = Netns::current()?;
    let links = Links::open(&netns)?;
    let ifindex = links.index(device)?;
    match (tool, arguments) {
        ("up", []) => {
            links.up(ifindex)?;
            links.carries(ifindex)?;
        }
        ("pairs", [pairs]) => println!("{}", ethtool::set_queue_pairs(device, pairs.parse()?)?),
        ("counters", []) => {
            for (queue, c) in nic::counters(device, ifindex)?.0 {
                println!("{queue} {} {} {} {}", c.tx_packets, c.tx_bytes, c.rx_packets, c.rx_bytes);
            }
        }
        ("send", all) => {
            let all = all.iter().map(|one| one.parse()).collect::<Result<Vec<Sending>>>()?;
            thread::scope(|scope| -> Result<()> {
                let netns = &netns;
                let threads: Vec<_> =
                    all.iter().map(|one| scope.spawn(move || send(one, netns, ifindex))).collect();
                threads
                    .into_iter()
                    .try_for_each(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })?;
        }
        _ => bail!("no tool {tool} {arguments:?}"),
    }
    Ok(())
}

fn send(sending: &Sending, netns: &Netns, ifindex: u32) -> Result<()> {
    pin(None, &[sending.cpu])?;
    let sender = Sender::open(netns, ifindex)?;
    let frame = Frame::udp(sending.size, sending.flow);
    for _ in 0..sending.packets {
        sender.send(&frame).context("cannot send")?;
        thread::sleep(nested::PACE);
    }
    Ok(())
}
