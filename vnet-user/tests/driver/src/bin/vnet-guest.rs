//! The first process of a lab machine: loads modules, drives the virtio NIC while the real vnet counts it, compares
//! vnet with the NIC's own driver, powers off.
//!
//! It talks with the lab on the second serial port, one line at a time; kernel messages go to the first.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
    termios::{OptionalActions, tcgetattr, tcsetattr},
    thread::{CpuSet, sched_setaffinity},
};
use vnet_driver::{
    ethtool,
    frame::{Frame, Gso},
    host::Sender,
    link::Links,
    netns::Netns,
    nic::{self, Counters},
    vnet::Vnet,
};

/// Queue pairs that the machine has.
const PAIRS: u16 = 4;
/// Frames that each sending thread sends.
const FRAMES: usize = 4000;
/// How long the machine waits for something that comes by itself.
const PATIENCE: Duration = Duration::from_mins(1);
const NIC: &str = "eth0";

fn main() {
    if let Err(e) = run() {
        // The console is all there is now.
        eprintln!("lab guest failed: {e:#}");
    }
    let _never_returns = reboot(RebootCommand::PowerOff);
}

fn run() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")] {
        fs::create_dir_all(target)?;
        mount(kind, target, kind, MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {target}"))?;
    }
    mount("tracefs", "/sys/kernel/tracing", "tracefs", MountFlags::empty(), None).context("tracefs")?;
    let mut lab = Lab::open()?;
    let result = scenario(&mut lab);
    if let Err(e) = &result {
        lab.say(&format!("error {e:#}"))?;
    }
    lab.say("done")?;
    result
}

/// The line to the host.
struct Lab {
    out: File,
    heard: BufReader<File>,
}

impl Lab {
    fn open() -> Result<Self> {
        let port =
            OpenOptions::new().read(true).write(true).open("/dev/ttyS1").context("no second serial port")?;
        let mut settings = tcgetattr(&port)?;
        settings.make_raw();
        tcsetattr(&port, OptionalActions::Now, &settings)?;
        Ok(Self { out: port.try_clone()?, heard: BufReader::new(port) })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.out.write_all(format!("{}\n", line.replace('\n', "; ")).as_bytes())?)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.heard.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

fn scenario(lab: &mut Lab) -> Result<()> {
    for module in fs::read_to_string("/modules/order")?.lines() {
        let file = File::open(Path::new("/modules").join(module))?;
        finit_module(&file, c"", 0).with_context(|| format!("cannot load {module}"))?;
    }
    wait("a NIC", || Ok(Path::new("/sys/class/net").join(NIC).exists()))?;
    let pairs = ethtool::set_queue_pairs(NIC, u32::from(PAIRS)).context("cannot set the queue pairs")?;
    if pairs != u32::from(PAIRS) {
        bail!("the NIC has {pairs} queue pairs");
    }
    let netns = Netns::current()?;
    let links = Links::open(&netns)?;
    let ifindex = links.index(NIC)?;
    links.up(ifindex)?;
    wait("the NIC's carrier", || Ok(fs::read_to_string("/sys/class/net/eth0/carrier")?.trim() == "1"))?;

    let vnet = Vnet::start(Path::new("/bin/vnet"), &[])?;
    let (before, source) = nic::counters(NIC, ifindex)?;
    lab.say(&format!("ready after {:?}", vnet.ready_after))?;
    if lab.hear()? != "go" {
        bail!("the lab does not start");
    }
    let sent = thread::scope(|scope| -> Result<u64> {
        let netns = &netns;
        let senders = [0, 1].map(|cpu| scope.spawn(move || send_from(cpu, netns, ifindex)));
        senders.into_iter().map(|s| s.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).sum()
    })?;
    let received =
        |ifindex| -> Result<u64> { Ok(nic::counters(NIC, ifindex)?.0.values().map(|c| c.rx_packets).sum()) };
    let base = received(ifindex)?;
    lab.say(&format!("sent {sent}"))?;
    let mut injected = 0;
    loop {
        let line = lab.hear()?;
        let Some(more) = line.strip_prefix("injected ") else { break };
        injected += more.parse::<u64>()?;
        let arrived = wait("what the host sent", || Ok(received(ifindex)? >= base + injected));
        lab.say(&format!("arrived {} of {injected}", received(ifindex)? - base))?;
        arrived?;
    }
    let after = nic::counters(NIC, ifindex)?.0;
    let report = vnet.finish()?;
    lab.say(&format!("source {source}"))?;
    for (queue, now) in &after {
        let theirs = now.since(before.get(queue).copied().unwrap_or_default());
        let row = report
            .queues(netns.inode())
            .find(|row| row["ifindex"] == ifindex && row["queue"] == *queue)
            .with_context(|| format!("vnet has no row for queue {queue}"))?;
        let number = |side: &str, what: &str| row[side][what].as_u64().context("vnet does not know a count");
        let ours = Counters {
            tx_packets: number("tx", "packets")?,
            tx_bytes: number("tx", "bytes")?,
            rx_packets: number("rx", "packets")?,
            rx_bytes: number("rx", "bytes")?,
        };
        lab.say(&format!("queue {queue} {} {}", line(ours), line(theirs)))?;
    }
    let devices: BTreeMap<_, _> =
        report.devices(netns.inode()).map(|d| (d["name"].to_string(), d["kind"].to_string())).collect();
    lab.say(&format!("devices {devices:?}"))?;
    lab.say(&format!("lost {}", report.0["lost"]))
}

fn line(c: Counters) -> String {
    format!("{} {} {} {}", c.tx_packets, c.tx_bytes, c.rx_packets, c.rx_bytes)
}

/// Sends from one CPU, on many flows, so that all queues that XPS gives this CPU are used.
fn send_from(cpu: usize, netns: &Netns, ifindex: u32) -> Result<u64> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus)?;
    let sender = Sender::open(netns, ifindex)?;
    for n in 0..FRAMES {
        let flow = u16::try_from(1000 + n % 64 + cpu * 64)?;
        let frame = match n % 16 {
            15 => Frame::gso(Gso::Tcp4, 54 + 20_000, 1448).flow(flow),
            n => Frame::udp(60 + n * 100, flow),
        };
        sender.send(&frame).context("cannot send")?;
    }
    Ok(FRAMES as u64)
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            bail!("{what} did not come within {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
