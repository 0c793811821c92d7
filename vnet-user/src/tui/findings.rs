//! Which finding is chosen. The choice follows the finding, not the row.

use crate::report::{Finding, Subject};

/// The chosen finding, and how far its text is scrolled when it is open.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Rule and subject; `None` while it is the first, whatever that is.
    finding: Option<(String, Subject)>,
    row: usize,
    scrolled: usize,
}

impl Chosen {
    /// Its place in the list, from 0.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Place of the first in view of a list with so many rows.
    pub fn top(&self, rows: usize) -> usize {
        (self.row + 1).saturating_sub(rows)
    }

    /// Lines of the open finding above the first that is in view.
    pub fn scrolled(&self) -> usize {
        self.scrolled
    }

    /// Chooses this one, wherever it is.
    pub(super) fn choose(&mut self, finding: &Finding) {
        self.finding = Some((finding.rule.clone(), finding.subject.clone()));
        self.scrolled = 0;
    }

    /// Finds the choice among these; where it is gone, what is in its place is chosen.
    pub(super) fn arrange(&mut self, findings: &[Finding]) {
        let same = |finding: &Finding| {
            // Queues may come to a finding and go.
            self.finding.as_ref().is_some_and(|(rule, subject)| {
                (rule, subject.device_key(), subject.vm_pid, subject.cpu)
                    == (
                        &finding.rule,
                        finding.subject.device_key(),
                        finding.subject.vm_pid,
                        finding.subject.cpu,
                    )
            })
        };
        self.row = match findings.iter().position(same) {
            Some(row) => row,
            None if self.finding.is_none() => 0,
            None => self.row.min(findings.len().saturating_sub(1)),
        };
    }

    /// An open finding can be scrolled by so many lines.
    pub(super) fn drawn(&mut self, end: usize) {
        self.scrolled = self.scrolled.min(end);
    }

    /// Moves by rows, or by lines of an open finding, which has so many to scroll by; returns whether anything moved.
    pub(super) fn step(&mut self, findings: &[Finding], rows: isize, end: Option<usize>) -> bool {
        let before = (self.row, self.scrolled);
        if let Some(end) = end {
            self.scrolled = self.scrolled.saturating_add_signed(rows).min(end);
        } else {
            self.row = self.row.saturating_add_signed(rows).min(findings.len().saturating_sub(1));
            self.scrolled = 0;
            self.finding =
                findings.get(self.row).map(|finding| (finding.rule.clone(), finding.subject.clone()));
        }
        before != (self.row, self.scrolled)
    }
}
