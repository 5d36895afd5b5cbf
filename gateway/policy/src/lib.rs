//! The privacy policy as data: labels, facts, rules and verdicts. Pure: this crate performs no I/O,
//! knows no clock, no database, no network and no sandbox.
//!
//! The way of a decision:
//! 1. [`Policy::parse`] reads a rule file and refuses what it does not know.
//! 2. [`Policy::compile`] reduces the rules, once for each (flow, recipient, purpose, category), to masks.
//! 3. [`CompiledDecision::decide`] holds the masks against the [`Facts`] of one moment: a few integer
//!    operations, and a [`Verdict`] with its reason.
//!
//! A value that goes in a coarser form has the label that [`Policy::declassified`] gives it.
//!
//! [`check`](check()) proves what must hold of a policy, [`diff`](diff()) finds what another decides
//! otherwise, and [`Recorded`] decides what the ledger recorded again.

mod again;
mod aggregation;
mod check;
mod choices;
mod clause;
mod compile;
mod conditions;
mod declassify;
mod facts;
mod file;
mod label;
mod partner;
mod policy;
mod residual;
mod taxonomy;
mod verdict;
mod wording;

pub use again::{Again, Compiled, Had, NotRecorded, RECEIVED, RETURNED, Recorded, Why};
pub use aggregation::Aggregation;
pub use check::{
    Difference, Example, Failure, Finding, Flip, Idle, Kind, Properties, Relabelled, Relabelling, Report,
    Size, check, diff,
};
pub use choices::{Choices, OptOuts, Permission, PermissionScope};
pub use clause::Clause;
pub use compile::{CompiledDecision, Explanation, Matched};
pub use conditions::{Conditions, CookieClass, Declassified, OnBehalf, Region};
pub use declassify::{Declassification, Transform};
pub use facts::{Fact, Facts};
pub use label::{Label, LabelSet, Origin};
pub use partner::{Contract, Partner, Standing};
pub use policy::{Effect, Exception, Flow, Policy, PolicyError, PolicySet, Reading, Recipient, Rule, Scope};
pub use taxonomy::{Category, Purpose, UnknownKey};
pub use verdict::{Access, Basis, Decision, FieldVerdict, KeptApart, Reason, Verdict};
pub use wording::{Wording, Words};
