//! Toward a plugin: which declared fields it may read or place. What it can read counts as shared
//! with its partner, whether or not it sends a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_policy::{
    Access, Basis, Conditions, Decision, Facts, FieldVerdict, KeptApart, Label, LabelSet, Reason, Recipient,
    Verdict,
};
use serde_json::Value;

use super::across::Across;
use super::book::{Moment, PolicyBook, Question};
use super::combine::{Meeting, Met, Pairs};
use super::connection::{Connection, Hook, Source};
use super::forms::Form;
use super::from_plugin::{Carried, given, taint};
use super::memory::{Recalled, Standing};
use super::onward::{self, Onward, Reader};
use super::permitted::Permitted;
use super::prepared::stricter;
use super::received::{Exposed, Received};
use super::subject::{Subject, base_facts};
use super::transform::{Rewrite, rewrite};
use super::types::PluginInput;
use crate::catalogue::Projection;
use crate::manifest;

/// An event, as a connection's plugin would see it were everything allowed.
pub struct EventView<'a> {
    /// Keyed for this connection.
    pub id: &'a str,
    /// CloudEvents `type`.
    pub kind: &'a str,
    /// RFC 3339.
    pub time: &'a str,
    /// The pseudonym for (brand, partner).
    pub consumer: &'a str,
    /// When the gateway accepted it, in milliseconds since the Unix epoch.
    pub accepted_ms: i64,
    /// CloudEvents `data`.
    pub data: &'a Arc<Value>,
    /// What the plugin received of the consumer from its partner.
    pub received: Option<&'a Received>,
    /// What other plugins returned of the consumer, of those that the hook reads from.
    pub onward: &'a [Onward<'a>],
    /// What the partner already received of the consumer.
    pub exposed: &'a Exposed,
    /// What became of the plugin's memory of the consumer; none: the plugin does not ask for it.
    pub memory: Option<&'a Recalled>,
}

/// Why a call does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRun {
    /// A required field is withheld.
    RequiredWithheld,
    /// A required field was never provided.
    RequiredAbsent,
    /// No declared field is left.
    NothingLeft,
}

impl NotRun {
    /// The ledger's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::RequiredWithheld => "not-run:required-withheld",
            Self::RequiredAbsent => "not-run:required-absent",
            Self::NothingLeft => "not-run:nothing-left",
        }
    }
}

/// What was decided for one call.
pub struct TowardPlugin {
    /// A verdict for each declared field that is present in the event.
    pub verdicts: Vec<FieldVerdict>,
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// [`Recipient::ThirdParty`] where the partner is that for any field present.
    pub recipient: Recipient,
    /// The argument of the call, or why there is none.
    pub input: Result<Permitted<PluginInput>, NotRun>,
    /// What the checks of the call's output need.
    pub crossing: Crossing,
}

/// What crossed into the sandbox, before the call and during it; the checks of the output start from it.
#[derive(Clone)]
pub struct Crossing {
    pub(super) hook: usize,
    /// For each field of the hook: whether it is present and allowed.
    pub(super) allowed: Vec<bool>,
    /// For each field of the hook: the labels of what leaves.
    pub(super) labels: Vec<Arc<[Label]>>,
    /// For each field of the hook: how it goes.
    pub(super) forms: Arc<[Form]>,
    /// Of the fields that other plugins returned: the SHA-256 of the release that did.
    pub(super) returned: BTreeMap<Arc<str>, [u8; 32]>,
    /// What else was readable in the call, or came into it while it ran: a message, memory, replies.
    pub(super) joined: Vec<Carried>,
    /// What of that reads as a telephone number, where it is, or derives from, one.
    pub(super) numbers: Vec<String>,
    /// What held when all of that was collected.
    pub(super) conditions: Conditions,
    /// Labels that a request of the call would have brought together, and may not.
    pub(super) refused_meeting: Option<Arc<KeptApart>>,
    /// The event's data, with what goes in another form in that form.
    pub(super) data: Arc<Value>,
    pub(super) consumer: String,
    pub(super) accepted_ms: i64,
    /// What the memory may do in this call; none: the plugin does not ask for it.
    pub(super) memory: Option<Standing>,
}

/// What the verdict on a field rests on, beside its labels.
#[derive(Clone, Copy)]
pub(super) struct Rests<'a> {
    /// What held for it.
    pub(super) facts: Facts,
    /// What held when that was collected of which it was made; none: it is the event's.
    pub(super) within: Option<&'a Conditions>,
    /// Whether its labels may go where it goes, and something else withholds it.
    pub(super) elsewhere: bool,
}

/// The verdicts on a hook's fields.
pub struct Decided {
    /// What held, apart from what depends on a label.
    pub facts: Facts,
    /// For each field of the hook that the event has: how the partner stands toward it, and the verdict.
    pub fields: Vec<Option<(Recipient, Verdict)>>,
}

/// Decides for every field of a hook that is present in `data`.
pub fn verdicts(
    connection: &Connection,
    hook_index: usize,
    data: &Value,
    subject: Subject<'_>,
    moment: Moment,
) -> Decided {
    let nothing = || Decided { facts: Facts::unknown(), fields: Vec::new() };
    let Some(hook) = connection.release.hooks.get(hook_index) else { return nothing() };
    let Some(ready) = connection.ready(hook_index, moment) else { return nothing() };
    let facts = base_facts(subject, connection.integration(hook));
    let present = hook.presence.of(data);
    let decided = ready.prepared.decide(&connection.partner, facts, moment);
    let fields = hook.fields.iter().enumerate().map(|(index, field)| {
        let present = field.path.is_none() || present & 1_u64.checked_shl(index as u32).unwrap_or(0) != 0;
        present.then(|| {
            let (stands, verdict) = decided.field(index);
            let granted = connection.grants(hook_index, index);
            (stands, if granted { verdict } else { Verdict::withhold(Reason::NotGranted) })
        })
    });
    Decided { facts, fields: fields.collect() }
}

/// Decides for every declared field of `hook` and makes the argument of the call.
pub fn toward_plugin(
    book: &PolicyBook,
    connection: &Connection,
    hook_index: usize,
    hook: &Hook,
    event: &EventView<'_>,
    subject: Subject<'_>,
    moment: Moment,
) -> TowardPlugin {
    let received = event.received.filter(|_| hook.reads_received());
    let data = with_others(event.data, received, event.onward);
    let Decided { facts, fields: mut decided } = verdicts(connection, hook_index, &data, subject, moment);
    let forms = connection.forms(hook_index, moment);
    let data = in_forms(connection, hook, &data, &forms, &mut decided);
    let mut labels: Vec<_> = forms.iter().map(|form| Arc::clone(&form.labels)).collect();
    let mut conditions = subject.conditions.clone();
    book.note(moment, &mut conditions);
    let question = Question {
        flow: hook.flow,
        purpose: connection.release.purpose,
        partner: &connection.partner,
        to_brand: false,
    };
    let mut rests = vec![Rests { facts, within: None, elsewhere: false }; decided.len()];
    if let Some(received) = received {
        let mut joined = conditions.clone();
        joined.join(&received.conditions);
        let own = base_facts(Subject { conditions: &joined, ..subject }, connection.integration(hook));
        let of_received = hook.fields.iter().zip(&mut rests);
        of_received.filter(|(field, _)| field.source == Source::Received).for_each(|(_, rests)| {
            *rests = Rests { facts: own, within: Some(&received.conditions), ..*rests }
        });
        let asked = (book, &question, own, book.also(moment, &joined));
        let besides = connection.besides(book, &received.conditions, moment);
        if judge_received(asked, hook, received, &besides, &mut decided, &mut labels) {
            conditions = joined;
        }
    }
    let reader = Reader { book, connection, hook_index, hook, subject, moment };
    for one in event.onward {
        if let Some(joined) = reader.judge(*one, &mut decided, &mut labels, &mut rests) {
            conditions.join(&joined);
        }
    }
    let subject = Subject { conditions: &conditions, ..subject };
    let integration = connection.integration(hook);
    let pairs = Pairs {
        book,
        partner: &connection.partner,
        purpose: connection.release.purpose,
        granted: &connection.combinations,
        facts: base_facts(subject, integration),
        moment: book.also(moment, &conditions),
    };
    let across = Across::new(&pairs, subject, integration, event.exposed);
    let kept_apart = keep_apart(&pairs, &across, hook, &labels, &mut decided, facts);
    let memory = event.memory.map(|memory| {
        let with_memory = memory.standing().meeting(&pairs, subject, integration);
        keep_out(&with_memory, &across, hook, &labels, &decided, memory, facts)
    });

    let mut verdicts = Vec::with_capacity(hook.fields.len());
    let mut allowed = Vec::with_capacity(hook.fields.len());
    let mut not_run = None;
    let mut recipient = Recipient::ServiceProvider;
    let fields =
        hook.fields.iter().zip(decided).zip(&labels).zip(&*forms).zip(kept_apart.into_iter().zip(rests));
    for ((((field, decided), labels), form), (kept_apart, rests)) in fields {
        let Some((stands, verdict)) = decided else {
            allowed.push(false);
            if field.required {
                not_run.get_or_insert(NotRun::RequiredAbsent);
            }
            continue;
        };
        recipient = stricter(recipient, stands);
        allowed.push(verdict.allows());
        if field.required && !verdict.allows() {
            not_run = Some(NotRun::RequiredWithheld);
        }
        verdicts.push(FieldVerdict {
            field: Arc::clone(&field.name),
            access: field.access,
            labels: Arc::clone(labels),
            verdict,
            basis: Basis {
                met: kept_apart.is_some() || (rests.elsewhere && !verdict.allows()),
                kept_apart,
                form: form.transform,
                declassified: form.declassified.clone(),
                declassified_within: rests.within.map(Conditions::declassifications).unwrap_or_default(),
                ..question.basis(labels.iter(), moment.now_ms).under(rests.facts, facts)
            },
        });
    }
    if let Some((stands, verdict)) = memory.as_ref().and_then(Recalled::verdict) {
        recipient = stricter(recipient, stands);
        verdicts.push(verdict);
    }
    if not_run.is_none() && !allowed.contains(&true) {
        not_run = Some(NotRun::NothingLeft);
    }
    let input = match not_run {
        Some(reason) => Err(reason),
        None => Ok(Permitted::grant(input(connection, hook, event, memory.as_ref(), &data, &allowed))),
    };
    let mut crossing = Crossing {
        hook: hook_index,
        allowed,
        labels,
        forms,
        returned: onward::releases(hook, event.onward),
        joined: Vec::new(),
        numbers: Vec::new(),
        conditions,
        data,
        consumer: event.consumer.to_owned(),
        accepted_ms: event.accepted_ms,
        refused_meeting: None,
        memory: memory.as_ref().map(Recalled::standing),
    };
    // A plugin that reads nothing knows which sealed fields are there.
    let reads = given(hook, &crossing, Access::Read).next().is_some();
    let access = if reads { Access::Read } else { Access::Sealed };
    let gave_way = crossing.gave_way(book, hook, access, |_| true);
    crossing.conditions.declassified.extend(gave_way);
    TowardPlugin { verdicts, facts, recipient, input, crossing }
}

/// The event's data with what goes in another form in that form, and its verdict as that. Where there is none
/// of a value in the form that was granted, the field is withheld: the brand grants nothing else of it.
fn in_forms(
    connection: &Connection,
    hook: &Hook,
    data: &Arc<Value>,
    forms: &[Form],
    decided: &mut [Option<(Recipient, Verdict)>],
) -> Arc<Value> {
    let mut verdicts = Vec::new();
    let mut rewrites = Vec::new();
    for ((field, form), decided) in hook.fields.iter().zip(forms).zip(decided) {
        if let (Some(path), Some(transform), Some((_, verdict))) = (&field.path, form.transform, decided)
            && verdict.allows()
        {
            rewrites.push(Rewrite { path, transform, region: field.region.as_ref() });
            verdicts.push(verdict);
        }
    }
    if rewrites.is_empty() {
        return Arc::clone(data);
    }
    let (data, left) = rewrite(data, &rewrites, connection.pseudonyms.as_ref());
    for (verdict, left) in verdicts.into_iter().zip(left) {
        if left {
            verdict.decision = Decision::Transform;
        } else {
            *verdict = Verdict::withhold(Reason::NotGranted);
        }
    }
    Arc::new(data)
}

/// The event's data with what was received under `partner`, a name that no event type has, and what other plugins
/// returned beside it.
fn with_others(data: &Arc<Value>, received: Option<&Received>, onward: &[Onward<'_>]) -> Arc<Value> {
    if received.is_none() && onward.is_empty() {
        return Arc::clone(data);
    }
    let mut data = Value::clone(data);
    if let Value::Object(object) = &mut data {
        if let Some(received) = received {
            object.insert(manifest::RECEIVED.trim_start_matches('/').to_owned(), received.value.clone());
        }
        onward::insert(object, onward);
    }
    Arc::new(data)
}

/// Decides about the fields that were received by the labels that they were stored with, and `besides`, under the stricter
/// of what held for them and what holds for the event. Whether any of them may go: then that holds for the call.
fn judge_received(
    (book, question, facts, moment): (&PolicyBook, &Question<'_>, Facts, Moment),
    hook: &Hook,
    received: &Received,
    besides: &LabelSet,
    decided: &mut [Option<(Recipient, Verdict)>],
    labels: &mut [Arc<[Label]>],
) -> bool {
    let mut any = false;
    for ((field, decided), labels) in hook.fields.iter().zip(decided).zip(labels) {
        let (Source::Received, Some((stands, verdict))) = (field.source, decided.as_mut()) else { continue };
        let stored = field.name.strip_prefix(manifest::RECEIVED).and_then(|path| received.labels.get(path));
        let Some(stored) = stored.filter(|stored| !stored.is_empty()) else {
            // A value whose labels are lost has no origin (clause collect.sources).
            *verdict = verdict.strictest(Verdict::withhold(Reason::Undeclared));
            continue;
        };
        let mut all = stored.clone();
        all.extend(field.labels.iter().cloned());
        all.join(besides);
        if let Some((to, one)) = book.decide_all(question, all.iter(), facts, moment) {
            *stands = stricter(*stands, to);
            *verdict = verdict.strictest(one);
        }
        any |= verdict.allows();
        *labels = all.iter().cloned().collect();
    }
    any
}

fn is_allowed(decided: &Option<(Recipient, Verdict)>) -> bool {
    decided.is_some_and(|(_, verdict)| verdict.allows())
}

/// Withholds what may not meet what stands before it, or what the partner already received, and says of each field by
/// which meeting: what came from the partner gives way to what is first-party, a later field to an earlier one, and a
/// sealed field, which is given up only where no request could hold it, to all that is read.
fn keep_apart(
    pairs: &Pairs<'_>,
    across: &Across<'_>,
    hook: &Hook,
    labels: &[Arc<[Label]>],
    decided: &mut [Option<(Recipient, Verdict)>],
    of_row: Facts,
) -> Vec<Option<Arc<KeptApart>>> {
    let mut kept_apart = vec![None; decided.len()];
    let present = labels.iter().zip(&*decided).filter(|(_, decided)| is_allowed(decided));
    let matter = pairs.matter(present.flat_map(|(labels, _)| labels.iter()));
    let mut met: Vec<&Label> = Vec::new();
    for (source, access) in [
        (Source::FirstParty, Access::Read),
        (Source::Received, Access::Read),
        (Source::Returned, Access::Read),
        (Source::FirstParty, Access::Sealed),
        (Source::Received, Access::Sealed),
        (Source::Returned, Access::Sealed),
    ] {
        let fields = hook.fields.iter().zip(labels).zip(&mut *decided).zip(&mut kept_apart);
        for (((field, labels), decided), kept_apart) in fields {
            if field.source != source || field.access != access || !is_allowed(decided) {
                continue;
            }
            let before =
                matter.then(|| pairs.strictest(labels.iter(), met.iter().copied(), Meeting::Instance));
            let earlier = across.meet(labels.iter(), &LabelSet::default());
            if let Some((_, verdict)) = decided {
                (*verdict, *kept_apart) =
                    Met::under(*verdict, before.flatten().into_iter().chain(earlier), of_row);
                // Two sealed fields meet where one request holds both, which the plugin decides.
                if verdict.allows() && access == Access::Read {
                    met.extend(labels.iter());
                }
            }
        }
    }
    kept_apart
}

/// A memory that may not meet what the call reads, or what else the partner has, stays out of it.
fn keep_out(
    pairs: &Pairs<'_>,
    across: &Across<'_>,
    hook: &Hook,
    labels: &[Arc<[Label]>],
    decided: &[Option<(Recipient, Verdict)>],
    memory: &Recalled,
    of_row: Facts,
) -> Recalled {
    let read = hook.fields.iter().zip(labels).zip(decided).filter(|((field, _), decided)| {
        field.access == Access::Read && decided.is_some_and(|(_, verdict)| verdict.allows())
    });
    let read: Vec<&Label> = read.flat_map(|((_, labels), _)| labels.iter()).collect();
    let matter = pairs.matter(read.iter().copied().chain(memory.labels()));
    let with_read = matter.then(|| pairs.strictest(memory.labels(), read.iter().copied(), Meeting::Instance));
    let remembered = memory.labels().cloned().collect();
    let earlier = across.meet(memory.labels(), &remembered);
    match with_read.flatten().into_iter().chain(earlier).reduce(Met::strictest) {
        Some(met) if !met.allows() => memory.kept_out(met, of_row),
        _ => memory.clone(),
    }
}

fn input(
    connection: &Connection,
    hook: &Hook,
    event: &EventView<'_>,
    memory: Option<&Recalled>,
    data: &Value,
    allowed: &[bool],
) -> PluginInput {
    let of = |access: Access| {
        hook.fields
            .iter()
            .zip(allowed)
            .filter(move |(field, ok)| **ok && field.access == access)
            .map(|(f, _)| f)
    };
    let readable =
        hook.fields.iter().filter(|field| field.access == Access::Read && field.path.is_some()).count();
    let granted = of(Access::Read).filter(|field| field.path.is_some()).count();
    let fields = if readable == granted {
        to_json(&hook.all_readable, data)
    } else {
        to_json(&Projection::new(of(Access::Read).filter_map(|field| field.path.as_ref())), data)
    };
    PluginInput {
        id: event.id.to_owned(),
        kind: event.kind.to_owned(),
        time: event.time.to_owned(),
        consumer: of(Access::Read).any(|field| field.path.is_none()).then(|| event.consumer.to_owned()),
        fields,
        sealed: of(Access::Sealed).map(|field| field.name.to_string()).collect(),
        settings: connection.settings_text.to_string(),
        memory: memory.map(Recalled::entries),
        aggregates: None,
    }
}

fn to_json(projection: &Projection, data: &Value) -> String {
    // Invariant: a `Value` always serialises; were that to fail, the plugin gets an empty object.
    serde_json::to_string(&projection.view(data)).unwrap_or_else(|_| "{}".to_owned())
}

impl Crossing {
    /// The hook that was called.
    pub fn hook(&self) -> usize {
        self.hook
    }

    /// Labels that a request of the call would have brought together, and may not.
    pub fn refused_meeting(&self) -> Option<&Arc<KeptApart>> {
        self.refused_meeting.as_ref()
    }

    /// Labels of everything readable in the call: what the partner receives by it.
    pub fn readable<'h>(&'h self, hook: &'h Hook) -> impl Iterator<Item = Label> + 'h {
        taint(hook, self).flat_map(|carried| carried.labels.to_vec())
    }

    /// What held when what was readable in the call was collected.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }
}
