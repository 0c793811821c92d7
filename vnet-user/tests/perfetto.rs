//! The export to Perfetto, read by Perfetto's own Python package: another reader, with the official schema.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The package, and what it stands on.
const PACKAGE: &str = "perfetto==0.16.0";

/// Reads a trace and says what is in it.
const READ: &str = r#"
import json, sys
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema
trace = schema.Trace()
trace.ParseFromString(open(sys.argv[1], "rb").read())
tracks, events, unknown = {}, [], 0
for packet in trace.packet:
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        tracks[track.uuid] = [track.name, track.parent_uuid if track.HasField("parent_uuid") else None, track.counter.unit_name]
    elif packet.HasField("track_event"):
        event = packet.track_event
        counter = event.type == schema.TrackEvent.TYPE_COUNTER and event.track_uuid in tracks
        events.append([packet.timestamp, event.track_uuid, event.double_counter_value, counter])
    else:
        unknown += 1
print(json.dumps({"tracks": tracks, "events": events, "unknown": unknown}))
"#;

/// A Python that has the package, from the cache folder; why there is none otherwise.
fn python() -> Result<PathBuf, String> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let folder = cache.ok_or("no folder for a cache is known")?.join("vnet").join(PACKAGE.replace("==", "-"));
    let python = folder.join("bin/python3");
    let has = |python: &Path| Command::new(python).args(["-c", "import perfetto"]).output();
    if has(&python).is_ok_and(|output| output.status.success()) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .map_err(|why| format!("no venv: {why}"))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PACKAGE, "protobuf"]))
        .map_err(|why| format!("no {PACKAGE}: {why}"))?;
    Ok(python)
}

#[test]
fn perfetto_reads_the_export() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (trace, script) = (folder.path().join("trace"), folder.path().join("read.py"));
    fs::write(&script, READ).expect("a file");
    let vnet = |arguments: &[&str]| {
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/demo.vnet");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vnet"));
        command.args(["trace", "export", demo]).args(arguments);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    vnet(&["--to", "perfetto", "-o", trace.to_str().expect("text")]);
    let output = Command::new(python).arg(script).arg(&trace).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["unknown"], 0);

    let tracks = read["tracks"].as_object().expect("tracks");
    let devices: BTreeSet<_> = tracks.values().filter(|t| t[1].is_null()).map(|t| t[0].as_str()).collect();
    assert_eq!(devices, BTreeSet::from([Some("web0"), Some("db0"), Some("idle0")]));
    let named = |name: &str| tracks.values().filter(|track| track[0] == name).count();
    // Four, one and four queues.
    assert_eq!([named("queue 0"), named("queue 1"), named("queue 3")], [3, 2, 2]);
    assert_eq!([named("TX packets"), named("RX bytes")], [9, 9]);

    let events = read["events"].as_array().expect("events");
    assert!(events.iter().all(|event| event[3] == true), "a counter on a track that was described before");
    let times: Vec<_> = events.iter().map(|event| event[0].as_u64()).collect();
    assert!(times.is_sorted());
    // Every instant but the first, which ends no interval, has the rates of all queues.
    let lines = vnet(&[]);
    let samples =
        lines.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"record\":\"sample\"")).count();
    let of_rates = events.iter().filter(|event| {
        let of = event[1].as_u64().map(|uuid| uuid.to_string()).and_then(|uuid| tracks.get(&uuid));
        of.is_some_and(|track| track[0] == "TX packets")
    });
    assert_eq!(of_rates.count(), (samples - 1) * 9);
}
