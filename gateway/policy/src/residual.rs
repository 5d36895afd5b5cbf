//! What is left of a rule once flow, recipient, purpose and categories are fixed.

use crate::facts::Facts;
use crate::policy::{Exception, Rule};
use crate::{Category, Clause, Fact, Purpose};

/// Matches where the facts under `mask` are exactly `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Residual {
    pub(crate) mask: u64,
    pub(crate) value: u64,
    pub(crate) clause: Clause,
    pub(crate) rule: u16,
}

impl Residual {
    pub(crate) fn matches(&self, facts: Facts) -> bool {
        facts.set & self.mask == self.value && facts.unknown & self.mask == 0
    }

    /// Whether it would match, were the unknown facts as the rule wants them.
    pub(crate) fn may_match(&self, facts: Facts) -> bool {
        let known = self.mask & !facts.unknown;
        facts.set & known == self.value & known
    }

    /// The facts that it hangs on, each with the value that it needs.
    pub(crate) fn needs(&self) -> Vec<(Fact, bool)> {
        let facts = Fact::ALL.iter().copied().filter(|fact| self.mask & fact.bit() != 0);
        facts.map(|fact| (fact, self.value & fact.bit() != 0)).collect()
    }

    /// Facts that are not, or not known to be, as it needs them.
    pub(crate) fn lacking(&self, facts: Facts) -> Vec<Fact> {
        let is =
            |fact: Fact| facts.unknown & fact.bit() == 0 && facts.set & fact.bit() == self.value & fact.bit();
        self.needs().into_iter().map(|(fact, _)| fact).filter(|fact| !is(*fact)).collect()
    }
}

/// The bits that must be `value` under `mask`; none where a fact would have to be both.
fn bits(when: &[Fact], unless: &[Fact]) -> Option<(u64, u64)> {
    let of = |facts: &[Fact]| facts.iter().fold(0, |bits, fact| bits | fact.bit());
    let (value, clear) = (of(when), of(unless));
    (value & clear == 0).then_some((value | clear, value))
}

/// A rule with its exceptions, as residuals of which at most one matches: what an exception leaves of
/// the rule is where its first fact is otherwise, or its first is as it says and its second otherwise, ...
pub(crate) fn residuals(rule: &Rule, purpose: Purpose, pair: (Category, Category)) -> Vec<Residual> {
    let mut left: Vec<(u64, u64)> = bits(&rule.when, &rule.unless).into_iter().collect();
    for exception in rule.except.iter().filter(|exception| speaks_of(exception, purpose, pair)) {
        let Some((mask, value)) = bits(&exception.when, &exception.unless) else { continue };
        left = left.into_iter().flat_map(|rest| without(rest, mask, value)).collect();
    }
    let rule_number = u16::try_from(rule.number).unwrap_or(u16::MAX);
    let residual = |(mask, value)| Residual { mask, value, clause: rule.clause, rule: rule_number };
    left.into_iter().map(residual).collect()
}

/// The combinations of `(known, set)` that are not among `(mask, value)`, as disjoint parts.
pub(crate) fn without((known, set): (u64, u64), mask: u64, value: u64) -> Vec<(u64, u64)> {
    if (set ^ value) & known & mask != 0 {
        return vec![(known, set)];
    }
    let mut parts = Vec::new();
    let (mut known, mut set) = (known, set);
    let mut open = mask & !known;
    while open != 0 {
        let bit = open & open.wrapping_neg();
        parts.push((known | bit, set | (bit & !value)));
        (known, set) = (known | bit, set | (bit & value));
        open &= !bit;
    }
    parts
}

fn speaks_of(exception: &Exception, purpose: Purpose, (a, b): (Category, Category)) -> bool {
    let under = |category: Category| exception.category.iter().any(|above| category.is_under(*above));
    (exception.category.is_empty() || (under(a) && under(b)))
        && (exception.purpose.is_empty() || exception.purpose.iter().any(|above| purpose.is_under(*above)))
}
