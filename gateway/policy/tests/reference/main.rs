//! The reference evaluator: `clauses.md` as plain functions, one for each clause, slow and without
//! masks, classes or rules. It shares nothing with the rule file or its compiler but the names of
//! flows, recipients and facts; keys are compared as text.
//!
//! A question is allowed where the clauses provide for such a flow and none of them is broken.
//! `differential` holds the compiled policy against it; `mutation` takes parts of the policy away.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod clauses;
mod compare;
mod differential;
mod draw;
mod mutation;
mod question;

use clauses::CLAUSES;
use question::Question;

const SHIPPED: &str = include_str!("../../../policies/platform-2017-03-01.toml");

/// The clauses that `question` breaks, in the order of `clauses.md`.
fn broken(question: &Question) -> Vec<&'static str> {
    CLAUSES.iter().filter(|(_, breaks)| breaks(question)).map(|(id, _)| *id).collect()
}

/// The clause that provides for such a flow; none: nothing does.
fn provided_by(question: &Question) -> Option<&'static str> {
    clauses::provided_by(question)
}
