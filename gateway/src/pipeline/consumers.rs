//! Consumers: their keys, pseudonyms and choices, in a bounded memo over the store. The memo is written
//! through, so a choice takes effect on the next decision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use gateway_policy::Choices;
use moka::sync::Cache;

use super::error::Refusal;
use super::memories::Memories;
use crate::store::crypto::{ConsumerKey, MasterKey, new_pseudonym};
use crate::store::{Change, ConsumerRecord, Digest, Store, Uid};

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
    pub(super) memories: Memories,
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
        let fresh = Arc::new(Consumer {
            id: record.id,
            brand: record.brand,
            subject: record.subject,
            pseudonym: record.pseudonym,
            key,
            engaged: AtomicBool::new(record.engaged),
            choices: ArcSwap::from_pointee(choices),
            memories: Memories::default(),
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
