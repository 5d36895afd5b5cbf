//! What a new policy decides otherwise.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use super::Size;
use super::cases::{Deciding, split};
use super::forms::Relabelled;
use super::space::{Example, Space};
use crate::policy::{Effect, Flow, Policy, Recipient};
use crate::{Aggregation, Category, Reason, Transform, Verdict};

/// What two policies decide differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// How large the space was.
    pub size: Size,
    /// By flow, recipient and the two verdicts.
    pub flips: Vec<Flip>,
    /// What forms make of labels otherwise, by form and by what each says.
    pub relabellings: Vec<Relabelling>,
    /// How aggregates are made by the old one and by the new, where that differs.
    pub aggregation: Option<(Aggregation, Aggregation)>,
}

/// Categories that leave in a form with another label than before, or by another rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabelling {
    /// What the old one makes of one of them.
    pub old: Relabelled,
    /// What the new one makes of the same.
    pub new: Relabelled,
    /// How many categories it concerns.
    pub categories: usize,
}

/// Combinations that one policy allows and the other withholds.
#[derive(Clone, Debug)]
pub struct Flip {
    /// What the old one says.
    pub old: Verdict,
    /// What the new one says.
    pub new: Verdict,
    /// The flow.
    pub flow: Flow,
    /// The recipient.
    pub recipient: Recipient,
    /// How many (purpose, category or pair) it concerns, in some combination of facts.
    pub questions: u64,
    /// One of them, with the fewest facts.
    pub example: Example,
}

/// Finds every combination that flips, over the whole space.
pub fn diff(old: &Policy, new: &Policy) -> Difference {
    let space = Space::of(&[old, new], &[]);
    let mut size = space.size();
    let mut flips: BTreeMap<(Flow, Recipient, bool, String, String), Flip> = BTreeMap::new();
    for place in space.places() {
        size.decisions += 1;
        let (before, after) = (place.decision(old), place.decision(new));
        size.combinations += 1_u128 << (before.hangs_on_bits() | after.hangs_on_bits()).count_ones();
        let mut counted = HashSet::new();
        let _: ControlFlow<()> = split(&before, None, Default::default(), &mut |case, old| {
            split(&after, None, case, &mut |case, new| {
                size.visited += 1;
                let (old, new) = (verdict(old), verdict(new));
                if old.allows() != new.allows() {
                    let reasons = (old.reason.to_string(), new.reason.to_string());
                    let key = (place.flow, place.recipient, new.allows(), reasons.0, reasons.1);
                    let example = place.example(case);
                    let flip = flips.entry(key.clone()).or_insert_with(|| Flip {
                        old,
                        new,
                        flow: place.flow,
                        recipient: place.recipient,
                        questions: 0,
                        example: example.clone(),
                    });
                    if counted.insert(key) {
                        flip.questions += place.members();
                    }
                    if simplicity(&example) < simplicity(&flip.example) {
                        flip.example = example;
                    }
                }
                ControlFlow::Continue(())
            })
        });
    }
    let made = (*old.aggregation(), *new.aggregation());
    let aggregation = Some(made).filter(|(old, new)| old != new);
    let (flips, relabellings) = (flips.into_values().collect(), relabellings(old, new));
    Difference { size, flips, relabellings, aggregation }
}

fn relabellings(old: &Policy, new: &Policy) -> Vec<Relabelling> {
    let mut found: Vec<Relabelling> = Vec::new();
    for (form, from) in
        Transform::ALL.into_iter().flat_map(|form| Category::all().map(move |key| (form, key)))
    {
        let (old, new) = (Relabelled::of(old, form, from), Relabelled::of(new, form, from));
        if (&old.by, old.to) == (&new.by, new.to) {
            continue;
        }
        // Two that keep their labels are alike, whatever these are.
        let what = |one: &Relabelled| (one.form, one.by.clone(), one.by.is_some().then_some(one.to));
        let alike =
            |known: &&mut Relabelling| (what(&known.old), what(&known.new)) == (what(&old), what(&new));
        match found.iter_mut().find(alike) {
            Some(known) => known.categories += 1,
            None => found.push(Relabelling { old, new, categories: 1 }),
        }
    }
    found
}

/// Few facts that must hold are easier to read than few facts.
fn simplicity(example: &Example) -> (usize, usize) {
    (example.facts.iter().filter(|(_, value)| *value).count(), example.facts.len())
}

fn verdict(deciding: Deciding<'_>) -> Verdict {
    match deciding {
        Some((Effect::Permit, residual)) => Verdict::allow(residual.clause),
        Some((Effect::Forbid, residual)) => Verdict::withhold(Reason::Clause(residual.clause)),
        None => Verdict::withhold(Reason::NoPermit),
    }
}
