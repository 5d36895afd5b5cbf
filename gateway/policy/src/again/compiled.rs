//! A policy by which many rows are decided again: what it says of the same is worked out once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::compile::CompiledDecision;
use crate::policy::{Flow, Policy, Recipient};
use crate::{Category, Purpose};

type Memo<K, V> = RefCell<HashMap<K, V>>;
/// What [`Policy::reduce`] takes.
type Asked = (Flow, Recipient, Purpose, (Category, Category));

/// A policy with what of it was asked for so far.
#[derive(Debug)]
pub struct Compiled<'p> {
    policy: &'p Policy,
    decisions: Memo<Asked, Rc<CompiledDecision>>,
    /// Whether this policy and another say the same of what a category may meet.
    alike: Memo<(*const Policy, Category), bool>,
}

impl<'p> Compiled<'p> {
    /// Nothing of it was asked for.
    pub fn of(policy: &'p Policy) -> Self {
        Self { policy, decisions: Memo::default(), alike: Memo::default() }
    }

    /// The policy.
    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// [`Policy::compile`], or, for [`Flow::Combine`], [`Policy::compile_combination`].
    pub(super) fn decision(
        &self,
        flow: Flow,
        recipient: Recipient,
        purpose: Purpose,
        pair: (Category, Category),
    ) -> Rc<CompiledDecision> {
        let asked = (flow, recipient, purpose, pair);
        let reduce = || Rc::new(self.policy.reduce(flow, recipient, purpose, pair));
        Rc::clone(self.decisions.borrow_mut().entry(asked).or_insert_with(reduce))
    }

    /// [`Policy::keeps_apart_as`].
    pub(super) fn keeps_apart_as(&self, other: &Self, category: Category) -> bool {
        let asked = (std::ptr::from_ref(other.policy), category);
        let compare = || self.policy.keeps_apart_as(other.policy, category);
        *self.alike.borrow_mut().entry(asked).or_insert_with(compare)
    }
}
