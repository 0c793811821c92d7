//! Why a table is empty, in plain words.

use ratatui::{
    layout::Rect,
    widgets::{Paragraph, Widget, Wrap},
};

use super::Pen;
use crate::tui::{screen::Screen, text, ui::Ui};

/// ```text
///
///   No tap, macvtap or virtio network device here at the moment.
///   …
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let room = Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4).min(100),
        height: area.height.saturating_sub(1),
    };
    Paragraph::new(why(ui, pen)).wrap(Wrap { trim: true }).render(room, pen.buffer);
}

fn why(ui: &Ui, pen: &Pen<'_>) -> String {
    let report = &ui.facts().report;
    let filtered = !ui.filter().is_empty();
    match ui.screen() {
        _ if report.source.kind.is_none() => {
            "Waiting for the first numbers: devices are being looked up and probes attached.".to_owned()
        }
        _ if report.devices.is_empty() => "No tap, macvtap or virtio network device here at the moment.\n\n\
             They show up as soon as they exist: the taps and macvtaps of virtual machines on a host, in every \
             network namespace in use, and inside a guest its own virtio network interfaces."
            .to_owned(),
        _ if filtered => {
            let filter = text::clean(ui.filter(), pen.look.ascii);
            format!("Nothing has \"{filter}\" in the name of its device or VM, or in its kind.\n\nEsc clears the filter.")
        }
        Screen::Queues(Some(_)) | Screen::Queue(Some(_)) | Screen::Layout(Some(_)) => "No queue of this device is known yet: none has carried a packet, and none is \
             attached.\n\nEsc goes back to all devices."
            .to_owned(),
        _ => {
            "No queue is known yet: none has carried a packet, and none is attached.".to_owned()
        }
    }
}
