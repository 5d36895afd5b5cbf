//! Writes the outbox: new deliveries, attempts, results, and what becomes of them. It never reads a request.

use std::sync::LazyLock;

use sqlx::{Arguments, SqliteConnection};

use super::super::{AttemptResult, Change, DeliveryState, NewDelivery, Uid};
use super::apply::State;
use super::bulk::{Bulk, Script};
use super::errors::Trouble;
use super::operation::Shaped;
use super::{control, ledger};

static ADD: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("deliveries", &["id", "consumer", "plugin", "event", "endpoint", "payload"], "")
});
static ADD_STATES: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::insert("delivery_states", &["uid", "delivery", "brand", "state", "attempt", "due_ms"], "")
});
// `+`: else SQLite reads all that is pending by the index over it.
static ATTEMPT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE delivery_states SET attempt = new.column2 FROM (VALUES {rows}) AS new \
         WHERE uid = new.column1 AND +state = 0",
        2,
    )
});
static SETTLE: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "UPDATE delivery_states SET state = new.column2, due_ms = new.column3, last = new.column4 \
         FROM (VALUES {rows}) AS new WHERE uid = new.column1",
        4,
    )
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

/// Puts deliveries into the script, pending.
pub(super) fn add(
    script: &mut Script,
    state: &mut State,
    deliveries: &[&NewDelivery],
) -> Result<(), Trouble> {
    let mut rows = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        rows.push((state.numbers.take()?, *delivery));
    }
    script.write(&ADD, &rows, |arguments, (number, delivery)| {
        arguments.add(*number)?;
        arguments.add(delivery.consumer)?;
        arguments.add(delivery.plugin.as_str())?;
        arguments.add(delivery.event.as_slice())?;
        arguments.add(delivery.endpoint.as_str())?;
        arguments.add(delivery.payload.as_slice())
    })?;
    script.write(&ADD_STATES, &rows, |arguments, (number, delivery)| {
        arguments.add(delivery.id.as_slice())?;
        arguments.add(*number)?;
        arguments.add(delivery.brand.as_str())?;
        arguments.add(state_number(DeliveryState::Pending))?;
        arguments.add(delivery.attempt)?;
        arguments.add(delivery.due_ms)
    })
}

/// Puts attempts into the script, but for their flows; void where a delivery is not pending.
pub(super) fn record_attempts(script: &mut Script, attempts: &[(&Uid, u32)]) -> Result<(), Trouble> {
    script.write_each(&ATTEMPT, attempts, |arguments, (delivery, attempt)| {
        arguments.add(delivery.as_slice())?;
        arguments.add(*attempt)
    })
}

/// Puts results into the script; void where there is no such delivery.
pub(super) fn record_results(script: &mut Script, results: &[&AttemptResult]) -> Result<(), Trouble> {
    let outcomes: Vec<_> = results.iter().map(|row| (&row.flow, &row.result)).collect();
    ledger::add_results(script, &outcomes)?;
    script.write_each(&SETTLE, results, |arguments, row| {
        let result = &row.result;
        arguments.add(row.delivery.as_slice())?;
        arguments.add(state_number(row.state))?;
        arguments.add(row.due_ms)?;
        arguments.add(result.code.clone().or_else(|| result.status.map(|status| status.to_string())))
    })
}

/// Drops a delivery; void where it is not pending.
pub(super) async fn drop_delivery(
    connection: &mut SqliteConnection,
    script: &mut Script,
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
    ledger::add(connection, script, state, &[flow]).await
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
    vec![ATTEMPT.text(), SETTLE.text()]
}
