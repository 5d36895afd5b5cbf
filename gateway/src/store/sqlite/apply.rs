//! What the writer knows between transactions, and the order in which a group's tables are written. It
//! begins and ends no transaction.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::super::{Acceptance, Digest, NewEvent, StoreError};
use super::bulk::Script;
use super::calls::Offered;
use super::errors::Trouble;
use super::operation::{Answer, Operation, Outcome};
use super::{accept, aggregates, calls, control, deliveries, disclosures, ledger, messages};

/// Row numbers reserved for this process: never used twice, also not after a crash or a deletion, so that
/// a stale number of work that is done can never name other work.
#[derive(Default)]
pub(super) struct Numbers {
    next: i64,
    end: i64,
}

impl Numbers {
    /// More than any group takes.
    pub(super) const ENOUGH: i64 = 100_000;
    /// Taken from the database at once.
    const BLOCK: i64 = 1_000_000;

    /// Reserves a block, within a transaction that must be committed before a number is used.
    pub(super) async fn reserve(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let end: i64 =
            sqlx::query_scalar("UPDATE counters SET next = next + ? WHERE name = 'rows' RETURNING next")
                .bind(Self::BLOCK)
                .fetch_one(connection)
                .await?;
        Ok(Self { next: end - Self::BLOCK, end })
    }

    pub(super) fn left(&self) -> i64 {
        self.end - self.next
    }

    /// The next number; never beyond the block.
    pub(super) fn take(&mut self) -> Result<i64, Trouble> {
        if self.left() <= 0 {
            return Err(Trouble::Void);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

/// What the writer knows between transactions.
#[derive(Default)]
pub(super) struct State {
    pub(super) numbers: Numbers,
    /// Row numbers of the ledger's shapes, by digest: committed ones, and those of the open transaction.
    shapes: HashMap<Digest, i64>,
    fresh: Vec<(Digest, i64)>,
}

impl State {
    /// Shapes remembered, at most: some hundred bytes each.
    const SHAPES: usize = 16 * 1024;

    pub(super) fn shape(&self, digest: &Digest) -> Option<i64> {
        let fresh = || self.fresh.iter().find(|(known, _)| known == digest).map(|(_, row)| *row);
        self.shapes.get(digest).copied().or_else(fresh)
    }

    pub(super) fn remember_shape(&mut self, digest: Digest, row: i64) {
        self.fresh.push((digest, row));
    }

    pub(super) fn uncommitted_shapes(&self) -> usize {
        self.fresh.len()
    }

    /// Forgets what was written since: it was rolled back.
    pub(super) fn forget_shapes_after(&mut self, count: usize) {
        self.fresh.truncate(count);
    }

    pub(super) fn committed(&mut self) {
        if self.shapes.len() + self.fresh.len() > Self::SHAPES {
            self.shapes.clear();
        }
        self.shapes.extend(self.fresh.drain(..));
    }

    /// Writes the operations, kind by kind: any order among the operations of a group is a valid one. What is
    /// still in the script at the end is for the caller to send.
    pub(super) async fn apply(
        &mut self,
        connection: &mut SqliteConnection,
        script: &mut Script,
        operations: &[&Operation],
    ) -> Result<Vec<Outcome>, Trouble> {
        let mut slots: Vec<Option<Outcome>> = operations.iter().map(|_| None).collect();
        let mut consumers = Vec::new();
        let mut accepts = Vec::new();
        let mut decided = Vec::new();
        let mut recorded = Vec::new();
        let mut attempts = Vec::new();
        let mut results = Vec::new();
        let mut others = Vec::new();
        let mut flows = Vec::new();
        let mut tried = Vec::new();
        for (slot, operation) in slots.iter_mut().zip(operations) {
            match operation {
                Operation::Consumer(offered) => consumers.push((slot, offered)),
                Operation::Accept(events) => accepts.push((slot, events.as_slice())),
                Operation::Decided { event, call, flows } => {
                    decided.push((slot, event, call, flows.as_slice()))
                }
                Operation::Call { call, flows } => recorded.push((slot, call, flows.as_slice())),
                Operation::Attempt { delivery, attempt, flow } => {
                    *slot = Some(Ok(Answer::Done));
                    attempts.push((delivery, *attempt));
                    tried.push(flow);
                }
                Operation::Result(result) => {
                    *slot = Some(Ok(Answer::Done));
                    results.push(result);
                }
                other => others.push((slot, *other)),
            }
        }
        if !consumers.is_empty() {
            let found = accept::ensure_consumers(connection, script, &consumers).await?;
            for ((slot, _), consumer) in consumers.into_iter().zip(found) {
                *slot = Some(Ok(Answer::Consumer(consumer)));
            }
        }
        let only_decided = accepts.is_empty() && recorded.is_empty();
        let mut offered: Vec<_> =
            recorded.iter().map(|(_, call, flows)| Offered::alone(call, flows)).collect();
        if !accepts.is_empty() || !decided.is_empty() {
            let mut batches: Vec<&[NewEvent]> = accepts.iter().map(|(_, events)| *events).collect();
            batches.extend(decided.iter().map(|(_, event, ..)| event.as_slice()));
            let mut accepted =
                accept::accept(connection, script, &mut self.numbers, &batches).await?.into_iter();
            for ((slot, _), acceptances) in accepts.into_iter().zip(accepted.by_ref()) {
                *slot = Some(Ok(Answer::Accepted(acceptances)));
            }
            for ((slot, _, call, flows), acceptances) in decided.into_iter().zip(accepted) {
                if matches!(acceptances.as_slice(), [Acceptance::New { .. }]) {
                    offered.push(Offered::with_event(call, flows));
                }
                *slot = Some(Ok(Answer::Accepted(acceptances)));
            }
        }
        if !offered.is_empty() {
            // Decisions and their events come in equal numbers; of other mixtures there would be too many texts.
            if !only_decided {
                script.run(connection).await?;
                script.sized(offered.len());
            }
            let mut written = calls::record(script, self, &offered, &mut flows)?.into_iter();
            for ((slot, ..), new) in recorded.into_iter().zip(written.by_ref()) {
                *slot = Some(Ok(Answer::Whether(new)));
            }
            // A new event has no recorded decision; were there one, its event must not be stored either.
            if written.any(|new| !new) {
                return Err(Trouble::Void);
            }
            ledger::add(connection, script, self, &flows).await?;
        }
        if !attempts.is_empty() {
            script.run(connection).await?;
            script.sized(attempts.len());
            deliveries::record_attempts(script, &attempts)?;
            ledger::add(connection, script, self, &tried).await?;
        }
        if !results.is_empty() {
            script.run(connection).await?;
            script.sized(results.len());
            deliveries::record_results(script, &results)?;
        }
        if !others.is_empty() {
            script.run(connection).await?;
        }
        for (slot, operation) in others {
            *slot = Some(self.one(connection, script, operation).await?);
        }
        // Each operation stands in exactly one of the lists above.
        Ok(slots.into_iter().map(|slot| slot.unwrap_or(Err(StoreError::Unavailable))).collect())
    }

    async fn one(
        &mut self,
        connection: &mut SqliteConnection,
        script: &mut Script,
        operation: &Operation,
    ) -> Result<Outcome, Trouble> {
        match operation {
            Operation::Flow { flow, exposures } => {
                script.sized(1);
                ledger::add(connection, script, self, &[flow]).await?;
                calls::add_exposures(script, &exposures.iter().collect::<Vec<_>>())?;
                Ok(Ok(Answer::Done))
            }
            Operation::FlowResult { flow, result } => {
                script.sized(1);
                ledger::add_results(script, &[(flow, result)])?;
                Ok(Ok(Answer::Done))
            }
            Operation::Drop { delivery, attempt, flow } => {
                deliveries::drop_delivery(connection, script, self, delivery, *attempt, flow).await?;
                Ok(Ok(Answer::Done))
            }
            Operation::Defer { deferral, flows } => {
                calls::defer(connection, script, self, deferral, flows).await?;
                Ok(Ok(Answer::Done))
            }
            Operation::TakeMessage(message) => messages::take(connection, message).await,
            Operation::DeferMessage { message, attempt, due_ms, flows } => {
                messages::defer(connection, message, *attempt, *due_ms).await?;
                ledger::add(connection, script, self, &flows.iter().collect::<Vec<_>>()).await?;
                Ok(Ok(Answer::Done))
            }
            Operation::Resend { brand, delivery, now_ms, change } => {
                let resent = deliveries::resend(connection, brand, delivery, *now_ms, change).await?;
                Ok(Ok(Answer::Whether(resent)))
            }
            Operation::Flows { flows, change } => {
                ledger::add(connection, script, self, &flows.iter().collect::<Vec<_>>()).await?;
                if let Some(change) = change {
                    script.run(connection).await?;
                    control::record_change(connection, change, false).await?;
                }
                Ok(Ok(Answer::Done))
            }
            Operation::Disclosures { write, change } => disclosures::write(connection, write, change).await,
            Operation::Aggregates(write) => aggregates::write(connection, write).await,
            other => control::write(connection, other).await,
        }
    }
}
