//! The worst findings, in a line each.

use ratatui::layout::Rect;

use super::{Pen, findings};
use crate::{
    report::{self, Level},
    tui::ui::Ui,
};

/// ```text
/// CRITICAL R40 on tap0 queue 0: The tap drops packets for the guest
/// WARNING R4 on tap0: The guest has not enabled all queues                    … 3 more: 5
/// ```
pub(super) fn draw(ui: &Ui, pen: &mut Pen<'_>, area: Rect) {
    let (found, look) = (&ui.facts().report.findings, pen.look);
    if found.is_empty() {
        let report = &ui.facts().report;
        let unjudged = report.unsure.len();
        let s = if unjudged == 1 { "" } else { "s" };
        let why = if unjudged > 0 { format!(" {unjudged} rule{s} not judged: 5") } else { String::new() };
        pen.put(area.x, area.y, &(findings::none(report) + &why), area.width, look.plain());
        return;
    }
    let rows = usize::from(area.height);
    for (y, finding) in (area.y..area.bottom()).zip(found) {
        let style = if finding.level > Level::Info { look.warning() } else { look.strong() };
        let level = finding.level.name().to_uppercase();
        let subject = findings::ascii(&report::findings::subject(&finding.subject), look);
        let title = findings::ascii(&finding.title, look);
        let head = format!("{level} {}", findings::ascii(&finding.rule, look));
        let more = found.len().saturating_sub(rows);
        let told =
            if more > 0 && y + 1 == area.bottom() { format!(" +{more} more: 5") } else { String::new() };
        let width = area.width.saturating_sub(super::narrow(told.len()));
        let row = Rect { y, height: 1, width, ..area };
        pen.parts(row, &[(head, style), (format!(" on {subject}: {title}"), look.plain())]);
        pen.right(Rect { y, height: 1, ..area }, &told, look.accent());
    }
}
