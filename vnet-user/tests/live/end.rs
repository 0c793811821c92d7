//! However a measurement ends, what was seen is told, or nothing is half-written.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::Result;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use vnet_driver::{need, vnet::Vnet};

use crate::{binary, live};

#[test]
fn a_signal_ends_it_early_with_the_whole_report() -> Result<()> {
    need!(live());
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("report.json");
        fs::write(&path, "the report before")?;
        let vnet = Vnet::start(binary(), &["-o", path.to_str().expect("text")])?;
        assert_eq!(fs::read(&path)?, b"the report before", "while it measures");
        kill_process(vnet.pid(), signal)?;
        assert_eq!(vnet.end()?, "", "the report is in the file");
        let report: Value = serde_json::from_slice(&fs::read(&path)?)?;
        assert_eq!((&report["schema"], &report["source"]["complete"]), (&1.into(), &true.into()));
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing else is left");
    }
    Ok(())
}

#[test]
fn a_closed_pipe_is_no_error() -> Result<()> {
    need!(live());
    for format in ["text", "json"] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = Command::new(binary())
            .args(["report", "--for", "100ms", "--format", format])
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("counting since ") && !said.contains("ipe"), "{said}");
    }
    Ok(())
}

#[test]
fn a_full_disk_is_told_at_the_end() -> Result<()> {
    need!(live());
    let output = Command::new(binary())
        .args(["report", "--for", "100ms", "-o", "/dev/full"])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("vnet: cannot write /dev/full: No space left on device"), "{said}");
    Ok(())
}
