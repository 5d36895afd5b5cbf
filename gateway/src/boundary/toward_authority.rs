//! Toward an authority (clauses share.legal.i to share.legal.v): which fields of an event an approved export
//! may hold. Never through a plugin.

use std::sync::Arc;

use gateway_policy::{
    Access, Basis, Category, Fact, Facts, FieldVerdict, Flow, Label, Origin, Purpose, Reason, Recipient,
    Standing, Verdict,
};
use serde_json::Value;

use super::aggregate::nobody;
use super::book::{Moment, PolicyBook, origin_facts};
use super::permitted::Permitted;
use super::subject::{Integration, Subject, base_facts};
use crate::catalogue::{Field, project};

/// What was decided about one event.
pub struct TowardAuthority {
    /// A verdict for each field of the scope that is present in the event.
    pub verdicts: Vec<FieldVerdict>,
    /// What of the event's data may go; none: nothing.
    pub data: Option<Permitted<Value>>,
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
    let integration = Integration {
        plugin: "",
        purpose,
        partner: &partner,
        switched_on: false,
        promotional: false,
        by_sms: false,
    };
    let base = base_facts(subject, integration).with(Fact::DisclosureApproved, approved);
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
            // A row speaks of several events, each with what held for it.
            basis: Basis {
                own_facts: Some(base),
                ..Basis::of([Standing { recipient: Recipient::Authority, onward: false }])
            },
        });
    }
    let data = (!allowed.is_empty()).then(|| Permitted::grant(project(&allowed, data)));
    TowardAuthority { verdicts, data }
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
    one(moment.current).strictest(one(moment.accepted))
}
