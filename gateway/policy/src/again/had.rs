//! What a partner has by the rows of a ledger, of whichever consumer.

use super::{is_as_then, named};
use crate::label::Label;
use crate::policy::Policy;
use crate::{Category, FieldVerdict, Recipient, Standing};

/// How a partner may stand toward a label.
const STANDINGS: [Standing; 4] = [
    Standing { recipient: Recipient::ThirdParty, onward: false },
    Standing { recipient: Recipient::ThirdParty, onward: true },
    Standing { recipient: Recipient::ServiceProvider, onward: false },
    Standing { recipient: Recipient::ServiceProvider, onward: true },
];

/// What a partner has, each label with how the partner stood toward it.
#[derive(Clone, Debug, Default)]
pub struct Had {
    pub(super) labels: Vec<(Label, Standing)>,
    /// Labels that may have given way in it and would be back under the policy in question. How the partner stood toward
    /// them no row says.
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
                    for (label, _) in stood().filter(|(label, _)| label.category == rule.to) {
                        for category in Category::all().filter(|category| category.is_under(rule.from)) {
                            let from = Label { category, origin: label.origin.clone() };
                            STANDINGS
                                .iter()
                                .for_each(|standing| add(&mut self.back, from.clone(), *standing));
                        }
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
