//! The reference evaluator: `clauses.md` as plain functions, one for each clause, slow and without
//! masks, classes or rules. It shares nothing with the rule file or its compiler but the names of
//! flows, recipients and facts; keys are compared as text.
//!
//! A question is allowed where the clauses provide for such a flow and none of them is broken.

mod clauses;
mod compare;
mod draw;
mod question;

pub use clauses::CLAUSES;
pub use compare::{agree, shrink};
pub use draw::Random;
pub use question::Question;

/// The clauses that `question` breaks, in the order of `clauses.md`.
pub fn broken(question: &Question) -> Vec<&'static str> {
    CLAUSES.iter().filter(|(_, breaks)| breaks(question)).map(|(id, _)| *id).collect()
}

/// The clause that provides for such a flow; none: nothing does.
pub fn provided_by(question: &Question) -> Option<&'static str> {
    clauses::provided_by(question)
}
