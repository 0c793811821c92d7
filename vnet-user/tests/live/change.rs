//! Devices and queues that come, go, move and change their names while they are counted.

use std::{
    slice::from_ref,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use vnet_driver::{
    frame::Frame,
    host::Sender,
    link::Links,
    load::{self, Mix, Share},
    need,
    netns::Netns,
    tap::{Config, Tap},
    truth::{Flow, Ledger},
    vnet::Vnet,
};

use crate::{assert_exact, binary, live, observe};

fn uneven(unit: u64) -> Vec<Share> {
    [1, 10, 100, 1000].map(|n| Share { tx: unit * n, rx: unit * n }).to_vec()
}

/// Runs `change` over and over while `load` runs, at least once.
fn during(
    load: impl FnOnce() -> Result<Ledger> + Send,
    mut change: impl FnMut() -> Result<()>,
) -> Result<Ledger> {
    thread::scope(|scope| {
        let load = scope.spawn(load);
        let changed = loop {
            let changed = change();
            if changed.is_err() || load.is_finished() {
                break changed;
            }
        };
        let truth = load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        changed.map(|()| truth)
    })
}

#[test]
fn a_queue_that_leaves_and_comes_back_under_load() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let vnet = observe()?;
    // The last queue's index stays the same through all of it, so the guest may send through it all the time; the host
    // sends to the others, whose places do not change either.
    let shares = [(3000, 30), (30, 3000), (300, 300), (3000, 0)].map(|(tx, rx)| Share { tx, rx });
    let truth = during(
        || {
            let mut truth = Ledger::default();
            load::both(&tap, &Mix::everything(), &shares, &mut truth)?;
            Ok(truth)
        },
        || {
            tap.detach(3)?;
            tap.attach(3)
        },
    )?;
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn a_detached_queue_still_sends_under_its_old_index() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let mix = Mix::everything();
    load::both(&tap, &mix, &uneven(2), &mut truth)?;
    tap.detach(1)?;
    assert_eq!(tap.files().iter().map(vnet_driver::tap::QueueFile::index).collect::<Vec<_>>(), [0, 1, 2, 1]);
    load::both(&tap, &mix, &uneven(3), &mut truth)?;
    tap.attach(1)?;
    load::both(&tap, &mix, &uneven(5), &mut truth)?;
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    let device = report.device(netns.inode(), tap.ifindex, 0).expect("listed");
    assert_eq!(device["queues_enabled"], 4);
    assert_eq!(device["queues_disabled"], 0);
    Ok(())
}

#[test]
fn a_device_renamed_into_the_filter_is_told_with_all_that_it_counted() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
    tap.steer_by_address()?;
    let links = Links::open(&netns)?;
    let vnet = Vnet::start(binary(), &["--device", "web*", "--interval", "100ms"])?;
    let mut truth = Ledger::default();
    // Long enough for samples in between: what they saw must not count as told.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        load::both(&tap, &Mix::everything(), &uneven(1), &mut truth)?;
    }
    links.rename(tap.ifindex, "web0")?;
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn a_device_renamed_under_load() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
    tap.steer_by_address()?;
    let links = Links::open(&netns)?;
    let vnet = observe()?;
    let mut names = (0..).map(|n| format!("name{n}"));
    let mut last = String::new();
    let truth = during(
        || {
            let mut truth = Ledger::default();
            load::both(
                &tap,
                &Mix::everything(),
                &[Share { tx: 5000, rx: 50 }, Share { tx: 50, rx: 5000 }],
                &mut truth,
            )?;
            Ok(truth)
        },
        || {
            last = names.next().expect("endless");
            links.rename(tap.ifindex, &last)
        },
    )?;
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    assert_eq!(report.devices(netns.inode()).count(), 1, "one device, whatever its names");
    assert_eq!(report.device(netns.inode(), tap.ifindex, 0).map(|d| &d["name"]), Some(&last.into()));
    Ok(())
}

#[test]
fn the_same_name_again_is_another_device() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let mut last = 0;
    for life in 1..=4 {
        let tap = Tap::new(&netns, &Config::new("tap0", 4))?;
        tap.steer_by_address()?;
        load::both(&tap, &Mix::everything(), &uneven(life), &mut truth)?;
        last = tap.ifindex;
        // Its monitor ends, or somebody deletes it.
        if life % 2 == 0 { tap.close()? } else { drop(tap) }
    }
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    let present: Vec<_> = report.devices(netns.inode()).map(|d| (&d["name"], &d["present"])).collect();
    assert_eq!(present, vec![(&"tap0".into(), &false.into()); 4], "last index {last}");
    Ok(())
}

#[test]
fn the_same_index_again_is_another_generation() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let config = Config { ifindex: Some(4242), ..Config::new("tap0", 4) };
    let mut tap = Tap::new(&netns, &config)?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    for generation in 0..5 {
        if generation > 0 {
            drop(tap);
            tap = Tap::new(&netns, &config)?;
            tap.generation = generation;
        }
        tap.steer_by_address()?;
        load::both(&tap, &Mix::everything(), &uneven(u64::from(generation) + 1), &mut truth)?;
    }
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    assert_eq!(report.device(netns.inode(), 4242, 4).map(|d| &d["present"]), Some(&true.into()));
    assert_eq!(report.device(netns.inode(), 4242, 3).map(|d| &d["present"]), Some(&false.into()));
    Ok(())
}

#[test]
fn twins_in_two_namespaces() -> Result<()> {
    need!(live());
    let config = Config { ifindex: Some(77), ..Config::new("tap0", 4) };
    let (here, there) = (Netns::new()?, Netns::new()?);
    let taps = [Tap::new(&here, &config)?, Tap::new(&there, &config)?];
    let vnet = observe()?;
    let truth = thread::scope(|scope| {
        let loads = [(&taps[0], 3), (&taps[1], 5)].map(|(tap, unit)| {
            scope.spawn(move || {
                let mut truth = Ledger::default();
                tap.steer_by_address()?;
                load::both(tap, &Mix::everything(), &uneven(unit), &mut truth)?;
                Ok::<_, anyhow::Error>(truth)
            })
        });
        let mut truth = Ledger::default();
        for load in loads {
            truth.0.extend(load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?.0);
        }
        Ok::<_, anyhow::Error>(truth)
    })?;
    assert_eq!(truth.0.len(), 8);
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn a_device_is_counted_from_its_first_packet() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let mut taps = Vec::new();
    for n in 0..20_u16 {
        let tap = Tap::new(&netns, &Config::new(&format!("tap{n}"), 2))?;
        let sender = Sender::open(&netns, tap.ifindex)?;
        let frames = [Frame::plain(60 + usize::from(n))];
        truth
            .tx(tap.key(n % 2), load::transmit(&tap.files()[usize::from(n % 2)], &frames, u64::from(n) + 1)?);
        load::send(&sender, &frames, 2)?;
        for file in tap.files() {
            let mut flow = Flow::default();
            load::drain(file, &mut flow)?;
            truth.rx(tap.key(file.index()), flow);
        }
        // Half of them are gone before anybody looks.
        if n % 2 == 0 {
            taps.push(tap);
        }
    }
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    Ok(())
}

#[test]
fn a_queue_is_counted_from_its_first_packet() -> Result<()> {
    need!(live());
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 8))?;
    for file in (1..8).rev() {
        tap.detach(file)?;
    }
    let vnet = observe()?;
    let mut truth = Ledger::default();
    for file in 1..8 {
        tap.attach(file)?;
        let index = tap.files()[file].index();
        let flow = load::transmit(&tap.files()[file], &[Frame::plain(100)], u64::from(index) * 10)?;
        truth.tx(tap.key(index), flow);
    }
    assert_exact(&vnet.finish()?, &truth);
    Ok(())
}

#[test]
fn a_device_that_moves_to_another_namespace() -> Result<()> {
    need!(live());
    let (here, there) = (Netns::new()?, Netns::new()?);
    let config = Config { ifindex: Some(99), ..Config::new("tap0", 2) };
    let mut tap = Tap::new(&here, &config)?;
    let vnet = observe()?;
    let mut truth = Ledger::default();
    let frame = Frame::plain(300);
    truth.tx(tap.key(1), load::transmit(&tap.files()[1], from_ref(&frame), 7)?);
    Links::open(&here)?.move_to(tap.ifindex, &there)?;
    tap.netns = there.clone();
    let links = Links::open(&there)?;
    tap.ifindex = links.index("tap0")?;
    links.up(tap.ifindex)?;
    truth.tx(tap.key(1), load::transmit(&tap.files()[1], from_ref(&frame), 9)?);
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    Ok(())
}

#[test]
fn a_namespace_that_only_a_thread_lives_in() -> Result<()> {
    need!(live());
    let netns = Netns::of_thread()?;
    let early = Tap::new(&netns, &Config::new("early", 1))?;
    let vnet = observe()?;
    let late = Tap::new(&netns, &Config::new("late", 1))?;
    let mut truth = Ledger::default();
    for (tap, count) in [(&early, 5), (&late, 6)] {
        truth.tx(tap.key(0), load::transmit(&tap.files()[0], &[Frame::plain(60)], count)?);
    }
    let report = vnet.finish()?;
    assert_exact(&report, &truth);
    let names: Vec<_> = report.devices(netns.inode()).map(|d| &d["name"]).collect();
    assert_eq!(names, ["early", "late"]);
    Ok(())
}
