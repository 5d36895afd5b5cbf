//! The facts of one decision, split into cases as far as the decision hangs on them.

use std::ops::ControlFlow;

use crate::compile::CompiledDecision;
use crate::policy::Effect;
use crate::residual::{Case, Residual};

/// What decides in a case.
pub(super) type Deciding<'a> = Option<(Effect, &'a Residual)>;

/// Splits `within` into disjoint cases that together are all of it, in each of which one rule decides
/// (none: nothing permits), and shows each. `without` is left out of account.
pub(super) fn split<'a, B>(
    decision: &'a CompiledDecision,
    without: Option<u16>,
    within: Case,
    visit: &mut impl FnMut(Case, Deciding<'a>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let forbids = decision.forbids.iter().map(|residual| (Effect::Forbid, residual));
    let permits = decision.permits.iter().map(|residual| (Effect::Permit, residual));
    let rules: Vec<(Effect, &Residual)> =
        forbids.chain(permits).filter(|(_, residual)| Some(residual.rule) != without).collect();
    go(&rules, within, visit)
}

fn go<'a, B>(
    rules: &[(Effect, &'a Residual)],
    case: Case,
    visit: &mut impl FnMut(Case, Deciding<'a>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    for (index, (effect, residual)) in rules.iter().enumerate() {
        if !case.meets(residual.case) {
            continue;
        }
        // Where the rule does not match, what comes after it decides; where it does, it decides.
        let later = rules.get(index + 1..).unwrap_or_default();
        for part in case.without(residual.case) {
            go(later, part, visit)?;
        }
        return visit(case.and(residual.case), Some((*effect, residual)));
    }
    visit(case, None)
}

/// A case within `within` that no rule among `rules` touches.
pub(super) fn untouched<'a>(
    rules: impl Iterator<Item = &'a Residual>,
    within: Case,
    visited: &mut u64,
) -> Option<Case> {
    let open: Vec<&Residual> = rules.filter(|residual| within.meets(residual.case)).collect();
    *visited += 1;
    // The rule that hangs on least leaves the fewest ways out.
    let left = |residual: &&&Residual| (residual.case.mask & !within.mask).count_ones();
    let Some(nearest) = open.iter().min_by_key(left) else { return Some(within) };
    let parts = within.without(nearest.case);
    parts.into_iter().find_map(|part| untouched(open.iter().copied(), part, visited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, Facts, Flow, Policy, Purpose, Reason, Recipient};

    #[test]
    fn cases_are_disjoint_cover_everything_and_say_what_a_decision_says() {
        let policy = Policy::parse(include_str!("../../../policies/platform-2017-03-01.toml")).unwrap();
        for (flow, recipient, purpose, category) in [
            (Flow::Return, Recipient::Brand, "marketing.communications.sms", "user.contact.phone_number"),
            (Flow::Aggregate, Recipient::Brand, "essential", "user.location.precise"),
            (Flow::Combine, Recipient::ThirdParty, "analytics", "user.behavior"),
            (Flow::Disclose, Recipient::Authority, "essential", "user"),
        ] {
            let decision = policy.compile(
                flow,
                recipient,
                Purpose::parse(purpose).unwrap(),
                Category::parse(category).unwrap(),
            );
            let mut cases = Vec::new();
            let _: ControlFlow<()> = split(&decision, None, Case::default(), &mut |case, deciding| {
                cases.push((case, deciding.map(|(_, residual)| residual.clause)));
                ControlFlow::Continue(())
            });
            let bits: Vec<u64> = decision.hangs_on().map(|fact| 1 << (fact as u32)).collect();
            for combination in 0_u64..1 << bits.len() {
                let set = bits.iter().enumerate().filter(|(index, _)| combination >> index & 1 == 1);
                let set = set.fold(0, |set, (_, bit)| set | bit);
                let all = Case { mask: u64::MAX, value: set };
                let holding: Vec<_> = cases.iter().filter(|(case, _)| all.meets(*case)).collect();
                assert_eq!(holding.len(), 1, "{set:b}");
                let reason = holding[0].1.map_or(Reason::NoPermit, Reason::Clause);
                assert_eq!(decision.decide(Facts::from_bits(set)).reason, reason, "{set:b}");
            }
        }
    }
}
