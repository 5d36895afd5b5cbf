//! Writes what a call leaves behind, and puts work off. It marks work as done by deleting it.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, SqliteConnection};

use super::super::{
    CallRecord, DecisionRecord, Deferral, Exposure, NewDelivery, NewLog, NewMemory, NewReceived, NewReturn,
    Uid,
};
use super::apply::State;
use super::bulk::{Bulk, Script};
use super::errors::Trouble;
use super::operation::Shaped;
use super::{deliveries, ledger};

static DELETE_WORK: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("DELETE FROM work WHERE id IN (VALUES {rows})", 1));
const DECISION: [&str; 4] = ["event", "slot", "consumer", "payload"];
static ADD_FIRST_DECISIONS: LazyLock<Bulk> = LazyLock::new(|| Bulk::insert("decisions", &DECISION, ""));
static ADD_DECISIONS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("decisions", &DECISION, "ON CONFLICT (event, slot) DO NOTHING"));
static ADD_RETURNS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("returns", &["flow", "consumer", "brand", "plugin", "event", "payload", "at_ms"], "")
});
static ADD_LOGS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("call_logs", &["flow", "consumer", "text"], ""));
/// Nothing is kept for a connection that is deleted: what a call of it leaves may come after the deletion.
const WHILE_ON: &str = "AND EXISTS (SELECT 1 FROM documents WHERE connection = column2)";
static KEEP_MEMORIES: LazyLock<Bulk> = LazyLock::new(|| {
    let conflict = "ON CONFLICT (consumer, connection) DO UPDATE SET payload = excluded.payload";
    Bulk::insert("memories", &["consumer", "connection", "payload"], &format!("{WHILE_ON} {conflict}"))
});
// A join and not `(consumer, connection) IN (…)`, which SQLite answers by reading the whole table.
static FORGET_MEMORIES: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "DELETE FROM memories WHERE id IN (SELECT m.id FROM (VALUES {rows}) AS gone CROSS JOIN memories AS m \
         ON m.consumer = gone.column1 AND m.connection = gone.column2)",
        2,
    )
});

static ADD_EXPOSURES: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["consumer", "partner", "what"];
    Bulk::insert("exposures", &columns, "ON CONFLICT (consumer, partner, what) DO NOTHING")
});
static DELETE_MESSAGES: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("DELETE FROM inbox WHERE uid IN (VALUES {rows})", 1));
static PUT_RECEIVED: LazyLock<Bulk> = LazyLock::new(|| {
    let conflict = "ON CONFLICT (consumer, connection) DO UPDATE SET payload = excluded.payload";
    Bulk::insert("received", &["consumer", "connection", "payload"], &format!("{WHILE_ON} {conflict}"))
});

/// A call to be recorded.
pub(super) struct Offered<'a> {
    call: &'a CallRecord,
    flows: &'a [Shaped],
    /// Its event is stored with it, so that nothing can be recorded about it yet.
    first: bool,
}

impl<'a> Offered<'a> {
    /// About an event that is stored.
    pub(super) fn alone(call: &'a CallRecord, flows: &'a [Shaped]) -> Self {
        Self { call, flows, first: false }
    }

    /// Together with its event.
    pub(super) fn with_event(call: &'a CallRecord, flows: &'a [Shaped]) -> Self {
        Self { call, flows, first: true }
    }
}

/// Puts the calls into the script, in their order, and lists their flows in `flows`; for each whether it is
/// new. The script is void where one of them is not new by what the database holds.
pub(super) fn record<'a>(
    script: &mut Script,
    state: &mut State,
    calls: &[Offered<'a>],
    flows: &mut Vec<&'a Shaped>,
) -> Result<Vec<bool>, Trouble> {
    let mut work: HashSet<i64> = HashSet::with_capacity(calls.len());
    let mut decided = HashSet::new();
    let mut answers = Vec::with_capacity(calls.len());
    let mut decisions: Vec<&DecisionRecord> = Vec::new();
    let mut firsts: Vec<&DecisionRecord> = Vec::new();
    let mut requests: Vec<&NewDelivery> = Vec::new();
    let mut returns: Vec<&NewReturn> = Vec::new();
    let mut logs: Vec<&NewLog> = Vec::new();
    let mut exposures: Vec<&Exposure> = Vec::new();
    let mut messages: Vec<&Uid> = Vec::new();
    let mut received: Vec<&NewReceived> = Vec::new();
    // By consumer and connection: one statement must not write a row twice. Calls that write the same memory are
    // recorded one after the other, so that there is nothing to choose.
    let mut memories: BTreeMap<(i64, Uid), &NewMemory> = BTreeMap::new();
    for Offered { call, flows: shaped, first } in calls {
        let decision = call.decision.as_ref();
        let done = call.work.is_some_and(|work_row| work.contains(&work_row))
            || call.message.as_ref().is_some_and(|message| messages.contains(&message))
            || decision.is_some_and(|decision| decided.contains(&(decision.event, &decision.slot)));
        answers.push(!done);
        if done {
            continue;
        }
        work.extend(call.work);
        decided.extend(decision.map(|decision| (decision.event, &decision.slot)));
        if *first {
            firsts.extend(decision)
        } else {
            decisions.extend(decision)
        }
        flows.extend(shaped.iter());
        requests.extend(&call.deliveries);
        returns.extend(&call.returns);
        logs.extend(&call.log);
        exposures.extend(&call.exposures);
        messages.extend(&call.message);
        received.extend(&call.received);
        memories.extend(call.memory.iter().map(|memory| ((memory.consumer, memory.connection), memory)));
    }

    let work: Vec<i64> = work.into_iter().collect();
    script.write_each(&DELETE_WORK, &work, |arguments, row| arguments.add(*row))?;
    script.write_each(&ADD_DECISIONS, &decisions, bind_decision)?;
    script.write(&ADD_FIRST_DECISIONS, &firsts, bind_decision)?;
    script.write_each(&DELETE_MESSAGES, &messages, |arguments, uid| arguments.add(uid.as_slice()))?;
    add_exposures(script, &exposures)?;
    script.write(&PUT_RECEIVED, &received, |arguments, received| {
        arguments.add(received.consumer)?;
        arguments.add(received.connection.as_slice())?;
        arguments.add(received.payload.as_slice())
    })?;
    deliveries::add(script, state, &requests)?;
    script.write(&ADD_RETURNS, &returns, |arguments, row| {
        arguments.add(row.flow.as_slice())?;
        arguments.add(row.consumer)?;
        arguments.add(row.brand.as_str())?;
        arguments.add(row.plugin.as_str())?;
        arguments.add(row.event.as_slice())?;
        arguments.add(row.payload.as_slice())?;
        arguments.add(row.at_ms)
    })?;
    script.write(&ADD_LOGS, &logs, |arguments, log| {
        arguments.add(log.flow.as_slice())?;
        arguments.add(log.consumer)?;
        arguments.add(log.text.as_slice())
    })?;
    let (kept, forgotten): (Vec<&NewMemory>, Vec<&NewMemory>) =
        memories.into_values().partition(|memory| memory.payload.is_some());
    script.write(&KEEP_MEMORIES, &kept, |arguments, memory| {
        arguments.add(memory.consumer)?;
        arguments.add(memory.connection.as_slice())?;
        arguments.add(memory.payload.as_deref())
    })?;
    script.write(&FORGET_MEMORIES, &forgotten, |arguments, memory| {
        arguments.add(memory.consumer)?;
        arguments.add(memory.connection.as_slice())
    })?;
    Ok(answers)
}

fn bind_decision(arguments: &mut SqliteArguments, decision: &&DecisionRecord) -> Result<(), BoxDynError> {
    arguments.add(decision.event.as_slice())?;
    arguments.add(decision.slot.as_str())?;
    arguments.add(decision.consumer)?;
    arguments.add(decision.payload.as_slice())
}

/// Puts what partners received into the script; what is known already is passed over.
pub(super) fn add_exposures(script: &mut Script, exposures: &[&Exposure]) -> Result<(), Trouble> {
    script.write(&ADD_EXPOSURES, exposures, |arguments, exposure| {
        arguments.add(exposure.consumer)?;
        arguments.add(exposure.partner.as_str())?;
        arguments.add(exposure.what.as_str())
    })
}

/// Puts work off; void where it is done.
pub(super) async fn defer(
    connection: &mut SqliteConnection,
    script: &mut Script,
    state: &mut State,
    deferral: &Deferral,
    flows: &[Shaped],
) -> Result<(), Trouble> {
    let updated = sqlx::query("UPDATE work SET attempt = ?, due_ms = ? WHERE id = ?")
        .bind(deferral.attempt)
        .bind(deferral.due_ms)
        .bind(deferral.work)
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() != 1 {
        return Err(Trouble::Void);
    }
    ledger::add(connection, script, state, &flows.iter().collect::<Vec<_>>()).await?;
    add_exposures(script, &deferral.exposures.iter().collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) fn texts() -> Vec<String> {
    vec![DELETE_WORK.text(), DELETE_MESSAGES.text(), FORGET_MEMORIES.text()]
}
