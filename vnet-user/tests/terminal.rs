//! The screen on a real (pseudo) terminal: whatever ends it, the terminal is as it was.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZero,
    os::fd::AsFd,
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use pty_process::{
    Size,
    blocking::{Command, Pts, Pty, open},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The example with made-up reports, beside this test's own program.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test has a path");
    path.pop();
    path.pop();
    path.join("examples/screen")
}

/// A terminal with a program on it.
struct Session {
    pty: Pty,
    /// Keeps the terminal's settings readable after the program has ended.
    pts: Option<Pts>,
    child: Child,
    parser: vt100::Parser,
    /// As it was before the program started.
    original: Termios,
}

impl Session {
    fn start(arguments: &[&str]) -> Self {
        Self::start_program(Command::new(example()).args(arguments))
    }

    fn start_program(program: Command) -> Self {
        let (pty, pts) = open().expect("a terminal");
        pty.resize(Size::new(24, 80)).expect("a terminal can be resized");
        let original = tcgetattr(&pty).expect("a terminal has settings");
        let mut program = program
            .env("TERM", "xterm")
            .env("LANG", "C.UTF-8")
            .env_remove("LC_ALL")
            .env("RUST_BACKTRACE", "0");
        let child = program.spawn_borrowed(&pts).expect("the program starts");
        Self { pty, pts: Some(pts), child, parser: parser(), original }
    }

    fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    /// Takes in what the program prints until `done`.
    #[track_caller]
    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "no {what}; the screen is:\n{}", self.screen());
            self.take_in();
        }
    }

    fn take_in(&mut self) {
        let mut polled = [PollFd::new(&self.pty, PollFlags::IN)];
        let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        if poll(&mut polled, Some(&tick)).expect("a terminal can be polled") == 0 {
            return;
        }
        let mut bytes = [0; 16384];
        if let Ok(n) = self.pty.read(&mut bytes) {
            self.parser.process(&bytes[..n]);
        }
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        self.wait(text, |session| session.screen().contains(text));
    }

    #[track_caller]
    fn wait_for_exit(&mut self) -> ExitStatus {
        let mut status = None;
        self.wait("end", |session| {
            status = session.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        // What was printed last may still be on its way.
        self.take_in();
        status.expect("waited for it")
    }

    fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).expect("a terminal can be written to");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child can be signalled");
    }

    fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.pty).expect("a terminal has settings"))
    }

    #[track_caller]
    fn assert_taken(&self) {
        assert!(self.parser.screen().alternate_screen() && self.parser.screen().hide_cursor());
        assert_ne!(self.parser.screen().mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_ne!(self.settings(), format!("{:?}", self.original), "raw");
    }

    #[track_caller]
    fn assert_given_back(&self) {
        assert!(!self.parser.screen().alternate_screen(), "on the alternate screen");
        assert!(!self.parser.screen().hide_cursor(), "the cursor is hidden");
        assert_eq!(
            self.parser.screen().mouse_protocol_mode(),
            vt100::MouseProtocolMode::None,
            "the mouse is taken"
        );
        assert!(!self.parser.screen().bold() && !self.parser.screen().inverse(), "attributes are left");
        assert_eq!(self.settings(), format!("{:?}", self.original));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("not zero")
}

fn parser() -> vt100::Parser {
    vt100::Parser::new(size(24), size(80), 0)
}

#[test]
fn q_quits() {
    let mut session = Session::start(&[]);
    session.wait_for("3 devices, 1 gone");
    session.assert_taken();
    session.press("q");
    assert!(session.wait_for_exit().success());
    session.assert_given_back();
    session.wait_for("ended: Quit");
}

#[test]
fn signals_end_it() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut session = Session::start(&[]);
        session.wait_for("3 devices");
        session.signal(signal);
        assert!(session.wait_for_exit().success());
        session.assert_given_back();
        session.wait_for("ended: Signal");
    }
}

#[test]
fn a_panic_is_printed_on_the_terminal_as_it_was() {
    for what in ["panic", "panic-elsewhere"] {
        let mut session = Session::start(&["small", what]);
        session.wait_for("asked for");
        session.wait_for_exit();
        session.assert_given_back();
        session.wait_for("ended: Panicked");
    }
}

#[test]
fn the_end_of_the_source_ends_it() {
    let mut session = Session::start(&["small", "end"]);
    session.wait_for("3 devices");
    session.wait_for_exit();
    session.assert_given_back();
    session.wait_for("ended: SourceEnded");
}

#[test]
fn keys_and_sizes_do_what_they_say() {
    let mut session = Session::start(&["large"]);
    session.wait_for("400 devices");
    session.press("2");
    session.wait_for("[2 Queues]");
    session.press("/tap39");
    session.wait_for("filter \"tap39\"");
    session.press("\r");
    session.wait_for("1/88");
    session.press("\x1b[B");
    session.wait_for("2/88");
    session.press("\x1b");
    session.wait_for("/3200");
    session.press("?");
    session.wait_for("paint the screen anew");
    session.press("?");
    for (rows, columns, text) in
        [(10, 40, "terminal too small"), (50, 160, "[2 Queues]"), (1, 1, "t"), (24, 80, "[2 Queues]")]
    {
        session.parser.screen_mut().set_size(size(rows), size(columns));
        session.pty.resize(Size::new(rows, columns)).expect("a terminal can be resized");
        session.wait_for(text);
    }
    session.press("\x03");
    assert!(session.wait_for_exit().success());
    session.assert_given_back();
}

#[test]
fn control_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    let script = format!("{} small; echo stopped; read -r; fg; echo over", example().display());
    let mut session = Session::start_program(Command::new("bash").args(["--norc", "-mc", &script]));
    session.wait_for("3 devices");
    session.assert_taken();
    session.press("\x1a");
    session.wait_for("stopped");
    session.assert_given_back();
    session.press("\n");
    session.wait_for("3 devices");
    session.assert_taken();
    session.press("q");
    session.wait_for("ended: Quit");
    session.wait_for("over");
    session.wait_for_exit();
    session.assert_given_back();
}

#[test]
fn control_z_without_a_shell_comes_back() {
    let mut session = Session::start(&[]);
    session.wait_for("3 devices");
    session.press("\x1a");
    session.wait("terminal back", |session| {
        !session.parser.screen().alternate_screen() && session.settings() == format!("{:?}", session.original)
    });
    session.wait_for("3 devices");
    session.assert_taken();
    session.press("q");
    session.wait_for_exit();
    session.assert_given_back();
}

#[test]
fn a_stop_and_a_change_of_settings_from_outside_are_repaired() {
    let mut session = Session::start(&[]);
    session.wait_for("3 devices");
    session.signal(Signal::STOP);
    // What a shell does when its job stops.
    tcsetattr(&session.pty, OptionalActions::Now, &session.original).expect("a terminal can be set");
    session.parser.process(b"\x1b[?1049l\x1b[?25hprompt$ ");
    session.signal(Signal::CONT);
    session.wait_for("3 devices");
    session.assert_taken();
}

#[test]
fn a_lost_terminal_ends_it() {
    for with_signal in [true, false] {
        let mut session = if with_signal {
            Session::start(&[])
        } else {
            // Not its controlling terminal: nobody sends SIGHUP, as under nohup.
            let (pty, pts) = open().expect("a terminal");
            pty.resize(Size::new(24, 80)).expect("a terminal can be resized");
            let original = tcgetattr(&pty).expect("a terminal has settings");
            let end = || Stdio::from(File::from(pts.as_fd().try_clone_to_owned().expect("a descriptor")));
            let mut program = std::process::Command::new(example());
            program
                .stdin(end())
                .stdout(end())
                .stderr(Stdio::null())
                .env("TERM", "xterm")
                .env("LANG", "C.UTF-8");
            let child = program.spawn().expect("the program starts");
            Session { pty, pts: Some(pts), child, parser: parser(), original }
        };
        session.wait_for("3 devices");
        session.pts = None;
        let (other, _other_pts) = open().expect("a terminal");
        drop(std::mem::replace(&mut session.pty, other));
        session.wait_for_exit();
    }
}

#[test]
fn no_terminal_is_told_in_one_sentence() {
    let output =
        std::process::Command::new(example()).stdin(Stdio::null()).output().expect("the program starts");
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("vnet top needs a terminal; use vnet report instead"), "{told}");
}
