//! A row of the ledger, decided again from what it recorded.

use crate::compile::Explanation;
use crate::facts::Facts;
use crate::label::{Label, Origin};
use crate::policy::{Flow, Policy, Recipient};
use crate::{Access, Fact, FieldVerdict, Purpose, Reason, Verdict};

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
    /// What `new` makes of the row's fields, under `old` where the policy of that time is known. What the
    /// rules did not decide (undeclared, not granted, a missing fact) stays. Nothing is guessed: a verdict
    /// that `old` does not come to by what the row tells was come to by something else as well, by a
    /// meeting or by another version, and is open unless `new` says the same.
    pub fn decide_again(&self, new: &Policy, old: Option<&Policy>, fields: &[FieldVerdict]) -> Vec<Again> {
        let mut answers: Vec<Again> = fields.iter().map(|field| self.field(new, old, field)).collect();
        // What was allowed to meet must be allowed to meet again.
        let met = |at: usize, answers: &[Again]| {
            let field =
                fields.get(at).filter(|field| field.verdict.allows() && field.access != Access::Sealed)?;
            matches!(answers.get(at), Some(Again::Decided(verdict)) if verdict.allows())
                .then_some(&*field.labels)
        };
        for at in 0..fields.len() {
            let Some(labels) = met(at, &answers) else { continue };
            let changed = match self.flow {
                Flow::Share | Flow::Decide => (0..at)
                    .filter_map(|earlier| met(earlier, &answers))
                    .find_map(|earlier| self.kept_apart(new, old, labels, earlier)),
                // A returned value derives from all that was read in its call.
                Flow::Return => self.kept_apart(new, old, labels, labels),
                _ => None,
            };
            if let (Some(changed), Some(answer)) = (changed, answers.get_mut(at)) {
                *answer = changed;
            }
        }
        answers
    }

    /// What `policy` says of one label of a field on which `recorded` was said, with the partner standing
    /// toward it as fits what was said; how nearly other rules matched goes by that too.
    pub fn explain(&self, policy: &Policy, label: &Label, recorded: Verdict) -> Explanation {
        let stood = self.stood(policy, &[label], recorded, true);
        let (recipient, onward) = stood.first().copied().unwrap_or((self.recipient, false));
        let facts = self.facts.with_origins(&[label], self.partner).with(Fact::ContractOnward, onward);
        policy.compile(self.flow, recipient, self.purpose, label.category).explain(facts)
    }

    fn field(&self, new: &Policy, old: Option<&Policy>, field: &FieldVerdict) -> Again {
        let recorded = field.verdict;
        if matches!(recorded.reason, Reason::Undeclared | Reason::NotGranted | Reason::MissingFact) {
            return Again::Decided(recorded);
        }
        let labels = &field.labels;
        let mut questions: Vec<Vec<&Label>> = labels.iter().map(|label| vec![label]).collect();
        if self.flow == Flow::Combine && labels.len() > 1 {
            let pairs = labels
                .iter()
                .enumerate()
                .flat_map(|(index, a)| labels.iter().skip(index + 1).map(move |b| vec![a, b]));
            questions = pairs.collect();
        }
        let alone = questions.len() == 1;
        // Whether the reason on record is one that a label of the field gave.
        let explained = recorded.allows()
            || old.is_none_or(|old| {
                questions.iter().any(|labels| !self.stood(old, labels, recorded, true).is_empty())
            });
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
            _ if open || !explained => Again::Open,
            Some(verdict) => Again::Decided(verdict),
            // Without a label a value has no origin.
            None => Again::Decided(Verdict::withhold(Reason::Undeclared)),
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
        let fitting = old.map(|old| self.stood(old, labels, recorded, alone));
        let known = fitting.as_ref().is_none_or(|fitting| !fitting.is_empty());
        let stood = fitting.filter(|fitting| !fitting.is_empty());
        let stood = stood.as_deref().unwrap_or(self.possible());
        let mut verdicts = stood.iter().map(|stood| self.ask(new, labels, *stood));
        let Some(first) = verdicts.next() else { return Again::Open };
        let all_alike = verdicts.all(|verdict| verdict.allows() == first.allows());
        if all_alike && (known || first.allows() == recorded.allows()) {
            Again::Decided(first)
        } else {
            Again::Open
        }
    }

    /// What becomes of a meeting that was allowed, where `new` has more against it than `old`.
    fn kept_apart(&self, new: &Policy, old: Option<&Policy>, a: &[Label], b: &[Label]) -> Option<Again> {
        let mut open = false;
        for (one, other) in a.iter().flat_map(|one| b.iter().map(move |other| (one, other))) {
            let verdict = |policy: &Policy, stood: &Stood| {
                // It met, so it was granted, or of one origin.
                let facts = self.facts.with_origins(&[one, other], self.partner);
                let facts = facts.with(Fact::CombineGranted, true).with(Fact::ContractOnward, stood.1);
                policy.compile_combination(stood.0, self.purpose, one.category, other.category).decide(facts)
            };
            let mut refused = self.possible().iter().map(|stood| {
                let before = old.is_none_or(|old| verdict(old, stood).allows());
                Some(verdict(new, stood)).filter(|verdict| before && !verdict.allows())
            });
            let first = refused.next().flatten();
            match (first, refused.all(|other| other.is_some() == first.is_some())) {
                (Some(verdict), true) => return Some(Again::Decided(verdict)),
                (None, true) => {}
                (_, false) => open = true,
            }
        }
        open.then_some(Again::Open)
    }

    /// How the partner may have stood toward a label of the row.
    fn possible(&self) -> &'static [Stood] {
        match self.recipient {
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
        }
    }

    /// How it must have stood for what was said under `old`: each label of an allowed field was allowed,
    /// and a lone label was decided for the reason on record. None: `old` did not say it.
    fn stood(&self, old: &Policy, labels: &[&Label], recorded: Verdict, alone: bool) -> Vec<Stood> {
        let said = |stood: &Stood| {
            let verdict = self.ask(old, labels, *stood);
            let same = verdict.reason == recorded.reason;
            match recorded.allows() {
                true => verdict.allows() && (same || !alone),
                false => !alone || (same && !verdict.allows()),
            }
        };
        self.possible().iter().copied().filter(said).collect()
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

    /// A field that a plugin could read.
    fn field(labels: &[&str], verdict: Verdict) -> FieldVerdict {
        let labels: Vec<Label> = labels.iter().map(|label| label.parse().unwrap()).collect();
        FieldVerdict { field: "/f".into(), access: Access::Read, labels: labels.into(), verdict }
    }

    fn row(flow: Flow, recipient: Recipient, purpose: &str, facts: &[Fact]) -> Recorded<'static> {
        Recorded {
            flow,
            recipient,
            partner: "p",
            purpose: Purpose::parse(purpose).unwrap(),
            facts: facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)),
        }
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
            let again = row(Flow::Share, recipient, "essential", facts).decide_again(
                &loose,
                Some(&old),
                &[field(labels, recorded)],
            );
            assert_eq!(again, [expected], "{labels:?} {facts:?} {recorded:?}");
        }
    }

    #[test]
    fn what_hangs_on_a_contract_that_nobody_recorded_is_open() {
        // Neither policy's rule is known to have decided: an opt-out came first.
        let old = Policy::parse(SHIPPED).unwrap();
        let without = SHIPPED.replace("when = [\"opt-out.all-integrations\"]", "when = [\"opt-out.sms\"]");
        let new = Policy::parse(&without).unwrap();
        let facts = [Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea, Fact::OptOutAll];
        let again = row(Flow::Share, Recipient::ServiceProvider, "essential", &facts).decide_again(
            &new,
            Some(&old),
            &[field(&["first-party:user.contact.email"], withheld("integrations.opt-out"))],
        );
        assert_eq!(again, [Again::Open]);
    }

    #[test]
    fn what_was_withheld_for_a_meeting_is_not_allowed_by_its_own_label() {
        let old = Policy::parse(SHIPPED).unwrap();
        let facts = [Fact::BrandDirected, Fact::Engaged];
        let recorded = field(&["partner:p:user.account"], withheld("integrations.combine"));
        let again = row(Flow::Share, Recipient::ThirdParty, "essential", &facts).decide_again(
            &old,
            Some(&old),
            &[recorded],
        );
        assert_eq!(again, [Again::Open]);
    }

    #[test]
    fn what_met_and_may_meet_no_more_flips_with_the_later_field() {
        let old = Policy::parse(SHIPPED).unwrap();
        let kept = "\n[[rule]]\neffect = 'forbid'\nflow = ['combine']\n\
                    recipient = ['service-provider', 'third-party', 'brand']\ncategory = ['user.account']\n\
                    with = ['user.behavior']\nclause = 'integrations.combine'\n";
        let new = Policy::parse(&format!("{SHIPPED}{kept}")).unwrap();
        let facts = [Fact::BrandDirected, Fact::Engaged];
        let allow = Verdict::allow(clause("integrations.share"));
        let fields = [
            field(&["first-party:user.behavior"], allow),
            field(&["partner:p:user.account"], allow),
            field(&["first-party:user.name"], allow),
        ];
        let shared = row(Flow::Decide, Recipient::ThirdParty, "essential", &facts);
        let (same, apart) = (Again::Decided(allow), Again::Decided(withheld("integrations.combine")));
        assert_eq!(shared.decide_again(&old, Some(&old), &fields), [same, same, same]);
        assert_eq!(shared.decide_again(&new, Some(&old), &fields), [same, apart, same]);
        let given = Verdict::allow(clause("share.brand"));
        let returned = [field(&["first-party:user.behavior", "partner:p:user.account"], given)];
        let row = row(Flow::Return, Recipient::Brand, "essential", &facts);
        assert_eq!(row.decide_again(&new, Some(&old), &returned), [apart]);
        assert_eq!(row.decide_again(&old, Some(&old), &returned), [Again::Decided(given)]);
    }

    #[test]
    fn of_a_combination_every_pair_is_asked() {
        let policy = Policy::parse(SHIPPED).unwrap();
        let (tier, bought) = ("partner:p:user.account", "first-party:user.behavior");
        let recorded = Verdict::allow(clause("integrations.combine"));
        let granted = &[Fact::BrandDirected, Fact::CombineGranted][..];
        for (facts, labels, expected) in [
            (granted, &[tier, bought][..], recorded),
            (&[Fact::BrandDirected][..], &[tier, bought], withheld("integrations.combine")),
            (granted, &[tier, bought, "partner:q:user.account"], withheld("integrations.onward")),
        ] {
            let row = row(Flow::Combine, Recipient::ThirdParty, "marketing", facts);
            let again = row.decide_again(&policy, None, &[field(labels, recorded)]);
            assert_eq!(again, [Again::Decided(expected)], "{labels:?}");
        }
    }
}
