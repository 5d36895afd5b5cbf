//! Consumers: their keys, pseudonyms and choices, in a bounded memo over the store. The memo is written
//! through, so a choice takes effect on the next decision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use gateway_policy::{Choices, Conditions, Label};
use moka::sync::Cache;

use super::error::Refusal;
use crate::boundary::{Exposed, Received};
use crate::store::crypto::{ConsumerKey, MasterKey, new_pseudonym};
use crate::store::{Change, ConsumerRecord, Digest, Exposure, Store, Uid};

/// A consumer of a brand, with what a decision needs to know.
pub struct Consumer {
    /// Row in the store.
    pub id: i64,
    /// The brand.
    pub brand: String,
    /// Keyed digest of (brand, subject).
    pub subject: Digest,
    /// The ledger's name for the consumer.
    pub pseudonym: Uid,
    /// The consumer's data key.
    pub key: ConsumerKey,
    engaged: AtomicBool,
    choices: ArcSwap<Choices>,
    known: Mutex<Known>,
    /// Held while a message is merged into what stands.
    pub(super) receiving: tokio::sync::Mutex<()>,
}

/// What partners have of the consumer, and sent.
#[derive(Default)]
struct Known {
    /// By partner.
    exposed: HashMap<String, Arc<Exposed>>,
    /// What of that no committed row says yet.
    unwritten: Vec<Exposure>,
    /// By plugin.
    received: HashMap<String, Arc<Received>>,
}

impl Consumer {
    /// Whether the consumer has engaged with the brand.
    pub fn engaged(&self) -> bool {
        self.engaged.load(Ordering::Acquire)
    }

    /// Called once an event that engages is stored.
    pub fn set_engaged(&self) {
        self.engaged.store(true, Ordering::Release);
    }

    /// What the consumer chose, as it stands now.
    pub fn choices(&self) -> Arc<Choices> {
        self.choices.load_full()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a partner already received of the consumer.
    pub fn exposed(&self, partner: &str) -> Arc<Exposed> {
        self.known().exposed.get(partner).cloned().unwrap_or_default()
    }

    /// Takes in that a partner is about to receive these labels; what is to be committed with the row that says
    /// so. None where the partner received something since `seen`: then the decision was made on too little.
    pub fn expose<'l>(
        &self,
        partner: &str,
        seen: &Arc<Exposed>,
        labels: impl Iterator<Item = &'l Label>,
        conditions: &Conditions,
    ) -> Option<Vec<Exposure>> {
        let mut known = self.known();
        let stands = known.exposed.get(partner).cloned().unwrap_or_default();
        if stands != *seen {
            return None;
        }
        let mut next = (*stands).clone();
        let new = next.add(partner, labels, conditions);
        if !new.is_empty() {
            let exposure = |what| Exposure { consumer: self.id, partner: partner.to_owned(), what };
            known.unwritten.extend(new.into_iter().map(exposure));
            known.exposed.insert(partner.to_owned(), Arc::new(next));
        }
        Some(known.unwritten.iter().filter(|exposure| exposure.partner == partner).cloned().collect())
    }

    /// These are committed.
    pub fn exposures_written(&self, written: &[Exposure]) {
        if !written.is_empty() {
            self.known().unwritten.retain(|exposure| !written.contains(exposure));
        }
    }

    /// What a plugin received of the consumer.
    pub fn received(&self, plugin: &str) -> Option<Arc<Received>> {
        self.known().received.get(plugin).cloned()
    }

    /// By plugin.
    pub fn all_received(&self) -> Vec<(String, Arc<Received>)> {
        let known = self.known();
        known.received.iter().map(|(plugin, received)| (plugin.clone(), Arc::clone(received))).collect()
    }

    /// Called once it is committed.
    pub fn set_received(&self, plugin: &str, received: Received) {
        self.known().received.insert(plugin.to_owned(), Arc::new(received));
    }
}

/// The memo.
pub struct Consumers {
    by_subject: Cache<Digest, Arc<Consumer>>,
    by_id: Cache<i64, Arc<Consumer>>,
    /// Every value that anything still holds, also once the memo has let it go: there is one for each
    /// consumer, so that a choice is seen by work that has waited for long.
    held: Mutex<HashMap<Digest, Weak<Consumer>>>,
    /// Whether a number, by its keyed digest, opted out of SMS.
    pub(super) numbers: Cache<Digest, bool>,
    /// Read while a consumer is brought into the memo, written while choices change: what was read before
    /// a change can not be put into the memo after it.
    changing: tokio::sync::RwLock<()>,
}

/// The place of a consumer's wrapped key: associated data of its encryption.
fn key_place(subject: &Digest) -> String {
    format!("consumer/{}", crate::store::crypto::format_digest(subject))
}

/// Keyed digest of (brand, subject).
pub fn subject_digest(master: &MasterKey, brand: &str, subject: &str) -> Digest {
    master.index_digest("consumer", &[brand.as_bytes(), subject.as_bytes()])
}

impl Consumers {
    /// A memo of at most `capacity` consumers.
    pub fn new(capacity: u64) -> Self {
        Self {
            by_subject: Cache::new(capacity),
            by_id: Cache::new(capacity),
            held: Mutex::default(),
            numbers: Cache::new(capacity),
            changing: tokio::sync::RwLock::default(),
        }
    }

    /// The consumer, made where the brand has not met them before.
    pub async fn ensure(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        brand: &str,
        subject: &str,
    ) -> Result<Arc<Consumer>, Refusal> {
        let digest = subject_digest(master, brand, subject);
        if let Some(known) = self.by_subject.get(&digest) {
            return Ok(known);
        }
        let key = ConsumerKey::generate();
        let wrapped_key = key.wrap(master, &key_place(&digest)).map_err(|_| Refusal::Internal)?;
        let record = store
            .ensure_consumer(ConsumerRecord {
                id: 0,
                brand: brand.to_owned(),
                subject: digest,
                pseudonym: new_pseudonym(),
                wrapped_key,
                engaged: false,
            })
            .await?;
        self.admit(store, master, record).await
    }

    /// The consumer, where the brand has met them.
    pub async fn find(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        brand: &str,
        subject: &str,
    ) -> Result<Option<Arc<Consumer>>, Refusal> {
        let digest = subject_digest(master, brand, subject);
        if let Some(known) = self.by_subject.get(&digest) {
            return Ok(Some(known));
        }
        match store.consumer(brand, &digest).await? {
            Some(record) => self.admit(store, master, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The consumer with this name in the ledger.
    pub async fn by_pseudonym(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        pseudonym: &Uid,
    ) -> Result<Option<Arc<Consumer>>, Refusal> {
        match store.consumer_by_pseudonym(pseudonym).await? {
            None => Ok(None),
            Some(record) => match self.by_id.get(&record.id) {
                Some(known) => Ok(Some(known)),
                None => self.admit(store, master, record).await.map(Some),
            },
        }
    }

    /// The consumer of a stored row.
    pub async fn by_id(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        id: i64,
    ) -> Result<Arc<Consumer>, Refusal> {
        if let Some(known) = self.by_id.get(&id) {
            return Ok(known);
        }
        let record = store.consumer_by_id(id).await?.ok_or(Refusal::Internal)?;
        self.admit(store, master, record).await
    }

    async fn admit(
        &self,
        store: &dyn Store,
        master: &MasterKey,
        record: ConsumerRecord,
    ) -> Result<Arc<Consumer>, Refusal> {
        let key =
            ConsumerKey::unwrap(master, &key_place(&record.subject), &record.wrapped_key).map_err(|_| {
                tracing::error!("a consumer's key does not open with this master key");
                Refusal::Internal
            })?;
        let _unchanged = self.changing.read().await;
        let choices = read_choices(store, &record.brand, &record.subject).await?;
        let known = read_known(store, record.id, &key).await?;
        let fresh = Arc::new(Consumer {
            id: record.id,
            brand: record.brand,
            subject: record.subject,
            pseudonym: record.pseudonym,
            key,
            engaged: AtomicBool::new(record.engaged),
            choices: ArcSwap::from_pointee(choices),
            known: Mutex::new(known),
            receiving: tokio::sync::Mutex::default(),
        });
        let shared = self.one_of_it(fresh);
        self.by_subject.insert(shared.subject, Arc::clone(&shared));
        self.by_id.insert(shared.id, Arc::clone(&shared));
        Ok(shared)
    }

    /// The value that something holds already, or else the fresh one.
    fn one_of_it(&self, fresh: Arc<Consumer>) -> Arc<Consumer> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = held.get(&fresh.subject).and_then(Weak::upgrade) {
            return shared;
        }
        if held.len() == held.capacity() {
            held.retain(|_, value| value.strong_count() > 0);
        }
        held.insert(fresh.subject, Arc::downgrade(&fresh));
        fresh
    }

    /// Replaces what the consumer chose by what `next` makes of it; durable and in effect when this returns.
    /// One change at a time: each is made of what stands.
    pub async fn change_choices(
        &self,
        store: &dyn Store,
        consumer: &Consumer,
        change: Change,
        next: impl FnOnce(&Choices) -> Result<Choices, Refusal>,
    ) -> Result<Choices, Refusal> {
        let _alone = self.changing.write().await;
        let choices = next(&consumer.choices())?;
        let text = serde_json::to_string(&choices).map_err(|_| Refusal::Internal)?;
        store.put_choices(&consumer.brand, &consumer.subject, &text, change).await?;
        consumer.choices.store(Arc::new(choices.clone()));
        Ok(choices)
    }
}

/// The place of what a plugin received of a consumer: associated data of its encryption.
pub(super) fn received_place(plugin: &str) -> String {
    format!("received/{plugin}")
}

async fn read_known(store: &dyn Store, consumer: i64, key: &ConsumerKey) -> Result<Known, Refusal> {
    let damaged = || {
        tracing::error!("what is kept of a consumer is damaged; nothing of theirs flows");
        Refusal::Internal
    };
    let kept = store.kept(consumer).await?;
    let mut by_partner: HashMap<String, Vec<String>> = HashMap::new();
    for (partner, what) in kept.exposures {
        by_partner.entry(partner).or_default().push(what);
    }
    let mut known = Known::default();
    for (partner, kept) in by_partner {
        let exposed = Exposed::read(kept.iter().map(String::as_str)).ok_or_else(damaged)?;
        known.exposed.insert(partner, Arc::new(exposed));
    }
    for (plugin, payload) in kept.received {
        let text = key.open(&received_place(&plugin), &payload).map_err(|_| damaged())?;
        let received: Received = serde_json::from_slice(&text).map_err(|_| damaged())?;
        known.received.insert(plugin, Arc::new(received));
    }
    Ok(known)
}

pub(super) async fn read_choices(
    store: &dyn Store,
    brand: &str,
    subject: &Digest,
) -> Result<Choices, Refusal> {
    match store.choices(brand, subject).await? {
        None => Ok(Choices::default()),
        Some(text) => serde_json::from_str(&text).map_err(|_| {
            tracing::error!("a consumer's choices are damaged; nothing of theirs flows");
            Refusal::Internal
        }),
    }
}
