//! Messages from partners (clause integrations.receive): verified, taken once, turned into declared fields by the
//! partner's plugin, checked, labelled and stored for that brand and consumer alone.
//!
//! To whoever holds a valid signature every message is answered alike: what became of it would say what a
//! consumer chose. The ledger knows.

use std::sync::Arc;
use std::time::Instant;

use gateway_policy::{Conditions, Facts, Flow, Recipient};
use serde_json::Value;

use super::consumers::{Consumer, received_place};
use super::dispatch::{CallOutcome, Failed, seal};
use super::error::Refusal;
use super::gateway::Gateway;
use super::ledger::Row;
use super::registry::{LiveConnection, rfc3339};
use crate::boundary::{
    Checked, Exposed, Hook, MESSAGE, MessageView, Received, Returned, Subject, toward_receive,
};
use crate::outbound::{Signed, verify};
use crate::plugin_host::Budget;
use crate::store::crypto::{format_uid, new_uid, parse_uid};
use crate::store::{CallRecord, Digest, FlowRecord, NewMessage, NewReceived, Stage};

/// A message that is the partner's, not yet looked into.
struct Message<'a> {
    live: Arc<LiveConnection>,
    hook: usize,
    /// What makes it the same message.
    key: Digest,
    body: &'a str,
    value: Value,
    now_ms: i64,
}

impl Gateway {
    /// Takes a partner's message for one of its plugins at a brand.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`] where no such connection takes messages, or the signature is not the partner's, or
    /// its time is not now: all alike. [`Refusal::Invalid`] for a body that is no JSON object.
    /// [`Refusal::Unavailable`] where nothing could be stored: send it again.
    pub async fn inbound(
        self: &Arc<Self>,
        brand: &str,
        plugin: &str,
        signed: Signed<'_>,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        let registry = self.registry.load_full();
        let live = registry.connection(brand, plugin).ok_or(Refusal::Unsigned)?;
        let hook = live.connection.receive_hook().ok_or(Refusal::Unsigned)?;
        let partner = registry.partners.get(&live.connection.partner.name).ok_or(Refusal::Unsigned)?;
        let secrets = live.inbound_keys(now_ms);
        if !verify(signed, body, &secrets, &partner.webhook_keys, now_ms.div_euclid(1000)) {
            return Err(Refusal::Unsigned);
        }
        let parts: [&[u8]; 3] = [brand.as_bytes(), plugin.as_bytes(), signed.id.as_bytes()];
        let key = self.master.index_digest("message", &parts);
        if self.store.knows_message(&key).await? {
            return Ok(());
        }
        let no_object = || Refusal::invalid("the body", "", "must be a JSON object in UTF-8");
        let body = std::str::from_utf8(body).map_err(|_| no_object())?;
        let value: Value = serde_json::from_str(body).map_err(|_| no_object())?;
        if !value.is_object() {
            return Err(no_object());
        }
        self.take(Message { live: Arc::clone(live), hook, key, body, value, now_ms }).await
    }

    async fn take(self: &Arc<Self>, message: Message<'_>) -> Result<(), Refusal> {
        let connection = &message.live.connection;
        let place = connection.release.handle.as_ref().ok_or(Refusal::Internal)?;
        let handle = place.select(&message.value).first().and_then(|handle| handle.as_str());
        let consumer = match handle.and_then(parse_uid) {
            None => None,
            Some(handle) => {
                let pseudonym = self.master.behind_handle(&connection.partner.name, &handle);
                self.consumers.by_pseudonym(&*self.store, &self.master, &pseudonym).await?
            }
        };
        // A name of this brand's: pseudonyms are made for each brand, so another's is a stranger.
        match consumer.filter(|consumer| *consumer.brand == *connection.brand) {
            Some(consumer) => self.take_about(&message, &consumer).await,
            None => self.take_about_nobody(&message).await,
        }
    }

    /// A message whose consumer is not known: a row, and nothing else.
    async fn take_about_nobody(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let uid = new_uid(message.now_ms);
        let row = self.message_row(message, [0; 16], uid);
        let outcome = "not-run:unknown-consumer";
        let flow =
            row.record(Stage::Receive, Flow::Receive, Recipient::Brand, vec![], Facts::none(), outcome);
        self.record_message(CallRecord { flows: vec![flow], ..CallRecord::default() }, message)
            .await
            .map(drop)
    }

    fn message_row<'a>(&self, message: &'a Message<'_>, consumer: [u8; 16], uid: [u8; 16]) -> Row<'a> {
        let connection = &message.live.connection;
        Row {
            brand: &connection.brand,
            plugin: &connection.plugin,
            partner: &connection.partner.name,
            release: connection.release.digest,
            purpose: connection.release.purpose.as_str(),
            consumer,
            event: uid,
            event_type: MESSAGE,
            policy: self.book.digest(self.book.moment(message.now_ms, message.now_ms)),
            at_ms: message.now_ms,
        }
    }

    async fn take_about(
        self: &Arc<Self>,
        message: &Message<'_>,
        consumer: &Arc<Consumer>,
    ) -> Result<(), Refusal> {
        let (live, now_ms) = (&message.live, message.now_ms);
        let connection = &live.connection;
        let hook: &Hook = connection.release.hooks.get(message.hook).ok_or(Refusal::Internal)?;
        let moment = self.book.moment(now_ms, now_ms);
        let exposed: Arc<Exposed> = consumer.exposed(&connection.partner.name);
        // What the partner made it from was collected under these conditions; where it received nothing, nothing
        // is known of them, and what is unknown counts the strict way.
        let conditions: Conditions = exposed.conditions.clone().unwrap_or_default();
        let choices = consumer.choices();
        let subject =
            Subject { conditions: &conditions, choices: Some(&choices), engaged: consumer.engaged() };
        let uid = new_uid(now_ms);
        let time = rfc3339(now_ms);
        let (id, handle) = (format_uid(&uid), self.handle_of(live, consumer));
        let view = MessageView {
            id: &id,
            time: &time,
            handle: &handle,
            body: message.body,
            accepted_ms: now_ms,
            exposed: &exposed,
        };
        let toward = toward_receive(&self.book, connection, message.hook, hook, &view, subject, moment);
        let row = self.message_row(message, consumer.pseudonym, uid);
        let mut flow = row.record(
            Stage::Receive,
            Flow::Receive,
            Recipient::Brand,
            toward.verdicts,
            toward.facts,
            "received",
        );
        let only = |flow: FlowRecord| CallRecord { flows: vec![flow], ..CallRecord::default() };
        let input = match toward.input {
            Ok(input) => input,
            Err(not_run) => {
                flow.outcome = not_run.code().into();
                return self.record_message(only(flow), message).await.map(drop);
            }
        };
        flow.payload = Some(consumer.key.digest(message.body.as_bytes()));
        let started = Instant::now();
        let call = self.host.receive(&live.loaded, input, Budget::default()).await;
        flow.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        flow.fuel = call.fuel_used;
        let log = self.log_of(&call, &flow, consumer, || toward.crossing.labels(connection));
        let checked = match call.result {
            Ok(outcome) => self
                .from_share(connection, consumer, &toward.crossing, subject, moment, &outcome)
                .map_err(Failed::of_violation),
            Err(error) => Err(Failed::of_call(&error)),
        };
        let checked = match checked {
            Ok(checked) => checked,
            Err(Failed { code, .. }) => {
                // Not toward the breaker: whether it opened would tell the partner that its plugin ran, and so
                // that this consumer did not opt out.
                flow.outcome = code;
                return self.record_message(CallRecord { log, ..only(flow) }, message).await.map(drop);
            }
        };
        self.keep(message, consumer, &row, flow, checked, log).await
    }

    /// Stores what a message brought; then, and only then, its requests go on.
    async fn keep(
        self: &Arc<Self>,
        message: &Message<'_>,
        consumer: &Arc<Consumer>,
        row: &Row<'_>,
        mut flow: FlowRecord,
        checked: Checked,
        log: Option<crate::store::NewLog>,
    ) -> Result<(), Refusal> {
        let plugin = &*message.live.connection.plugin;
        let Checked { deliveries, returned, verdicts, facts } = checked;
        // One row says what the message brought: the verdicts on what was there, not on what could have been.
        if !verdicts.is_empty() {
            flow.verdicts = verdicts;
        }
        let received = returned.map(|returned| received(returned.release()));
        if received.is_none() {
            flow.outcome = if flow.verdicts.iter().all(|field| field.verdict.allows()) {
                "nothing-received"
            } else {
                "withheld"
            }
            .into();
        }
        let without = Checked { deliveries, returned: None, verdicts: vec![], facts };
        let mut outcome = self.outcome(row, flow, without, consumer, message.now_ms)?;
        outcome.record.log = log;
        outcome.record.message = Some(NewMessage { key: message.key, at_ms: message.now_ms });
        // One message of a consumer at a time: each is merged into what stands.
        let _alone = consumer.receiving.lock().await;
        let mut kept = None;
        if let Some(newer) = received {
            let mut stands = consumer.received(plugin).map(|stands| (*stands).clone()).unwrap_or_default();
            if stands.labels.is_empty() {
                stands = newer
            } else {
                stands.update(newer)
            }
            let text = serde_json::to_vec(&stands).map_err(|_| Refusal::Internal)?;
            outcome.record.received = Some(NewReceived {
                consumer: consumer.id,
                plugin: plugin.to_owned(),
                payload: seal(consumer, &received_place(plugin), &text)?,
            });
            kept = Some(stands);
        }
        let exposures = consumer.unwritten(&message.live.connection.partner.name);
        outcome.record.exposures.clone_from(&exposures);
        let row = outcome.record.flows.first().cloned();
        if self.commit(outcome).await? {
            consumer.exposures_written(&exposures);
            if let Some(kept) = kept {
                consumer.set_received(plugin, kept);
            }
        } else {
            // The same message came twice at once. This call ran all the same, so its row is written.
            if self.commit(CallOutcome::row(row, exposures.clone())).await? {
                consumer.exposures_written(&exposures);
            }
        }
        Ok(())
    }

    /// Writes a message's row; whether the message was new.
    async fn record_message(&self, mut record: CallRecord, message: &Message<'_>) -> Result<bool, Refusal> {
        record.message = Some(NewMessage { key: message.key, at_ms: message.now_ms });
        let new = self.store.record_call(record).await?;
        if new {
            self.counters.flows(1);
        }
        Ok(new)
    }
}

/// What is kept of fields that passed.
fn received(returned: Returned) -> Received {
    Received {
        value: returned.value,
        labels: returned.fields.into_iter().map(|field| (field.field.to_string(), field.labels)).collect(),
        conditions: returned.conditions,
    }
}
