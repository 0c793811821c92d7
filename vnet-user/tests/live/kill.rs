//! However vnet ends, the kernel keeps nothing of it.

use std::{
    collections::BTreeSet,
    fs, io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use vnet_driver::{
    bpf::Objects,
    frame::Frame,
    load, need,
    netns::Netns,
    tap::{Config, Tap},
    vnet::Vnet,
};

use crate::{binary, live, observe};

/// BPF objects that a process holds, from its descriptors: other observers on this machine do not disturb the test.
fn held_by(pid: i32) -> Result<Objects> {
    let mut held = Objects::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = match fs::read_to_string(entry?.path()) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e.into()),
        };
        for line in text.lines() {
            let Some((name, id)) = line.split_once(':') else { continue };
            let Ok(id) = id.trim().parse() else { continue };
            match name {
                "prog_id" => held.programs.insert(id),
                "map_id" => held.maps.insert(id),
                "link_id" => held.links.insert(id),
                _ => false,
            };
        }
    }
    Ok(held)
}

/// Stops the process, so that what it holds stands still, notes that, kills it, and waits for the kernel to free it all.
fn kill_and_see(vnet: Vnet) -> Result<Objects> {
    let pid = vnet.pid();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    let stopped = rustix::process::waitid(
        rustix::process::WaitId::Pid(pid),
        rustix::process::WaitIdOptions::STOPPED
            | rustix::process::WaitIdOptions::EXITED
            | rustix::process::WaitIdOptions::NOWAIT,
    )?;
    ensure!(stopped.is_some_and(|status| status.stopped()), "vnet ended by itself");
    let held = held_by(pid.as_raw_nonzero().get())?;
    vnet.kill()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let now = Objects::now()?;
        let left =
            |now: &BTreeSet<u32>, held: &BTreeSet<u32>| now.intersection(held).copied().collect::<Vec<_>>();
        let left =
            [left(&now.programs, &held.programs), left(&now.maps, &held.maps), left(&now.links, &held.links)];
        if left.iter().all(Vec::is_empty) {
            return Ok(held);
        }
        // The kernel frees programs and maps after grace periods, without telling anybody.
        ensure!(Instant::now() < deadline, "left behind [programs, maps, links]: {left:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nothing_stays_behind_after_sigkill_at_any_moment() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                load::transmit(&tap.files()[0], &[Frame::plain(60)], 100)?;
            }
            Ok::<_, anyhow::Error>(())
        });
        let killed = (|| {
            let ready = observe()?;
            let usual = ready.ready_after;
            let whole = kill_and_see(ready)?;
            ensure!(
                !whole.programs.is_empty() && !whole.links.is_empty(),
                "it held programs and links: {whole:?}"
            );
            let mut different = BTreeSet::new();
            for moment in 0..20 {
                let vnet = Vnet::spawn(binary(), &[])?;
                // From the first instruction to well past the last attach.
                thread::sleep(usual * moment / 12);
                let held = kill_and_see(vnet)?;
                different.insert((held.programs.len(), held.maps.len(), held.links.len()));
            }
            eprintln!("killed while holding (programs, maps, links): {different:?}");
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        killed
    })
}

#[test]
fn the_next_observer_is_exact_after_one_was_killed() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let (survivor, victim) = (observe()?, observe()?);
    let mut truth = vnet_driver::truth::Ledger::default();
    truth.tx(tap.key(0), load::transmit(&tap.files()[0], &[Frame::plain(60)], 100)?);
    kill_and_see(victim)?;
    truth.tx(tap.key(0), load::transmit(&tap.files()[0], &[Frame::plain(60)], 100)?);
    crate::assert_exact(&survivor.finish()?, &truth);
    Ok(())
}
