//! Work on partners' messages that were taken: turned into declared fields by the partner's plugin, checked, labelled
//! and stored for that brand and consumer alone. It goes on after a crash, and each message is done once.

use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Access, Conditions, Facts, FieldVerdict, Flow, Recipient};
use serde_json::Value;

use super::consumers::{Consumer, received_place};
use super::dispatch::{CallOutcome, MAX_TRIES, UNUSABLE_WAIT_MS, YOUNG_MS, note_cost, seal, wait_ms};
use super::error::Refusal;
use super::failed::Failed;
use super::gateway::Gateway;
use super::ledger::Row;
use super::memories::{TURN_WAIT, Turn};
use super::queue::{Queue, Slot};
use super::registry::{LiveConnection, rfc3339};
use super::worker::{Due, READ};
use crate::boundary::{
    Checked, Exposed, Hook, MESSAGE, MessageView, Moment, Received, Returned, Subject, TooLarge,
    toward_receive,
};
use crate::plugin_host::Budget;
use crate::store::crypto::{format_uid, parse_uid};
use crate::store::{CallRecord, FlowRecord, MessageRecord, NewReceived, Stage, Uid};

/// A message to be worked on, in memory.
pub(super) struct DueMessage {
    uid: Uid,
    brand: String,
    plugin: String,
    /// The connection that it was sent to: one made again since is another.
    connection: Uid,
    at_ms: i64,
    attempt: u32,
    body: String,
    value: Value,
}

impl Due for DueMessage {
    type Id = Uid;
    const NAME: &'static str = "a message";

    fn id(&self) -> Uid {
        self.uid
    }

    fn queue(gateway: &Gateway) -> &Queue<Uid, Self> {
        &gateway.messages
    }

    async fn read(gateway: &Gateway) {
        gateway.read_due_messages().await;
    }

    async fn work(self, gateway: &Arc<Gateway>, _slot: Slot) -> Result<(), Refusal> {
        gateway.work_on_message(&self).await
    }
}

/// The place of a message: associated data of its encryption.
pub(super) fn message_place(uid: &Uid) -> String {
    format!("message/{}", format_uid(uid))
}

impl DueMessage {
    /// A stored message, with its body opened and read.
    pub(super) fn new(record: &MessageRecord, body: String, value: Value) -> Self {
        Self {
            uid: record.uid,
            brand: record.brand.clone(),
            plugin: record.plugin.clone(),
            connection: record.connection,
            at_ms: record.at_ms,
            attempt: record.attempt,
            body,
            value,
        }
    }
}

/// What a message's call brought, before it is committed.
struct Brought {
    flow: FlowRecord,
    checked: Checked,
    log: Option<crate::store::NewLog>,
    memory: Option<crate::store::NewMemory>,
}

impl Gateway {
    async fn read_due_messages(&self) {
        let now_ms = self.clock.now_ms();
        let records = match self.store.due_messages(now_ms, READ).await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "due messages cannot be read");
                return;
            }
        };
        if records.len() >= READ as usize {
            self.messages.fall_behind();
        }
        for record in records {
            // Whoever took it puts it into the queue at once.
            let young = record.attempt == 0 && record.at_ms > now_ms - YOUNG_MS;
            if young || !self.messages.is_news(&record.uid) {
                continue;
            }
            let opened = self.master.open(&message_place(&record.uid), &record.payload).ok();
            let body = opened.and_then(|body| String::from_utf8(body.to_vec()).ok());
            let value = body.as_deref().and_then(|body| serde_json::from_str(body).ok());
            match body.zip(value) {
                Some((body, value)) => {
                    self.messages.push(record.uid, DueMessage::new(&record, body, value));
                }
                None => tracing::error!("a stored message cannot be read; it waits"),
            }
        }
    }

    async fn work_on_message(self: &Arc<Self>, due: &DueMessage) -> Result<(), Refusal> {
        let registry = self.registry.load_full();
        let live = registry.connection(&due.brand, &due.plugin).filter(|live| live.id == due.connection);
        let hook = live.and_then(|live| live.connection.receive_hook());
        let (Some(live), Some(hook)) = (live, hook) else {
            // On, and not to be used now: what waits for it is not lost.
            if live.is_none()
                && let Some(code) = registry.unusable(&due.brand, &due.plugin)
            {
                let flow = self.message_row_without_connection(due, code);
                let due_ms = self.clock.now_ms() + UNUSABLE_WAIT_MS;
                return self.defer_message(due, due.attempt, due_ms, flow).await;
            }
            return self
                .message_done(due, self.message_row_without_connection(due, "not-run:switched-off"))
                .await;
        };
        let place = live.connection.release.handle.as_ref().ok_or(Refusal::Internal)?;
        let handle = place.select(&due.value).first().and_then(|handle| handle.as_str());
        let consumer = match handle.and_then(parse_uid) {
            None => None,
            Some(handle) => {
                let pseudonym = self.master.behind_handle(&live.connection.partner.name, &handle);
                self.consumers.by_pseudonym(&*self.store, &self.master, &pseudonym).await?
            }
        };
        // A name of this brand's: pseudonyms are made for each brand, so another's is a stranger.
        match consumer.filter(|consumer| *consumer.brand == *due.brand) {
            Some(consumer) => self.work_on_message_about(due, live, hook, &consumer).await,
            None => {
                let moment = self.book.moment(due.at_ms, self.clock.now_ms());
                let row = self.message_row(due, live, [0; 16], moment);
                let outcome = "not-run:unknown-consumer";
                let (recipient, facts) = (Recipient::Brand, Facts::none());
                let flow = row.record(Stage::Receive, Flow::Receive, recipient, vec![], facts, outcome);
                self.message_done(due, flow).await
            }
        }
    }

    async fn work_on_message_about(
        self: &Arc<Self>,
        due: &DueMessage,
        live: &Arc<LiveConnection>,
        hook_index: usize,
        consumer: &Arc<Consumer>,
    ) -> Result<(), Refusal> {
        let mut turn: Option<Turn> = None;
        if live.loaded.imports_memory() {
            let waited = tokio::time::timeout(TURN_WAIT, consumer.memory_turn(&*self.store, &live.id)).await;
            // It is still due where it is not its turn, and the next poll reads it.
            let Ok(taken) = waited else { return Ok(()) };
            turn = Some(taken?);
        }
        let connection = &live.connection;
        let hook: &Hook = connection.release.hooks.get(hook_index).ok_or(Refusal::Internal)?;
        let memory = turn.as_ref().and_then(Turn::memory);
        self.note_numbers_of_message(live, hook, consumer, &due.value, memory.as_deref()).await?;
        let now_ms = self.clock.now_ms();
        let moment = self.book.moment(due.at_ms, now_ms);
        let exposed: Arc<Exposed> = consumer.exposed(&connection.partner.name);
        // What the partner made it from was collected under these conditions; where it received nothing, nothing
        // is known of them, and what is unknown counts the strict way.
        let conditions: Conditions = exposed.conditions.clone().unwrap_or_default();
        let choices = consumer.choices();
        let subject =
            Subject { conditions: &conditions, choices: Some(&choices), engaged: consumer.engaged() };
        let time = rfc3339(due.at_ms);
        let (id, handle) = (format_uid(&due.uid), self.handle_of(&live.connection, consumer));
        let recalled = self.recalled(live, hook_index, turn.as_ref(), subject, moment);
        let view = MessageView {
            id: &id,
            time: &time,
            handle: &handle,
            body: &due.body,
            accepted_ms: due.at_ms,
            exposed: &exposed,
            memory: recalled.as_ref(),
        };
        let toward = toward_receive(&self.book, connection, hook_index, hook, &view, subject, moment);
        let row = self.message_row(due, live, consumer.pseudonym, moment);
        let (recipient, mut crossing) = (Recipient::Brand, toward.crossing);
        let mut flow =
            row.record(Stage::Receive, Flow::Receive, recipient, toward.verdicts, toward.facts, "received");
        let input = match toward.input {
            Ok(input) => input,
            Err(not_run) => {
                flow.outcome = not_run.code().into();
                let after = crossing.memory_after(connection, None);
                let memory = turn.as_mut().map(|turn| turn.leave(consumer, after)).transpose()?.flatten();
                let mut outcome = CallOutcome::row(Some(flow), vec![]);
                outcome.record.memory = memory;
                outcome.turn = turn;
                return self.commit_message(due, outcome).await.map(drop);
            }
        };
        flow.payload = Some(consumer.key.digest(due.body.as_bytes()));
        let started = Instant::now();
        let mut call = self.host.receive(&live.loaded, input, Budget::default()).await;
        flow.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        note_cost(&mut flow, &call);
        if let Err(error) = &call.result
            && let Some(wait) = wait_ms(error, due.attempt)
            && due.attempt + 1 < MAX_TRIES
        {
            flow.outcome = Failed::of_call(error).code;
            return self.defer_message(due, due.attempt + 1, now_ms + wait, flow).await;
        }
        let used = std::mem::take(&mut call.memory);
        if used.touched {
            crossing.touch_memory();
        }
        let log = self
            .log_of(&call, &flow, consumer, || (crossing.labels(connection), crossing.conditions().clone()));
        let checked = match call.result {
            Ok(outcome) => self
                .check_share(connection, consumer, &crossing, subject, moment, &outcome)
                .map_err(Failed::of_violation),
            Err(error) => Err(Failed::of_call(&error)),
        };
        let kept = checked.is_ok().then_some(used);
        let after = crossing.memory_after(connection, kept);
        let memory = turn.as_mut().map(|turn| turn.leave(consumer, after)).transpose()?.flatten();
        let checked = checked.unwrap_or_else(|failed| {
            // Not toward the breaker: whether it opened would tell the partner that its plugin ran, and so that
            // this consumer did not opt out.
            failed.tell(&mut flow);
            let facts = Facts::from_bits(flow.facts);
            Checked { deliveries: vec![], returned: None, verdicts: vec![], facts }
        });
        // One message of a consumer at a time: each is merged into what stands.
        let alone = consumer.receiving.lock().await;
        consumer.know_received_alone(&*self.store, &alone).await?;
        // Nobody changes a choice from here to the commit; and what was decided by others is decided anew.
        let _unchanged = self.consumers.changing.read().await;
        let _unblocked = self.blocking.read().await;
        let now = self.registry.load();
        let same = now.connection(&due.brand, &due.plugin).is_some_and(|now| Arc::ptr_eq(now, live));
        if !same || !Arc::ptr_eq(&choices, &consumer.choices()) {
            flow.outcome = "not-kept:decision-stale".into();
            return self.defer_message(due, due.attempt, now_ms, flow).await;
        }
        self.keep(due, live, consumer, &row, Brought { flow, checked, log, memory }, turn).await
    }

    /// Stores what a message brought; then, and only then, its requests go on.
    async fn keep(
        self: &Arc<Self>,
        due: &DueMessage,
        live: &LiveConnection,
        consumer: &Arc<Consumer>,
        row: &Row<'_>,
        brought: Brought,
        turn: Option<Turn>,
    ) -> Result<(), Refusal> {
        let Brought { mut flow, checked, log, memory } = brought;
        let Checked { deliveries, returned, verdicts, facts } = checked;
        let failed = flow.outcome != "received";
        // One row says what the message brought: the verdicts on what was there, not on what could have been.
        if !verdicts.is_empty() {
            flow.verdicts.retain(|field| field.access != Access::Return);
            let of_row = Facts::from_bits(flow.facts);
            let brought = verdicts.into_iter().map(|field| {
                let basis = field.basis.clone().under(facts, of_row);
                FieldVerdict { basis, ..field }
            });
            flow.verdicts.splice(0..0, brought);
        }
        let received = returned.map(|returned| received(returned.release(), due.at_ms));
        let had_fields = received.is_some();
        let mut kept = None;
        if let Some(newer) = received {
            let mut stands = consumer.received(&live.id).map(|stands| (*stands).clone()).unwrap_or_default();
            match stands.update(newer) {
                Ok(()) => kept = Some(stands),
                // The older document stays: the partner may make room by sending its leaves anew.
                Err(TooLarge) => flow.outcome = "not-kept:too-large".into(),
            }
        }
        if !had_fields && !failed {
            let mut fields = flow.verdicts.iter().filter(|field| field.access == Access::Return);
            let allowed = fields.all(|field| field.verdict.allows());
            flow.outcome = if allowed { "nothing-received" } else { "withheld" }.into();
        }
        let without = Checked { deliveries, returned: None, verdicts: vec![], facts };
        let mut outcome = self.outcome(row, flow, without, consumer, due.at_ms)?;
        outcome.record.log = log;
        outcome.record.memory = memory;
        outcome.turn = turn;
        if let Some(stands) = &kept {
            let text = serde_json::to_vec(stands).map_err(|_| Refusal::Internal)?;
            outcome.record.received = Some(NewReceived {
                consumer: consumer.id,
                connection: live.id,
                payload: seal(consumer, &received_place(&live.id), &text)?,
            });
        }
        let exposures = consumer.unwritten(&live.connection.partner.name);
        outcome.record.exposures.clone_from(&exposures);
        let committed = self.commit_message(due, outcome).await;
        match (kept, &committed) {
            (Some(kept), Ok(true)) => consumer.set_received(&live.id, kept),
            // What an error says of a commit is not whether it reached the disk.
            (Some(_), _) => consumer.forget_received(),
            (None, _) => {}
        }
        committed?;
        // With the row of a call that came too late, too.
        consumer.exposures_written(&exposures);
        Ok(())
    }

    /// Commits what came of a message, and that it is done; whether it was not done already.
    async fn commit_message(
        self: &Arc<Self>,
        due: &DueMessage,
        mut outcome: CallOutcome,
    ) -> Result<bool, Refusal> {
        outcome.record.message = Some(due.uid);
        let row = outcome.record.flows.first().cloned();
        let exposures = outcome.record.exposures.clone();
        if self.commit(outcome).await? {
            return Ok(true);
        }
        // Somebody else did the work. This call ran all the same, so its row is written.
        self.commit(CallOutcome::row(row, exposures)).await?;
        Ok(false)
    }

    /// Ends the work on a message of which there is only a row.
    async fn message_done(self: &Arc<Self>, due: &DueMessage, flow: FlowRecord) -> Result<(), Refusal> {
        let record = CallRecord { message: Some(due.uid), flows: vec![flow], ..CallRecord::default() };
        self.commit(CallOutcome { record, ..CallOutcome::row(None, vec![]) }).await.map(drop)
    }

    /// Puts a message off, with the row that says why.
    async fn defer_message(
        &self,
        due: &DueMessage,
        attempt: u32,
        due_ms: i64,
        flow: FlowRecord,
    ) -> Result<(), Refusal> {
        self.store.defer_message(&due.uid, attempt, due_ms, vec![flow]).await?;
        self.counters.flows(1);
        Ok(())
    }

    fn message_row<'a>(
        &self,
        due: &'a DueMessage,
        live: &'a LiveConnection,
        consumer: [u8; 16],
        moment: Moment,
    ) -> Row<'a> {
        let connection = &live.connection;
        Row {
            brand: &due.brand,
            plugin: &due.plugin,
            partner: &connection.partner.name,
            release: connection.release.digest,
            purpose: connection.release.purpose.as_str(),
            consumer,
            event: due.uid,
            event_type: MESSAGE,
            policy: self.book.digest(moment),
            at_ms: moment.now_ms,
        }
    }

    /// A row for a message whose connection is not there.
    fn message_row_without_connection(&self, due: &DueMessage, outcome: &str) -> FlowRecord {
        let moment = self.book.moment(due.at_ms, self.clock.now_ms());
        let registry = self.registry.load();
        let releases = registry.releases_of(&due.plugin);
        let row = Row {
            brand: &due.brand,
            plugin: &due.plugin,
            partner: releases.first().map_or("", |live| &live.meta.partner),
            release: [0; 32],
            purpose: "",
            consumer: [0; 16],
            event: due.uid,
            event_type: MESSAGE,
            policy: self.book.digest(moment),
            at_ms: moment.now_ms,
        };
        row.record(Stage::Receive, Flow::Receive, Recipient::Brand, vec![], Facts::none(), outcome)
    }
}

/// What is kept of fields that passed.
fn received(returned: Returned, at_ms: i64) -> Received {
    let labels: std::collections::BTreeMap<_, _> =
        returned.fields.into_iter().map(|field| (field.field.to_string(), field.labels)).collect();
    Received {
        value: returned.value,
        taken_ms: labels.keys().map(|leaf| (leaf.clone(), at_ms)).collect(),
        labels,
        conditions: returned.conditions,
        ..Received::default()
    }
}
