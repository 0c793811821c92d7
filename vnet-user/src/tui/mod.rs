//! The live screen of `vnet top`.
//!
//! [`Ui`] is the state: a key or a report goes in, an [`Effect`] comes out. [`view`] draws it. [`run`] is the only part
//! that knows a terminal.

pub mod cell;
pub mod chart;
pub mod columns;
pub mod facts;
pub mod findings;
pub mod heat;
pub mod host;
mod input;
pub mod keys;
pub mod layout;
pub mod list;
pub mod look;
pub mod mouse;
pub mod screen;
mod term;
pub mod text;
pub mod timeline;
pub mod ui;
pub mod units;
pub mod view;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use input::Input;
use rustix::process::{Signal, kill_current_process_group};
use tokio::{
    signal::unix::{self, SignalKind},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

pub use keys::Key;
pub use look::Look;
pub use mouse::Mouse;
pub use timeline::{Ask, Mark, Timeline};
pub use ui::{Effect, Ui};

use crate::report::Report;

/// How long a stop that Ctrl-Z asked for may take to happen; the kernel refuses it where nobody could continue us.
const STOP_REFUSED: Duration = Duration::from_millis(200);

/// What the screen is shown with.
#[derive(Clone, Copy, Debug)]
pub struct TuiOptions {
    /// What the terminal can show.
    pub look: Look,
}

impl TuiOptions {
    /// What the environment says: `NO_COLOR`, the locale and `TERM`.
    pub fn from_env() -> Self {
        Self { look: Look::from_env(|name| std::env::var_os(name)) }
    }
}

/// A recording that is played while it is shown.
#[derive(Debug)]
pub struct Playback {
    /// How it begins.
    pub timeline: Timeline,
    /// Tells where findings are in it, once that is looked up.
    pub marks: oneshot::Receiver<Vec<Mark>>,
}

/// Why the screen ended. The terminal is as it was before in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The user quit.
    Quit,
    /// SIGINT, SIGTERM or SIGHUP came.
    Signal,
    /// The sender of reports is gone: whoever has it knows why.
    SourceEnded,
    /// The terminal is gone.
    TerminalGone,
    /// Another task or thread panicked; its message is on stderr.
    Panicked,
}

/// Shows the newest report until the user quits, a signal comes, the sender of reports is dropped or the terminal goes
/// away. What is asked of the source goes to `source`. Prints nothing.
///
/// # Errors
/// Standard input or output is no terminal, or the terminal cannot be set up.
pub async fn run(
    mut reports: watch::Receiver<Arc<Report>>,
    options: TuiOptions,
    source: mpsc::UnboundedSender<Ask>,
    mut playback: Option<Playback>,
) -> anyhow::Result<Exit> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!("vnet top needs a terminal; use vnet report instead");
    }
    // Before the terminal is taken, so that no signal can leave it taken.
    let mut end = EndSignals::new().context("cannot listen to signals")?;
    let continued = SignalKind::from_raw(Signal::CONT.as_raw());
    let mut continued = unix::signal(continued).context("cannot listen to signals")?;
    let mut screen = term::Screen::take()?;
    let mut input = input::start().context("cannot read the terminal")?;
    let mut ui = Ui::new(reports.borrow_and_update().clone(), 0, 0);
    if let Some(playback) = &playback {
        ui = ui.playing(playback.timeline.clone());
    }
    let mut effect = Effect::Redraw;
    let mut timed = false;
    loop {
        if timed != ui.wants_costs() {
            timed = !timed;
            let _ = source.send(Ask::Time(timed));
        }
        if !term::taken() {
            return Ok(Exit::Panicked);
        }
        let shown = match effect {
            Effect::Quit => return Ok(Exit::Quit),
            Effect::None => Ok(()),
            Effect::Ask(ask) => {
                // A source that is gone has told why; the reports end with it.
                let _ = source.send(ask);
                draw(&mut screen, &mut ui, options.look)
            }
            Effect::Redraw => draw(&mut screen, &mut ui, options.look),
            Effect::Repaint => screen.retake().and_then(|()| draw(&mut screen, &mut ui, options.look)),
            Effect::Suspend => {
                suspend(&mut continued).await?;
                screen.retake().and_then(|()| draw(&mut screen, &mut ui, options.look))
            }
        };
        if shown.is_err() {
            return Ok(Exit::TerminalGone);
        }
        effect = tokio::select! {
            biased;
            () = end.recv() => return Ok(Exit::Signal),
            _ = continued.recv() => Effect::Repaint,
            changed = reports.changed() => match changed {
                Ok(()) => ui.report(reports.borrow_and_update().clone()),
                // The task that had the sender may have panicked.
                Err(_) if !term::taken() => return Ok(Exit::Panicked),
                Err(_) => return Ok(Exit::SourceEnded),
            },
            marks = marks(&mut playback) => ui.marks(marks),
            first = input.recv() => match first {
                Some(first) => keys(&mut ui, first, &mut input),
                None => return Ok(Exit::TerminalGone),
            },
        };
    }
}

/// Where findings are in what is played. Never ready where that will not be told, or was.
async fn marks(playback: &mut Option<Playback>) -> Vec<Mark> {
    if let Some(playback) = playback.as_mut().filter(|playback| !playback.marks.is_terminated())
        && let Ok(marks) = (&mut playback.marks).await
    {
        return marks;
    }
    std::future::pending().await
}

/// Takes in all that was typed since; what one key asks for beyond drawing is done before the next.
fn keys(ui: &mut Ui, first: Input, input: &mut mpsc::Receiver<Input>) -> Effect {
    let mut effect = Effect::None;
    let mut next = Some(first);
    while let Some(input_now) = next {
        let new = match input_now {
            Input::Key(key) => ui.key(key),
            Input::Mouse(mouse) => ui.mouse(mouse),
            // The size is asked for with every frame.
            Input::Resize(..) => Effect::Redraw,
        };
        match new {
            Effect::None => {}
            Effect::Redraw => effect = Effect::Redraw,
            other => return other,
        }
        next = input.try_recv().ok();
    }
    effect
}

fn draw(screen: &mut term::Screen, ui: &mut Ui, look: Look) -> io::Result<()> {
    let size = screen.terminal.size()?;
    ui.resize(size.width, size.height);
    screen.mouse(ui.wants_mouse())?;
    let mut end = 0;
    screen.terminal.draw(|frame| end = view::draw(ui, look, frame.area(), frame.buffer_mut()))?;
    ui.drawn(end);
    Ok(())
}

/// Gives the terminal back and stops the job, as Ctrl-Z does elsewhere; returns when it is continued.
async fn suspend(continued: &mut unix::Signal) -> anyhow::Result<()> {
    term::restore();
    // SIGTSTP to the whole job, not SIGSTOP to this process: a parent such as sudo must stop too, and where no shell
    // could ever continue us the kernel ignores it.
    kill_current_process_group(Signal::TSTP).context("cannot stop the job")?;
    // Another thread may take the signal: wait until it had its effect.
    let _ = timeout(STOP_REFUSED, continued.recv()).await;
    Ok(())
}

/// The signals that end the screen. SIGTSTP keeps its default action, see [`suspend`].
struct EndSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl EndSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
