//! Writes consumers, events and their work. It decides what is new, a duplicate or a conflict, and nothing
//! about what may be shared.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use sqlx::{Arguments, SqliteConnection};

use super::super::{Acceptance, ConsumerRecord, Digest, NewEvent};
use super::apply::Numbers;
use super::bulk::{Bulk, Script};
use super::errors::Trouble;
use super::rows;

static ADD_CONSUMERS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["brand", "subject", "pseudonym", "wrapped_key", "engaged"];
    Bulk::insert("consumers", &columns, "ON CONFLICT (subject, brand) DO NOTHING")
});
// A join and not `(subject, brand) IN (…)`, which SQLite answers by reading the whole table.
static FIND_CONSUMERS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "SELECT id, brand, subject, pseudonym, wrapped_key, engaged \
         FROM (VALUES {rows}) AS wanted CROSS JOIN consumers \
         ON subject = wanted.column1 AND brand = wanted.column2",
        2,
    )
});
static FIND_EVENTS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("SELECT key, body FROM events WHERE key IN (VALUES {rows})", 1));
static ADD_EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["id", "uid", "key", "body", "consumer", "brand", "kind", "accepted_ms", "payload"];
    Bulk::insert("events", &columns, "")
});
static ADD_WORK: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("work", &["id", "event", "plugin", "attempt", "due_ms"], ""));
static ENGAGE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new("UPDATE consumers SET engaged = 1 WHERE id IN (VALUES {rows}) AND engaged = 0", 1)
});

/// Finds or stores the consumers, in the order of the offers.
pub(super) async fn ensure_consumers<S>(
    connection: &mut SqliteConnection,
    script: &mut Script,
    offers: &[(S, &ConsumerRecord)],
) -> Result<Vec<ConsumerRecord>, Trouble> {
    let offers: Vec<&ConsumerRecord> = offers.iter().map(|(_, offer)| *offer).collect();
    script.sized(offers.len());
    script.write(&ADD_CONSUMERS, &offers, |arguments, offer| {
        arguments.add(offer.brand.as_str())?;
        arguments.add(offer.subject.as_slice())?;
        arguments.add(offer.pseudonym.as_slice())?;
        arguments.add(offer.wrapped_key.as_slice())?;
        arguments.add(offer.engaged)
    })?;
    let mut found = HashMap::new();
    let fetched = script
        .fetch(connection, &FIND_CONSUMERS, &offers, |arguments, offer| {
            arguments.add(offer.subject.as_slice())?;
            arguments.add(offer.brand.as_str())
        })
        .await?;
    for row in fetched {
        let consumer = rows::consumer(&row).map_err(|_| Trouble::Void)?;
        found.insert((consumer.subject, consumer.brand.clone()), consumer);
    }
    offers
        .iter()
        .map(|offer| found.get(&(offer.subject, offer.brand.clone())).cloned().ok_or(Trouble::Void))
        .collect()
}

struct EventRow<'a>(i64, &'a NewEvent);

struct WorkRow<'a> {
    id: i64,
    event: i64,
    plugin: &'a str,
    due_ms: i64,
}

/// Puts what is new of the batches into the script, in their order; what becomes of each event.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    script: &mut Script,
    numbers: &mut Numbers,
    batches: &[&[NewEvent]],
) -> Result<Vec<Vec<Acceptance>>, Trouble> {
    let offered: Vec<&NewEvent> = batches.iter().copied().flatten().collect();
    script.sized(offered.len());
    let fetched = script
        .fetch(connection, &FIND_EVENTS, &offered, |arguments, event| arguments.add(event.key.as_slice()))
        .await?;
    let mut known: HashMap<Digest, Digest> = HashMap::with_capacity(offered.len());
    for row in &fetched {
        let (key, body) = rows::two_digests(row).map_err(|_| Trouble::Void)?;
        known.insert(key, body);
    }

    let mut events = Vec::with_capacity(offered.len());
    let mut work = Vec::with_capacity(offered.len());
    let mut engaged = BTreeSet::new();
    let mut answers = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut answer = judge(&known, batch);
        if !answer.contains(&Acceptance::Conflict) {
            for (event, acceptance) in batch.iter().zip(&mut answer) {
                let Acceptance::New { work: rows } = acceptance else { continue };
                let number = numbers.take()?;
                for plugin in &event.work {
                    let id = numbers.take()?;
                    rows.push(id);
                    work.push(WorkRow { id, event: number, plugin, due_ms: event.accepted_ms });
                }
                known.insert(event.key, event.body);
                if event.engages {
                    engaged.insert(event.consumer);
                }
                events.push(EventRow(number, event));
            }
        }
        answers.push(answer);
    }

    script.sized(events.len());
    script.write(&ADD_EVENTS, &events, |arguments, EventRow(number, event)| {
        arguments.add(*number)?;
        arguments.add(event.uid.as_slice())?;
        arguments.add(event.key.as_slice())?;
        arguments.add(event.body.as_slice())?;
        arguments.add(event.consumer)?;
        arguments.add(event.brand.as_str())?;
        arguments.add(event.kind.as_str())?;
        arguments.add(event.accepted_ms)?;
        arguments.add(event.payload.as_slice())
    })?;
    script.write(&ADD_WORK, &work, |arguments, row| {
        arguments.add(row.id)?;
        arguments.add(row.event)?;
        arguments.add(row.plugin)?;
        arguments.add(0)?;
        arguments.add(row.due_ms)
    })?;
    let engaged: Vec<i64> = engaged.into_iter().collect();
    script.write(&ENGAGE, &engaged, |arguments, consumer| arguments.add(*consumer))?;
    Ok(answers)
}

/// What each event of a batch is, against what is known and what stands before it in the batch.
fn judge(known: &HashMap<Digest, Digest>, batch: &[NewEvent]) -> Vec<Acceptance> {
    let mut before: HashMap<Digest, Digest> = HashMap::new();
    batch
        .iter()
        .map(|event| match known.get(&event.key).or_else(|| before.get(&event.key)) {
            Some(body) if *body == event.body => Acceptance::Duplicate,
            Some(_) => Acceptance::Conflict,
            None => {
                before.insert(event.key, event.body);
                Acceptance::New { work: Vec::new() }
            }
        })
        .collect()
}

#[cfg(test)]
pub(super) fn texts() -> Vec<String> {
    [&FIND_CONSUMERS, &FIND_EVENTS, &ENGAGE].map(|bulk| bulk.text()).into()
}
