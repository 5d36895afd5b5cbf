//! What a plugin remembers about a consumer: whether it may enter a call, and what may be kept of what the
//! call wrote. It stores nothing.
//!
//! A memory has one set of labels and conditions, whatever is in it: a plugin can keep a value under any key,
//! and a key can be a value. Withheld, missing and empty look the same to the plugin, within one call for its
//! own writes too; but what it writes over a memory that was withheld is not kept, or a call that may not see
//! an entry could replace it, and its labels with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gateway_policy::{
    Access, Conditions, Facts, FieldVerdict, Flow, Label, LabelSet, Origin, Reason, Recipient, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::book::{Moment, PolicyBook, Question};
use super::combine::{Meeting, Met, Pairs};
use super::connection::{Connection, Hook};
use super::from_plugin::{Carried, labels_of_call};
use super::numbers::{is_number, numbers_within};
use super::subject::{Integration, Subject, base_facts};
use super::toward_plugin::Crossing;
use super::types::MemoryUse;

/// Values of a memory whose labels are told apart. A plugin can make label sets without end; beyond this each label is
/// one, and may meet all others or the memory is not used.
const MAX_PARTS: usize = 16;

/// What the ledger calls a memory.
pub(super) const NAME: &str = "memory";

/// What one connection's plugin remembers about one consumer. It holds values, in its keys too: it is stored
/// under the consumer's key only.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    entries: BTreeMap<String, String>,
    /// Of every call that could have written.
    labels: LabelSet,
    /// Of each value that those calls saw. What one of them holds met where it was made; whether one may meet another is
    /// asked whenever the memory is used. None: it is one value.
    #[serde(default)]
    parts: Vec<Part>,
    /// What held when anything was collected that those calls saw.
    conditions: Conditions,
}

impl Memory {
    /// How many.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Of every call that could have written.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// What held when anything was collected that those calls saw.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What in it reads as a telephone number, where it derives from one.
    pub fn numbers(&self) -> Vec<String> {
        if is_number(self.labels.iter()) { numbers_within(&self.value()) } else { Vec::new() }
    }

    /// With labels that it has besides.
    fn with(&self, more: &LabelSet) -> Self {
        let mut with = self.clone();
        with.labels.join(more);
        for part in &mut with.parts {
            part.labels.join(more);
        }
        with
    }

    /// Of each value in it, as it enters a call: what the partner gave is one, with what that was made of.
    fn values(&self) -> Vec<Arc<[Label]>> {
        let (read, given): (Vec<&Part>, Vec<&Part>) = self.parts.iter().partition(|part| part.of == Of::Read);
        let sent = given.iter().any(|part| part.of == Of::Message);
        let given: LabelSet = given.iter().flat_map(|part| part.labels.iter().cloned()).collect();
        let is_of_it = |part: &&Part| sent && part.labels.iter().all(|label| given.contains(label));
        let read = read.into_iter().filter(|part| !is_of_it(part)).map(|part| all(&part.labels));
        let values: Vec<_> = read.chain((!given.is_empty()).then(|| all(&given))).collect();
        if values.is_empty() { vec![all(&self.labels)] } else { values }
    }

    /// The strictest over what met in it, by what may meet now; none where nothing did.
    fn met<'m>(&'m self, pairs: &Pairs<'_>) -> Option<Met<'m>> {
        let rest = self.parts.iter().enumerate();
        let met =
            rest.flat_map(|(index, part)| self.parts.iter().skip(index + 1).map(move |other| (part, other)));
        self.strictest(pairs, met.flat_map(|(part, other)| part.meets(other)))
    }

    /// The strictest over what an answer would meet in it.
    fn met_by<'m>(&'m self, answer: &'m Part, pairs: &Pairs<'_>) -> Option<Met<'m>> {
        self.strictest(pairs, self.parts.iter().flat_map(|part| part.meets(answer)))
    }

    fn strictest<'m>(
        &self,
        pairs: &Pairs<'_>,
        asked: impl Iterator<Item = (&'m Label, &'m Label)>,
    ) -> Option<Met<'m>> {
        let asked: BTreeSet<(&Label, &Label)> = asked.collect();
        let labels = asked.iter().flat_map(|(one, other)| [*one, *other]);
        if !pairs.matter(labels) {
            return None;
        }
        asked.into_iter().map(|(one, other)| pairs.meet(one, other, Meeting::Instance)).reduce(Met::strictest)
    }

    /// All of it.
    pub(super) fn value(&self) -> Value {
        let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
        self.entries.iter().map(|(key, value)| (key.clone(), read(value))).collect()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Where a value in a memory is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Of {
    /// It was read.
    Read,
    /// The partner answered it, made of what was placed in the question. Without what was readable in the call, which is a
    /// value of its own.
    Reply,
    /// The partner sent it, made of all that it has.
    Message,
}

/// A value in a memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    of: Of,
    labels: LabelSet,
}

impl Part {
    /// An answer made of these.
    pub(super) fn reply(labels: LabelSet) -> Self {
        Self { of: Of::Reply, labels }
    }

    /// The labels of which each is asked whether it may meet each of the other's. What an answer or a message is made of
    /// has met it at the partner.
    fn meets<'p>(&'p self, other: &'p Self) -> impl Iterator<Item = (&'p Label, &'p Label)> {
        let (skip_own, skip_others) = match (self.of, other.of) {
            (Of::Message, Of::Message) | (Of::Reply, Of::Reply) => (true, true),
            (Of::Message, _) => (false, true),
            (_, Of::Message) => (true, false),
            _ => (false, false),
        };
        let own = self.labels.iter().filter(move |label| !skip_own || !other.labels.contains(label));
        own.flat_map(move |one| {
            let others =
                other.labels.iter().filter(move |label| !skip_others || !self.labels.contains(label));
            others.map(move |other| (one, other))
        })
    }
}

/// What a memory may do in one call.
#[derive(Clone)]
pub(super) enum Standing {
    /// There is none: what is written is kept.
    Missing,
    /// There was one that the brand's grant no longer covers: it goes with this call.
    Exceeds,
    /// It enters the call.
    Given(Arc<Memory>),
    /// The plugin meets an empty one, and what it writes is not kept.
    Withheld,
}

impl Standing {
    /// How it is decided what may meet it: by what held when that was collected too.
    pub(super) fn meeting<'a>(
        &self,
        pairs: &Pairs<'a>,
        subject: Subject<'_>,
        integration: Integration<'_>,
    ) -> Pairs<'a> {
        let Self::Given(memory) = self else { return *pairs };
        let mut conditions = subject.conditions.clone();
        conditions.join(&memory.conditions);
        let facts = base_facts(Subject { conditions: &conditions, ..subject }, integration);
        Pairs { facts, moment: pairs.book.also(pairs.moment, &memory.conditions), ..*pairs }
    }
}

/// What was decided about a memory for one call.
#[derive(Clone)]
pub struct Recalled {
    standing: Standing,
    /// None where there is no memory to decide about.
    verdict: Option<(Recipient, FieldVerdict)>,
}

/// What becomes of a memory after a call.
pub enum MemoryAfter {
    /// It stays as it is.
    Unchanged,
    /// This one takes its place.
    Replaced(Arc<Memory>),
    /// Nothing is remembered any more.
    Forgotten,
}

/// Decides whether `memory` may enter a call of the hook: every label of it, under the strictest of what held
/// when it was remembered and what holds for the event, by the consumer's choices as they stand now.
pub fn recall(
    book: &PolicyBook,
    connection: &Connection,
    hook_index: usize,
    memory: Option<Arc<Memory>>,
    subject: Subject<'_>,
    moment: Moment,
) -> Recalled {
    let missing = Recalled { standing: Standing::Missing, verdict: None };
    let (Some(memory), Some(hook)) = (memory, connection.release.hooks.get(hook_index)) else {
        return missing;
    };
    // A brand that narrows its grant, or changes to a release that declares less, takes back what was
    // remembered of the rest: nothing in the memory tells which entry holds it, so all of it goes. It goes
    // here and not when the grant is written, because it can be judged only where it can be read.
    let granted = connection.grants_labels(memory.labels.iter(), moment);
    let besides = connection.besides(book, &memory.conditions, moment);
    let memory = match besides.is_empty() {
        true => memory,
        false => Arc::new(memory.with(&besides)),
    };
    let mut conditions = subject.conditions.clone();
    conditions.join(&memory.conditions);
    let facts = base_facts(Subject { conditions: &conditions, ..subject }, connection.integration(hook));
    let moment = book.also(moment, &conditions);
    let question = Question {
        // What a plugin can read counts as shared with its partner, whatever called it.
        flow: if hook.flow == Flow::Receive { Flow::Share } else { hook.flow },
        purpose: connection.release.purpose,
        partner: &connection.partner,
        to_brand: false,
    };
    let (recipient, mut verdict) = book
        .decide_all(&question, memory.labels.iter(), facts, moment)
        .unwrap_or((Recipient::ThirdParty, Verdict::withhold(Reason::Undeclared)));
    if !granted {
        verdict = Verdict::withhold(Reason::NotGranted);
    }
    // What met in it must be allowed to meet still.
    let (partner, purpose) = (&*connection.partner, question.purpose);
    let pairs = Pairs { book, partner, purpose, granted: &connection.combinations, facts, moment };
    let of_row = base_facts(subject, connection.integration(hook));
    let met = memory.met(&pairs);
    // Labels that are back are so for as long as nothing makes them give way.
    let taken_back = besides.is_empty() && met.is_some_and(|met| met.lacks_grant(&partner.name));
    let (verdict, kept_apart) = Met::under(verdict, met, of_row);
    let field = FieldVerdict {
        field: NAME.into(),
        access: Access::Memory,
        labels: all(&memory.labels),
        verdict,
        basis: question
            .basis(memory.labels.iter(), moment.now_ms)
            .under(facts, of_row)
            .within(&memory.conditions)
            .kept_apart(kept_apart),
    };
    let standing = match verdict.allows() {
        true => Standing::Given(memory),
        // Withheld for this call only, where that a label is not granted may be for a plugin that cannot be used now.
        false if taken_back => Standing::Exceeds,
        false if !granted && !connection.derivable_unknown.load(Ordering::Acquire) => Standing::Exceeds,
        false => Standing::Withheld,
    };
    Recalled { standing, verdict: Some((recipient, field)) }
}

fn all(labels: &LabelSet) -> Arc<[Label]> {
    labels.iter().cloned().collect()
}

/// The values that a call saw, with those that were in `before`, if it saw that.
fn parts_of(hook: &Hook, saw: &[Carried], before: Option<&Memory>) -> Vec<Part> {
    // Of a plugin that read nothing: which sealed fields were there is one thing that it knew.
    if saw.iter().all(|carried| carried.access == Access::Sealed) {
        return Vec::new();
    }
    let readable = saw.iter().filter(|carried| carried.access != Access::Reply);
    let readable: LabelSet = readable.flat_map(|carried| carried.labels.iter().cloned()).collect();
    let is_own = |label: &&Label| matches!(label.origin, Origin::Partner(_)) || !readable.contains(label);
    let mut parts: Vec<Part> = match before {
        None => Vec::new(),
        Some(memory) if memory.parts.is_empty() => {
            vec![Part { of: Of::Read, labels: memory.labels.clone() }]
        }
        Some(memory) => memory.parts.clone(),
    };
    for carried in saw.iter().filter(|carried| carried.access != Access::Memory) {
        let of = match carried.access {
            Access::Reply if hook.flow == Flow::Receive => Of::Message,
            Access::Reply => Of::Reply,
            _ => Of::Read,
        };
        let labels =
            carried.labels.iter().filter(|label| of != Of::Reply || is_own(label)).cloned().collect();
        let part = Part { of, labels };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.len() > MAX_PARTS {
        let each: LabelSet = parts.iter().flat_map(|part| part.labels.iter().cloned()).collect();
        let alone = |label: &Label| Part { of: Of::Read, labels: [label.clone()].into_iter().collect() };
        parts = each.iter().map(alone).collect();
    }
    parts
}

impl Recalled {
    pub(super) fn verdict(&self) -> Option<(Recipient, FieldVerdict)> {
        self.verdict.clone()
    }

    /// The same, withheld: it may not meet what else enters the call.
    pub(super) fn kept_out(&self, by: Met<'_>, of_row: Facts) -> Self {
        let verdict = self.verdict.clone().map(|(recipient, field)| {
            let (verdict, kept_apart) = Met::under(field.verdict, [by], of_row);
            (recipient, FieldVerdict { verdict, basis: field.basis.kept_apart(kept_apart), ..field })
        });
        Self { standing: Standing::Withheld, verdict }
    }

    /// Labels of what would enter the call.
    pub(super) fn labels(&self) -> impl Iterator<Item = &Label> + Clone {
        match &self.standing {
            Standing::Given(memory) => Some(&memory.labels),
            Standing::Missing | Standing::Exceeds | Standing::Withheld => None,
        }
        .into_iter()
        .flat_map(LabelSet::iter)
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// What the plugin meets.
    pub(super) fn entries(&self) -> BTreeMap<String, String> {
        match &self.standing {
            Standing::Given(memory) => memory.entries.clone(),
            Standing::Missing | Standing::Exceeds | Standing::Withheld => BTreeMap::new(),
        }
    }
}

impl Crossing {
    /// Whether an answer may come to what is remembered, touched or not: the strictest of what they would meet.
    pub(super) fn memory_met_by<'m>(&'m self, answer: &'m Part, pairs: &Pairs<'_>) -> Option<Met<'m>> {
        match &self.memory {
            Some(Standing::Given(memory)) => memory.met_by(answer, pairs),
            _ => None,
        }
    }

    /// Joins the memory's labels to the call's, once the plugin has looked at it or written into it: a miss
    /// tells something of what is there, too. One that was withheld told nothing: it is empty whatever it
    /// holds.
    pub fn touch_memory(&mut self) {
        if let Some(Standing::Given(memory)) = self.memory.clone()
            && !self.joined.iter().any(|carried| carried.access == Access::Memory)
        {
            self.numbers.extend(memory.numbers());
            for labels in memory.values() {
                let carried = Carried {
                    field: NAME.into(),
                    access: Access::Memory,
                    labels,
                    form: None,
                    declassified: None,
                    returned: None,
                };
                self.join(carried, &memory.conditions);
            }
        }
    }

    /// What becomes of the memory after a call that used it so: all that the call saw and all that was
    /// remembered label what it wrote. `used` is none where nothing of the call is kept.
    pub fn memory_after(&self, connection: &Connection, used: Option<MemoryUse>) -> MemoryAfter {
        let Some(standing) = &self.memory else { return MemoryAfter::Unchanged };
        let written = used.and_then(|used| used.written);
        match (standing, written, connection.release.hooks.get(self.hook)) {
            (Standing::Withheld, ..) => MemoryAfter::Unchanged,
            (_, Some(entries), Some(hook)) => {
                let saw = labels_of_call(hook, self);
                let before = match standing {
                    Standing::Given(memory) => Some(&**memory),
                    _ => None,
                };
                MemoryAfter::Replaced(Arc::new(Memory {
                    entries,
                    labels: saw.iter().flat_map(|carried| carried.labels.iter().cloned()).collect(),
                    parts: parts_of(hook, &saw, before),
                    conditions: self.conditions.clone(),
                }))
            }
            (Standing::Exceeds, ..) => MemoryAfter::Forgotten,
            (Standing::Missing | Standing::Given(_), ..) => MemoryAfter::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "first-party:user.name";
    const EMAIL: &str = "first-party:user.contact.email";
    const PHONE: &str = "first-party:user.contact.phone_number";
    const TIER: &str = "partner:acme:user.account";

    #[test]
    fn what_an_answer_or_a_message_is_made_of_has_met_it() {
        let part = |of, labels: &[&str]| {
            let labels = labels.iter().map(|label| label.parse::<Label>().unwrap()).collect();
            Part { of, labels }
        };
        for (one, other, expected) in [
            ((Of::Read, &[NAME][..]), (Of::Read, &[TIER][..]), &[(NAME, TIER)][..]),
            ((Of::Read, &[NAME]), (Of::Reply, &[EMAIL, TIER]), &[(NAME, EMAIL), (NAME, TIER)]),
            ((Of::Reply, &[EMAIL, TIER]), (Of::Reply, &[PHONE, TIER]), &[(EMAIL, PHONE)]),
            ((Of::Read, &[NAME]), (Of::Message, &[NAME, TIER]), &[]),
            ((Of::Message, &[NAME, TIER]), (Of::Read, &[EMAIL]), &[(NAME, EMAIL), (TIER, EMAIL)]),
            ((Of::Message, &[NAME, TIER]), (Of::Message, &[NAME, EMAIL, TIER]), &[]),
        ] {
            let (one, other) = (part(one.0, one.1), part(other.0, other.1));
            let text = |(one, other): (&Label, &Label)| (one.to_string(), other.to_string());
            let asked: BTreeSet<_> = one.meets(&other).map(text).collect();
            let expected: BTreeSet<_> =
                expected.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect();
            assert_eq!(asked, expected, "{one:?} {other:?}");
        }
    }
}
