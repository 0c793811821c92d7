//! The rules as text: what `vnet rules` lists and teaches.

use std::io::{self, Write};

use super::format::wrap;
use crate::advisor::{
    limits::Limit,
    rules::{self, Check, GUIDE, RULES, Rule},
};

/// Columns of running text.
const COLUMNS: usize = 100;

/// Lists every rule, and the tuning guide sentence by sentence.
///
/// # Errors
/// Those of `out`.
pub fn list(out: &mut dyn Write) -> io::Result<()> {
    let checked = rules::all().filter(|rule| !matches!(rule.check, Check::Not(_))).count();
    writeln!(
        out,
        "{checked} rules are checked, {} are not, each with its reason. `vnet rules explain ID` teaches one.",
        rules::all().count() - checked
    )?;
    for family in RULES {
        writeln!(out, "\n{}:", family.title)?;
        for rule in family.rules {
            match rule.check {
                Check::Not(why) => wrapped(
                    out,
                    &format!("  {:<4} {:<9}", rule.id, "-"),
                    &format!("{}. not checked: {why}", rule.title),
                )?,
                _ => writeln!(out, "  {:<4} {:<9}{}", rule.id, rule.level.name(), rule.title)?,
            }
        }
    }
    writeln!(out, "\nThe tuning guide for multi-queue and zero-copy, sentence by sentence:")?;
    for advice in GUIDE {
        wrapped(out, "  ", &format!("{}: {}", advice.sentence, advice.rules.join(", ")))?;
    }
    Ok(())
}

/// Teaches one rule.
///
/// # Errors
/// Those of `out`.
pub fn explain(rule: &Rule, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", rule.id, rule.title)?;
    let part = |out: &mut dyn Write, name: &str, text: &str| wrapped(out, &format!("{name:<9}"), text);
    match rule.check {
        Check::Not(why) => {
            part(out, "status", &format!("not checked: {why}"))?;
            return part(out, "source", rule.source);
        }
        Check::Set(_) => {
            part(out, "checked", "as soon as the configuration is seen and a queue carries packets")?;
        }
        Check::Rate(_) => {
            let text =
                "when five samples in a row are past all limits; gone when five are 20 % on the good side";
            part(out, "checked", text)?;
        }
    }
    part(out, "level", rule.level.name())?;
    part(out, "why", rule.why)?;
    for limit in rule.limits {
        part(out, "limit", &limit_text(limit))?;
    }
    part(out, "expect", rule.expect)?;
    if !rule.because.is_empty() {
        let text = format!(
            "{}; where one of them finds something on the same device, this is part of that",
            rule.because.join(", ")
        );
        part(out, "causes", &text)?;
    }
    part(out, "source", rule.source)?;
    writeln!(
        out,
        "The commands that mend it are in the finding: they name this host's devices, threads and CPUs."
    )
}

fn limit_text(limit: &Limit) -> String {
    format!(
        "{} = {} {} ({} to {}): {}",
        limit.key, limit.default, limit.unit, limit.least, limit.most, limit.source
    )
}

/// Words in lines of at most [`COLUMNS`], the first after `head`, the others below where it began.
fn wrapped(out: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    let indent = head.len();
    for (i, line) in wrap(text, COLUMNS - indent).iter().enumerate() {
        writeln!(out, "{:<indent$}{line}", if i == 0 { head } else { "" })?;
    }
    Ok(())
}
