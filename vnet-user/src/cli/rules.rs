//! What is typed about rules: which to show, and the file with their thresholds.

use std::path::PathBuf;

use clap::Subcommand;
use vnet::advisor::rules::{self, Rule};

/// `vnet rules`.
#[derive(clap::Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Teach one rule: what it checks, by which limits, why, what mends it, and where it comes from
    Explain {
        /// The rule, such as R4
        #[arg(value_name = "ID", value_parser = rule)]
        id: Named,
    },
    /// Print all thresholds with their defaults, as a file for --thresholds
    Thresholds,
}

/// The file that replaces thresholds.
#[derive(clap::Args)]
pub(super) struct ThresholdsArg {
    /// Judge by the thresholds in this file (`vnet rules thresholds` prints one)
    #[arg(long, value_name = "FILE")]
    pub(super) thresholds: Option<PathBuf>,
}

/// What to tell of the rules.
#[derive(Clone, Copy)]
pub(crate) enum RulesAction {
    /// All of them, a line each.
    List,
    /// One of them.
    Explain(&'static Rule),
    /// The thresholds.
    Thresholds,
}

impl std::fmt::Debug for RulesAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List => f.write_str("List"),
            Self::Explain(rule) => f.debug_tuple("Explain").field(&rule.id).finish(),
            Self::Thresholds => f.write_str("Thresholds"),
        }
    }
}

impl From<RulesArgs> for RulesAction {
    fn from(typed: RulesArgs) -> Self {
        match typed.what {
            None => Self::List,
            Some(What::Explain { id }) => Self::Explain(id.0),
            Some(What::Thresholds) => Self::Thresholds,
        }
    }
}

/// A rule that exists.
#[derive(Clone)]
struct Named(&'static Rule);

fn rule(text: &str) -> Result<Named, String> {
    rules::find(text).map(Named).ok_or_else(|| "there is no such rule; `vnet rules` lists them".into())
}
