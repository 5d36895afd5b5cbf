//! Rules that do not do what a rule is for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::Decisions;
use super::cases::split;
use super::space::Example;
use crate::Clause;
use crate::policy::{Effect, Policy, Rule};
use crate::residual::{Case, Residual};

/// What is the matter with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No combination matches it.
    Dead,
    /// It matches, but wherever it does, earlier rules of its effect decide.
    Shadowed,
    /// A permit that a forbid beats wherever it matches.
    Contradiction,
    /// A forbid that gives a reason, but without which every verdict would be the same.
    ReasonOnly,
}

impl Kind {
    /// `dead`, `shadowed`, `contradiction` or `reason-only`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Shadowed => "shadowed",
            Self::Contradiction => "contradiction",
            Self::ReasonOnly => "reason-only",
        }
    }

    /// Whether the rule decides anything at all.
    pub fn decides(self) -> bool {
        self == Self::ReasonOnly
    }
}

/// A rule with something the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The rule's number in its file, from 1.
    pub rule: usize,
    /// What the rule does.
    pub effect: Effect,
    /// Its clause.
    pub clause: Clause,
    /// Numbers of the rules that decide where it matches.
    pub by: Vec<usize>,
    /// A combination that it matches; none: no combination does.
    pub example: Option<Example>,
}

pub(super) fn find(policy: &Policy, decisions: &Decisions<'_>, visited: &mut u64) -> Vec<Finding> {
    let mut decides: BTreeSet<u16> = BTreeSet::new();
    for decision in &decisions.distinct {
        let _: ControlFlow<()> = split(decision, None, Case::default(), &mut |_, deciding| {
            *visited += 1;
            decides.extend(deciding.map(|(_, residual)| residual.rule));
            ControlFlow::Continue(())
        });
    }
    let search = Search { decisions, decides };
    policy.rules().iter().filter_map(|rule| search.look_at(rule, visited)).collect()
}

struct Search<'a> {
    decisions: &'a Decisions<'a>,
    decides: BTreeSet<u16>,
}

impl Search<'_> {
    fn look_at(&self, rule: &Rule, visited: &mut u64) -> Option<Finding> {
        let number = u16::try_from(rule.number).ok()?;
        let kind = if self.decides.contains(&number) {
            let needed = rule.effect == Effect::Permit || self.allowed_without(number, number, visited);
            if needed {
                return None;
            }
            Kind::ReasonOnly
        } else if !self.matches(number) {
            Kind::Dead
        } else if rule.effect == Effect::Permit && !self.allowed_with(number, visited) {
            Kind::Contradiction
        } else {
            Kind::Shadowed
        };
        let by = if kind == Kind::ReasonOnly { Vec::new() } else { self.deciding_for(number, visited) };
        let example = self.residuals(number).next().and_then(|(index, residual)| {
            let place = self.decisions.places.iter().find(|(_, of)| *of == index);
            place.map(|(place, _)| place.example(residual.case))
        });
        Some(Finding { kind, rule: rule.number, effect: rule.effect, clause: rule.clause, by, example })
    }

    /// The rule's residuals, each with the decision that it belongs to.
    fn residuals(&self, rule: u16) -> impl Iterator<Item = (usize, &Residual)> {
        let all = self.decisions.distinct.iter().enumerate();
        all.flat_map(|(index, decision)| {
            decision.forbids.iter().chain(&decision.permits).map(move |residual| (index, residual))
        })
        .filter(move |(_, residual)| residual.rule == rule)
    }

    fn matches(&self, rule: u16) -> bool {
        self.residuals(rule).next().is_some()
    }

    /// Whether something would be allowed where `rule` matches, if `without` were not there.
    fn allowed_without(&self, rule: u16, without: u16, visited: &mut u64) -> bool {
        self.residuals(rule).any(|(index, residual)| {
            let Some(decision) = self.decisions.distinct.get(index) else { return false };
            split(decision, Some(without), residual.case, &mut |_, deciding| {
                *visited += 1;
                match deciding {
                    Some((Effect::Permit, _)) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .is_break()
        })
    }

    /// Whether something is allowed where a permit matches, by whichever permit.
    fn allowed_with(&self, permit: u16, visited: &mut u64) -> bool {
        // Rules are numbered from 1: nothing is left out.
        self.allowed_without(permit, 0, visited)
    }

    /// The rules that decide where it matches.
    fn deciding_for(&self, rule: u16, visited: &mut u64) -> Vec<usize> {
        let mut by: BTreeSet<usize> = BTreeSet::new();
        for (index, residual) in self.residuals(rule) {
            let Some(decision) = self.decisions.distinct.get(index) else { continue };
            let _: ControlFlow<()> = split(decision, None, residual.case, &mut |_, deciding| {
                *visited += 1;
                by.extend(deciding.map(|(_, residual)| usize::from(residual.rule)));
                ControlFlow::Continue(())
            });
        }
        by.into_iter().collect()
    }
}
