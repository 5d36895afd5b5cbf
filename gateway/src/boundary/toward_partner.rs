//! Toward a partner: each try is a new decision. If one label of a request is now withheld, the whole
//! request stays; it is never trimmed.

use gateway_policy::{Access, Basis, Decision, Facts, FieldVerdict, Partner, Reason, Recipient, Verdict};

use super::book::{Moment, PolicyBook, Question};
use super::connection::Connection;
use super::from_plugin::{NO_FIELD, PlannedDelivery};
use super::permitted::Permitted;
use super::placing::{self, FieldValue, Placement, PlacingError};
use super::subject::{Integration, Subject, base_facts};
use super::types::OutboundRequest;
use crate::manifest::Channel;

/// What was decided for one try.
pub struct TowardPartner {
    /// A verdict for each field whose labels the request carries.
    pub verdicts: Vec<FieldVerdict>,
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// [`Recipient::ThirdParty`] where the partner is that for any label carried.
    pub recipient: Recipient,
    /// The request, or why it stays.
    pub request: Result<Permitted<OutboundRequest>, Stays>,
}

/// Why a request stays.
#[derive(Debug, thiserror::Error)]
pub enum Stays {
    /// The policy withholds a label that it carries.
    #[error("a field that the request carries is now withheld")]
    Withheld,
    /// It cannot be put together any more: settings or the partner's domains changed.
    #[error(transparent)]
    Placing(#[from] PlacingError),
}

/// Decides about `planned` as things stand now.
///
/// `connection` is none where the brand has switched the plugin off: then clause use.brand-directed
/// withholds everything.
pub fn toward_partner(
    book: &PolicyBook,
    partner: &Partner,
    connection: Option<&Connection>,
    planned: &PlannedDelivery,
    subject: Subject<'_>,
    moment: Moment,
    webhook_id: String,
) -> TowardPartner {
    let question = Question { flow: planned.flow, purpose: planned.purpose, partner, to_brand: false };
    let facts = base_facts(
        subject,
        Integration {
            plugin: &planned.plugin,
            purpose: planned.purpose,
            partner,
            switched_on: connection.is_some(),
            promotional: false,
            by_sms: planned.endpoint.channel == Some(Channel::Sms),
        },
    );
    let mut recipient = Recipient::ServiceProvider;
    // What carries no label has no origin, and nothing could be decided about it.
    let mut all_allowed = !planned.carried.is_empty();
    let mut verdicts = Vec::with_capacity(planned.carried.len());
    for carried in &planned.carried {
        let mut verdict: Option<Verdict> = None;
        for label in carried.labels.iter() {
            let (stands, one) = book.decide(&question, label, facts, moment);
            if stands == Recipient::ThirdParty {
                recipient = Recipient::ThirdParty;
            }
            verdict = Some(verdict.map_or(one, |so_far| so_far.strictest(one)));
        }
        // No label at all would be a value without an origin (clause collect.sources).
        let mut verdict = verdict.unwrap_or(Verdict::withhold(Reason::Undeclared));
        let granted = carried.field.starts_with(NO_FIELD)
            || connection.is_none_or(|connection| match carried.access {
                // No field of the event: what it derives from must be granted still.
                Access::Memory | Access::Reply => connection.grants_labels(carried.labels.iter()),
                _ => connection.grants_named(planned.flow, &planned.event_type, &carried.field, carried.form),
            });
        if !granted {
            verdict = Verdict::withhold(Reason::NotGranted);
        }
        if carried.form.is_some() && verdict.allows() {
            verdict.decision = Decision::Transform;
        }
        all_allowed &= verdict.allows();
        verdicts.push(FieldVerdict {
            field: carried.field.clone(),
            access: carried.access,
            labels: carried.labels.clone(),
            verdict,
            basis: Basis {
                declassified: carried.declassified.clone(),
                ..question.basis(carried.labels.iter(), moment.now_ms)
            },
        });
    }
    let request = match connection {
        Some(connection) if all_allowed => assemble(connection, planned, webhook_id),
        _ => Err(Stays::Withheld),
    };
    TowardPartner { verdicts, facts, recipient, request }
}

fn assemble(
    connection: &Connection,
    planned: &PlannedDelivery,
    webhook_id: String,
) -> Result<Permitted<OutboundRequest>, Stays> {
    let values = |name: &str| -> Option<FieldValue<'_>> {
        // What was placed was declared when it was planned; what is not here was absent or withheld.
        let found = planned.values.get(name).map(Vec::as_slice).unwrap_or_default();
        Some(if name.split('/').any(|segment| segment == "*") {
            FieldValue::Many(found.iter().collect())
        } else {
            FieldValue::One(found.first())
        })
    };
    let assembled = placing::assemble(
        &planned.request,
        &Placement {
            endpoint: &planned.endpoint,
            settings: &connection.settings,
            domains: &connection.partner.domains,
            values: &values,
        },
    )?;
    Ok(Permitted::grant(OutboundRequest {
        method: assembled.method,
        url: assembled.url,
        media_type: assembled.media_type,
        headers: assembled.headers,
        body: assembled.body,
        webhook_id,
    }))
}
