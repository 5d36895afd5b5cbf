//! A row of the ledger, decided again from what it recorded.

mod compiled;
mod had;
#[cfg(test)]
mod tests;

pub use self::compiled::Compiled;
pub use self::had::Had;
use crate::compile::Explanation;
use crate::facts::Facts;
use crate::label::{Label, Origin};
use crate::policy::{Flow, Policy, Recipient};
use crate::{
    Access, Aggregation, Basis, Decision, Declassification, Fact, FieldVerdict, KeptApart, Purpose, Reason,
    Standing, Verdict,
};

/// The name under which a row has the fields that a plugin got of its partner.
pub const RECEIVED: &str = "/partner";
/// The name under which a row has the fields that a plugin got of what others returned.
pub const RETURNED: &str = "/returned";

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
    /// Whether it is a row of a request: then all its fields were in it together, sealed ones too.
    pub request: bool,
}

/// What another policy makes of a recorded verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// It would have decided so.
    Decided(Verdict),
    /// What the row records does not say; the verdict is what it would be by all that is recorded.
    Open(Why, Verdict),
}

impl Again {
    /// What would become of what was decided, and why that is open, where it is; none where it stays.
    pub fn otherwise_than(self, recorded: Verdict) -> Option<(Verdict, Option<Why>)> {
        match self {
            Self::Decided(verdict) if verdict.allows() == recorded.allows() => None,
            Self::Decided(verdict) => Some((verdict, None)),
            Self::Open(why, verdict) => Some((verdict, Some(why))),
        }
    }
}

/// What a row does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// All that it met, in its call or at the partner: of what withheld it the row names one pair.
    Met,
    /// Whether the brand had granted the combination in which it met something.
    Granted,
    /// Whether this consumer's partner already had what it may not meet.
    Earlier,
    /// The label of what there was, before it went in its form.
    Form,
    /// What another version of the policy said.
    Version,
    /// Whether the brand itself may use what another plugin returned: it goes on for as long as that.
    Returned,
}

impl Why {
    /// `met`, `granted`, `earlier`, `form`, `version` or `returned`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Granted => "granted",
            Self::Earlier => "earlier",
            Self::Form => "form",
            Self::Version => "version",
            Self::Returned => "returned",
        }
    }
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
    /// that a meeting or, by what `old` says, another version came to is open unless `new` withholds too, or says
    /// of that meeting what `old` says.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub fn decide_again(
        &self,
        new: &Compiled<'_>,
        old: Option<&Compiled<'_>>,
        fields: &[FieldVerdict],
    ) -> Result<Vec<Again>, NotRecorded> {
        let all: Vec<Vec<Stood<'_>>> = fields.iter().map(stood).collect::<Result<_, _>>()?;
        let mut answers: Vec<Again> =
            fields.iter().zip(&all).map(|(field, labels)| self.field(new, old, field, labels)).collect();
        // What was allowed to meet must be allowed to meet again; what would go now and did not has met nothing yet, so
        // that the old policy tells nothing of it.
        let met = |at: usize, answers: &[Again]| {
            let (field, labels) = (fields.get(at)?, all.get(at)?);
            // Two sealed fields meet where one request holds both.
            let meets = self.request || field.access != Access::Sealed;
            let allowed = matches!(answers.get(at), Some(Again::Decided(verdict)) if verdict.allows());
            let known = old.filter(|_| field.verdict.allows());
            (meets && allowed).then_some((self.facts_of(field), labels.as_slice(), known))
        };
        let (order, first) = (order(fields), answers.clone());
        for (position, at) in order.iter().enumerate() {
            let Some((facts, labels, old)) = met(*at, &answers) else { continue };
            let (before, _) = order.split_at(position);
            // A call goes without what gives way; a request stays, for each that may not meet another.
            let (others, answers_of) =
                if self.request { (order.as_slice(), &first) } else { (before, &answers) };
            let mut others =
                others.iter().filter(|other| *other != at).filter_map(|other| met(*other, answers_of));
            let changed = match self.flow {
                Flow::Share | Flow::Decide => others.find_map(|(others, earlier, known)| {
                    self.kept_apart(new, old.and(known), both(facts, others), labels, earlier)
                }),
                // A returned value derives from all that was read in its call.
                Flow::Return => self.kept_apart(new, old, facts, labels, labels),
                _ => None,
            };
            if let (Some(changed), Some(answer)) = (changed, answers.get_mut(*at)) {
                *answer = changed;
            }
        }
        // What withheld a field does so still, where nothing that it may have met went otherwise.
        let as_before = |(again, field): (&Again, &FieldVerdict)| match again {
            Again::Decided(verdict) => verdict.allows() == field.verdict.allows(),
            Again::Open(why, _) => *why == Why::Met,
        };
        if answers.iter().zip(fields).all(as_before) {
            for (answer, field) in answers.iter_mut().zip(fields) {
                if matches!(answer, Again::Open(Why::Met, _)) && old.is_some_and(|old| alike(old, new, field))
                {
                    *answer = Again::Decided(field.verdict);
                }
            }
        }
        Ok(answers)
    }

    /// Of fields that `new` would still let go: which may not, if the consumer's partner already had one of these
    /// labels. What it had, the row does not say.
    ///
    /// # Errors
    /// [`NotRecorded`].
    pub fn across_calls(
        &self,
        new: &Compiled<'_>,
        old: Option<&Compiled<'_>>,
        fields: &[FieldVerdict],
        answers: &mut [Again],
        had: &Had,
    ) -> Result<(), NotRecorded> {
        let (labels, back) = (self.others(&had.labels), self.others(&had.back));
        for (field, answer) in fields.iter().zip(answers) {
            let goes = match answer {
                Again::Decided(verdict) if verdict.allows() && field.verdict.allows() => *verdict,
                _ => continue,
            };
            if !matches!(self.flow, Flow::Share | Flow::Decide) || field.access == Access::Reply {
                continue;
            }
            let mut own = stood(field)?;
            own.retain(|stood| !self.is_own(stood.label));
            let apart = |old: Option<&Compiled<'_>>, had: &[Stood<'_>]| {
                self.kept_apart(new, old, self.facts_of(field), &own, had)
            };
            // What the old policy says of a label that had given way tells nothing of what met.
            let met = apart(None, &back).or_else(|| {
                let same = old.is_some_and(|old| alike(old, new, field));
                (!same).then(|| apart(old, &labels)).flatten()
            });
            match met {
                Some(Again::Decided(verdict) | Again::Open(_, verdict)) => {
                    *answer = Again::Open(Why::Earlier, verdict);
                }
                None if had.unknown && !own.is_empty() => *answer = Again::Open(Why::Earlier, goes),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether a label is of what the partner itself sent.
    fn is_own(&self, label: &Label) -> bool {
        matches!(&label.origin, Origin::Partner(name) if **name == *self.partner)
    }

    /// Those of them that are not.
    fn others<'l>(&self, had: &'l [(Label, Standing)]) -> Vec<Stood<'l>> {
        let others = had.iter().filter(|(label, _)| !self.is_own(label));
        others.map(|(label, standing)| Stood { label, standing: *standing }).collect()
    }

    /// Whether `new` says of what these fields may meet what was said of it then.
    pub fn meets_alike(
        &self,
        new: &Compiled<'_>,
        old: Option<&Compiled<'_>>,
        fields: &[FieldVerdict],
    ) -> bool {
        old.is_some_and(|old| fields.iter().all(|field| alike(old, new, field)))
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

    /// What `policy` says of two labels that may not meet.
    pub fn explain_meeting(&self, policy: &Policy, pair: &KeptApart) -> Explanation {
        let KeptApart { label, with, standing, granted, purpose, own_facts } = pair;
        let facts = own_facts
            .unwrap_or(self.facts)
            .with_origins(&[label, with], self.partner)
            .with(Fact::CombineGranted, *granted)
            .with(Fact::ContractOnward, standing.onward);
        let (one, other) = (label.category, with.category);
        policy.compile_combination(standing.recipient, *purpose, one, other).explain(facts)
    }

    fn facts_of(&self, field: &FieldVerdict) -> Facts {
        field.basis.own_facts.unwrap_or(self.facts)
    }

    fn field(
        &self,
        new: &Compiled<'_>,
        old: Option<&Compiled<'_>>,
        field: &FieldVerdict,
        labels: &[Stood<'_>],
    ) -> Again {
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
        let said = |old: &Compiled<'_>| {
            let said = self.own(old, facts, labels);
            said.iter().all(|verdict| verdict.allows()) == recorded.allows()
                && said.iter().any(|verdict| verdict.reason == recorded.reason)
        };
        if !same_labels(new.policy(), old.map(Compiled::policy), field) {
            return Again::Open(Why::Form, answer);
        }
        // Who returned it, and for what, is in another row.
        let returned = matches!(self.flow, Flow::Share | Flow::Decide) && is_under(RETURNED, field);
        if returned && recorded.allows() && answer.allows() && !old.is_some_and(|old| alike(old, new, field))
        {
            return Again::Open(Why::Returned, answer);
        }
        if answer.allows() == recorded.allows() {
            return Again::Decided(answer);
        }
        match (field.basis.met, old.is_none_or(said)) {
            (true, _) => Again::Open(Why::Met, answer),
            (false, true) => Again::Decided(answer),
            (false, false) => Again::Open(Why::Version, answer),
        }
    }

    /// What `policy` says of each label; where they are the labels of a meeting, of each pair.
    fn own(&self, policy: &Compiled<'_>, facts: Facts, labels: &[Stood<'_>]) -> Vec<Verdict> {
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
            policy
                .decision(self.flow, standing.recipient, self.purpose, (label.category, label.category))
                .decide(facts)
        };
        labels.iter().map(one).collect()
    }

    /// What `policy` says of two labels that meet.
    fn pair(&self, policy: &Compiled<'_>, facts: Facts, a: Stood<'_>, b: Stood<'_>) -> Verdict {
        let facts = facts
            .with_origins(&[a.label, b.label], self.partner)
            .with(Fact::ContractOnward, a.standing.onward && b.standing.onward);
        let recipient = match (a.standing.recipient, b.standing.recipient) {
            (Recipient::ThirdParty, _) | (_, Recipient::ThirdParty) => Recipient::ThirdParty,
            (recipient, _) => recipient,
        };
        policy
            .decision(Flow::Combine, recipient, self.purpose, (a.label.category, b.label.category))
            .decide(facts)
    }

    /// What becomes of a meeting that was allowed, where `new` has more against it than `old`. Whether the
    /// brand had granted it is known where `old` allows it in one of the two cases only, and where both
    /// labels have one origin; else it is open where `new` does not say the same of both.
    fn kept_apart(
        &self,
        new: &Compiled<'_>,
        old: Option<&Compiled<'_>>,
        facts: Facts,
        a: &[Stood<'_>],
        b: &[Stood<'_>],
    ) -> Option<Again> {
        let mut open = None;
        for (one, other) in a.iter().flat_map(|one| b.iter().map(move |other| (*one, *other))) {
            let alike = one.label.origin == other.label.origin
                || [one, other].iter().any(|stood| stood.label.origin == Origin::Public);
            let cases: &[bool] = if alike { &[true] } else { &[true, false] };
            let said: Vec<Verdict> = cases
                .iter()
                .map(|granted| facts.with(Fact::CombineGranted, *granted))
                .filter(|facts| old.is_none_or(|old| self.pair(old, *facts, one, other).allows()))
                .map(|facts| self.pair(new, facts, one, other))
                .collect();
            let Some(withheld) = said.iter().find(|verdict| !verdict.allows()) else { continue };
            if !said.iter().any(|verdict| verdict.allows()) {
                return Some(Again::Decided(*withheld));
            }
            open.get_or_insert(Again::Open(Why::Granted, *withheld));
        }
        open
    }
}

/// Fields in the order in which a later one gives way to an earlier one, where they may not meet: what is first-party, what
/// came from the partner, what other plugins returned, what was remembered.
fn order(fields: &[FieldVerdict]) -> Vec<usize> {
    let place = |field: &FieldVerdict| match field.access {
        Access::Memory => 3,
        _ if is_under(RETURNED, field) => 2,
        _ if is_under(RECEIVED, field) => 1,
        _ => 0,
    };
    let mut order: Vec<usize> = (0..fields.len()).collect();
    order.sort_by_key(|at| fields.get(*at).map(place));
    order
}

fn is_under(name: &str, field: &FieldVerdict) -> bool {
    field.field.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether both policies say the same of what these labels may meet.
fn alike(old: &Compiled<'_>, new: &Compiled<'_>, field: &FieldVerdict) -> bool {
    field.labels.iter().all(|label| old.keeps_apart_as(new, label.category))
}

/// Whether what leaves of a field in its form, or was made of such, has the labels that were recorded under `new` too. Of
/// which labels it was made is not recorded.
fn same_labels(new: &Policy, old: Option<&Policy>, field: &FieldVerdict) -> bool {
    let Basis { form, declassified, declassified_within, .. } = &field.basis;
    if !declassified_within.iter().all(|name| is_as_then(new, old, name)) {
        return false;
    }
    if let Some(name) = declassified {
        let recorded = |rule: &Declassification| {
            form.is_none_or(|form| form == rule.form)
                && field.labels.iter().any(|label| label.category == rule.to)
        };
        return is_as_then(new, old, name) && said(new, name).is_some_and(recorded);
    }
    // Older rows say that it went in a form, and not in which.
    let may_be_of = |rule: &&Declassification| {
        form.map_or(field.verdict.decision == Decision::Transform, |form| form == rule.form)
            && field
                .labels
                .iter()
                .any(|label| label.category != rule.to && label.category.is_under(rule.from))
            && !old.is_some_and(|old| old.declassifications().contains(rule))
    };
    !new.declassifications().iter().any(|rule| may_be_of(&rule))
}

/// Whether a declassification says what it said then; where the policy of that time is not known, whether it is there.
fn is_as_then(new: &Policy, old: Option<&Policy>, name: &str) -> bool {
    match (said(new, name), old) {
        (Some(rule), Some(old)) => said(old, name).is_some_and(|then| is_alike(rule, then)),
        // It said nothing of what there was then, and says nothing now.
        (None, Some(old)) => said(old, name).is_none(),
        (now, None) => now.is_some(),
    }
}

fn named<'p>(policy: &'p Policy, name: &str) -> Option<&'p Declassification> {
    policy.declassifications().iter().find(|rule| *rule.name == *name)
}

/// The declassification of this name, unless an earlier one of the same form speaks in its place.
fn said<'p>(policy: &'p Policy, name: &str) -> Option<&'p Declassification> {
    named(policy, name).filter(|rule| policy.declassification(rule.form, rule.from) == Some(rule))
}

/// Whether two rules give the same label to the same.
fn is_alike(one: &Declassification, other: &Declassification) -> bool {
    (one.form, one.from, one.to) == (other.form, other.from, other.to)
}

/// What held where both of two fields met: the strictest of both, whose facts speak against it.
fn both(a: Facts, b: Facts) -> Facts {
    Facts::from_bits(a.to_bits() | b.to_bits())
}
