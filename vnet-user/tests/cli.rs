//! The program as a user meets it, as far as it needs no probes.

use std::{
    fs::{self, File},
    process::{Command, Output, Stdio},
};

fn vnet(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vnet"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    vnet(arguments).output().expect("the program runs")
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

/// An error is one line on stderr that begins with the program's name, status 2, and nothing on stdout.
#[track_caller]
fn is_error(output: &Output, told: &str) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(stdout(output), "");
    let err = stderr(output);
    assert!(err.starts_with("vnet: ") && err.lines().count() == 1, "{err}");
    assert!(err.contains(told), "{err}");
}

#[test]
fn help_teaches() {
    insta::assert_snapshot!("help", stdout(&run(&["--help"])));
    insta::assert_snapshot!("help_report", stdout(&run(&["report", "--help"])));
    for verb in ["record", "trace"] {
        insta::assert_snapshot!(format!("help_{verb}"), stdout(&run(&[verb, "--help"])));
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in
        [&["--help"][..], &["-h"], &["top", "--help"], &["doctor", "-h"], &["--version"], &["-V"]]
    {
        let output = run(arguments);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{arguments:?}");
    }
    assert_eq!(stdout(&run(&["--version"])), format!("vnet {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_makes_no_sense_is_status_2_and_told_on_stderr() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["report", "--for", "0s"],
        &["report", "--interval", "5ms"],
        &["report", "--format", "html"],
        &["report", "-o"],
        &["report", "-o", ""],
        &["top", "--netns", "no-such-namespace"],
        &["doctor", "--color"],
    ] {
        let output = run(arguments);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{arguments:?}");
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_measuring() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("no/such/folder/report.json");
    // Measured first, these would take a minute.
    for (path, told) in [(folder.path(), "it is a folder"), (&*inside, "No such file or directory")] {
        let path = path.to_str().expect("text");
        let output = run(&["report", "--for", "1m", "-o", path]);
        is_error(&output, told);
        is_error(&output, path);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "something was left behind");
}

#[test]
fn rules_are_listed_explained_and_their_thresholds_printed_without_any_right() {
    let list = run(&["rules"]);
    assert_eq!((list.status.code(), stderr(&list)), (Some(0), ""));
    assert!(stdout(&list).contains("The guest has not enabled all queues"), "{}", stdout(&list));
    let one = run(&["rules", "explain", "r12"]);
    assert!(stdout(&one).starts_with("R12: One queue carries nearly everything\n"), "{}", stdout(&one));
    let thresholds = run(&["rules", "thresholds"]);
    assert!(stdout(&thresholds).contains("\n[R12]  # One queue carries nearly everything\n"));
    let unknown = run(&["rules", "explain", "R99"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("`vnet rules` lists them"), "{}", stderr(&unknown));
}

#[test]
fn a_bad_thresholds_file_is_told_with_line_key_and_range_before_measuring() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thresholds.toml");
    fs::write(&path, "[R12]\nworker_busy = 0.5\nshare = 7\n").expect("written");
    let path = path.to_str().expect("text");
    let output = run(&["report", "--for", "1m", "--thresholds", path]);
    is_error(&output, "line 3: [R12] share = 7 is not allowed: from 0.0001 to 1");
    is_error(&output, path);
    is_error(&run(&["report", "--for", "1m", "--thresholds", "/no/such.toml"]), "cannot read /no/such.toml");
}

#[test]
fn top_needs_a_terminal() {
    is_error(&run(&["top"]), "needs a terminal; use vnet report instead");
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&["--help"][..], &["doctor"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = vnet(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = vnet(&["doctor"]).stdout(full()).stderr(Stdio::piped()).output().expect("it runs");
    is_error(&output, "cannot write to standard output: No space left on device");
    let output = vnet(&["--help"]).stdout(full()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}

/// Who may not load probes is told what is missing and what to do, and no half of a report is left.
#[test]
fn without_the_right_to_measure_it_says_what_is_missing() {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let plain_user = status.lines().any(|line| line == "CapEff:\t0000000000000000");
    let nobody = |arguments: &[&str]| {
        if plain_user {
            return vnet(arguments).output();
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]);
        command.arg(env!("CARGO_BIN_EXE_vnet")).args(arguments).stdin(Stdio::null()).output()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.txt");
    let Ok(output) = nobody(&["report", "--for", "1m", "-o", path.to_str().expect("text")]) else {
        println!("skipped: setpriv is not installed, so that the lack of capabilities was not tried");
        return;
    };
    if stderr(&output).starts_with("setpriv:") {
        println!("skipped: setpriv may not drop capabilities here: {}", stderr(&output).trim());
        return;
    }
    is_error(&output, "lacks CAP_BPF and CAP_PERFMON");
    is_error(&output, "as root");
    assert!(!path.exists());

    let output = nobody(&["doctor"]).expect("it ran before");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stdout(&output).starts_with("Prerequisites:\n  this process lacks CAP_BPF"), "{output:?}");
}

/// The recording that is part of vnet needs no rights, and is what it is said to be.
#[test]
fn the_demo_is_a_whole_recording_of_real_taps() {
    let output = run(&["report", "--demo", "--format", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["source"]["kind"], &report["source"]["complete"]), (&"trace".into(), &true.into()));
    assert_eq!(report["lost"]["events"], 0);
    let queues: Vec<_> = report["queues"].as_array().expect("queues").iter().collect();
    let packets = |device: &str, queue: u16| {
        let row = queues.iter().find(|row| row["device"] == device && row["queue"] == queue);
        row.and_then(|row| row["tx"]["packets"].as_u64()).unwrap_or_else(|| panic!("{device} {queue}"))
    };
    assert!(packets("web0", 3) > 10 * (packets("web0", 0) + packets("web0", 1) + packets("web0", 2)));
    assert!(packets("db0", 0) > 0 && packets("idle0", 0) == 0);
}

#[test]
fn what_is_no_recording_is_an_error_and_a_part_of_one_a_note() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    is_error(&run(&["report", "--trace", &path("none")]), "No such file or directory");
    fs::write(path("text"), "packets: 3\n").expect("a file");
    for arguments in [&["report", "--trace"][..], &["trace", "info"], &["trace", "export"]] {
        is_error(&run(&[arguments, &[&path("text")]].concat()), "this is no recording of vnet");
    }
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/demo.vnet");
    let whole = fs::read(demo).expect("the demo");
    assert!(whole.len() <= 300 << 10, "{} bytes are part of the program", whole.len());
    fs::write(path("part"), &whole[..whole.len() - 1]).expect("a file");
    let output = run(&["report", "--trace", &path("part"), "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("cut off within the block at byte"), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"complete\": false"));
}
