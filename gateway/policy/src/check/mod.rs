//! A policy proved rather than sampled: every flow, recipient, purpose, category (or pair of categories)
//! and combination of facts. Small, because purposes and categories are reduced to the classes that rules
//! and properties tell apart, and facts are split into cases only where a decision hangs on them.

mod cases;
mod diff;
mod findings;
mod forms;
mod properties;
mod space;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use diff::{Difference, Flip, Relabelling, diff};
pub use findings::{Finding, Kind};
pub use forms::{Idle, Relabelled};
pub use properties::{Failure, Properties};
pub use space::Example;

use crate::compile::CompiledDecision;
use crate::policy::Policy;
use forms::Steps;
use properties::Outcome;
use space::{Place, Space};

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How large the space was.
    pub size: Size,
    /// How many properties were proved.
    pub proved: usize,
    /// Properties that do not hold.
    pub failures: Vec<Failure>,
    /// Names of properties that speak of the strict reading of a clause that the policy reads loosely.
    pub left_out: Vec<String>,
    /// Rules that do not do what a rule is for.
    pub findings: Vec<Finding>,
    /// Declassifications that do not do what they say.
    pub idle: Vec<Idle>,
}

/// How large a space was, and how much of it had to be visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Classes of purposes that are not told apart.
    pub purposes: usize,
    /// Classes of categories that are not told apart.
    pub categories: usize,
    /// Decisions: (flow, recipient, class of purposes, class or pair of classes of categories).
    pub decisions: u64,
    /// Combinations of a decision with the facts that it hangs on: what was covered.
    pub combinations: u128,
    /// Cases that were visited to cover them.
    pub visited: u64,
}

/// Checks a policy and the properties that stand beside it.
pub fn check(policy: &Policy, properties: &Properties) -> Report {
    let space = Space::of(&[policy], properties.all());
    let decisions = Decisions::of(policy, &space);
    let mut size = space.size();
    size.decisions = decisions.places.len() as u64;
    size.combinations = decisions.combinations();
    let findings = findings::find(policy, &decisions, &mut size.visited);
    let steps = Steps::of(policy, &decisions);
    let idle = steps.idle(&mut size.visited);
    let Outcome { proved, failures, left_out } =
        properties::prove(policy, properties, &decisions, &steps, &mut size.visited);
    Report { size, proved, failures, left_out, findings, idle }
}

/// The decisions of a space, each distinct one once.
struct Decisions<'a> {
    places: Vec<(Place<'a>, usize)>,
    distinct: Vec<CompiledDecision>,
}

impl<'a> Decisions<'a> {
    fn of(policy: &Policy, space: &'a Space) -> Self {
        let mut known: HashMap<CompiledDecision, usize> = HashMap::new();
        let mut decisions = Self { places: Vec::new(), distinct: Vec::new() };
        for place in space.places() {
            let decision = place.decision(policy);
            let index = match known.get(&decision) {
                Some(index) => *index,
                None => {
                    known.insert(decision.clone(), decisions.distinct.len());
                    decisions.distinct.push(decision);
                    decisions.distinct.len() - 1
                }
            };
            decisions.places.push((place, index));
        }
        decisions
    }

    fn combinations(&self) -> u128 {
        let facts = |index: &usize| self.distinct.get(*index).map_or(0, |d| d.hangs_on_bits().count_ones());
        self.places.iter().map(|(_, index)| 1_u128 << facts(index)).sum()
    }
}
