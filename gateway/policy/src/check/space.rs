//! Purposes and categories in classes, and the places of the space.

use std::collections::BTreeMap;

use super::Size;
use super::properties::Property;
use crate::compile::CompiledDecision;
use crate::policy::{Flow, Policy, Recipient, Scope};
use crate::residual::Case;
use crate::{Category, Fact, Purpose};

/// Keys in classes: no list of a rule or property tells two members of one class apart.
pub(super) struct Space {
    purposes: Vec<Vec<Purpose>>,
    categories: Vec<Vec<Category>>,
}

/// One decision of the space, for all members of its classes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) flow: Flow,
    pub(super) recipient: Recipient,
    purposes: &'a [Purpose],
    pub(super) categories: &'a [Category],
    with: &'a [Category],
    purpose: Purpose,
    /// Of each of its classes one; where there is no pair, both are the same.
    pub(super) pair: (Category, Category),
}

/// One combination, in the words of a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The flow.
    pub flow: Flow,
    /// The recipient.
    pub recipient: Recipient,
    /// A purpose; it stands for `purposes` of its class.
    pub purpose: Purpose,
    /// How many purposes are decided alike.
    pub purposes: usize,
    /// A category; it stands for `categories` of its class.
    pub category: Category,
    /// How many categories are decided alike.
    pub categories: usize,
    /// Of two labels that meet, the other's category.
    pub with: Option<Category>,
    /// The facts that the combination hangs on, each with its value. Any other may be either.
    pub facts: Vec<(Fact, bool)>,
}

impl Space {
    pub(super) fn of(policies: &[&Policy], properties: &[Property]) -> Self {
        let rules = policies.iter().flat_map(|policy| policy.rules()).map(|rule| &rule.scope);
        let scopes: Vec<&Scope> = rules.chain(properties.iter().map(|property| &property.scope)).collect();
        let exceptions = || scopes.iter().flat_map(|scope| &scope.except);
        let mut categories: Vec<&[Category]> =
            scopes.iter().flat_map(|scope| [scope.category.as_slice(), &scope.with]).collect();
        categories.extend(exceptions().map(|exception| exception.category.as_slice()));
        let mut purposes: Vec<&[Purpose]> = scopes.iter().map(|scope| scope.purpose.as_slice()).collect();
        purposes.extend(exceptions().map(|exception| exception.purpose.as_slice()));
        Self {
            purposes: classes(Purpose::all(), &purposes, Purpose::is_under),
            categories: classes(Category::all(), &categories, Category::is_under),
        }
    }

    pub(super) fn size(&self) -> Size {
        Size { purposes: self.purposes.len(), categories: self.categories.len(), ..Size::default() }
    }

    /// Every place; of a pair, one order.
    pub(super) fn places(&self) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        for flow in Flow::ALL {
            for recipient in Recipient::ALL {
                for purposes in &self.purposes {
                    for (index, categories) in self.categories.iter().enumerate() {
                        let pairs = if flow == Flow::Combine { self.categories.len() } else { index + 1 };
                        let others = self.categories.iter().take(pairs).skip(index);
                        places.extend(
                            others.filter_map(|with| Place::of(flow, recipient, purposes, categories, with)),
                        );
                    }
                }
            }
        }
        places
    }
}

/// Keys that the same lists name or stand above.
fn classes<T: Copy>(
    all: impl Iterator<Item = T>,
    lists: &[&[T]],
    under: impl Fn(T, T) -> bool,
) -> Vec<Vec<T>> {
    let mut classes: BTreeMap<Vec<bool>, Vec<T>> = BTreeMap::new();
    for key in all {
        let named = lists.iter().map(|list| list.iter().any(|above| under(key, *above))).collect();
        classes.entry(named).or_default().push(key);
    }
    classes.into_values().collect()
}

impl<'a> Place<'a> {
    fn of(
        flow: Flow,
        recipient: Recipient,
        purposes: &'a [Purpose],
        categories: &'a [Category],
        with: &'a [Category],
    ) -> Option<Self> {
        let pair = (*categories.first()?, *with.first()?);
        Some(Self { flow, recipient, purposes, categories, with, purpose: *purposes.first()?, pair })
    }

    pub(super) fn decision(&self, policy: &Policy) -> CompiledDecision {
        policy.reduce(self.flow, self.recipient, self.purpose, self.pair)
    }

    /// What tells it, with this pair in place of its own, from every other place.
    pub(super) fn key(&self, pair: (Category, Category)) -> (Flow, Recipient, Purpose, (Category, Category)) {
        (self.flow, self.recipient, self.purpose, pair)
    }

    /// How many (purpose, category or pair of categories) it stands for.
    pub(super) fn members(&self) -> u64 {
        let pairs = match (self.flow, self.pair.0 == self.pair.1) {
            (Flow::Combine, true) => self.categories.len() * (self.categories.len() + 1) / 2,
            (Flow::Combine, false) => self.categories.len() * self.with.len(),
            _ => self.categories.len(),
        };
        (self.purposes.len() * pairs) as u64
    }

    /// The cases of a scope that lie here.
    pub(super) fn cases(&self, scope: &Scope) -> Vec<Case> {
        if !scope.speaks_of(self.flow, self.recipient, self.purpose, self.pair) {
            return Vec::new();
        }
        scope.cases(self.purpose, self.pair)
    }

    pub(super) fn example(&self, case: Case) -> Example {
        Example {
            flow: self.flow,
            recipient: self.recipient,
            purpose: self.purpose,
            purposes: self.purposes.len(),
            category: self.pair.0,
            categories: self.categories.len(),
            with: (self.flow == Flow::Combine).then_some(self.pair.1),
            facts: case.facts(),
        }
    }
}
