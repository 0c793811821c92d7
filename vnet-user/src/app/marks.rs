//! Where findings begin and end in a recording: it is read once as a whole, beside what is played.

use std::thread;

use anyhow::Result;
use tokio::sync::oneshot;
use vnet::{filter::Filter, record::Nanos, report::Finding, state::State, tui::Mark};

use super::play::{instant, open};
use crate::cli::SourceFrom;

/// Looks them up on a thread of its own, which ends with the process: a long recording takes a while, and nobody waits for it. What
/// cannot be read is told by whoever plays it.
pub(super) fn look_up(from: &SourceFrom, filter: &Filter, state: State) -> oneshot::Receiver<Vec<Mark>> {
    let (sender, receiver) = oneshot::channel();
    let (from, filter) = (from.clone(), filter.clone());
    let look_up = move || {
        if let Ok(marks) = marks(&from, filter, state) {
            let _ = sender.send(marks);
        }
    };
    // Without a thread there are no marks, and the screen says that they are not known.
    let _ = thread::Builder::new().name("marks".to_owned()).spawn(look_up);
    receiver
}

fn marks(from: &SourceFrom, filter: Filter, mut state: State) -> Result<Vec<Mark>> {
    let mut replay = open(from, filter)?;
    let mut marks = Marks::default();
    loop {
        let batch = replay.batch();
        if batch.is_empty() {
            return Ok(marks.at_the_end(replay.length()));
        }
        super::fold(&mut state, &batch);
        if let Some(at) = instant(&batch) {
            marks.take(at, state.findings());
        }
    }
}

/// Findings that are over, and those that last.
#[derive(Default)]
struct Marks {
    over: Vec<Mark>,
    lasting: Vec<(Finding, f64)>,
}

impl Marks {
    fn take(&mut self, at: Nanos, findings: &[Finding]) {
        let at = at.seconds();
        let over = self.lasting.extract_if(.., |(of, _)| !findings.iter().any(|finding| same(finding, of)));
        self.over.extend(over.map(|(finding, from)| Mark { level: finding.level, from, to: at }));
        for finding in findings {
            if !self.lasting.iter().any(|(of, _)| same(finding, of)) {
                self.lasting.push((finding.clone(), at));
            }
        }
    }

    fn at_the_end(mut self, end: Nanos) -> Vec<Mark> {
        let to = end.seconds();
        self.over.extend(self.lasting.into_iter().map(|(finding, from)| Mark {
            level: finding.level,
            from,
            to,
        }));
        self.over.sort_by(|a, b| a.from.total_cmp(&b.from));
        self.over
    }
}

/// Queues may come to a finding and go.
fn same(a: &Finding, b: &Finding) -> bool {
    let key = |finding: &Finding| {
        let subject = &finding.subject;
        (finding.rule.clone(), subject.device_key(), subject.vm_pid, subject.cpu)
    };
    key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_its_finding_from_when_it_is_steady_to_its_end() {
        let marks = marks(&SourceFrom::Demo, Filter::default(), State::default()).unwrap();
        let first = marks.first().unwrap();
        assert!(first.from >= 5.0 && first.from < 15.0 && first.to > 85.0, "{marks:?}");
    }

    #[test]
    fn a_finding_that_comes_again_is_marked_again() {
        let mut state = State::default();
        let mut replay = open(&SourceFrom::Demo, Filter::default()).unwrap();
        std::iter::repeat_with(|| replay.batch())
            .take_while(|batch| !batch.is_empty())
            .flatten()
            .for_each(|record| state.apply(&record));
        let found = &state.findings().to_vec()[..1];
        let mut marks = Marks::default();
        for (at, findings) in [(1, &found[..0]), (2, found), (3, found), (4, &[]), (5, found)] {
            marks.take(Nanos(at * 1_000_000_000), findings);
        }
        let marks = marks.at_the_end(Nanos(9_000_000_000));
        let spans: Vec<_> = marks.iter().map(|mark| [mark.from, mark.to]).collect();
        assert_eq!(spans, [[2.0, 4.0], [5.0, 9.0]]);
    }
}
