//! What a plugin remembers about a consumer: whether it may enter a call, and what may be kept of what the
//! call wrote. It stores nothing.
//!
//! A memory has one set of labels and conditions, whatever is in it: a plugin can keep a value under any key,
//! and a key can be a value. Withheld, missing and empty look the same to the plugin, within one call for its
//! own writes too; but what it writes over a memory that was withheld is not kept, or a call that may not see
//! an entry could replace it, and its labels with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gateway_policy::{
    Access, Conditions, Facts, FieldVerdict, Flow, Label, LabelSet, Reason, Recipient, Verdict,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::book::{Moment, PolicyBook, Question};
use super::combine::{Met, Pairs};
use super::connection::Connection;
use super::from_plugin::{Carried, labels_of_call};
use super::numbers::{is_number, numbers_within};
use super::subject::{Subject, base_facts};
use super::toward_plugin::Crossing;
use super::types::MemoryUse;

/// What the ledger calls a memory.
pub(super) const NAME: &str = "memory";

/// What one connection's plugin remembers about one consumer. It holds values, in its keys too: it is stored
/// under the consumer's key only.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    entries: BTreeMap<String, String>,
    /// Of every call that could have written.
    labels: LabelSet,
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
        with
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
    let of_row = base_facts(subject, connection.integration(hook));
    let field = FieldVerdict {
        field: NAME.into(),
        access: Access::Memory,
        labels: all(&memory.labels),
        verdict,
        basis: question
            .basis(memory.labels.iter(), moment.now_ms)
            .under(facts, of_row)
            .within(&memory.conditions),
    };
    let standing = match verdict.allows() {
        true => Standing::Given(memory),
        // Withheld for this call only, where that a label is not granted may be for a plugin that cannot be used now.
        false if !granted && !connection.derivable_unknown.load(Ordering::Acquire) => Standing::Exceeds,
        false => Standing::Withheld,
    };
    Recalled { standing, verdict: Some((recipient, field)) }
}

fn all(labels: &LabelSet) -> Arc<[Label]> {
    labels.iter().cloned().collect()
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

    /// How it is decided what may meet what would enter the call: by the versions under which that was collected too.
    pub(super) fn meeting<'a>(&self, pairs: &Pairs<'a>) -> Pairs<'a> {
        match &self.standing {
            Standing::Given(memory) => {
                Pairs { moment: pairs.book.also(pairs.moment, &memory.conditions), ..*pairs }
            }
            Standing::Missing | Standing::Exceeds | Standing::Withheld => *pairs,
        }
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
    /// Joins the memory's labels to the call's, once the plugin has looked at it or written into it: a miss
    /// tells something of what is there, too. One that was withheld told nothing: it is empty whatever it
    /// holds.
    pub fn touch_memory(&mut self) {
        if let Some(Standing::Given(memory)) = self.memory.clone()
            && !self.joined.iter().any(|carried| carried.access == Access::Memory)
        {
            let carried = Carried {
                field: NAME.into(),
                access: Access::Memory,
                labels: all(&memory.labels),
                form: None,
                declassified: None,
                returned: None,
            };
            self.numbers.extend(memory.numbers());
            self.join(carried, &memory.conditions);
        }
    }

    /// What becomes of the memory after a call that used it so: all that the call saw and all that was
    /// remembered label what it wrote. `used` is none where nothing of the call is kept.
    pub fn memory_after(&self, connection: &Connection, used: Option<MemoryUse>) -> MemoryAfter {
        let Some(standing) = &self.memory else { return MemoryAfter::Unchanged };
        let written = used.and_then(|used| used.written);
        match (standing, written, connection.release.hooks.get(self.hook)) {
            (Standing::Withheld, ..) => MemoryAfter::Unchanged,
            (_, Some(entries), Some(hook)) => MemoryAfter::Replaced(Arc::new(Memory {
                entries,
                labels: labels_of_call(hook, self)
                    .iter()
                    .flat_map(|carried| carried.labels.iter().cloned())
                    .collect(),
                conditions: self.conditions.clone(),
            })),
            (Standing::Exceeds, ..) => MemoryAfter::Forgotten,
            (Standing::Missing | Standing::Given(_), ..) => MemoryAfter::Unchanged,
        }
    }
}
