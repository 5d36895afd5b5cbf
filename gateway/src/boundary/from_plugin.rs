//! From a plugin: output is as untrusted as input. One undeclared field refuses the whole outcome,
//! and nothing of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_policy::{
    Access, Conditions, Declassified, Facts, FieldVerdict, Flow, Label, LabelSet, OnBehalf, Origin, Purpose,
    Reason, Transform, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::across::Across;
use super::book::{Moment, PolicyBook, Question};
use super::combine::{Meeting, Met, Pairs};
use super::connection::{Connection, Hook, HookField};
use super::forms::Form;
use super::numbers::{as_number, is_by_sms, is_number};
use super::permitted::Permitted;
use super::placing::{self, FieldValue, Placement};
use super::received::{Exposed, is_of};
use super::subject::{Subject, base_facts};
use super::toward_plugin::Crossing;
use super::types::{PluginOutcome, PluginRequest};
use super::violation::Violation;
use crate::catalogue::FieldPath;
use crate::manifest::{self, Endpoint};

/// Bytes of JSON that a call may return: far above what a brand can use, far below what hurts.
pub(super) const MAX_RETURNS_BYTES: usize = 64 * 1024;
/// Requests that one call may ask for.
pub(super) const MAX_DELIVERIES: usize = 8;

/// Labels that a request carries, and the declared field that they come from, or the name of what else was readable
/// in the call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Carried {
    /// As declared.
    pub field: Arc<str>,
    /// How it crossed.
    pub access: Access,
    /// Its labels.
    pub labels: Arc<[Label]>,
    /// The form in which it was given or placed; none: as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Transform>,
    /// The declassification that gave it these labels; none: they are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declassified: Option<Arc<str>>,
    /// Of a field that another plugin returned: the SHA-256 of the release that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<[u8; 32]>,
}

impl Carried {
    /// Whether it is more than a field of the event.
    pub(super) fn derives_from_more(&self) -> bool {
        matches!(self.access, Access::Memory | Access::Reply)
            || self.field.starts_with(manifest::RECEIVED)
            || manifest::returned_by(&self.field).is_some()
    }
}

/// A request for the outbox, with all that later decisions about it need. It holds values: it is
/// stored under the consumer's key only, and every try of it is decided anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedDelivery {
    /// Of the call that asked for it.
    pub flow: Flow,
    /// The event's type.
    pub event_type: String,
    /// The slot, of a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Arc<str>>,
    /// The plugin's purpose.
    pub purpose: Purpose,
    /// Of the release that ran.
    pub release: [u8; 32],
    /// The plugin's name.
    pub plugin: String,
    /// Who runs the plugin.
    pub partner: String,
    /// When the event was accepted, in milliseconds since the Unix epoch.
    pub accepted_ms: i64,
    /// As its manifest declares it.
    pub endpoint: Endpoint,
    /// As the plugin asked for it.
    pub request: PluginRequest,
    /// The values of the placed fields, by declared path.
    pub values: BTreeMap<String, Vec<Value>>,
    /// Labels of everything readable in the call and of everything placed.
    pub carried: Vec<Carried>,
    /// What held at collection.
    pub conditions: Conditions,
    /// Of a request by SMS: the telephone numbers that it carries, as they are written. Clause choice.sms holds for a
    /// number too, whoever was met with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,
}

impl PlannedDelivery {
    /// Sealed fields that it holds.
    pub(super) fn placed(&self) -> impl Iterator<Item = &Carried> {
        self.carried.iter().filter(|carried| carried.access == Access::Sealed)
    }
}

/// One field that goes back to the brand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnedField {
    /// As declared.
    pub field: Arc<str>,
    /// Its own label and those of all that was readable in the call.
    pub labels: LabelSet,
}

/// What goes back to the brand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Returned {
    /// The allowed fields, in the shape that the plugin gave them.
    pub value: Value,
    /// Each with its labels.
    pub fields: Vec<ReturnedField>,
    /// What held when the data it derives from was collected.
    pub conditions: Conditions,
    /// A service provider's plugin made it of first-party data alone; [`Conditions::on_behalf`] says what.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_behalf: bool,
}

/// An outcome that passed.
pub struct Checked {
    /// For the outbox.
    pub deliveries: Vec<PlannedDelivery>,
    /// For the brand; none where nothing was returned or nothing of it may go there.
    pub returned: Option<Permitted<Returned>>,
    /// A verdict for each returned field; empty where nothing was returned.
    pub verdicts: Vec<FieldVerdict>,
    /// What held for what the call gave back, apart from what depends on a label.
    pub facts: Facts,
}

/// Checks what a `share` call gave back; `exposed` is what the partner received until now, of what was readable in
/// the call too.
///
/// # Errors
/// [`Violation`]: the whole outcome is refused.
pub fn from_share(
    book: &PolicyBook,
    connection: &Connection,
    crossing: &Crossing,
    exposed: &Exposed,
    subject: Subject<'_>,
    moment: Moment,
    outcome: &PluginOutcome,
) -> Result<Checked, Violation> {
    let used = outcome.deliveries.len();
    if used > MAX_DELIVERIES {
        return Err(Violation::TooManyDeliveries { used });
    }
    let Some(hook) = connection.release.hooks.get(crossing.hook) else {
        return Err(Violation::NothingDeclared);
    };
    let pairs = pairs(book, connection, hook, crossing, subject, moment);
    let subject = Subject { conditions: &crossing.conditions, ..subject };
    let across = Across::new(&pairs, subject, connection.integration(hook), exposed);
    let mut deliveries: Vec<PlannedDelivery> = Vec::with_capacity(used);
    for request in &outcome.deliveries {
        let planned = plan(&pairs, connection, hook, crossing, request)?;
        keep_requests_apart(&pairs, &planned, &deliveries)?;
        // What was read has met what the partner has when it was decided about; a reply is made of that, and what
        // a memory holds is asked about where it enters a call.
        let of_memory = planned.carried.iter().filter(|carried| carried.access == Access::Memory);
        let remembered: LabelSet = of_memory.flat_map(|carried| carried.labels.iter().cloned()).collect();
        let mut meetings = planned.carried.iter().filter_map(|carried| {
            let together = match carried.access {
                Access::Sealed => &LabelSet::default(),
                Access::Memory => &remembered,
                _ => return None,
            };
            across.meet(carried.labels.iter(), together)
        });
        if let Some(pair) = meetings.find_map(|met| met.kept_apart()) {
            return Err(Violation::Meanwhile(Arc::new(pair)));
        }
        deliveries.push(planned);
    }
    let (returned, verdicts) = check_returns(&pairs, connection, hook, crossing, &outcome.returns)?;
    Ok(Checked { deliveries, returned, verdicts, facts: pairs.facts })
}

/// Checks what a `decide` call gave back.
///
/// # Errors
/// [`Violation`]: the answer is refused.
pub fn from_decide(
    book: &PolicyBook,
    connection: &Connection,
    crossing: &Crossing,
    subject: Subject<'_>,
    moment: Moment,
    answer: &str,
) -> Result<Checked, Violation> {
    let Some(hook) = connection.release.hooks.get(crossing.hook) else {
        return Err(Violation::NothingDeclared);
    };
    let pairs = pairs(book, connection, hook, crossing, subject, moment);
    let (returned, verdicts) = check_returns(&pairs, connection, hook, crossing, answer)?;
    Ok(Checked { deliveries: Vec::new(), returned, verdicts, facts: pairs.facts })
}

/// What the checks of a call's outputs decide by: the facts under the strictest of what held for its inputs.
pub(super) fn pairs<'a>(
    book: &'a PolicyBook,
    connection: &'a Connection,
    hook: &Hook,
    crossing: &Crossing,
    subject: Subject<'_>,
    moment: Moment,
) -> Pairs<'a> {
    let subject = Subject { conditions: &crossing.conditions, ..subject };
    Pairs {
        book,
        partner: &connection.partner,
        purpose: connection.release.purpose,
        granted: &connection.combinations,
        facts: base_facts(subject, connection.integration(hook)),
        moment: book.also(moment, &crossing.conditions),
    }
}

/// Labels of everything readable in the call, and of all that joined it: they join every output of that call.
pub(super) fn taint<'h>(hook: &'h Hook, crossing: &'h Crossing) -> impl Iterator<Item = Carried> + 'h {
    given(hook, crossing, Access::Read).chain(crossing.joined.iter().cloned())
}

/// [`taint`], or, of a plugin that read nothing, the labels of the sealed fields that it knew to be there.
pub(super) fn labels_of_call(hook: &Hook, crossing: &Crossing) -> Vec<Carried> {
    let mut carried: Vec<Carried> = taint(hook, crossing).collect();
    if carried.is_empty() {
        carried.extend(given(hook, crossing, Access::Sealed));
    }
    carried
}

impl Crossing {
    /// Adds labels that came into the call while it ran, with what held when they were collected.
    pub(super) fn join(&mut self, carried: Carried, conditions: &Conditions) {
        self.joined.push(carried);
        self.conditions.join(conditions);
    }

    /// The labels that gave way in those of these fields that the call was given with this access.
    pub(super) fn gave_way(
        &self,
        book: &PolicyBook,
        hook: &Hook,
        access: Access,
        these: impl Fn(&HookField) -> bool,
    ) -> Vec<Declassified> {
        let fields = hook.fields.iter().zip(&self.allowed).zip(&*self.forms);
        let given =
            fields.filter(|((field, allowed), _)| **allowed && field.access == access && these(field));
        given.flat_map(|((field, _), form)| form.gave_way(field, book, self.accepted_ms)).collect()
    }

    /// The labels that everything which comes out of the call carries: its log and failure texts too.
    pub fn labels(&self, connection: &Connection) -> LabelSet {
        let hook = connection.release.hooks.get(self.hook);
        let carried = hook.map(|hook| labels_of_call(hook, self)).unwrap_or_default();
        carried.iter().flat_map(|carried| carried.labels.iter().cloned()).collect()
    }
}

/// What the call was given with this access.
pub(super) fn given<'h>(
    hook: &'h Hook,
    crossing: &'h Crossing,
    access: Access,
) -> impl Iterator<Item = Carried> + 'h {
    hook.fields
        .iter()
        .zip(&crossing.allowed)
        .zip(&crossing.labels)
        .zip(&*crossing.forms)
        .filter(move |(((field, allowed), _), _)| **allowed && field.access == access)
        .map(move |(((field, _), labels), form)| carried(crossing, field, labels, form))
}

fn carried(crossing: &Crossing, field: &HookField, labels: &Arc<[Label]>, form: &Form) -> Carried {
    Carried {
        field: Arc::clone(&field.name),
        access: field.access,
        labels: Arc::clone(labels),
        form: form.transform,
        declassified: form.declassified.clone(),
        returned: crossing.returned.get(&field.name).copied(),
    }
}

/// What one request of a call places meets, at the partner, what another places. A partner knows what it sent itself.
fn keep_requests_apart(
    pairs: &Pairs<'_>,
    planned: &PlannedDelivery,
    before: &[PlannedDelivery],
) -> Result<(), Violation> {
    let foreign = |label: &&Label| !is_of(label, &pairs.partner.name);
    for earlier in before.iter().flat_map(PlannedDelivery::placed) {
        for other in planned.placed().filter(|other| other.field != earlier.field) {
            let (a, b) = (earlier.labels.iter().filter(foreign), other.labels.iter().filter(foreign));
            if let Some(pair) = pairs.strictest(a, b, Meeting::Instance).and_then(|met| met.kept_apart()) {
                return Err(Violation::Combination(Arc::new(pair)));
            }
        }
    }
    Ok(())
}

pub(super) fn plan(
    pairs: &Pairs<'_>,
    connection: &Connection,
    hook: &Hook,
    crossing: &Crossing,
    request: &PluginRequest,
) -> Result<PlannedDelivery, Violation> {
    let release = &connection.release;
    let endpoint = release
        .endpoint(&request.endpoint)
        .ok_or(Violation::UndeclaredEndpoint { declared: release.manifest.endpoint.len() })?;
    let consumer = Value::String(crossing.consumer.clone());
    // A declared field that is withheld or absent renders as `null` or nothing; an undeclared one is refused.
    let values = |name: &str| -> Option<FieldValue<'_>> {
        let index = hook.fields.iter().position(|field| *field.name == *name)?;
        let path = hook.fields.get(index)?.path.as_ref();
        let allowed = crossing.allowed.get(index).copied().unwrap_or(false);
        Some(match path {
            None => FieldValue::One(allowed.then_some(&consumer)),
            Some(path) => selected(path, &crossing.data, allowed),
        })
    };
    let assembled = placing::assemble(
        request,
        &Placement {
            endpoint,
            settings: &connection.settings,
            domains: &connection.partner.domains,
            values: &values,
        },
    )?;
    let mut carries: Vec<Carried> = taint(hook, crossing).collect();
    let mut kept = BTreeMap::new();
    for name in assembled.placed {
        let found = match values(&name) {
            Some(FieldValue::One(value)) => value.into_iter().cloned().collect(),
            Some(FieldValue::Many(values)) => values.into_iter().cloned().collect(),
            None => Vec::new(),
        };
        let known = hook.fields.iter().zip(&crossing.labels).zip(&*crossing.forms);
        let placed = known.into_iter().find(|((field, _), _)| *field.name == *name);
        if let Some(((field, labels), form)) =
            placed.filter(|((field, _), _)| field.access == Access::Sealed && !found.is_empty())
        {
            carries.push(carried(crossing, field, labels, form));
        }
        kept.insert(name, found);
    }
    // A plugin that read nothing still knew which sealed fields were there: the request carries their labels.
    if carries.is_empty() {
        carries.extend(given(hook, crossing, Access::Sealed));
    }
    let mut conditions = crossing.conditions.clone();
    let holds = |field: &HookField| kept.get(&*field.name).is_some_and(|found| !found.is_empty());
    conditions.declassified.extend(crossing.gave_way(pairs.book, hook, Access::Sealed, holds));
    let labels = || carries.iter().flat_map(|carried| carried.labels.iter());
    if pairs.matter(labels()) {
        let values: Vec<&[Label]> = carries.iter().map(|carried| &*carried.labels).collect();
        let met = pairs.strictest_between(&values, Meeting::Request(&endpoint.name));
        if let Some(pair) = met.and_then(|met| met.kept_apart()) {
            return Err(Violation::Combination(Arc::new(pair)));
        }
    }
    let mut numbers = Vec::new();
    if is_by_sms(release.purpose, endpoint.channel) {
        let known = hook.fields.iter().zip(&crossing.allowed).zip(&crossing.labels);
        for ((field, allowed), labels) in known {
            let carried = field.access == Access::Read || kept.contains_key(&*field.name);
            if let (true, Some(path)) = (*allowed && carried && is_number(&**labels), &field.path) {
                numbers.extend(path.select(&crossing.data).into_iter().filter_map(as_number));
            }
        }
        numbers.extend(crossing.numbers.iter().cloned());
    }
    Ok(PlannedDelivery {
        flow: hook.flow,
        slot: hook.slot().cloned(),
        event_type: hook.event().to_owned(),
        purpose: release.purpose,
        release: release.digest,
        plugin: connection.plugin.to_string(),
        partner: connection.partner.name.clone(),
        accepted_ms: crossing.accepted_ms,
        endpoint: endpoint.clone(),
        request: request.clone(),
        values: kept,
        carried: carries,
        conditions,
        numbers,
    })
}

fn selected<'v>(path: &FieldPath, data: &'v Value, allowed: bool) -> FieldValue<'v> {
    let found = if allowed { path.select(data) } else { Vec::new() };
    if path.is_pattern() { FieldValue::Many(found) } else { FieldValue::One(found.into_iter().next()) }
}

type CheckedReturns = (Option<Permitted<Returned>>, Vec<FieldVerdict>);

fn check_returns(
    pairs: &Pairs<'_>,
    connection: &Connection,
    hook: &Hook,
    crossing: &Crossing,
    text: &str,
) -> Result<CheckedReturns, Violation> {
    if text.len() > MAX_RETURNS_BYTES {
        return Err(Violation::TooLarge { used: text.len() });
    }
    // Strictly one document without duplicate names: what other readers would read otherwise is no answer.
    if !placing::is_strict_json(text) {
        return Err(Violation::NotJson);
    }
    let value: Value = serde_json::from_str(text).map_err(|_| Violation::NotJson)?;
    let Value::Object(object) = &value else { return Err(Violation::NotJson) };
    let Some(schema) = &hook.returns else {
        return if object.is_empty() { Ok((None, Vec::new())) } else { Err(Violation::NothingDeclared) };
    };
    // A share hook or a message may have nothing to say this time; a decision is checked as it stands.
    if object.is_empty() && hook.flow != Flow::Decide {
        return Ok((None, Vec::new()));
    }
    schema.validate(&value).map_err(|violation| Violation::Undeclared {
        nearest: violation.nearest_declared_path,
        count: violation.count,
    })?;
    let Pairs { book, facts, moment, .. } = *pairs;
    let question = Question {
        flow: if hook.flow == Flow::Receive { Flow::Receive } else { Flow::Return },
        purpose: connection.release.purpose,
        partner: &connection.partner,
        to_brand: true,
    };
    let read: Vec<Carried> = taint(hook, crossing).collect();
    let values: Vec<&[Label]> = read.iter().map(|carried| &*carried.labels).collect();
    let joined: LabelSet = values.iter().flat_map(|labels| labels.iter().cloned()).collect();
    let verdict_of_taint = book.decide_all(&question, joined.iter(), facts, moment);
    let matter = hook.flow != Flow::Receive && pairs.matter(joined.iter());
    let mut verdicts = Vec::new();
    let mut fields = Vec::new();
    let mut paths = Vec::new();
    let mut made = OnBehalf::default();
    for ((path, _), own) in schema.leaves().iter().zip(&hook.return_labels) {
        if !path.is_present(&value) {
            continue;
        }
        let mut labels = joined.clone();
        labels.insert(own.clone());
        let name: Arc<str> = path.as_str().into();
        let (_, of_own) = book.decide(&question, own, facts, moment);
        let of_labels = verdict_of_taint.map_or(of_own, |(_, taint)| of_own.strictest(taint));
        let met = matter.then(|| pairs.strictest_between(&values, Meeting::Field(&name)));
        let (mut verdict, kept_apart) = Met::under(of_labels, met.flatten(), facts);
        if hook.flow == Flow::Receive && !connection.grants_named(Flow::Receive, hook.event(), &name, None) {
            verdict = Verdict::withhold(Reason::NotGranted);
        }
        verdicts.push(FieldVerdict {
            field: Arc::clone(&name),
            access: Access::Return,
            labels: labels.iter().cloned().collect(),
            verdict,
            basis: question
                .basis(labels.iter(), moment.now_ms)
                .within(&crossing.conditions)
                .kept_apart(kept_apart),
        });
        if verdict.allows() {
            paths.push(path);
            made.made.insert(own.category);
            fields.push(ReturnedField { field: name, labels });
        }
    }
    if fields.is_empty() {
        return Ok((None, verdicts));
    }
    let value =
        if fields.len() == verdicts.len() { value } else { crate::catalogue::project(&paths, &value) };
    // Also what a plugin knew that read nothing.
    let made_of = if read.is_empty() { labels_of_call(hook, crossing) } else { read };
    let made_of = || made_of.iter().flat_map(|carried| carried.labels.iter());
    let on_behalf = made_of().all(|label| !matches!(label.origin, Origin::Partner(_)))
        && connection.serves(fields.iter().flat_map(|field| field.labels.iter()), moment.now_ms)
        && connection.serves(made_of(), moment.now_ms);
    let mut conditions = crossing.conditions.clone();
    if on_behalf {
        made.of.extend(made_of().map(|label| label.category));
        conditions.note_on_behalf(&connection.partner.name, connection.release.purpose, &made);
    }
    let returned = Returned { value, fields, conditions, on_behalf };
    Ok((Some(Permitted::grant(returned)), verdicts))
}
