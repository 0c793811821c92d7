//! The rules: what is told of them, and the file with their thresholds.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use vnet::{
    advisor::limits::{self, Thresholds},
    report::rules,
};

use super::output::Output;
use crate::cli::RulesAction;

/// Tells it.
///
/// # Errors
/// Nobody can be told.
pub(super) fn tell(action: RulesAction) -> Result<ExitCode> {
    let mut bytes = Vec::new();
    match action {
        RulesAction::List => rules::list(&mut bytes),
        RulesAction::Explain(rule) => rules::explain(rule, &mut bytes),
        RulesAction::Thresholds => {
            bytes.extend(limits::defaults().into_bytes());
            Ok(())
        }
    }
    .context("cannot write the rules")?;
    Output::Stdout.write(&bytes)?;
    Ok(ExitCode::SUCCESS)
}

/// The thresholds in a file; the defaults without one.
///
/// # Errors
/// It cannot be read, or says what is not allowed; nothing of it is taken then.
pub(super) fn thresholds(path: Option<&Path>) -> Result<Thresholds> {
    let Some(path) = path else { return Ok(Thresholds::default()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Thresholds::parse(&text).with_context(|| format!("the thresholds in {} are not taken", path.display()))
}
