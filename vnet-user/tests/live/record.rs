//! Recordings of this host: beside a report, cut off at any moment, on a full disk, and kept small.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use vnet::{state::State, trace::Reader};
use vnet_driver::{
    frame::Frame,
    load, need,
    netns::Netns,
    tap::{Config, Tap},
    truth::Ledger,
    vnet::Report,
};

use crate::{binary, live, observe};

/// Starts `vnet record` and waits until it counts.
fn record(file: &Path, arguments: &[&str]) -> Result<Child> {
    let mut child = spawn(file, arguments)?;
    let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
    let mut lines = stderr.lines();
    let counting = lines.any(|line| line.is_ok_and(|line| line.contains("counting since")));
    ensure!(counting, "it ended before it counted: {}", child.wait()?);
    // What else it says is of no interest, and it is not to meet a closed pipe.
    thread::spawn(move || lines.for_each(drop));
    Ok(child)
}

fn spawn(file: &Path, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(binary());
    command.args(["record", "-o"]).arg(file).args(arguments);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

/// Ends it as a user does.
fn end(mut child: Child, signal: Signal) -> Result<()> {
    kill_process(Pid::from_child(&child), signal)?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { bail!("vnet record failed: {status}") }
}

fn replayed(file: &Path) -> Result<Value> {
    let output = Command::new(binary()).args(["report", "--format", "json", "--trace"]).arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_recording_and_a_report_of_the_same_traffic_agree_with_the_truth() -> Result<()> {
    need!(live());
    let folder = tempfile::tempdir()?;
    for (signal, name) in [(Signal::INT, "int"), (Signal::TERM, "term")] {
        let file = folder.path().join(name);
        let netns = Netns::new()?;
        let tap = Tap::new(&netns, &Config::new("tap0", 2))?;
        let reporter = observe()?;
        let recorder = record(&file, &["--interval", "100ms"])?;
        let mut truth = Ledger::default();
        for (file, frame) in tap.files().iter().zip([Frame::plain(60), Frame::plain(1500)]) {
            truth.tx(tap.key(file.index()), load::transmit(file, &[frame], 1000)?);
        }
        end(recorder, signal)?;
        let report = reporter.finish()?;
        let replay = Report(replayed(&file)?);
        crate::assert_exact(&report, &truth);
        crate::assert_exact(&replay, &truth);
        assert_eq!(replay.0["source"]["kind"], "trace");
        assert_eq!(replay.0["source"]["complete"], true);
        // Row by row the same, where nothing but the traffic differs.
        let rows = |report: &Report| report.queues(netns.inode()).cloned().collect::<Vec<_>>();
        assert_eq!(rows(&report), rows(&replay));
    }
    Ok(())
}

/// Killed at any moment, what is in the file is right: a prefix of what was recorded, and said to be no more.
#[test]
fn killed_fifty_times_it_is_readable_up_to_the_last_whole_block() -> Result<()> {
    need!(live());
    let folder = tempfile::tempdir()?;
    let netns = Netns::new()?;
    let tap = Tap::new(&netns, &Config::new("tap0", 1))?;
    let began = Instant::now();
    end(record(&folder.path().join("whole"), &["--interval", "100ms"])?, Signal::INT)?;
    let usual = began.elapsed();
    let (mut empty, mut blocks) = (0, 0);
    for moment in 0..50 {
        let file = folder.path().join(moment.to_string());
        let mut child = spawn(&file, &["--interval", "100ms", "--retain", "1M"])?;
        let until = Instant::now() + usual * moment / 25;
        let mut sent = 0;
        while Instant::now() < until {
            load::transmit(&tap.files()[0], &[Frame::plain(60)], 100)?;
            sent += 100;
            thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()?;
        // Killed before it made the file, or before its header was written.
        let Some(bytes) = fs::read(&file).ok().filter(|bytes| bytes.len() >= 12) else {
            empty += 1;
            continue;
        };
        let mut reader = Reader::new(&*bytes)?;
        let mut state = State::default();
        for record in reader.by_ref() {
            state.apply(&record);
        }
        assert!(!reader.seen().ended && !state.report().source.complete, "at moment {moment}");
        assert!(
            matches!(reader.problem(), None | Some(vnet::trace::Problem::Cut(_))),
            "{:?}",
            reader.problem()
        );
        let report = state.report();
        let rows = report.queues.iter().filter(|row| row.netns == netns.inode());
        let packets: u64 = rows.filter_map(|row| row.tx.packets).sum();
        assert!(packets <= sent, "{packets} of {sent} packets at moment {moment}");
        blocks += reader.seen().blocks;
    }
    eprintln!("killed 50 times: {empty} before there was a header, {blocks} whole blocks in the others");
    Ok(())
}

/// A full disk ends the recording with an error, and what is in the file is whole.
#[test]
fn a_full_disk_is_told_and_leaves_whole_blocks() -> Result<()> {
    need!(live());
    let folder = tempfile::tempdir()?;
    // A file system of one page, which only this shell and its children see.
    let script = "mount -t tmpfs -o size=4k vnet \"$1\" && \"$0\" record -o \"$1/r\" --interval 100ms --for 60s; \
                  status=$?; cat \"$1/r\" > \"$2\"; exit $status";
    let copy = folder.path().join("copy");
    let inside = folder.path().join("small");
    fs::create_dir(&inside)?;
    let mut shell = Command::new("unshare");
    shell.args(["-m", "sh", "-c", script]).arg(binary()).args([&inside, &copy]);
    let output = shell.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("mount:") || said.contains("unshare:") {
        eprintln!("skipped: no file system can be mounted here: {said}");
        return Ok(());
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("No space left on device") && said.contains("whole up to here"), "{said}");
    let bytes = fs::read(&copy)?;
    let mut reader = Reader::new(&*bytes)?;
    assert!(reader.by_ref().count() > 0);
    assert!(reader.problem().is_none() && !reader.seen().ended, "{:?}", reader.problem());
    assert_eq!(reader.seen().bytes, bytes.len() as u64, "nothing else is in it");
    Ok(())
}
