//! Toward a partner: each try is a new decision. If one label of a request is now withheld, the whole
//! request stays; it is never trimmed.

use std::sync::Arc;

use gateway_policy::{
    Access, Basis, Clause, Conditions, Decision, Facts, FieldVerdict, Flow, Label, LabelSet, Partner, Reason,
    Recipient, Verdict,
};

use super::across::Across;
use super::book::{Moment, PolicyBook, Question};
use super::combine::{Meeting, Met, Pairs};
use super::connection::Connection;
use super::from_plugin::PlannedDelivery;
use super::onward::Returner;
use super::permitted::Permitted;
use super::placing::{self, FieldValue, Placement, PlacingError};
use super::prepared::stricter;
use super::received::Exposed;
use super::subject::{Integration, Subject, base_facts};
use super::types::OutboundRequest;
use crate::manifest::{self, Channel};

/// The clause by which every version that counts must allow a flow.
const VERSIONS: &str = "policy.version";

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

impl Stays {
    /// The ledger's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Withheld => "withheld",
            Self::Placing(error) => error.code(),
        }
    }
}

/// Decides about `planned` as things stand now; `exposed` is what the partner received until now.
///
/// `connection` is none where the brand has switched the plugin off: then clause use.brand-directed
/// withholds everything. `returner` says how one of the brand's other plugins stands, by its name and the release that
/// returned a field; none: it is off. What it returned goes on for as long as it is on and the brand may use it.
#[allow(clippy::too_many_arguments)] // one try's whole context
pub fn toward_partner<'r>(
    book: &PolicyBook,
    partner: &Partner,
    connection: Option<&Connection>,
    returner: impl Fn(&str, Option<&[u8; 32]>) -> Option<Returner<'r>>,
    planned: &PlannedDelivery,
    exposed: &Exposed,
    subject: Subject<'_>,
    moment: Moment,
    webhook_id: String,
) -> TowardPartner {
    // The form of a field was chosen by the versions that count for its event alone.
    let of_event = moment;
    let moment = book.also(moment, subject.conditions);
    let question = Question { flow: planned.flow, purpose: planned.purpose, partner, to_brand: false };
    let is_promotional = |connection: &Connection| {
        planned.slot.as_ref().is_some_and(|slot| connection.promotional.contains(&**slot))
    };
    let integration = Integration {
        plugin: &planned.plugin,
        purpose: planned.purpose,
        partner,
        switched_on: connection.is_some(),
        promotional: connection.is_some_and(is_promotional),
        by_sms: planned.endpoint.channel == Some(Channel::Sms),
    };
    let facts = base_facts(subject, integration);
    let granted = connection.map_or(&[][..], |connection| &connection.combinations);
    let pairs = Pairs { book, partner, purpose: planned.purpose, granted, facts, moment };
    let across = Across::new(&pairs, subject, integration, exposed);
    let together: LabelSet =
        planned.carried.iter().flat_map(|carried| carried.labels.iter().cloned()).collect();
    let besides = connection.map(|connection| connection.besides(book, subject.conditions, moment));
    let besides = besides.unwrap_or_default();
    let all_labels: Vec<Arc<[Label]>> = planned
        .carried
        .iter()
        .map(|carried| match !besides.is_empty() && carried.derives_from_more() {
            true => {
                let with: LabelSet = carried.labels.iter().chain(besides.iter()).cloned().collect();
                with.iter().cloned().collect()
            }
            false => Arc::clone(&carried.labels),
        })
        .collect();
    // What it brings together must be allowed to meet there still.
    let values: Vec<&[Label]> = all_labels.iter().map(|labels| &**labels).collect();
    let there = Meeting::Request(&planned.endpoint.name);
    let apart = pairs.matter(values.iter().copied().flatten())
        && pairs.strictest_between(&values, there).is_some_and(|met| !met.allows());
    let mut recipient = Recipient::ServiceProvider;
    // What carries no label has no origin, and nothing could be decided about it.
    let mut all_allowed = !planned.carried.is_empty();
    let mut verdicts = Vec::with_capacity(planned.carried.len());
    for (index, (carried, labels)) in planned.carried.iter().zip(&all_labels).enumerate() {
        let labels = Arc::clone(labels);
        let more = carried.derives_from_more().then_some(subject.conditions);
        let decided = book.decide_all(&question, labels.iter(), facts, moment);
        let (stands, by_labels) =
            decided.unwrap_or((Recipient::ThirdParty, Verdict::withhold(Reason::Undeclared)));
        recipient = stricter(recipient, stands);
        let others = values.iter().enumerate().filter(|(other, _)| *other != index);
        let others = others.flat_map(|(_, labels)| labels.iter());
        let within = apart.then(|| pairs.strictest(labels.iter(), others, there)).flatten();
        let meetings = within.into_iter().chain(across.meet(labels.iter(), &together));
        let (mut verdict, mut kept_apart) = Met::under(by_labels, meetings, facts);
        let mut is_gone = false;
        if let Some((plugin, leaf)) = manifest::returned_by(&carried.field) {
            match returner(plugin, carried.returned.as_ref()) {
                Some(of) => {
                    verdict = verdict.strictest(of.verdict(book, leaf, labels.iter(), subject, moment));
                }
                None => is_gone = true,
            }
        }
        let granted = connection.is_none_or(|connection| match carried.access {
            // A brand grants no message: it is what the partner sent, and carries what the partner has.
            Access::Reply if planned.flow == Flow::Receive => true,
            // No field of the event: what it derives from must be granted still.
            Access::Memory | Access::Reply => connection.grants_labels(carried.labels.iter(), moment),
            _ => connection.grants_named(planned.flow, &planned.event_type, &carried.field, carried.form),
        });
        if !granted || is_gone {
            (verdict, kept_apart) = (Verdict::withhold(Reason::NotGranted), None);
        }
        // What it would have to be decided on is not what was planned.
        let of_hook = (planned.flow, planned.event_type.as_str());
        if !connection.is_none_or(|connection| connection.keeps_label(book, of_hook, carried, of_event)) {
            let reason = Clause::parse(VERSIONS).map_or(Reason::NoPermit, Reason::Clause);
            (verdict, kept_apart) = (Verdict::withhold(reason), None);
        }
        if carried.form.is_some() && verdict.allows() {
            verdict.decision = Decision::Transform;
        }
        all_allowed &= verdict.allows();
        verdicts.push(FieldVerdict {
            field: carried.field.clone(),
            access: carried.access,
            verdict,
            basis: Basis {
                met: by_labels.allows() && !verdict.allows(),
                kept_apart,
                form: carried.form,
                declassified: carried.declassified.clone(),
                declassified_within: more.map(Conditions::declassifications).unwrap_or_default(),
                ..question.basis(labels.iter(), moment.now_ms)
            },
            labels,
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
