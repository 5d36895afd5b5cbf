//! Dispatch: for each piece of work decide, run in the sandbox, check, and commit; only then deliver.

use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Conditions, Facts, Flow, LabelSet, Recipient};

use super::accept::{StoredEvent, event_place};
use super::consumers::Consumer;
use super::counts::Tally;
use super::deliver::DueDelivery;
use super::error::Refusal;
use super::event;
use super::failed::{Failed, note_kept_apart};
use super::gateway::Gateway;
use super::ledger::Row;
use super::memories::Turn;
use super::onward::Fresh;
use super::queue::{Queue, Slot};
use super::registry::LiveConnection;
use super::worker::{Due, READ};
use crate::boundary::{Checked, Crossing, Subject, let_ask};
use crate::plugin_host::{Budget, Call, CallError};
use crate::store::crypto::format_uid;
use crate::store::{
    CallRecord, Deferral, Exposure, FlowRecord, NewDelivery, NewLog, NewReturn, Stage, StoreError, Uid,
    WorkRecord,
};

/// Calls of one piece of work, where the plugin says that it cannot do it now, or its breaker is open.
pub(super) const MAX_TRIES: u32 = 8;
/// Whoever accepted an event puts its work into the queue, a tenth of a second later at most. A read of the store
/// leaves work that is younger than this to them, or both could run it.
pub(super) const YOUNG_MS: i64 = 1_000;
/// Milliseconds before work is looked at again whose connection cannot be used.
pub(super) const UNUSABLE_WAIT_MS: i64 = 30_000;
/// Milliseconds before the second call; each further wait is twice as long.
const FIRST_WAIT_MS: i64 = 5_000;

/// Bytes of an id that are its moment.
const UID_TIME: usize = 6;

/// One event's work for one connection, in memory.
pub(super) struct DueWork {
    pub(super) id: i64,
    pub(super) plugin: String,
    pub(super) attempt: u32,
    pub(super) consumer: Arc<Consumer>,
    pub(super) event: Arc<StoredEvent>,
}

impl Due for DueWork {
    type Id = i64;
    const NAME: &'static str = "work";

    fn id(&self) -> i64 {
        self.id
    }

    fn queue(gateway: &Gateway) -> &Queue<i64, Self> {
        &gateway.work
    }

    async fn read(gateway: &Gateway) {
        gateway.read_due_work().await;
    }

    async fn work(self, gateway: &Arc<Gateway>, _slot: Slot) -> Result<(), Refusal> {
        gateway.work_on(self).await
    }
}

/// What a call leaves to be committed, and to be released once it is.
pub(super) struct CallOutcome {
    pub(super) record: CallRecord,
    pub(super) deliveries: Vec<DueDelivery>,
    /// The call's turn with the plugin's memory, which lasts until the commit.
    pub(super) turn: Option<Turn>,
    /// What other plugins get once it is committed.
    pub(super) returned: Option<Fresh>,
}

impl Gateway {
    async fn read_due_work(&self) {
        let records = match self.store.due_work(self.clock.now_ms(), READ).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "due work cannot be read");
                return;
            }
        };
        if records.len() >= READ as usize {
            self.work.fall_behind();
        }
        let settled_ms = self.clock.now_ms() - YOUNG_MS;
        for record in records {
            let young = record.attempt == 0 && record.event.accepted_ms > settled_ms;
            if young || !self.work.is_news(&record.id) {
                continue;
            }
            match self.due_work(record).await {
                Ok(due) => self.work.push(due.id, due),
                Err(error) => tracing::error!(%error, "a stored event cannot be read; its work waits"),
            }
        }
    }

    async fn due_work(&self, record: WorkRecord) -> Result<DueWork, Refusal> {
        let consumer = self.consumers.by_id(&*self.store, &self.master, record.event.consumer).await?;
        let body = consumer
            .key
            .open(&event_place(&record.event.uid), &record.event.payload)
            .map_err(|_| Refusal::Internal)?;
        let event =
            event::reread(&body, record.event.accepted_ms, &self.catalogue).ok_or(Refusal::Internal)?;
        if event.engages {
            // It is stored, so it counts; whoever accepted it may not have come to say so yet.
            consumer.set_engaged();
        }
        let stored = StoredEvent::new(record.event.uid, record.event.key, record.event.accepted_ms, event);
        Ok(DueWork {
            id: record.id,
            plugin: record.plugin,
            attempt: record.attempt,
            consumer,
            event: Arc::new(stored),
        })
    }

    async fn work_on(self: &Arc<Self>, due: DueWork) -> Result<(), Refusal> {
        // It is still due where it is not its turn, and the next poll reads it.
        let Some((registry, mut turn)) = self.memory_turn(&due).await? else { return Ok(()) };
        let Some(live) = registry.connection(&due.consumer.brand, &due.plugin) else {
            // On, and not to be used now: what waits for it is not lost.
            if let Some(code) = registry.unusable(&due.consumer.brand, &due.plugin) {
                let flow = self.row_without_connection(&due, code);
                return self.defer(&due, self.clock.now_ms() + UNUSABLE_WAIT_MS, 0, flow).await;
            }
            return self.switched_off(&due).await;
        };
        // What a release on trial could not do is done by the one that stands.
        let live = if due.attempt == 0 { live.serving(&self.master, &due.consumer.pseudonym) } else { live };
        let Some(hook) = live.connection.share_hook(&due.event.event.kind) else {
            return self.switched_off(&due).await;
        };
        let Some(hook_data) = live.connection.release.hooks.get(hook) else { return Err(Refusal::Internal) };
        self.look_up_returned(&due.consumer, hook_data).await?;
        let memory = turn.as_ref().and_then(Turn::memory);
        self.note_numbers_of_call(live, hook_data, &due.consumer, &due.event, memory.as_deref()).await?;
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(due.event.accepted_ms, now_ms);
        let choices = due.consumer.choices();
        let subject = Subject {
            conditions: &due.event.event.conditions,
            choices: Some(&choices),
            engaged: due.consumer.engaged(),
        };
        let recalled = self.recalled(live, hook, turn.as_ref(), subject, moment);
        // Before anything is taken in of what the partner would receive.
        let admitted = live.breaker.admit(now_ms);
        let runs = admitted.is_ok();
        let (consumer, event) = (&due.consumer, &due.event);
        let toward =
            self.toward(live, hook, hook_data, consumer, event, recalled.as_ref(), subject, moment, runs);
        let row = Row::of_call(self, &live.connection, &due.consumer, &due.event, moment);
        let mut flow =
            row.record(Stage::Call, Flow::Share, toward.recipient, toward.verdicts, toward.facts, "ran");
        let mut until_commit = None;
        let mut outcome = match toward.input {
            Err(not_run) => {
                if runs {
                    live.breaker.unused(now_ms);
                }
                flow.outcome = not_run.code().into();
                let mut outcome = CallOutcome::only(due.id, flow);
                let after = toward.crossing.memory_after(&live.connection, None);
                if let Some(turn) = &mut turn {
                    outcome.record.memory = turn.leave(&due.consumer, after)?;
                }
                outcome
            }
            Ok(input) => {
                if let Err(until_ms) = admitted {
                    flow.outcome = "not-run:breaker-open".into();
                    if due.attempt + 1 < MAX_TRIES {
                        return self.defer(&due, until_ms, 1, flow).await;
                    }
                    return self.commit(CallOutcome::only(due.id, flow)).await.map(drop);
                }
                let input = let_ask(input, &live.connection, || self.aggregates_for(live));
                flow.payload = Some(due.consumer.key.digest(input.get().fields.as_bytes()));
                let started = Instant::now();
                let (session, exchanger) =
                    self.asking(live, Flow::Share, &due.consumer, &due.event, &toward.crossing);
                let call = self.host.share(&live.loaded, input, Budget::default(), exchanger).await;
                let mut crossing = session.map_or(toward.crossing, |session| session.crossing());
                note_kept_apart(&mut flow, crossing.refused_meeting());
                if call.memory.touched {
                    crossing.touch_memory();
                }
                flow.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                note_cost(&mut flow, &call);
                until_commit = Some(self.blocking.read().await);
                if self.registry.load().is_blocked(&live.connection.release.digest) {
                    // It ran, and nothing that it brought is kept. The work waits as any other of a blocked release.
                    flow.outcome = "failed:blocked".into();
                    return self.defer(&due, self.clock.now_ms() + UNUSABLE_WAIT_MS, 0, flow).await;
                }
                if let Err(error) = &call.result
                    && let Some(wait) = wait_ms(error, due.attempt)
                    && due.attempt + 1 < MAX_TRIES
                {
                    flow.outcome = Failed::of_call(error).code;
                    return self.defer(&due, now_ms + wait, 1, flow).await;
                }
                // The consumer may have chosen otherwise while it ran.
                let choices = due.consumer.choices();
                let subject = Subject { choices: Some(&choices), engaged: due.consumer.engaged(), ..subject };
                let checked = match &call.result {
                    Ok(outcome) => self
                        .check_share(&live.connection, &due.consumer, &crossing, subject, moment, outcome)
                        .map_err(Failed::of_violation),
                    Err(error) => Err(Failed::of_call(error)),
                };
                if let Err(failed @ Failed { again: true, .. }) = &checked
                    && due.attempt + 1 < MAX_TRIES
                {
                    failed.tell(&mut flow);
                    return self.defer(&due, now_ms, 1, flow).await;
                }
                if let (Some(trial), Err(failed @ Failed { broken: true, .. })) = (&live.trial, &checked)
                    && due.attempt + 1 < MAX_TRIES
                {
                    trial.note(true);
                    failed.tell(&mut flow);
                    return self.defer(&due, now_ms, 1, flow).await;
                }
                self.judge_share(live, &due, &row, flow, crossing, turn.as_mut(), call, checked)?
            }
        };
        outcome.turn = turn;
        let exposures = due.consumer.unwritten(&live.connection.partner.name);
        outcome.record.exposures.clone_from(&exposures);
        let row = outcome.record.flows.first().cloned();
        if self.commit(outcome).await? {
            due.consumer.exposures_written(&exposures);
        } else {
            // Somebody else did the work. This call ran all the same, so its row is written.
            if self.commit(CallOutcome::row(row, exposures.clone())).await? {
                due.consumer.exposures_written(&exposures);
            }
        }
        drop(until_commit);
        Ok(())
    }

    /// Puts together what is to be committed of a call by what it gave back.
    #[allow(clippy::too_many_arguments)] // one call's whole context, used once
    fn judge_share(
        &self,
        live: &LiveConnection,
        due: &DueWork,
        row: &Row<'_>,
        mut flow: FlowRecord,
        crossing: Crossing,
        turn: Option<&mut Turn>,
        call: Call<crate::boundary::PluginOutcome>,
        checked: Result<Checked, Failed>,
    ) -> Result<CallOutcome, Refusal> {
        let log = self.log_of(&call, &flow, &due.consumer, || {
            (crossing.labels(&live.connection), crossing.conditions().clone())
        });
        let kept = checked.is_ok().then_some(call.memory);
        let after = crossing.memory_after(&live.connection, kept);
        let memory = turn.map(|turn| turn.leave(&due.consumer, after)).transpose()?.flatten();
        match checked {
            Err(failed) => {
                self.note_failure(live, row.at_ms, &failed.code, failed.broken);
                failed.tell(&mut flow);
                let mut outcome = CallOutcome::only(due.id, flow);
                outcome.record.log = log;
                outcome.record.memory = memory;
                Ok(outcome)
            }
            Ok(checked) => {
                live.succeeded();
                let mut outcome = self.outcome(row, flow, checked, &due.consumer, due.event.accepted_ms)?;
                outcome.record.work = Some(due.id);
                outcome.record.log = log;
                outcome.record.memory = memory;
                Ok(outcome)
            }
        }
    }

    /// The rows, outbox and returned fields of a call that passed.
    pub(super) fn outcome(
        &self,
        row: &Row<'_>,
        flow: FlowRecord,
        checked: Checked,
        consumer: &Arc<Consumer>,
        accepted_ms: i64,
    ) -> Result<CallOutcome, Refusal> {
        let mut record = CallRecord { flows: vec![flow], ..CallRecord::default() };
        let mut fresh = None;
        if !checked.verdicts.is_empty() {
            let outcome = if checked.returned.is_some() { "returned" } else { "withheld" };
            let mut back = row.record(
                Stage::Return,
                Flow::Return,
                Recipient::Brand,
                checked.verdicts,
                checked.facts,
                outcome,
            );
            if let Some(returned) = checked.returned {
                let returned = returned.release();
                let text = serde_json::to_vec(&returned).map_err(|_| Refusal::Internal)?;
                back.payload = Some(consumer.key.digest(&text));
                record.returns.push(NewReturn {
                    flow: back.id,
                    consumer: consumer.id,
                    brand: row.brand.to_owned(),
                    plugin: row.plugin.to_owned(),
                    event: row.event,
                    payload: seal(consumer, &return_place(&back.id), &text)?,
                    at_ms: row.at_ms,
                });
                let plugin = row.plugin.to_owned();
                let release = row.release;
                fresh = Some(Fresh { consumer: Arc::clone(consumer), plugin, release, returned });
            }
            record.flows.push(back);
        }
        let mut deliveries = Vec::with_capacity(checked.deliveries.len());
        for (index, planned) in checked.deliveries.into_iter().enumerate() {
            let id = self.delivery_id(&row.event, row.brand, row.plugin, index);
            let text = serde_json::to_vec(&planned).map_err(|_| Refusal::Internal)?;
            record.deliveries.push(NewDelivery {
                id,
                consumer: consumer.id,
                brand: row.brand.to_owned(),
                plugin: row.plugin.to_owned(),
                event: row.event,
                endpoint: planned.endpoint.name.clone(),
                payload: seal(consumer, &delivery_place(&id), &text)?,
                due_ms: row.at_ms,
                attempt: 0,
            });
            deliveries.push(DueDelivery {
                id,
                brand: row.brand.to_owned(),
                plugin: row.plugin.to_owned(),
                event: row.event,
                accepted_ms,
                attempt: 0,
                consumer: Arc::clone(consumer),
                planned: Arc::new(planned),
            });
        }
        Ok(CallOutcome { record, deliveries, turn: None, returned: fresh })
    }

    /// The id of a request: that of its event with the random part replaced by a keyed digest of (event,
    /// connection, index). However often a call is made again, its requests keep their ids.
    pub(super) fn delivery_id(&self, event: &Uid, brand: &str, plugin: &str, index: usize) -> Uid {
        let parts: [&[u8]; 4] = [event, brand.as_bytes(), plugin.as_bytes(), &index.to_be_bytes()];
        let digest = self.master.index_digest("delivery", &parts);
        let mut id = *event;
        for (byte, derived) in id.iter_mut().skip(UID_TIME).zip(digest) {
            *byte = derived;
        }
        id
    }

    /// Commits a call; then, and only then, its deliveries go on. The first tries of those that can be made at once
    /// are decided here, so that their rows are committed with the call's. Whoever commits may hold [`Gateway::blocking`]
    /// and what keeps choices from changing, so until the commit nothing is waited for.
    pub(super) async fn commit(self: &Arc<Self>, outcome: CallOutcome) -> Result<bool, Refusal> {
        let CallOutcome { mut record, deliveries, turn, returned } = outcome;
        let mut tries = Vec::with_capacity(deliveries.len());
        for (due, new) in deliveries.into_iter().zip(&mut record.deliveries) {
            let begun = self.first_try(&due).map(|(begun, flow)| {
                new.attempt = flow.attempt;
                record.flows.push(flow);
                begun
            });
            tries.push((due, begun));
        }
        let tally = Tally::of(&record.flows);
        if !self.store.record_call(record).await? {
            return Ok(false);
        }
        self.tally(&tally);
        if let Some(turn) = turn {
            turn.committed();
        }
        if let Some(returned) = returned {
            returned.committed();
        }
        for (due, begun) in tries {
            match begun {
                Some(begun) => begun.committed(self, due),
                None => self.deliveries.push(due.id, due),
            }
        }
        Ok(true)
    }

    /// Counts what was committed.
    pub(super) fn tally(&self, tally: &Tally) {
        for verdict in &tally.decisions {
            self.counters.decision(*verdict);
        }
        self.counters.flows(tally.flows);
        self.counters.calls(tally.calls);
        self.counters.violations(tally.violations);
    }

    /// Work for a connection that is off by now: clause use.brand-directed.
    async fn switched_off(self: &Arc<Self>, due: &DueWork) -> Result<(), Refusal> {
        let flow = self.row_without_connection(due, "not-run:switched-off");
        self.commit(CallOutcome::only(due.id, flow)).await.map(drop)
    }

    /// A row for work whose connection is not there, and so nor are its fields.
    fn row_without_connection(&self, due: &DueWork, outcome: &str) -> FlowRecord {
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(due.event.accepted_ms, now_ms);
        let registry = self.registry.load();
        let partner = registry
            .releases_of(&due.plugin)
            .first()
            .map(|live| live.meta.partner.clone())
            .unwrap_or_default();
        let row = Row {
            brand: &due.consumer.brand,
            plugin: &due.plugin,
            partner: &partner,
            release: [0; 32],
            purpose: "",
            consumer: due.consumer.pseudonym,
            event: due.event.uid,
            event_type: &due.event.event.kind,
            policy: self.book.digest(moment),
            at_ms: now_ms,
        };
        row.record(Stage::Call, Flow::Share, Recipient::ThirdParty, vec![], Facts::none(), outcome)
    }

    /// Puts work off, with the row that says why; `tries` is what it counts as.
    async fn defer(&self, due: &DueWork, due_ms: i64, tries: u32, flow: FlowRecord) -> Result<(), Refusal> {
        let flows = vec![flow];
        let tally = Tally::of(&flows);
        let partner = flows.first().map(|flow| flow.partner.clone()).unwrap_or_default();
        let exposures = due.consumer.unwritten(&partner);
        let deferral = Deferral {
            work: due.id,
            attempt: due.attempt + tries,
            due_ms,
            flows,
            exposures: exposures.clone(),
        };
        let flows = deferral.flows.clone();
        match self.store.defer_work(deferral).await {
            Ok(()) => {}
            // Somebody else did the work. This call ran all the same, so its row is written.
            Err(StoreError::Contradiction(_)) => {
                let record = CallRecord { flows, exposures: exposures.clone(), ..CallRecord::default() };
                self.store.record_call(record).await?;
            }
            Err(error) => return Err(error.into()),
        }
        due.consumer.exposures_written(&exposures);
        self.tally(&tally);
        Ok(())
    }

    /// Counts a failure toward the connection's breaker, visibly.
    pub(super) fn note_failure(&self, live: &LiveConnection, now_ms: i64, code: &str, broken: bool) {
        if code == "failed:rejected" {
            live.succeeded();
            return;
        }
        if let Some(trial) = live.trial.as_ref().filter(|_| broken) {
            trial.note(true);
        }
        if broken && live.breaker.failed(now_ms) {
            metrics::counter!("gateway_breaker_opened_total").increment(1);
            tracing::warn!(
                brand = &*live.connection.brand,
                plugin = &*live.connection.plugin,
                code,
                "repeated failures opened the connection's breaker"
            );
        }
    }

    /// Log and failure texts with the labels of the call, under the consumer's key.
    pub(super) fn log_of<T>(
        &self,
        call: &Call<T>,
        flow: &FlowRecord,
        consumer: &Consumer,
        derives_from: impl FnOnce() -> (LabelSet, Conditions),
    ) -> Option<NewLog> {
        let failure = match &call.result {
            Err(CallError::Rejected(text) | CallError::Unavailable(text) | CallError::Later { text, .. }) => {
                Some(text.as_str())
            }
            _ => None,
        };
        if call.logs.is_empty() && failure.is_none() {
            return None;
        }
        let lines: Vec<_> =
            call.logs.iter().map(|line| (line.level.as_str(), line.message.as_str())).collect();
        let (labels, conditions) = derives_from();
        let text = serde_json::json!({
            "lines": lines, "dropped": call.logs_dropped, "cut": call.logs_cut, "failure": failure,
            "labels": labels, "conditions": conditions,
        });
        let place = format!("log/{}", format_uid(&flow.id));
        let text = consumer.key.seal(&place, text.to_string().as_bytes()).ok()?;
        Some(NewLog { flow: flow.id, consumer: consumer.id, text })
    }
}

/// Writes into the row what a call cost, and counts the budget that it overran.
pub(super) fn note_cost<T>(flow: &mut FlowRecord, call: &Call<T>) {
    flow.fuel = call.fuel_used;
    flow.memory = call.memory_bytes;
    flow.spent =
        call.spent.iter().map(|spent| (spent.budget.to_owned(), spent.used, spent.allowed)).collect();
    if let Some(overrun) = call.result.as_ref().err().and_then(CallError::overrun) {
        metrics::counter!("gateway_budget_overruns_total", "budget" => overrun.budget).increment(1);
    }
}

/// Milliseconds until the call may be made again, where that is worth it: what the plugin asked for, or with growing
/// pauses.
pub(super) fn wait_ms(error: &CallError, attempt: u32) -> Option<i64> {
    match error {
        CallError::Unavailable(_) | CallError::Busy { .. } => Some(FIRST_WAIT_MS << attempt.min(16)),
        CallError::Later { seconds, .. } => Some(i64::from(*seconds) * 1_000),
        _ => None,
    }
}

/// Encrypts under the consumer's key.
pub(super) fn seal(consumer: &Consumer, place: &str, text: &[u8]) -> Result<Vec<u8>, Refusal> {
    consumer.key.seal(place, text).map_err(|_| Refusal::Internal)
}

/// The place of returned fields: associated data of their encryption.
pub(super) fn return_place(flow: &crate::store::Uid) -> String {
    format!("return/{}", format_uid(flow))
}

/// The place of a delivery: associated data of its encryption.
pub(super) fn delivery_place(id: &crate::store::Uid) -> String {
    format!("delivery/{}", format_uid(id))
}

impl CallOutcome {
    /// The row of a call of which nothing else is kept, because what it did was done already: but its partner
    /// received what it received.
    pub(super) fn row(flow: Option<FlowRecord>, exposures: Vec<Exposure>) -> Self {
        let record = CallRecord { flows: flow.into_iter().collect(), exposures, ..CallRecord::default() };
        Self { record, deliveries: vec![], turn: None, returned: None }
    }

    /// Only a row: nothing came of the call.
    fn only(work: i64, flow: FlowRecord) -> Self {
        Self {
            record: CallRecord { work: Some(work), flows: vec![flow], ..CallRecord::default() },
            deliveries: vec![],
            turn: None,
            returned: None,
        }
    }
}
