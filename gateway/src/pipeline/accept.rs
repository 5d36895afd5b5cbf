//! Accept: read, check, store, and only then say so.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::consumers::Consumer;
use super::dispatch::DueWork;
use super::error::{Problem, Refusal};
use super::event::{self, Event};
use super::gateway::Gateway;
use super::model::Accepted;
use crate::store::crypto::new_uid;
use crate::store::{Acceptance, Digest, NewEvent, Uid};

/// How long whoever sends events waits for room among the work in memory, at most: so one that sends more than is worked
/// off is slowed down a little, and what it sent need not be read from the store again.
const PATIENCE: Duration = Duration::from_millis(100);

/// A stored event, in memory.
pub(super) struct StoredEvent {
    pub(super) uid: Uid,
    /// Keyed digest of (brand, source, id).
    pub(super) key: Digest,
    pub(super) accepted_ms: i64,
    pub(super) event: Event,
    pub(super) data: Arc<Value>,
}

impl StoredEvent {
    pub(super) fn new(uid: Uid, key: Digest, accepted_ms: i64, mut event: Event) -> Self {
        let data = Arc::new(std::mem::take(&mut event.data));
        event.body = Vec::new();
        Self { uid, key, accepted_ms, event, data }
    }
}

/// The place of an event: associated data of its encryption.
pub(super) fn event_place(uid: &Uid) -> String {
    format!("event/{}", crate::store::crypto::format_uid(uid))
}

impl Gateway {
    /// Takes one event or a batch of a brand; durable when this returns.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] names the attribute or field and the rule; [`Refusal::Conflict`] for a known
    /// event with another body. A bad event in a batch refuses the batch.
    pub async fn accept(
        self: &Arc<Self>,
        brand: &str,
        body: &[u8],
        batch: bool,
    ) -> Result<Accepted, Refusal> {
        let (platform, now_ms) = (self.platform_brand(brand)?, self.clock.now_ms());
        let events = event::parse(body, batch, brand, platform, &self.catalogue, now_ms)?;
        let mut new = Vec::with_capacity(events.len());
        let mut held = Vec::with_capacity(events.len());
        for event in events {
            let (consumer, record) = self.new_event(brand, &event, now_ms).await?;
            self.note_sms(&consumer, &event).await?;
            held.push((consumer, record.uid, record.key, record.work.clone(), event));
            new.push(record);
        }
        let outcomes = self.store.accept(new).await?;
        conflicts(&outcomes, batch)?;
        let mut accepted = Accepted::default();
        let deadline = Instant::now() + PATIENCE;
        for (outcome, (consumer, uid, key, plugins, event)) in outcomes.into_iter().zip(held) {
            let Acceptance::New { work } = outcome else {
                accepted.duplicates += 1;
                continue;
            };
            accepted.accepted += 1;
            self.note_sms_start(&consumer, &event).await?;
            let stored = Arc::new(StoredEvent::new(uid, key, now_ms, event));
            self.stored(&consumer, stored, plugins, work, deadline).await;
        }
        Ok(accepted)
    }

    /// What follows from a stored event: the consumer may be engaged, and there may be work, which is due. Waits for room
    /// among the work in memory, until the deadline at most.
    pub(super) async fn stored(
        &self,
        consumer: &Arc<Consumer>,
        stored: Arc<StoredEvent>,
        plugins: Vec<String>,
        work: Vec<i64>,
        deadline: Instant,
    ) {
        self.counters.events(1);
        if stored.event.engages {
            consumer.set_engaged();
        }
        for (plugin, id) in plugins.into_iter().zip(work) {
            let (consumer, event) = (Arc::clone(consumer), Arc::clone(&stored));
            self.work.push_by(deadline, id, DueWork { id, plugin, attempt: 0, consumer, event }).await;
        }
    }

    /// Whether the brand is the platform's own.
    pub(super) fn platform_brand(&self, brand: &str) -> Result<bool, Refusal> {
        match self.registry.load().brands.get(brand) {
            Some(known) => Ok(known.platform),
            None => Err(Refusal::NotFound { what: format!("brand {brand}") }),
        }
    }

    /// The record of an event, encrypted under the consumer's key, with its work.
    pub(super) async fn new_event(
        &self,
        brand: &str,
        event: &Event,
        now_ms: i64,
    ) -> Result<(Arc<Consumer>, NewEvent), Refusal> {
        let consumer = self.consumers.ensure(&*self.store, &self.master, brand, &event.subject).await?;
        let uid = new_uid(now_ms);
        let key = self
            .master
            .index_digest("event", &[brand.as_bytes(), event.source.as_bytes(), event.id.as_bytes()]);
        let body = self.master.index_digest("body", &[&event.body]);
        let payload = consumer.key.seal(&event_place(&uid), &event.body).map_err(|_| Refusal::Internal)?;
        let registry = self.registry.load();
        let mut work: Vec<String> = registry
            .connections
            .get(brand)
            .into_iter()
            .flatten()
            .filter(|(_, live)| live.connection.share_hook(&event.kind).is_some())
            .map(|(plugin, _)| plugin.clone())
            .collect();
        work.extend(registry.unusable_with_work(brand, &event.kind));
        let record = NewEvent {
            uid,
            key,
            body,
            consumer: consumer.id,
            brand: brand.to_owned(),
            kind: event.kind.clone(),
            accepted_ms: now_ms,
            payload,
            engages: event.engages,
            work,
        };
        Ok((consumer, record))
    }
}

/// A conflict, where there is one; it names the events by their place in the batch.
pub(super) fn conflicts(outcomes: &[Acceptance], batch: bool) -> Result<(), Refusal> {
    let places: Vec<Problem> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| **outcome == Acceptance::Conflict)
        .map(|(index, _)| Problem {
            pointer: if batch { format!("/{index}") } else { String::new() },
            detail: "an event with this source and id is stored with another body".into(),
        })
        .collect();
    match places.first() {
        None => Ok(()),
        Some(first) => Err(Refusal::Conflict {
            message: format!("{first}; give a new event a new id; nothing of this request was stored"),
        }),
    }
}
