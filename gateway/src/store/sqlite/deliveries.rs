//! Writes the outbox: new deliveries, attempts, results, and what becomes of them. It never reads a request.

use std::sync::LazyLock;

use sqlx::{Arguments, SqliteConnection};

use super::super::{AttemptResult, Change, DeliveryState, NewDelivery, Uid};
use super::apply::State;
use super::bulk::{Bulk, Pair};
use super::errors::Trouble;
use super::operation::Shaped;
use super::{control, ledger};

static ADD: LazyLock<Pair> = LazyLock::new(|| {
    let request = ["id", "consumer", "plugin", "event", "endpoint", "payload"];
    let state = ["uid", "delivery", "brand", "state", "attempt", "due_ms"];
    Pair::new(Bulk::insert("deliveries", &request, ""), Bulk::insert("delivery_states", &state, ""))
});
// `+`: else SQLite reads all that is pending by the index over it.
static ATTEMPT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE delivery_states SET attempt = new.column2 FROM (VALUES {rows}) AS new \
         WHERE uid = new.column1 AND +state = 0",
        2,
    )
});
static SETTLE: LazyLock<Pair> = LazyLock::new(|| {
    let result = ["flow", "at_ms", "outcome", "status", "code"];
    let state = "UPDATE delivery_states SET state = new.column2, due_ms = new.column3, last = new.column4 \
                 FROM (VALUES {rows}) AS new WHERE uid = new.column1";
    Pair::new(Bulk::insert("flow_results", &result, ""), Bulk::new(state, 4))
});

/// The number that stands for a state in the database.
pub(super) fn state_number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Delivered => 1,
        DeliveryState::Dead => 2,
        DeliveryState::Dropped => 3,
    }
}

/// The state that a number stands for.
pub(super) fn state_of(number: i64) -> Option<DeliveryState> {
    use DeliveryState::{Dead, Delivered, Dropped, Pending};
    [Pending, Delivered, Dead, Dropped].into_iter().find(|state| state_number(*state) == number)
}

/// Adds deliveries, pending.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    state: &mut State,
    deliveries: &[&NewDelivery],
) -> Result<(), Trouble> {
    let mut rows = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        rows.push((state.numbers.take()?, *delivery));
    }
    ADD.execute(
        connection,
        &rows,
        |arguments, (number, delivery)| {
            arguments.add(*number)?;
            arguments.add(delivery.consumer)?;
            arguments.add(delivery.plugin.as_str())?;
            arguments.add(delivery.event.as_slice())?;
            arguments.add(delivery.endpoint.as_str())?;
            arguments.add(delivery.payload.as_slice())
        },
        |arguments, (number, delivery)| {
            arguments.add(delivery.id.as_slice())?;
            arguments.add(*number)?;
            arguments.add(delivery.brand.as_str())?;
            arguments.add(state_number(DeliveryState::Pending))?;
            arguments.add(0)?;
            arguments.add(delivery.due_ms)
        },
    )
    .await?;
    Ok(())
}

/// Records attempts, but for their flows; void where a delivery is not pending.
pub(super) async fn record_attempts(
    connection: &mut SqliteConnection,
    attempts: &[(&Uid, u32)],
) -> Result<(), Trouble> {
    let updated = ATTEMPT
        .execute(connection, attempts, |arguments, (delivery, attempt)| {
            arguments.add(delivery.as_slice())?;
            arguments.add(*attempt)
        })
        .await?;
    if updated == attempts.len() as u64 { Ok(()) } else { Err(Trouble::Void) }
}

/// Records results; void where there is no such delivery.
pub(super) async fn record_results(
    connection: &mut SqliteConnection,
    results: &[&AttemptResult],
) -> Result<(), Trouble> {
    let written = SETTLE
        .execute(
            connection,
            results,
            |arguments, row| {
                arguments.add(row.flow.as_slice())?;
                arguments.add(row.result.at_ms)?;
                arguments.add(row.result.outcome.as_str())?;
                arguments.add(row.result.status)?;
                arguments.add(row.result.code.as_deref())
            },
            |arguments, row| {
                let result = &row.result;
                arguments.add(row.delivery.as_slice())?;
                arguments.add(state_number(row.state))?;
                arguments.add(row.due_ms)?;
                arguments.add(result.code.clone().or_else(|| result.status.map(|status| status.to_string())))
            },
        )
        .await?;
    // A result and a state each.
    if written == 2 * results.len() as u64 { Ok(()) } else { Err(Trouble::Void) }
}

/// Drops a delivery; void where it is not pending.
pub(super) async fn drop_delivery(
    connection: &mut SqliteConnection,
    state: &mut State,
    delivery: &Uid,
    attempt: u32,
    flow: &Shaped,
) -> Result<(), Trouble> {
    let dropped = sqlx::query(
        "UPDATE delivery_states SET state = ?, attempt = ?, last = ? WHERE uid = ? AND state = 0",
    )
    .bind(state_number(DeliveryState::Dropped))
    .bind(attempt)
    .bind(&flow.flow.outcome)
    .bind(delivery.as_slice())
    .execute(&mut *connection)
    .await?;
    if dropped.rows_affected() != 1 {
        return Err(Trouble::Void);
    }
    ledger::add(connection, state, &[flow]).await
}

/// Makes a dead or dropped delivery due; whether there was one.
pub(super) async fn resend(
    connection: &mut SqliteConnection,
    brand: &str,
    delivery: &Uid,
    now_ms: i64,
    change: &Change,
) -> Result<bool, Trouble> {
    let updated = sqlx::query(
        "UPDATE delivery_states SET state = 0, due_ms = ? WHERE uid = ? AND brand = ? AND state >= 2",
    )
    .bind(now_ms)
    .bind(delivery.as_slice())
    .bind(brand)
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() == 0 {
        return Ok(false);
    }
    control::record_change(connection, change, false).await?;
    Ok(true)
}

#[cfg(test)]
pub(super) fn texts() -> Vec<String> {
    let settle = SETTLE.text();
    vec![ATTEMPT.text(), settle.split_once("; ").unwrap().1.to_owned()]
}
