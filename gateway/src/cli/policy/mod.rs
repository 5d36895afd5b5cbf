//! `gateway policy`: what the policy says, whether it holds what it should, and what a change would do.

mod backtest;
mod check;
mod diff;
mod explain;
mod explain_flow;
mod version;
mod words;

use std::path::Path;

use gateway_policy::Policy as Rules;

use super::CliError;
use crate::boundary::PolicyBook;

/// The privacy policy
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    /// Prove that a policy holds its properties, and find rules that do nothing
    #[command(after_help = check::HELP)]
    Check(check::Check),
    /// Say what the policy decides in one case, or decided in a flow of the ledger, by which rule, and what
    /// nearly decided
    #[command(after_help = explain::HELP)]
    Explain(Box<explain::Explain>),
    /// Find every combination that a new policy decides otherwise than an old one
    #[command(after_help = diff::HELP)]
    Diff(diff::Diff),
    /// Decide the whole ledger again under a new policy and list what would have been otherwise
    #[command(after_help = backtest::HELP)]
    Backtest(backtest::Backtest),
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::Explain(explain) => explain.run().await,
            Self::Diff(diff) => diff.run(),
            Self::Backtest(backtest) => backtest.run().await,
        }
    }
}

/// The policy in this file, or the shipped one.
fn rules(path: Option<&Path>) -> Result<Rules, CliError> {
    match path {
        None => Rules::parse(PolicyBook::SHIPPED).map_err(|error| CliError::FellShort(error.to_string())),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(CliError::file("reading", path))?;
            Rules::parse(&text).map_err(|error| CliError::FellShort(format!("{}: {error}", path.display())))
        }
    }
}
