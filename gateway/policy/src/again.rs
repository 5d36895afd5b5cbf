//! A row of the ledger, decided again from what it recorded.

use crate::compile::Explanation;
use crate::facts::Facts;
use crate::label::{Label, Origin};
use crate::policy::{Flow, Policy, Recipient};
use crate::{Access, Aggregation, Fact, FieldVerdict, Purpose, Reason, Standing, Verdict};

/// What a row recorded of a decision, but for its fields.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The flow.
    pub flow: Flow,
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
    /// Something else decided than the field's own labels: what it met, or another version of the policy.
    Open,
}

/// A row that does not say how its recipient stood toward every label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row does not record how its recipient stood toward every label; it cannot be decided again")]
pub struct NotRecorded;

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

/// A label with how its recipient stood toward it.
#[derive(Clone, Copy)]
struct Stood<'l> {
    label: &'l Label,
    standing: Standing,
}

/// The labels of a field, each with how its recipient stood toward it.
fn stood(field: &FieldVerdict) -> Result<Vec<Stood<'_>>, NotRecorded> {
    let standing = &field.basis.standing;
    if standing.len() != field.labels.len() {
        return Err(NotRecorded);
    }
    Ok(field
        .labels
        .iter()
        .zip(&**standing)
        .map(|(label, standing)| Stood { label, standing: *standing })
        .collect())
}

impl Recorded<'_> {
    /// What `new` makes of the row's fields, under `old` where the policy of that time is known. What the
    /// rules did not decide (undeclared, not granted, a missing fact) stays. Nothing is guessed: a verdict
    /// that a meeting or, by what `old` says, another version came to is open unless `new` withholds too.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub fn decide_again(
        &self,
        new: &Policy,
        old: Option<&Policy>,
        fields: &[FieldVerdict],
    ) -> Result<Vec<Again>, NotRecorded> {
        let all: Vec<Vec<Stood<'_>>> = fields.iter().map(stood).collect::<Result<_, _>>()?;
        let mut answers: Vec<Again> =
            fields.iter().zip(&all).map(|(field, labels)| self.field(new, old, field, labels)).collect();
        // What was allowed to meet must be allowed to meet again.
        let met = |at: usize, answers: &[Again]| {
            let (field, labels) = (fields.get(at)?, all.get(at)?);
            let meets = field.verdict.allows() && field.access != Access::Sealed;
            let allowed = matches!(answers.get(at), Some(Again::Decided(verdict)) if verdict.allows());
            (meets && allowed).then_some((self.facts_of(field), labels.as_slice()))
        };
        for at in 0..fields.len() {
            let Some((facts, labels)) = met(at, &answers) else { continue };
            let changed = match self.flow {
                Flow::Share | Flow::Decide => {
                    (0..at).filter_map(|earlier| met(earlier, &answers)).find_map(|(others, earlier)| {
                        self.kept_apart(new, old, both(facts, others), labels, earlier)
                    })
                }
                // A returned value derives from all that was read in its call.
                Flow::Return => self.kept_apart(new, old, facts, labels, labels),
                _ => None,
            };
            if let (Some(changed), Some(answer)) = (changed, answers.get_mut(at)) {
                *answer = changed;
            }
        }
        Ok(answers)
    }

    /// What `policy` says of each label of a field.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub fn explain(&self, policy: &Policy, field: &FieldVerdict) -> Result<Vec<Explanation>, NotRecorded> {
        let explain = |Stood { label, standing }: Stood<'_>| {
            let facts = self.facts_of(field).with_origins(&[label], self.partner);
            let facts = facts.with(Fact::ContractOnward, standing.onward);
            policy.compile(self.flow, standing.recipient, self.purpose, label.category).explain(facts)
        };
        Ok(stood(field)?.into_iter().map(explain).collect())
    }

    fn facts_of(&self, field: &FieldVerdict) -> Facts {
        field.basis.own_facts.unwrap_or(self.facts)
    }

    fn field(&self, new: &Policy, old: Option<&Policy>, field: &FieldVerdict, labels: &[Stood<'_>]) -> Again {
        let recorded = field.verdict;
        if matches!(recorded.reason, Reason::Undeclared | Reason::NotGranted | Reason::MissingFact) {
            return Again::Decided(recorded);
        }
        // Aggregates for other purposes are told to nobody, whatever the rules say.
        if self.flow == Flow::Aggregate && !Aggregation::serves(self.purpose) {
            return Again::Decided(recorded);
        }
        let facts = self.facts_of(field);
        // Without a label a value has no origin.
        let Some(answer) = self.own(new, facts, labels).into_iter().reduce(Verdict::strictest) else {
            return Again::Decided(Verdict::withhold(Reason::Undeclared));
        };
        // Which of several labels' reasons stands in a row hangs on their order, which is not the ledger's.
        let said = |old: &Policy| {
            let said = self.own(old, facts, labels);
            said.iter().all(|verdict| verdict.allows()) == recorded.allows()
                && said.iter().any(|verdict| verdict.reason == recorded.reason)
        };
        let by_itself = !field.basis.met && old.is_none_or(said);
        if by_itself || answer.allows() == recorded.allows() { Again::Decided(answer) } else { Again::Open }
    }

    /// What `policy` says of each label; where they are the labels of a meeting, of each pair.
    fn own(&self, policy: &Policy, facts: Facts, labels: &[Stood<'_>]) -> Vec<Verdict> {
        if self.flow == Flow::Combine && labels.len() > 1 {
            let pairs = labels
                .iter()
                .enumerate()
                .flat_map(|(index, a)| labels.iter().skip(index + 1).map(move |b| (*a, *b)));
            return pairs.map(|(a, b)| self.pair(policy, facts, a, b)).collect();
        }
        let one = |Stood { label, standing }: &Stood<'_>| {
            let facts =
                facts.with_origins(&[label], self.partner).with(Fact::ContractOnward, standing.onward);
            policy.compile(self.flow, standing.recipient, self.purpose, label.category).decide(facts)
        };
        labels.iter().map(one).collect()
    }

    /// What `policy` says of two labels that meet.
    fn pair(&self, policy: &Policy, facts: Facts, a: Stood<'_>, b: Stood<'_>) -> Verdict {
        let facts = facts
            .with_origins(&[a.label, b.label], self.partner)
            .with(Fact::ContractOnward, a.standing.onward && b.standing.onward);
        let recipient = match (a.standing.recipient, b.standing.recipient) {
            (Recipient::ThirdParty, _) | (_, Recipient::ThirdParty) => Recipient::ThirdParty,
            (recipient, _) => recipient,
        };
        policy.compile_combination(recipient, self.purpose, a.label.category, b.label.category).decide(facts)
    }

    /// What becomes of a meeting that was allowed, where `new` has more against it than `old`. Whether the
    /// brand had granted it is known where `old` allows it in one of the two cases only, and where both
    /// labels have one origin; else it is open where `new` does not say the same of both.
    fn kept_apart(
        &self,
        new: &Policy,
        old: Option<&Policy>,
        facts: Facts,
        a: &[Stood<'_>],
        b: &[Stood<'_>],
    ) -> Option<Again> {
        let mut open = false;
        for (one, other) in a.iter().flat_map(|one| b.iter().map(move |other| (*one, *other))) {
            let alike = one.label.origin == other.label.origin
                || [one, other].iter().any(|stood| stood.label.origin == Origin::Public);
            let cases: &[bool] = if alike { &[true] } else { &[true, false] };
            let mut said = cases
                .iter()
                .map(|granted| facts.with(Fact::CombineGranted, *granted))
                .filter(|facts| old.is_none_or(|old| self.pair(old, *facts, one, other).allows()))
                .map(|facts| self.pair(new, facts, one, other));
            let Some(first) = said.next() else { continue };
            match (first.allows(), said.all(|verdict| verdict.allows() == first.allows())) {
                (false, true) => return Some(Again::Decided(first)),
                (true, true) => {}
                (_, false) => open = true,
            }
        }
        open.then_some(Again::Open)
    }
}

/// What held where both of two fields met: the strictest of both, whose facts speak against it.
fn both(a: Facts, b: Facts) -> Facts {
    Facts::from_bits(a.to_bits() | b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Basis, Clause};

    const SHIPPED: &str = include_str!("../../policies/platform-2017-03-01.toml");

    fn clause(id: &str) -> Clause {
        Clause::parse(id).unwrap()
    }

    const THIRD: Standing = Standing { recipient: Recipient::ThirdParty, onward: false };
    const PROVIDER: Standing = Standing { recipient: Recipient::ServiceProvider, onward: false };
    const ONWARD: Standing = Standing { recipient: Recipient::ServiceProvider, onward: true };
    const BRAND: Standing = Standing { recipient: Recipient::Brand, onward: false };

    /// A field that a plugin could read, with whoever got it standing alike toward all its labels.
    fn field(standing: Standing, labels: &[&str], verdict: Verdict) -> FieldVerdict {
        let labels: Vec<Label> = labels.iter().map(|label| label.parse().unwrap()).collect();
        let basis = Basis::of(labels.iter().map(|_| standing));
        FieldVerdict { field: "/f".into(), access: Access::Read, labels: labels.into(), verdict, basis }
    }

    fn row(flow: Flow, purpose: &str, facts: &[Fact]) -> Recorded<'static> {
        Recorded { flow, partner: "p", purpose: Purpose::parse(purpose).unwrap(), facts: held(facts) }
    }

    fn held(facts: &[Fact]) -> Facts {
        facts.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true))
    }

    fn withheld(id: &str) -> Verdict {
        Verdict::withhold(Reason::Clause(clause(id)))
    }

    #[test]
    fn a_recorded_verdict_is_decided_again_from_what_the_row_tells() {
        let old = Policy::parse(SHIPPED).unwrap();
        let loose = Policy::parse(&SHIPPED.replace("\"strict\"", "\"loose\"")).unwrap();
        let third = Verdict::allow(clause("integrations.share"));
        let provider = Verdict::allow(clause("share.brand"));
        let email = "first-party:user.contact.email";
        let text = "first-party:user.content.private.transcript";
        let engaged = &[Fact::BrandDirected, Fact::Engaged][..];
        let directed = &[Fact::BrandDirected][..];
        let in_area = &[Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea][..];
        let not_granted = Verdict::withhold(Reason::NotGranted);
        for (standing, labels, facts, recorded, expected) in [
            (THIRD, &[email][..], engaged, third, third),
            (PROVIDER, &[email], engaged, provider, provider),
            (THIRD, &[email], directed, withheld("integrations.share"), third),
            (THIRD, &[text], engaged, withheld("share.content"), third),
            // What the rules did not decide stays as it was.
            (THIRD, &[email], engaged, not_granted, not_granted),
            (ONWARD, &[email], in_area, provider, provider),
            (PROVIDER, &[email], in_area, withheld("transfer.onward"), withheld("transfer.onward")),
            (
                THIRD,
                &["partner:other:user.account"],
                engaged,
                withheld("integrations.onward"),
                withheld("integrations.onward"),
            ),
            (
                THIRD,
                &[email, "partner:other:user.account"],
                engaged,
                withheld("integrations.onward"),
                withheld("integrations.onward"),
            ),
        ] {
            let fields = [field(standing, labels, recorded)];
            let again = row(Flow::Share, "essential", facts).decide_again(&loose, Some(&old), &fields);
            assert_eq!(again, Ok(vec![Again::Decided(expected)]), "{labels:?} {facts:?} {recorded:?}");
        }
    }

    #[test]
    fn how_the_partner_stood_is_read_and_not_inferred() {
        // An opt-out came first, so nothing else of the verdict tells whether there was a contract for it.
        let old = Policy::parse(SHIPPED).unwrap();
        let without = SHIPPED.replace("when = [\"opt-out.all-integrations\"]", "when = [\"opt-out.sms\"]");
        let new = Policy::parse(&without).unwrap();
        let facts = [Fact::BrandDirected, Fact::Engaged, Fact::ConsumerInArea, Fact::OptOutAll];
        let row = row(Flow::Share, "essential", &facts);
        let recorded = withheld("integrations.opt-out");
        for (standing, expected) in [
            (ONWARD, Verdict::allow(clause("share.brand"))),
            (PROVIDER, withheld("transfer.onward")),
            (THIRD, withheld("transfer.onward")),
        ] {
            let fields = [field(standing, &["first-party:user.contact.email"], recorded)];
            assert_eq!(row.decide_again(&new, Some(&old), &fields), Ok(vec![Again::Decided(expected)]));
            let explained = row.explain(&old, &fields[0]).unwrap();
            assert_eq!(explained[0].verdict, recorded);
        }
        let mut lacking = field(THIRD, &["first-party:user.contact.email"], recorded);
        lacking.basis.standing = [].into();
        assert_eq!(row.decide_again(&new, Some(&old), &[lacking.clone()]), Err(NotRecorded));
        assert!(row.explain(&old, &lacking).is_err());
    }

    #[test]
    fn a_field_that_derives_from_more_than_the_event_has_facts_of_its_own() {
        let policy = Policy::parse(SHIPPED).unwrap();
        let row = row(Flow::Decide, "marketing", &[Fact::BrandDirected, Fact::Engaged]);
        let own = row.facts.with(Fact::Dnt, true);
        let recorded = withheld("signals.dnt");
        let mut tracked = field(THIRD, &["first-party:user.behavior"], recorded);
        tracked.basis = tracked.basis.under(own, row.facts);
        assert_eq!(row.decide_again(&policy, None, &[tracked.clone()]), Ok(vec![Again::Decided(recorded)]));
        tracked.basis = tracked.basis.under(row.facts, row.facts);
        assert_eq!(tracked.basis.own_facts, None, "the row says it");
    }

    #[test]
    fn what_something_else_withheld_is_not_allowed_by_its_own_label() {
        let old = Policy::parse(SHIPPED).unwrap();
        let row = row(Flow::Share, "essential", &[Fact::BrandDirected, Fact::Engaged]);
        let mut met = field(THIRD, &["partner:p:user.account"], withheld("integrations.combine"));
        met.basis.met = true;
        // Said by the row, whatever is known of the policy of that time.
        for known in [Some(&old), None] {
            assert_eq!(row.decide_again(&old, known, &[met.clone()]), Ok(vec![Again::Open]));
        }
        // Another version's verdict: these rules would have allowed it.
        let another = field(THIRD, &["first-party:user.contact.email"], withheld("integrations.share"));
        assert_eq!(row.decide_again(&old, Some(&old), &[another]), Ok(vec![Again::Open]));
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
            field(THIRD, &["first-party:user.behavior"], allow),
            field(THIRD, &["partner:p:user.account"], allow),
            field(THIRD, &["first-party:user.name"], allow),
        ];
        let shared = row(Flow::Decide, "essential", &facts);
        let (same, apart) = (Again::Decided(allow), Again::Decided(withheld("integrations.combine")));
        assert_eq!(shared.decide_again(&old, Some(&old), &fields), Ok(vec![same, same, same]));
        assert_eq!(shared.decide_again(&new, Some(&old), &fields), Ok(vec![same, apart, same]));
        // Whether it was granted hangs on a policy that nobody has any more.
        assert_eq!(shared.decide_again(&old, None, &fields), Ok(vec![same, Again::Open, same]));
        let given = Verdict::allow(clause("share.brand"));
        let returned = [field(BRAND, &["first-party:user.behavior", "partner:p:user.account"], given)];
        let row = row(Flow::Return, "essential", &facts);
        assert_eq!(row.decide_again(&new, Some(&old), &returned), Ok(vec![apart]));
        assert_eq!(row.decide_again(&old, Some(&old), &returned), Ok(vec![Again::Decided(given)]));
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
            let row = row(Flow::Combine, "marketing", facts);
            let again = row.decide_again(&policy, None, &[field(THIRD, labels, recorded)]);
            assert_eq!(again, Ok(vec![Again::Decided(expected)]), "{labels:?}");
        }
    }
}
