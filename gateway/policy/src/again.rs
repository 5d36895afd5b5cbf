//! A row of the ledger, decided again from what it recorded.

use crate::facts::Facts;
use crate::label::{Label, Origin};
use crate::policy::{Flow, Policy, Recipient};
use crate::{Fact, Purpose, Reason, Verdict};

/// What a row recorded of a decision, but for its fields.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The flow.
    pub flow: Flow,
    /// The recipient of the row: [`Recipient::ThirdParty`] where the partner was that for any field.
    pub recipient: Recipient,
    /// Who runs the plugin.
    pub partner: &'a str,
    /// The plugin's purpose.
    pub purpose: Purpose,
    /// What held, apart from what depends on a label.
    pub facts: Facts,
}

/// What another policy makes of a recorded verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// It would have decided so.
    Decided(Verdict),
    /// It depends on how the partner stood toward the label, which a row does not record.
    Open,
}

/// How a partner stood toward a label: its relation, and whether a contract covered onward transfer.
type Stood = (Recipient, bool);

impl Facts {
    /// With the facts that follow from the origins of the labels in question, toward `partner`.
    #[must_use]
    pub fn with_origins(self, labels: &[&Label], partner: &str) -> Self {
        let any = |is: &dyn Fn(&Origin) -> bool| labels.iter().any(|label| is(&label.origin));
        let all = |is: &dyn Fn(&Origin) -> bool| labels.iter().all(|label| is(&label.origin));
        let mut facts = self;
        if all(&|origin| *origin == Origin::Public) && !labels.is_empty() {
            facts = facts.with(Fact::Public, true);
        }
        if any(&|origin| matches!(origin, Origin::Partner(name) if **name == *partner)) {
            facts = facts.with(Fact::SamePartner, true);
        }
        if any(&|origin| matches!(origin, Origin::Partner(name) if **name != *partner)) {
            facts = facts.with(Fact::OtherPartner, true);
        }
        facts
    }
}

impl Recorded<'_> {
    /// What `new` makes of a field with these labels on which `recorded` was said, under `old` where that
    /// policy is known. What the rules did not decide (undeclared, not granted, a missing fact) stays.
    pub fn decide_again(
        &self,
        new: &Policy,
        old: Option<&Policy>,
        labels: &[Label],
        recorded: Verdict,
    ) -> Again {
        if matches!(recorded.reason, Reason::Undeclared | Reason::NotGranted | Reason::MissingFact) {
            return Again::Decided(recorded);
        }
        let mut questions: Vec<Vec<&Label>> = labels.iter().map(|label| vec![label]).collect();
        if self.flow == Flow::Combine && labels.len() > 1 {
            let pairs = labels
                .iter()
                .enumerate()
                .flat_map(|(index, a)| labels.iter().skip(index + 1).map(move |b| vec![a, b]));
            questions = pairs.collect();
        }
        let alone = questions.len() == 1;
        let mut answer: Option<Verdict> = None;
        let mut open = false;
        for question in &questions {
            match self.one(new, old, question, recorded, alone) {
                // The strictest of the labels' verdicts holds, however open another's is.
                Again::Decided(verdict) if !verdict.allows() => return Again::Decided(verdict),
                Again::Decided(verdict) => answer = answer.or(Some(verdict)),
                Again::Open => open = true,
            }
        }
        match answer {
            Some(verdict) if !open => Again::Decided(verdict),
            _ if open => Again::Open,
            // Without a label a value has no origin.
            _ => Again::Decided(Verdict::withhold(Reason::Undeclared)),
        }
    }

    fn one(
        &self,
        new: &Policy,
        old: Option<&Policy>,
        labels: &[&Label],
        recorded: Verdict,
        alone: bool,
    ) -> Again {
        let possible: &[Stood] = match self.recipient {
            Recipient::ThirdParty => &[
                (Recipient::ThirdParty, false),
                (Recipient::ServiceProvider, false),
                (Recipient::ServiceProvider, true),
            ],
            Recipient::ServiceProvider => {
                &[(Recipient::ServiceProvider, false), (Recipient::ServiceProvider, true)]
            }
            Recipient::Brand => &[(Recipient::Brand, false)],
            Recipient::Authority => &[(Recipient::Authority, false)],
            Recipient::Consumer => &[(Recipient::Consumer, false)],
        };
        // What was said then tells how the partner stood: each label of an allowed field was allowed, and
        // a lone label was decided for the reason on record.
        let said = |policy: &Policy, stood: &Stood| {
            let verdict = self.ask(policy, labels, *stood);
            match recorded.allows() {
                true if alone => verdict.allows() && verdict.reason == recorded.reason,
                true => verdict.allows(),
                false => !alone || verdict.reason == recorded.reason,
            }
        };
        let mut stood: Vec<Stood> = possible.to_vec();
        if let Some(old) = old {
            let fitting: Vec<Stood> = possible.iter().copied().filter(|stood| said(old, stood)).collect();
            if !fitting.is_empty() {
                stood = fitting;
            }
        }
        let mut verdicts = stood.iter().map(|stood| self.ask(new, labels, *stood));
        let Some(first) = verdicts.next() else { return Again::Open };
        if verdicts.all(|verdict| verdict.allows() == first.allows()) {
            Again::Decided(first)
        } else {
            Again::Open
        }
    }

    fn ask(&self, policy: &Policy, labels: &[&Label], (recipient, onward): Stood) -> Verdict {
        let facts = self.facts.with_origins(labels, self.partner).with(Fact::ContractOnward, onward);
        let decision = match labels {
            [a, b] => policy.compile_combination(recipient, self.purpose, a.category, b.category),
            [a, ..] => policy.compile(self.flow, recipient, self.purpose, a.category),
            [] => return Verdict::withhold(Reason::Undeclared),
        };
        decision.decide(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clause;

    const SHIPPED: &str = include_str!("../../policies/platform-2017-03-01.toml");

    fn clause(id: &str) -> Clause {
        Clause::parse(id).unwrap()
    }

    fn withheld(id: &str) -> Verdict {
        Verdict::withhold(Reason::Clause(clause(id)))
    }

    #[test]
    fn a_recorded_verdict_is_decided_again_as_far_as_the_row_tells() {
        let old = Policy::parse(SHIPPED).unwrap();
        let strict_loose = SHIPPED.replace("\"strict\"", "\"loose\"");
        let loose = Policy::parse(&strict_loose).unwrap();
        let third = Verdict::allow(clause("integrations.share"));
        let provider = Verdict::allow(clause("share.brand"));
        let email = "first-party:user.contact.email";
        let text = "first-party:user.content.private.transcript";
        let engaged = &[Fact::BrandDirected, Fact::Engaged][..];
        let directed = &[Fact::BrandDirected][..];
        let in_area = &[Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea][..];
        for (recipient, labels, facts, recorded, expected) in [
            (Recipient::ThirdParty, &[email][..], engaged, third, Again::Decided(third)),
            // It was a service provider for this field, although not for all of the row.
            (Recipient::ThirdParty, &[email], engaged, provider, Again::Decided(provider)),
            (
                Recipient::ThirdParty,
                &[email],
                directed,
                withheld("integrations.share"),
                Again::Decided(third),
            ),
            (Recipient::ThirdParty, &[text], engaged, withheld("share.content"), Again::Decided(third)),
            // What the rules did not decide stays as it was.
            (
                Recipient::ThirdParty,
                &[email],
                engaged,
                Verdict::withhold(Reason::NotGranted),
                Again::Decided(Verdict::withhold(Reason::NotGranted)),
            ),
            // Allowed although the consumer was inside the area: there was an onward-transfer contract.
            (Recipient::ServiceProvider, &[email], in_area, provider, Again::Decided(provider)),
            (
                Recipient::ServiceProvider,
                &[email],
                in_area,
                withheld("transfer.onward"),
                Again::Decided(withheld("transfer.onward")),
            ),
            (
                Recipient::ThirdParty,
                &["partner:other:user.account"],
                engaged,
                withheld("integrations.onward"),
                Again::Decided(withheld("integrations.onward")),
            ),
            (
                Recipient::ThirdParty,
                &[email, "partner:other:user.account"],
                engaged,
                withheld("integrations.onward"),
                Again::Decided(withheld("integrations.onward")),
            ),
        ] {
            let labels: Vec<Label> = labels.iter().map(|label| label.parse().unwrap()).collect();
            let recorded_row = Recorded {
                flow: Flow::Share,
                recipient,
                partner: "p",
                purpose: Purpose::parse("essential").unwrap(),
                facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)),
            };
            let again = recorded_row.decide_again(&loose, Some(&old), &labels, recorded);
            assert_eq!(again, expected, "{labels:?} {facts:?} {recorded:?}");
        }
    }

    #[test]
    fn what_hangs_on_a_contract_that_nobody_recorded_is_open() {
        // Neither policy's rule is known to have decided: an opt-out came first.
        let old = Policy::parse(SHIPPED).unwrap();
        let without = SHIPPED.replace("when = [\"opt-out.all-integrations\"]", "when = [\"opt-out.sms\"]");
        let new = Policy::parse(&without).unwrap();
        let facts = [Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea, Fact::OptOutAll];
        let row = Recorded {
            flow: Flow::Share,
            recipient: Recipient::ServiceProvider,
            partner: "p",
            purpose: Purpose::parse("essential").unwrap(),
            facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)),
        };
        let labels = ["first-party:user.contact.email".parse().unwrap()];
        let again = row.decide_again(&new, Some(&old), &labels, withheld("integrations.opt-out"));
        assert_eq!(again, Again::Open);
    }

    #[test]
    fn of_a_combination_every_pair_is_asked() {
        let policy = Policy::parse(SHIPPED).unwrap();
        let label = |text: &str| text.parse::<Label>().unwrap();
        let (tier, bought) = (label("partner:p:user.account"), label("first-party:user.behavior"));
        let row = |facts: &[Fact]| Recorded {
            flow: Flow::Combine,
            recipient: Recipient::ThirdParty,
            partner: "p",
            purpose: Purpose::parse("marketing").unwrap(),
            facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)),
        };
        let recorded = Verdict::allow(clause("integrations.combine"));
        let granted = &[Fact::BrandDirected, Fact::CombineGranted][..];
        for (facts, labels, expected) in [
            (granted, vec![tier.clone(), bought.clone()], recorded),
            (
                &[Fact::BrandDirected][..],
                vec![tier.clone(), bought.clone()],
                withheld("integrations.combine"),
            ),
            (granted, vec![tier, bought, label("partner:q:user.account")], withheld("integrations.onward")),
        ] {
            let again = row(facts).decide_again(&policy, None, &labels, recorded);
            assert_eq!(again, Again::Decided(expected), "{labels:?}");
        }
    }
}
