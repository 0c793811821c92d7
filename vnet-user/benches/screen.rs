//! What the screen costs with 3,200 queues, each figure beside its limit: from a report to a frame, and from a key to one.
//!
//! No terminal: what a frame writes to one is the difference to the frame before, which a test holds to be nothing without a change.

#[path = "../tests/screens/build.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod build;
#[path = "../tests/screens/places.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod places;
#[path = "scale/table.rs"]
#[expect(dead_code, reason = "the other measurements have more units")]
mod table;

use std::{
    env,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use ratatui::{buffer::Buffer, layout::Rect};
use vnet::{
    report::Report,
    tui::{Key, Look, Ui, screen::SCREENS, view},
};

use table::{Figure, Table, Unit};

/// A large terminal.
const SIZE: (u16, u16) = (250, 80);
const RUNS: usize = 41;

fn main() -> ExitCode {
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let mut table = Table::default();
    let report = Arc::new(places::large());
    println!("{} queues on {} x {}; medians (ranges)", report.queues.len(), SIZE.0, SIZE.1);
    for (digit, title, _) in SCREENS {
        screen(&mut table, &report, *digit, title);
    }
    if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn screen(table: &mut Table, report: &Arc<Report>, digit: char, title: &str) {
    let mut ui = Ui::new(Arc::clone(report), SIZE.0, SIZE.1);
    ui.key(Key::Char('2'));
    ui.key(Key::Char(digit));
    let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    let mut draw = |ui: &Ui| {
        view::draw(ui, Look::FULL, buffer.area, &mut buffer);
    };
    let mut frame = Figure::new(&format!("{title}: a frame"), Unit::Millis).limit(5.0);
    let mut fresh = Figure::new("  a new report taken and drawn", Unit::Millis).limit(5.0);
    let mut key = Figure::new("  a key to its frame", Unit::Millis).limit(50.0);
    for run in 0..RUNS {
        // A report of its own each time: what was looked up of the last is of no use.
        let next = Arc::new(Report::clone(report));
        fresh.add(timed(|| {
            ui.report(next);
            draw(&ui);
        }));
        frame.add(timed(|| draw(&ui)));
        let pressed = if run % 2 == 0 { Key::Down } else { Key::Char('r') };
        key.add(timed(|| {
            ui.key(pressed);
            draw(&ui);
        }));
    }
    table.print([frame, fresh, key]);
}

/// Milliseconds that `work` takes.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    Duration::as_secs_f64(&start.elapsed()) * 1e3
}
