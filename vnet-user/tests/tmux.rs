//! The real program in a real terminal: `vnet top --demo` under tmux, typed at as a user does, and a sane terminal afterwards.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A terminal of tmux with a shell in it.
struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// `None`, said aloud, where there is no tmux.
    fn new() -> Option<Self> {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
        if !there {
            println!("skipped: tmux is not installed, so that the screen was not tried in it");
            return None;
        }
        let terminal = Self { folder: tempfile::tempdir().expect("a folder") };
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' bash --norc --noprofile"]);
        terminal.wait_for("$");
        Some(terminal)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server of its own, which reads nobody's settings.
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(self.path("socket")).args(["-f", "/dev/null"]).args(arguments);
        let output = tmux.env("LANG", "C.UTF-8").env_remove("TMUX").env_remove("NO_COLOR").output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    }

    /// Keys by the names that tmux has for them.
    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn paste(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// A click, as a terminal tells it; columns and rows from 1.
    fn click(&self, column: u16, row: u16) {
        self.paste(&format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"));
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "no {what}; the screen is:\n{}", self.screen());
            thread::sleep(LOOK);
        }
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        self.wait(text, |terminal| terminal.screen().contains(text));
    }

    /// Second of the recording that it stands at.
    fn paused_at(&self) -> Option<f64> {
        let screen = self.screen();
        screen.split_once("PAUSED at ")?.1.split_once(" s of")?.0.parse().ok()
    }

    /// What tmux knows of the pane.
    fn flag(&self, name: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{name}}}")]).trim().to_owned()
    }

    /// Starts the program as a user does, and returns its process once it shows something.
    #[track_caller]
    fn start(&self) -> Pid {
        self.remember_settings("before");
        let (pid, vnet) = (self.path("pid"), env!("CARGO_BIN_EXE_vnet"));
        self.paste(&format!("bash -c 'echo $$ > {}; exec {vnet} top --demo'\n", pid.display()));
        self.wait_for("3 devices · 9 queues");
        assert_eq!(self.flag("alternate_on"), "1");
        let pid = std::fs::read_to_string(pid).expect("the shell wrote it");
        pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process")
    }

    #[track_caller]
    fn remember_settings(&self, name: &str) {
        let path = self.path(name);
        self.paste(&format!("stty -g > {0}.new; mv {0}.new {0}\n", path.display()));
        self.wait("settings", |_| path.exists());
    }

    /// The shell has its terminal again, as it was.
    #[track_caller]
    fn assert_sane(&self) {
        self.wait("shell", |terminal| terminal.flag("alternate_on") == "0");
        self.remember_settings("after");
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("settings");
        assert_eq!(read(self.path("after")), read(self.path("before")));
        assert_eq!((self.flag("cursor_flag"), self.flag("mouse_any_flag")), ("1".into(), "0".into()));
        self.paste("echo $((6 * 7)) is the answer\n");
        self.wait_for("42 is the answer");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn every_screen_of_the_demo_by_keys() {
    let Some(terminal) = Terminal::new() else { return };
    terminal.start();
    for (key, open) in [
        ("2", "[2 Queues]"),
        ("3", "[3 Queue]"),
        ("4", "[4 Layout]"),
        ("5", "[5 Findings"),
        ("6", "[6 Probes]"),
        ("1", "[1 Overview]"),
        ("Tab", "[2 Queues]"),
        ("BTab", "[1 Overview]"),
        ("?", "paint the screen anew"),
        ("Escape", "[1 Overview]"),
    ] {
        terminal.press(&[key]);
        terminal.wait_for(open);
    }
    // What a recording of taps alone cannot tell has a reason.
    terminal.press(&["4"]);
    terminal.wait_for("where workers and vCPUs run is not known");
    terminal.press(&["q"]);
    terminal.assert_sane();
}

#[test]
fn filter_resize_seek_mouse_and_quit() {
    let Some(terminal) = Terminal::new() else { return };
    terminal.start();
    terminal.press(&["2", "/"]);
    terminal.paste("db0");
    terminal.press(&["Enter"]);
    terminal.wait_for("1/1");
    terminal.press(&["Escape"]);
    terminal.wait_for("1/9");
    for (columns, rows, text) in
        [("120", "40", "8 signals unavailable"), ("40", "10", "terminal too small"), ("80", "24", "1/9")]
    {
        terminal.tmux(&["resize-window", "-x", columns, "-y", rows]);
        terminal.wait_for(text);
    }
    terminal.press(&["Space"]);
    terminal.wait_for("PAUSED at");
    let before = terminal.paused_at().expect("it says where");
    terminal.press(&["]"]);
    terminal.wait("seek", |terminal| terminal.paused_at().is_some_and(|at| at >= before + 9.0));
    // The tab of the overview, then its second row twice.
    terminal.click(5, 3);
    terminal.wait_for("[1 Overview]");
    let row = terminal.screen().lines().position(|line| line.contains("db0")).expect("db0 is there");
    let row = u16::try_from(row + 1).expect("a small screen");
    terminal.click(5, row);
    terminal.wait_for("▶ db0");
    terminal.click(5, row);
    terminal.wait_for("Queues of db0");
    terminal.press(&["C-c"]);
    terminal.assert_sane();
}

#[test]
fn three_keys_to_what_is_wrong_in_the_demo() {
    let Some(terminal) = Terminal::new() else { return };
    terminal.start();
    // Evidence has to be steady for seconds before anything is said: to where that is.
    terminal.wait("marks", |terminal| !terminal.screen().contains("seeking findings"));
    terminal.press(&["n"]);
    terminal.wait_for("R40 on web0 queue 3");
    terminal.press(&["5"]);
    terminal.wait_for("txqueuelen 10000");
    terminal.press(&["Enter"]);
    terminal.wait_for("CRITICAL R40: The tap drops packets");
    terminal.press(&["Enter"]);
    terminal.wait_for("web0 queue 3 of 4");
    terminal.wait_for("RX drops FULL_RING");
    terminal.press(&["q"]);
    terminal.assert_sane();
}

#[test]
fn signals_leave_a_sane_terminal() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let Some(terminal) = Terminal::new() else { return };
        let pid = terminal.start();
        kill_process(pid, signal).expect("it runs");
        terminal.assert_sane();
    }
}

/// As when a connection breaks: the terminal is gone, and nobody is left to quit.
#[test]
fn a_terminal_that_is_gone_ends_it() {
    let Some(terminal) = Terminal::new() else { return };
    let pid = terminal.start();
    terminal.tmux(&["kill-server"]);
    let stat = PathBuf::from(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let runs = |stat: &Path| {
        // A zombie that nobody waits for has ended too.
        std::fs::read_to_string(stat)
            .is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
    };
    let began = Instant::now();
    while runs(&stat) {
        assert!(began.elapsed() < PATIENCE, "it still runs");
        thread::sleep(LOOK);
    }
}
