//! What a partner has by the rows of a ledger, of whichever consumer.

use super::{is_as_then, named};
use crate::label::Label;
use crate::policy::Policy;
use crate::{FieldVerdict, Standing};

/// What a partner has, each label with how the partner stood toward it.
#[derive(Clone, Debug, Default)]
pub struct Had {
    pub(super) labels: Vec<(Label, Standing)>,
    /// Labels that gave way in it and would be back under the policy in question: the widest of each rule.
    pub(super) back: Vec<(Label, Standing)>,
    /// Some would be back, and no policy says any more which.
    pub(super) unknown: bool,
}

impl Had {
    /// Notes what a partner has by a field that went, under `old` where the policy of that time is known.
    pub fn note(&mut self, new: &Policy, old: Option<&Policy>, field: &FieldVerdict) {
        let stood = || field.labels.iter().zip(&*field.basis.standing);
        for (label, standing) in stood() {
            add(&mut self.labels, label.clone(), *standing);
        }
        let basis = &field.basis;
        let rules = basis.declassified.iter().chain(&basis.declassified_within);
        for rule in rules.filter(|rule| !is_as_then(new, old, rule)) {
            match old.map(|old| named(old, rule)) {
                None => self.unknown = true,
                // It was back then already.
                Some(None) => {}
                Some(Some(rule)) => {
                    for (label, standing) in stood().filter(|(label, _)| label.category == rule.to) {
                        let from = Label { category: rule.from, origin: label.origin.clone() };
                        add(&mut self.back, from, *standing);
                    }
                }
            }
        }
    }
}

fn add(known: &mut Vec<(Label, Standing)>, label: Label, standing: Standing) {
    let with = (label, standing);
    if !known.contains(&with) {
        known.push(with);
    }
}
