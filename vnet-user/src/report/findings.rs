//! What is wrong, as text: the verdict in a line, then each finding with its numbers and commands.

use std::io::{self, Write};

use super::{
    Evidence, Finding, Level, Report, Subject,
    format::{clean, plural, si, wrap},
};

/// Findings that are written in full unless all are asked for, and those that get a line.
const IN_FULL: usize = 2;
const IN_A_LINE: usize = 6;

/// Columns of running text.
const COLUMNS: usize = 100;

/// ```text
/// FINDINGS: 1 critical, 2 warnings, 1 info; the worst: R4 on vnet3, the guest has not enabled all queues
/// ```
pub(super) fn verdict(report: &Report) -> String {
    let Some(worst) = report.findings.first() else {
        return match waiting(report) {
            Some(seconds) => format!("No findings yet: {seconds:.0} s more are needed to be sure"),
            None => "No findings".into(),
        };
    };
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let counts = [
        (count(Level::Critical), count(Level::Critical).to_string() + " critical"),
        (count(Level::Warning), plural(count(Level::Warning), "warning")),
        (count(Level::Info), count(Level::Info).to_string() + " info"),
    ];
    let counts: Vec<_> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(_, text)| text).collect();
    format!("FINDINGS: {}; the worst: {}", counts.join(", "), headline(worst))
}

/// Seconds until something that is past its limit is a finding.
fn waiting(report: &Report) -> Option<f64> {
    report.unsure.iter().filter_map(|unsure| unsure.lacks_seconds).reduce(f64::min)
}

/// `R4 on vnet3 queue 2 5: The guest has not enabled all queues`
fn headline(finding: &Finding) -> String {
    format!("{} on {}: {}", finding.rule, subject(&finding.subject), finding.title)
}

/// What a finding is about, in a few words that are safe to write.
pub fn subject(subject: &Subject) -> String {
    let mut parts = Vec::new();
    if let Some(device) = &subject.device {
        parts.push(clean(device).into_owned());
    }
    if !subject.queues.is_empty() {
        let shown: Vec<_> = subject.queues.iter().take(8).map(u16::to_string).collect();
        let more = if subject.queues.len() > 8 { " …" } else { "" };
        parts.push(format!("queue {}{more}", shown.join(" ")));
    }
    if let Some(cpu) = subject.cpu {
        parts.push(format!("CPU {cpu}"));
    }
    match (&subject.vm, subject.vm_pid) {
        (Some(name), _) => parts.push(format!("(VM {})", clean(name))),
        (None, Some(pid)) => parts.push(format!("(VM of pid {pid})")),
        (None, None) => {}
    }
    if parts.is_empty() { "this host".into() } else { parts.join(" ") }
}

/// `share 0.97 ratio (limit 0.9)`
pub fn evidence(evidence: &Evidence) -> String {
    let unit = &*evidence.unit;
    // `queues_enabled 4` says it already.
    let said = unit == "index" || evidence.name.to_lowercase().contains(&unit.to_lowercase());
    let number =
        |value: f64| if evidence.unit == "ratio" { format!("{:.1} %", value * 100.0) } else { si(value) };
    let unit = if unit == "ratio" || said { String::new() } else { format!(" {unit}") };
    let limit = evidence.threshold.map_or_else(String::new, |limit| format!(" (limit {})", number(limit)));
    format!("{} {}{unit}{limit}", evidence.name, number(evidence.value))
}

/// Writes the findings, and what could not be judged.
pub(super) fn write(report: &Report, all: bool, out: &mut dyn Write) -> io::Result<()> {
    if !all && !report.unsure.is_empty() {
        writeln!(out, "{} could not be judged (--all says why)", plural(report.unsure.len(), "rule"))?;
    }
    let full = if all { report.findings.len() } else { IN_FULL.min(report.findings.len()) };
    for finding in &report.findings[..full] {
        one(finding, out)?;
    }
    let rest = &report.findings[full..];
    if !rest.is_empty() {
        writeln!(out, "\nFurther findings (--all shows them in full):")?;
        for finding in rest.iter().take(IN_A_LINE) {
            writeln!(out, "  {:<8} {}", finding.level.name(), headline(finding))?;
        }
        if rest.len() > IN_A_LINE {
            writeln!(out, "  … {} more", rest.len() - IN_A_LINE)?;
        }
    }
    if all { unsure(report, out) } else { Ok(()) }
}

fn one(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{} {}", finding.level.name().to_uppercase(), headline(finding))?;
    let part = |out: &mut dyn Write, name: &str, text: &str| -> io::Result<()> {
        for (i, line) in wrap(&clean(text), COLUMNS - 11).iter().enumerate() {
            writeln!(out, "  {:<9}{line}", if i == 0 { name } else { "" })?;
        }
        Ok(())
    };
    part(out, "seen", &finding.evidence.iter().map(evidence).collect::<Vec<_>>().join(", "))?;
    if !finding.explains.is_empty() {
        part(out, "explains", &finding.explains.join(", "))?;
    }
    part(out, "why", &finding.why)?;
    let place = if finding.fix.is_empty() { "no change helps" } else { finding.place.name() };
    part(out, "fix", place)?;
    // Commands stand on lines of their own and are not broken, so that they can be copied.
    finding.fix.iter().try_for_each(|command| writeln!(out, "    {}", clean(command)))?;
    part(out, "expect", &finding.expect)
}

/// Rules that could not be judged, by what is missing.
fn unsure(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.unsure.is_empty() {
        return Ok(());
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for unsure in &report.unsure {
        match reasons.iter_mut().find(|(why, _)| *why == unsure.why) {
            Some((_, rules)) => rules.push(&unsure.rule),
            None => reasons.push((&unsure.why, vec![&unsure.rule])),
        }
    }
    writeln!(out, "\nNot judged (`vnet rules` lists all rules):")?;
    reasons.iter().try_for_each(|(why, rules)| writeln!(out, "  {}: {}", rules.join(" "), clean(why)))
}
