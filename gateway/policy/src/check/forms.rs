//! Declassification, proved: which labels give way where a value goes in a form, and what that lifts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::cases::untouched;
use super::findings::Kind;
use super::properties::{Failure, Property};
use super::space::Place;
use super::{Decisions, Example};
use crate::compile::CompiledDecision;
use crate::policy::{Flow, Policy};
use crate::residual::Case;
use crate::{Category, Clause, Declassification, Transform};

/// What must hold of labels where values go in a form.
#[derive(Debug)]
pub(super) struct FormProperty {
    pub(super) name: String,
    pub(super) clause: Clause,
    pub(super) says: String,
    /// None given: every form.
    pub(super) form: Vec<Transform>,
    /// Each with all below it; none given: every category.
    pub(super) category: Vec<Category>,
    /// What these become, and no other category does; none: these keep their labels.
    pub(super) becomes: Option<Category>,
}

/// What a form makes of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabelled {
    /// The form.
    pub form: Transform,
    /// The category of what there was.
    pub from: Category,
    /// The category of what leaves.
    pub to: Category,
    /// The declassification; none: it keeps its label.
    pub by: Option<Arc<str>>,
}

impl Relabelled {
    /// What `policy` says.
    pub(super) fn of(policy: &Policy, form: Transform, from: Category) -> Self {
        let rule = policy.declassification(form, from);
        Self {
            form,
            from,
            to: rule.map_or(from, |rule| rule.to),
            by: rule.map(|rule| Arc::clone(&rule.name)),
        }
    }
}

/// A declassification with something the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// [`Kind::Dead`] or [`Kind::Shadowed`].
    pub kind: Kind,
    /// Its name.
    pub declassification: Arc<str>,
    /// The clause that it rests on.
    pub clause: Clause,
    /// The clause that it names among what it lifts, and lifts nowhere; none: it changes no label at all.
    pub lift: Option<Clause>,
    /// Names of those that speak in its place.
    pub by: Vec<Arc<str>>,
}

impl FormProperty {
    pub(super) fn refuted(&self, policy: &Policy) -> Option<Failure> {
        let forms = if self.form.is_empty() { &Transform::ALL[..] } else { &self.form };
        let mut about_nothing = true;
        for (form, from) in forms.iter().flat_map(|form| Category::all().map(|key| (*form, key))) {
            let named = self.category.is_empty() || self.category.iter().any(|above| from.is_under(*above));
            let expected = match self.becomes {
                Some(becomes) if named => becomes,
                None if !named => continue,
                _ => from,
            };
            about_nothing &= !named;
            let relabelled = Relabelled::of(policy, form, from);
            if relabelled.to != expected {
                return Some(self.failure(Some(relabelled)));
            }
        }
        about_nothing.then(|| self.failure(None))
    }

    fn failure(&self, relabelled: Option<Relabelled>) -> Failure {
        Failure {
            property: self.name.clone(),
            clause: self.clause,
            says: self.says.clone(),
            example: None,
            rule: None,
            relabelled,
        }
    }
}

/// A decision about what there was, and the one about what leaves by a declassification.
struct Step<'d, 'a> {
    rule: &'d Declassification,
    place: &'d Place<'a>,
    /// A category that the rule speaks of, which the place stands for.
    from: Category,
    /// Of a pair, whether it is the other one.
    other: bool,
    before: usize,
    after: usize,
}

/// Every step by which a decision becomes another.
pub(super) struct Steps<'d, 'a> {
    policy: &'d Policy,
    decisions: &'d Decisions<'a>,
    all: Vec<Step<'d, 'a>>,
}

impl<'d, 'a> Steps<'d, 'a> {
    pub(super) fn of(policy: &'d Policy, decisions: &'d Decisions<'a>) -> Self {
        let mut steps = Self { policy, decisions, all: Vec::new() };
        if policy.declassifications().is_empty() {
            return steps;
        }
        let known: HashMap<_, usize> =
            decisions.places.iter().map(|(place, index)| (place.key(place.pair), *index)).collect();
        let classes: BTreeMap<Category, &[Category]> =
            decisions.places.iter().map(|(place, _)| (place.pair.0, place.categories)).collect();
        for rule in policy.declassifications() {
            let stands_for = |(class, members): (&Category, &&[Category])| {
                let spoken = |key: &&Category| policy.declassification(rule.form, **key) == Some(rule);
                Some((*class, *members.iter().find(spoken)?))
            };
            let spoken: BTreeMap<Category, Category> = classes.iter().filter_map(stands_for).collect();
            let to = classes.iter().find(|(_, members)| members.contains(&rule.to));
            let Some((to, _)) = to else { continue };
            for (place, before) in &decisions.places {
                let (a, b) = place.pair;
                // What two labels that meet become, one at a time: both is one after the other.
                let pairs = if place.flow == Flow::Combine { [(*to, b), (a, *to)] } else { [(*to, *to); 2] };
                for ((own, other), pair) in [(a, false), (b, true)].into_iter().zip(pairs) {
                    let Some(from) = spoken.get(&own) else { continue };
                    let after =
                        known.get(&place.key(pair)).or_else(|| known.get(&place.key((pair.1, pair.0))));
                    if let Some(after) = after {
                        steps.all.push(Step {
                            rule,
                            place,
                            from: *from,
                            other,
                            before: *before,
                            after: *after,
                        });
                    }
                }
            }
        }
        steps
    }

    /// What is decided before and after; none where that is the same.
    fn decisions(&self, step: &Step<'_, '_>) -> Option<(&CompiledDecision, &CompiledDecision)> {
        if step.before == step.after {
            return None;
        }
        let distinct = &self.decisions.distinct;
        Some((distinct.get(step.before)?, distinct.get(step.after)?))
    }

    /// A combination in the property's scope that a declassification lets go, and that a clause withheld which it
    /// does not name.
    pub(super) fn refuted(&self, property: &Property, visited: &mut u64) -> Option<Failure> {
        let mut about_nothing = true;
        let mut known = HashSet::new();
        for step in &self.all {
            for case in step.place.cases(&property.scope) {
                about_nothing = false;
                // Steps between two decisions stand or fall together.
                if !known.insert((&step.rule.name, step.before, step.after, case)) {
                    continue;
                }
                let Some((before, after)) = self.decisions(step) else { continue };
                let unnamed = |clause: Clause| !step.rule.lifts.contains(&clause);
                let offending = lifted(before, after, case, unnamed, visited)
                    .or_else(|| unpermitted(before, after, case, visited));
                if let Some(case) = offending {
                    return Some(property.failure_of(Some((step.example(case), step.relabelled()))));
                }
            }
        }
        about_nothing.then(|| property.failure_of(None))
    }

    /// Declassifications that change no label, and clauses that they name and do not lift.
    pub(super) fn idle(&self, visited: &mut u64) -> Vec<Idle> {
        self.policy.declassifications().iter().flat_map(|rule| self.look_at(rule, visited)).collect()
    }

    fn look_at(&self, rule: &Declassification, visited: &mut u64) -> Vec<Idle> {
        let idle = |kind, lift, by| Idle {
            kind,
            declassification: Arc::clone(&rule.name),
            clause: rule.clause,
            lift,
            by,
        };
        let of: Vec<Relabelled> = Category::all()
            .filter(|key| rule.speaks_of(rule.form, *key))
            .map(|key| Relabelled::of(self.policy, rule.form, key))
            .collect();
        let own: Vec<&Relabelled> = of.iter().filter(|one| one.by.as_ref() == Some(&rule.name)).collect();
        if own.is_empty() {
            let by: BTreeSet<Arc<str>> = of.into_iter().filter_map(|one| one.by).collect();
            return vec![idle(Kind::Shadowed, None, by.into_iter().collect())];
        }
        if own.iter().all(|one| one.from == one.to) {
            return vec![idle(Kind::Dead, None, Vec::new())];
        }
        let mut known = HashSet::new();
        let steps: Vec<_> = self
            .all
            .iter()
            .filter(|step| step.rule == rule && known.insert((step.before, step.after)))
            .filter_map(|step| self.decisions(step))
            .collect();
        let mut lifts = |clause: &Clause| {
            steps.iter().any(|(before, after)| {
                lifted(before, after, Case::default(), |of| of == *clause, visited).is_some()
            })
        };
        let dead: Vec<Clause> = rule.lifts.iter().copied().filter(|clause| !lifts(clause)).collect();
        dead.into_iter().map(|clause| idle(Kind::Dead, Some(clause), Vec::new())).collect()
    }
}

impl Step<'_, '_> {
    fn example(&self, case: Case) -> Example {
        let example = self.place.example(case);
        if self.other {
            Example { with: example.with.map(|_| self.from), ..example }
        } else {
            Example { category: self.from, categories: 1, ..example }
        }
    }

    fn relabelled(&self) -> Relabelled {
        let Declassification { name, form, to, .. } = self.rule;
        Relabelled { form: *form, from: self.from, to: *to, by: Some(Arc::clone(name)) }
    }
}

/// A case within `case` in which `after` allows what a forbid of `before` withholds whose clause is `wanted`.
fn lifted(
    before: &CompiledDecision,
    after: &CompiledDecision,
    case: Case,
    wanted: impl Fn(Clause) -> bool,
    visited: &mut u64,
) -> Option<Case> {
    let permitted = after.permits.iter().filter(|permit| case.meets(permit.case));
    permitted.map(|permit| case.and(permit.case)).find_map(|allowed| {
        let forbids =
            before.forbids.iter().filter(|forbid| wanted(forbid.clause) && allowed.meets(forbid.case));
        forbids
            .map(|forbid| allowed.and(forbid.case))
            .find_map(|withheld| untouched(after.forbids.iter(), withheld, visited))
    })
}

/// A case within `case` in which `after` allows what no rule of `before` speaks of.
fn unpermitted(
    before: &CompiledDecision,
    after: &CompiledDecision,
    case: Case,
    visited: &mut u64,
) -> Option<Case> {
    let permitted = after.permits.iter().filter(|permit| case.meets(permit.case));
    permitted.map(|permit| case.and(permit.case)).find_map(|allowed| {
        let rules = after.forbids.iter().chain(&before.forbids).chain(&before.permits);
        untouched(rules, allowed, visited)
    })
}
