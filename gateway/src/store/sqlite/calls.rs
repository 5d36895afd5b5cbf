//! Writes what a call leaves behind, and puts work off. It marks work as done by deleting it.

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlx::{Arguments, SqliteConnection};

use super::super::{CallRecord, DecisionRecord, NewDelivery, NewLog, NewReturn};
use super::apply::State;
use super::bulk::Bulk;
use super::errors::Trouble;
use super::operation::Shaped;
use super::{deliveries, ledger};

static DELETE_WORK: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::new("DELETE FROM work WHERE id IN (VALUES {rows})", 1));
static ADD_DECISIONS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = ["event", "slot", "consumer", "payload"];
    Bulk::insert("decisions", &columns, "ON CONFLICT (event, slot) DO NOTHING")
});
static ADD_RETURNS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("returns", &["flow", "consumer", "brand", "plugin", "event", "payload", "at_ms"], "")
});
static ADD_LOGS: LazyLock<Bulk> =
    LazyLock::new(|| Bulk::insert("call_logs", &["flow", "consumer", "text"], ""));

/// Records the calls, in their order, and lists their flows in `flows`; for each whether it was new. Void where one of them is not new by
/// what the database holds.
pub(super) async fn record<'a>(
    connection: &mut SqliteConnection,
    state: &mut State,
    calls: &[(&'a CallRecord, &'a [Shaped])],
    flows: &mut Vec<&'a Shaped>,
) -> Result<Vec<bool>, Trouble> {
    let mut work: HashSet<i64> = HashSet::with_capacity(calls.len());
    let mut decided = HashSet::new();
    let mut answers = Vec::with_capacity(calls.len());
    let mut decisions: Vec<&DecisionRecord> = Vec::new();
    let mut requests: Vec<&NewDelivery> = Vec::new();
    let mut returns: Vec<&NewReturn> = Vec::new();
    let mut logs: Vec<&NewLog> = Vec::new();
    for (call, shaped) in calls {
        let decision = call.decision.as_ref();
        let done = call.work.is_some_and(|work_row| work.contains(&work_row))
            || decision.is_some_and(|decision| decided.contains(&(decision.event, &decision.slot)));
        answers.push(!done);
        if done {
            continue;
        }
        work.extend(call.work);
        decided.extend(decision.map(|decision| (decision.event, &decision.slot)));
        decisions.extend(decision);
        flows.extend(shaped.iter());
        requests.extend(&call.deliveries);
        returns.extend(&call.returns);
        logs.extend(&call.log);
    }

    let work: Vec<i64> = work.into_iter().collect();
    let deleted = DELETE_WORK.execute(connection, &work, |arguments, row| arguments.add(*row)).await?;
    let added = ADD_DECISIONS
        .execute(connection, &decisions, |arguments, decision| {
            arguments.add(decision.event.as_slice())?;
            arguments.add(decision.slot.as_str())?;
            arguments.add(decision.consumer)?;
            arguments.add(decision.payload.as_slice())
        })
        .await?;
    if deleted != work.len() as u64 || added != decisions.len() as u64 {
        return Err(Trouble::Void);
    }
    deliveries::add(connection, state, &requests).await?;
    ADD_RETURNS
        .execute(connection, &returns, |arguments, row| {
            arguments.add(row.flow.as_slice())?;
            arguments.add(row.consumer)?;
            arguments.add(row.brand.as_str())?;
            arguments.add(row.plugin.as_str())?;
            arguments.add(row.event.as_slice())?;
            arguments.add(row.payload.as_slice())?;
            arguments.add(row.at_ms)
        })
        .await?;
    ADD_LOGS
        .execute(connection, &logs, |arguments, log| {
            arguments.add(log.flow.as_slice())?;
            arguments.add(log.consumer)?;
            arguments.add(log.text.as_slice())
        })
        .await?;
    Ok(answers)
}

/// Puts work off; void where it is done.
pub(super) async fn defer(
    connection: &mut SqliteConnection,
    state: &mut State,
    work: i64,
    attempt: u32,
    due_ms: i64,
    flows: &[Shaped],
) -> Result<(), Trouble> {
    let updated = sqlx::query("UPDATE work SET attempt = ?, due_ms = ? WHERE id = ?")
        .bind(attempt)
        .bind(due_ms)
        .bind(work)
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() != 1 {
        return Err(Trouble::Void);
    }
    ledger::add(connection, state, &flows.iter().collect::<Vec<_>>()).await
}

#[cfg(test)]
pub(super) fn texts() -> Vec<String> {
    vec![DELETE_WORK.text()]
}
