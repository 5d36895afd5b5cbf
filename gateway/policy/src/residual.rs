//! What is left of a rule once flow, recipient, purpose and categories are fixed.

use crate::facts::Facts;
use crate::policy::{Exception, Flow, Policy, Recipient, Rule, Scope};
use crate::{Category, Clause, Fact, Purpose};

/// A set of combinations of facts: those whose facts under `mask` are exactly `value`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

impl Case {
    /// Where all of `when` hold and none of `unless`; none where a fact would have to be both.
    fn of(when: &[Fact], unless: &[Fact]) -> Option<Self> {
        let bits = |facts: &[Fact]| facts.iter().fold(0, |bits, fact| bits | fact.bit());
        let (value, clear) = (bits(when), bits(unless));
        (value & clear == 0).then_some(Self { mask: value | clear, value })
    }

    /// Whether some combination is in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        (self.value ^ other.value) & self.mask & other.mask == 0
    }

    /// Its combinations outside `other`, as disjoint parts: where the first fact is otherwise, where the
    /// first is as `other` says and the second otherwise, and so on.
    pub(crate) fn without(self, other: Self) -> Vec<Self> {
        if !self.meets(other) {
            return vec![self];
        }
        let (mut parts, mut rest) = (Vec::new(), self);
        let mut open = other.mask & !self.mask;
        while open != 0 {
            let bit = open & open.wrapping_neg();
            let known = rest.mask | bit;
            parts.push(Self { mask: known, value: rest.value | (bit & !other.value) });
            rest = Self { mask: known, value: rest.value | (bit & other.value) };
            open &= !bit;
        }
        parts
    }

    /// The combinations in both; only where they meet.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { mask: self.mask | other.mask, value: self.value | other.value }
    }

    /// The facts that it fixes, each with its value.
    pub(crate) fn facts(self) -> Vec<(Fact, bool)> {
        let facts = Fact::ALL.iter().copied().filter(|fact| self.mask & fact.bit() != 0);
        facts.map(|fact| (fact, self.value & fact.bit() != 0)).collect()
    }
}

/// Matches in its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Residual {
    pub(crate) case: Case,
    pub(crate) clause: Clause,
    pub(crate) rule: u16,
}

impl Residual {
    /// A rule as residuals of which at most one matches; several where an exception has several facts.
    pub(crate) fn of(rule: &Rule, purpose: Purpose, pair: (Category, Category)) -> Vec<Self> {
        let number = u16::try_from(rule.number).unwrap_or(u16::MAX);
        let residual = |case| Self { case, clause: rule.clause, rule: number };
        rule.scope.cases(purpose, pair).into_iter().map(residual).collect()
    }

    pub(crate) fn matches(&self, facts: Facts) -> bool {
        facts.set & self.case.mask == self.case.value && facts.unknown & self.case.mask == 0
    }

    /// Whether it would match, were the unknown facts as the rule wants them.
    pub(crate) fn may_match(&self, facts: Facts) -> bool {
        let known = self.case.mask & !facts.unknown;
        facts.set & known == self.case.value & known
    }

    /// Facts that are not, or not known to be, as it needs them.
    pub(crate) fn lacking(&self, facts: Facts) -> Vec<Fact> {
        let is = |fact: Fact, value| facts.unknown & fact.bit() == 0 && facts.holds(fact) == value;
        let lacking = self.case.facts().into_iter().filter(|(fact, value)| !is(*fact, *value));
        lacking.map(|(fact, _)| fact).collect()
    }
}

impl Scope {
    /// Whether flow, recipient, purpose and categories fit. Where there is no pair, both are the same.
    pub(crate) fn speaks_of(
        &self,
        flow: Flow,
        recipient: Recipient,
        purpose: Purpose,
        (a, b): (Category, Category),
    ) -> bool {
        let ordered = |one, other| category_fits(&self.category, one) && category_fits(&self.with, other);
        self.flow.contains(&flow)
            && self.recipient.contains(&recipient)
            && purpose_fits(&self.purpose, purpose)
            && (ordered(a, b) || ordered(b, a))
    }

    /// The combinations of facts that fit, as disjoint cases.
    pub(crate) fn cases(&self, purpose: Purpose, pair: (Category, Category)) -> Vec<Case> {
        let mut left: Vec<Case> = Case::of(&self.when, &self.unless).into_iter().collect();
        for exception in self.except.iter().filter(|exception| exception.speaks_of(purpose, pair)) {
            if let Some(case) = Case::of(&exception.when, &exception.unless) {
                left = left.into_iter().flat_map(|rest| rest.without(case)).collect();
            }
        }
        left
    }
}

impl Policy {
    /// Whether its rules and another's about what may meet, and about what goes back to the brand, say the same
    /// of this category, word for word.
    pub(crate) fn keeps_apart_as(&self, other: &Self, category: Category) -> bool {
        let speaks = |flow: Flow| matches!(flow, Flow::Combine | Flow::Return);
        let about = |rule: &&Rule| {
            let Scope { flow, category: of, with, .. } = &rule.scope;
            let meets = flow.contains(&Flow::Combine) && category_fits(with, category);
            meets || (flow.iter().any(|flow| speaks(*flow)) && category_fits(of, category))
        };
        let said = |rule: &Rule| (rule.effect, rule.clause, rule.scope.clone());
        let rules = self.rules().iter().filter(about).map(said);
        rules.eq(other.rules().iter().filter(about).map(said))
    }
}

impl Exception {
    fn speaks_of(&self, purpose: Purpose, (a, b): (Category, Category)) -> bool {
        category_fits(&self.category, a)
            && category_fits(&self.category, b)
            && purpose_fits(&self.purpose, purpose)
    }
}

fn category_fits(list: &[Category], category: Category) -> bool {
    list.is_empty() || list.iter().any(|above| category.is_under(*above))
}

fn purpose_fits(list: &[Purpose], purpose: Purpose) -> bool {
    list.is_empty() || list.iter().any(|above| purpose.is_under(*above))
}
