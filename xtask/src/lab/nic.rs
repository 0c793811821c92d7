//! vnet inside a machine with a 4-pair virtio NIC, against the NIC's own driver.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use vnet_driver::{
    frame::{Frame, Gso},
    host::Sender,
    link::Links,
    need,
    netns::Netns,
};

use super::{
    initramfs::Initramfs,
    kernel::Kernel,
    qemu::Qemu,
    vm::{MAC, Machine, Vm},
};
use crate::{build, command, paths, progress};

const PAIRS: u32 = 4;
const TAP: &str = "labtap";
/// Rounds of packets to the guest; it asks for the next when one has arrived.
const ROUNDS: usize = 20;
/// Packets of a round: fewer than a tap ring holds, so that none is dropped on the host.
const ROUND: usize = 500;
/// A TX ring of the NIC: no more packets can be sent and not completed.
const RING: u64 = 256;

/// Packets and bytes, TX then RX.
type Counts = [u64; 4];

/// Boots a kernel, lets traffic flow, compares, and says the verdict; or why that cannot be done here.
///
/// # Errors
/// When a count differs by more than what can be in flight, or the machine fails.
pub(crate) fn run(
    qemu: &Qemu,
    kernel: &Kernel,
    modules: &[&str],
    cpus: &str,
    verbose: bool,
) -> Result<Option<String>> {
    if let Some(why) = need::taps() {
        return Ok(Some(why));
    }
    build::run(verbose)?;
    let mut cargo = Command::new(paths::cargo());
    cargo.current_dir(paths::root()).args(["build", "--package", "vnet-driver", "--bins"]);
    progress::step("build the guest's program", || command::run(&mut cargo, verbose))?;
    let folder = paths::target().join("lab");
    fs::create_dir_all(&folder)?;
    let initramfs = folder.join(format!("nic-{}.cpio", kernel.release));
    fs::write(&initramfs, content(kernel, modules)?)?;
    let console = folder.join(format!("nic-{}.console", kernel.release));
    let machine = Machine {
        kernel: &kernel.image,
        initramfs: &initramfs,
        cpus,
        tap: TAP,
        pairs: PAIRS,
        console: &console,
    };
    let attempt =
        || progress::step(format!("run {} with 4 queue pairs", kernel.release), || drive(qemu, &machine));
    let rows = match attempt() {
        // Emulation is not perfect: a kernel that patches code which another CPU runs may die of it.
        Err(e) if ["int3", "Oops", "panic", "silent"].iter().any(|sign| format!("{e:#}").contains(sign)) => {
            eprintln!("the machine died, trying once more: {e:#}");
            attempt()?
        }
        other => other?,
    };
    verdict(&kernel.release, &rows).map(|()| None)
}

fn content(kernel: &Kernel, modules: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Initramfs::default();
    archive.program(&paths::target().join("debug/vnet-guest"), "/init")?;
    archive.program(&paths::target().join("release/vnet"), "/bin/vnet")?;
    let modules = kernel.modules(modules)?;
    let order: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
    archive.file("/modules/order", order.join("\n").as_bytes())?;
    for module in &modules {
        archive.file(&format!("/modules/{}", module.name), &module.content)?;
    }
    archive.finish()
}

struct Outcome {
    source: String,
    sent: u64,
    injected: u64,
    rows: Vec<(Counts, Counts)>,
}

fn drive(qemu: &Qemu, machine: &Machine<'_>) -> Result<Outcome> {
    let netns = Netns::new()?;
    let mut vm = Vm::boot(qemu, machine, &netns)?;
    progress::note(format_args!("        vnet counts {}", vm.expect("ready")?));
    let links = Links::open(&netns)?;
    let tap = links.index(TAP)?;
    links.up(tap)?;
    vm.say("go")?;
    let sent = vm.expect("sent")?.parse()?;
    let sender = Sender::open(&netns, tap)?;
    let mut injected = 0;
    for round in 0..ROUNDS {
        for n in 0..ROUND {
            // The flows that the guest has sent on: the tap has learned which queue each belongs to.
            let flow = u16::try_from(1000 + (round * ROUND + n) % 128)?;
            let frame = match n % 32 {
                31 => Frame::gso(Gso::Tcp4, 54 + 20_000, 1448).flow(flow),
                n => Frame::udp(60 + n * 40, flow),
            };
            sender.send(&frame.to_address(MAC))?;
            injected += 1;
        }
        vm.say(&format!("injected {ROUND}"))?;
        let arrived = vm.expect("arrived")?;
        ensure!(arrived == format!("{injected} of {injected}"), "of what the host sent arrived {arrived}");
    }
    vm.say("end")?;
    let mut outcome = Outcome { source: vm.expect("source")?, sent, injected, rows: Vec::new() };
    loop {
        let line = vm.hear()?;
        let Some((word, rest)) = line.split_once(' ') else { break };
        match word {
            "queue" => outcome.rows.push(parse(rest).with_context(|| format!("cannot read `{line}`"))?),
            "error" => bail!("in the machine: {rest}"),
            _ => progress::note(format_args!("        {line}")),
        }
    }
    Ok(outcome)
}

fn parse(row: &str) -> Result<(Counts, Counts)> {
    let numbers = row.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    ensure!(numbers.len() == 9, "nine numbers make a row");
    Ok((numbers[1..5].try_into()?, numbers[5..].try_into()?))
}

fn verdict(release: &str, outcome: &Outcome) -> Result<()> {
    println!("virtio_net on {release}: vnet | {}, per queue", outcome.source);
    println!("queue  {:>27}  {:>27}  {:>27}  {:>27}", "TX packets", "TX bytes", "RX packets", "RX bytes");
    let mut sums = ([0; 4], [0; 4]);
    let mut exact = outcome.rows.len() == PAIRS as usize;
    for (queue, (vnet, driver)) in outcome.rows.iter().enumerate() {
        let cells: Vec<_> =
            vnet.iter().zip(driver).map(|(v, d)| format!("{:>27}", format!("{v} | {d}"))).collect();
        println!("{queue:>5}  {}", cells.join("  "));
        for at in 0..4 {
            sums.0[at] += vnet[at];
            sums.1[at] += driver[at];
        }
        let in_flight = vnet[0].checked_sub(driver[0]).is_some_and(|n| n <= RING);
        exact &= in_flight && vnet[2..] == driver[2..] && vnet[0] > 0 && vnet[2] > 0;
        exact &= vnet[0] != driver[0] || vnet[1] == driver[1];
    }
    println!(
        "sent {} by the guest, {} by the host; in flight at the end: {} TX",
        outcome.sent,
        outcome.injected,
        sums.0[0].wrapping_sub(sums.1[0])
    );
    exact &= sums.0[0] == outcome.sent && sums.0[2] == outcome.injected;
    ensure!(exact, "virtio_net on {release}: vnet and the driver differ");
    println!("ok: virtio_net on {release}: every queue equals its driver, and the sums what was sent");
    Ok(())
}
