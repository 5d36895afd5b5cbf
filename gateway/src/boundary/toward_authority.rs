//! Toward an authority (clauses share.legal.i to share.legal.v): which fields of an event an approved export
//! may hold. Never through a plugin.

use std::borrow::Cow;
use std::sync::Arc;

use gateway_policy::{
    Access, Basis, Category, Conditions, Fact, Facts, FieldVerdict, Flow, Label, LabelSet, Origin, Partner,
    Purpose, Reason, Recipient, Standing, Verdict,
};
use serde_json::Value;

use super::aggregate::nobody;
use super::book::{Moment, PolicyBook, origin_facts};
use super::from_plugin::Returned;
use super::memory::{Memory, NAME};
use super::permitted::Permitted;
use super::received::Received;
use super::subject::{Integration, Subject, base_facts};
use crate::catalogue::{Field, FieldPath, project};

/// What was decided about one event.
pub struct TowardAuthority {
    /// A verdict for each field of the scope that is present in the event.
    pub verdicts: Vec<FieldVerdict>,
    /// What of the event's data may go; none: nothing.
    pub data: Option<Permitted<Value>>,
}

impl TowardAuthority {
    /// `data` holds nothing but what has a verdict that allows it.
    fn new(verdicts: Vec<FieldVerdict>, data: Option<Value>) -> Self {
        Self { verdicts, data: data.map(Permitted::grant) }
    }
}

/// Decides for each of these fields that is present in `data`; `approved`: a second person approved the
/// export, not long ago.
pub fn toward_authority(
    book: &PolicyBook,
    purpose: Purpose,
    fields: &[&Field],
    data: &Value,
    subject: Subject<'_>,
    approved: bool,
    moment: Moment,
) -> TowardAuthority {
    let partner = nobody();
    let base = base_facts(subject, of_nobody(&partner, purpose)).with(Fact::DisclosureApproved, approved);
    let mut verdicts = Vec::new();
    let mut allowed = Vec::new();
    for field in fields.iter().filter(|field| field.path.is_present(data)) {
        let origin = if field.public { Origin::Public } else { Origin::FirstParty };
        let Ok(category) = Category::parse(&field.category) else { continue };
        let facts = origin_facts(base, &origin, &partner, false);
        let verdict = decide(book, purpose, category, facts, moment);
        if verdict.allows() {
            allowed.push(&field.path);
        }
        verdicts.push(FieldVerdict {
            field: field.path.as_str().into(),
            access: Access::Read,
            labels: Arc::from([Label { category, origin }]),
            verdict,
            basis: basis(base, 1),
        });
    }
    let data = (!allowed.is_empty()).then(|| project(&allowed, data));
    TowardAuthority::new(verdicts, data)
}

/// What is kept of a consumer beside events, each value with its labels.
pub struct Kept<'a> {
    access: Access,
    value: Cow<'a, Value>,
    fields: Vec<(&'a str, &'a LabelSet)>,
    conditions: &'a Conditions,
}

impl<'a> Kept<'a> {
    /// What a plugin received from its partner.
    pub fn received(received: &'a Received) -> Self {
        Self {
            access: Access::Return,
            value: Cow::Borrowed(&received.value),
            fields: received.labels.iter().map(|(leaf, labels)| (leaf.as_str(), labels)).collect(),
            conditions: &received.conditions,
        }
    }

    /// What a plugin returned.
    pub fn returned(returned: &'a Returned) -> Self {
        Self {
            access: Access::Return,
            value: Cow::Borrowed(&returned.value),
            fields: returned.fields.iter().map(|field| (&*field.field, &field.labels)).collect(),
            conditions: &returned.conditions,
        }
    }

    /// What a plugin remembers: one value, since nothing tells which entry holds what.
    pub fn memory(memory: &'a Memory) -> Self {
        Self {
            access: Access::Memory,
            value: Cow::Owned(memory.value()),
            fields: vec![(NAME, memory.labels())],
            conditions: memory.conditions(),
        }
    }

    /// What held when the data that it derives from was collected.
    pub fn conditions(&self) -> &'a Conditions {
        self.conditions
    }
}

/// Decides for each value that the scope touches; `approved` as in [`toward_authority`]. A value may go where
/// everything that it derives from is within the scope: one that derives from more would tell of that too, and is
/// withheld as not granted. What the scope does not touch has no verdict.
pub fn kept_toward_authority(
    book: &PolicyBook,
    purpose: Purpose,
    scope: &[Category],
    kept: &Kept<'_>,
    subject: Subject<'_>,
    approved: bool,
    moment: Moment,
) -> TowardAuthority {
    let partner = nobody();
    let base = base_facts(subject, of_nobody(&partner, purpose)).with(Fact::DisclosureApproved, approved);
    let within = |label: &Label| scope.iter().any(|above| label.category.is_under(*above));
    let mut verdicts = Vec::new();
    let mut allowed = Vec::new();
    let regained: LabelSet = book.regained(subject.conditions, moment).map(|one| one.from.clone()).collect();
    for (name, stored) in &kept.fields {
        let mut labels = regained.clone();
        labels.join(stored);
        if !labels.iter().any(within) {
            continue;
        }
        let one = |label: &Label| {
            if !within(label) {
                return Verdict::withhold(Reason::NotGranted);
            }
            decide(book, purpose, label.category, origin_facts(base, &label.origin, &partner, false), moment)
        };
        let verdict = labels.iter().map(one).reduce(Verdict::strictest);
        let verdict = verdict.unwrap_or(Verdict::withhold(Reason::Undeclared));
        if verdict.allows() {
            allowed.push(*name);
        }
        verdicts.push(FieldVerdict {
            field: (*name).into(),
            access: kept.access,
            labels: labels.iter().cloned().collect(),
            verdict,
            basis: basis(base, labels.iter().count()).within(subject.conditions),
        });
    }
    let data = match (allowed.is_empty(), kept.access) {
        (true, _) => None,
        (false, Access::Memory) => Some(kept.value.clone().into_owned()),
        (false, _) => {
            let paths: Vec<FieldPath> =
                allowed.iter().filter_map(|name| FieldPath::parse(name).ok()).collect();
            Some(project(&paths.iter().collect::<Vec<_>>(), &kept.value))
        }
    };
    TowardAuthority::new(verdicts, data)
}

/// A row speaks of several values, each with what held for it.
fn basis(facts: Facts, labels: usize) -> Basis {
    let authority = Standing { recipient: Recipient::Authority, onward: false };
    Basis { own_facts: Some(facts), ..Basis::of(std::iter::repeat_n(authority, labels)) }
}

/// No plugin is part of an export.
fn of_nobody(partner: &Partner, purpose: Purpose) -> Integration<'_> {
    Integration { plugin: "", purpose, partner, switched_on: false, promotional: false, by_sms: false }
}

/// Allowed by the version at acceptance and by the one in force now (clause policy.version).
fn decide(book: &PolicyBook, purpose: Purpose, category: Category, facts: Facts, moment: Moment) -> Verdict {
    let one = |version: Option<usize>| {
        version
            .and_then(|version| {
                book.compiled(version, Flow::Disclose, Recipient::Authority, purpose, category)
            })
            .map_or(Verdict::withhold(Reason::NoPermit), |decision| decision.decide(facts))
    };
    moment.strictest(one)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Milliseconds of 1 March 2017.
    const MARCH_2017: i64 = 1_488_326_400_000;

    #[test]
    fn what_was_made_of_a_label_that_is_back_is_within_the_scope_only_where_that_one_is() {
        let memory: Memory = serde_json::from_value(json!({
            "entries": { "country": "1" },
            "labels": ["first-party:user.contact.address.country"],
            "conditions": { "region": "US", "declassified": [{
                "rule": "number-to-country", "form": "country-code", "under": "2017-03-01",
                "from": "first-party:user.contact.phone_number", "to": "user.contact.address.country",
            }] },
        }))
        .unwrap();
        let renamed = PolicyBook::SHIPPED.replace("\"number-to-country\"", "\"code-to-country\"");
        let purpose = Purpose::parse("essential").unwrap();
        for (text, scope, goes) in [
            (PolicyBook::SHIPPED, "user.contact.address", true),
            (&renamed, "user.contact.address", false),
            (&renamed, "user.contact", true),
        ] {
            let book = PolicyBook::new(&[text.to_owned()]).unwrap();
            let kept = Kept::memory(&memory);
            let subject = Subject { conditions: kept.conditions(), choices: None, engaged: true };
            let moment = book.moment(MARCH_2017, MARCH_2017);
            let scope = [Category::parse(scope).unwrap()];
            let toward = kept_toward_authority(&book, purpose, &scope, &kept, subject, true, moment);
            assert_eq!(toward.data.is_some(), goes, "{:?}", toward.verdicts);
        }
    }
}
