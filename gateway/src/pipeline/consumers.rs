//! Consumers: their keys, pseudonyms and choices, in a bounded memo over the store. The memo is written
//! through, so a choice takes effect on the next decision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use gateway_policy::Choices;
use moka::sync::Cache;

use super::error::Refusal;
use super::links::Person;
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
    /// Shared with those linked with the consumer.
    pub(super) person: ArcSwapOption<Person>,
    pub(super) choices: ArcSwap<Choices>,
}

impl Consumer {
    /// Whether the consumer has engaged with the brand, or one linked with it.
    pub fn engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst)
            || self.person.load().as_ref().is_some_and(|person| person.engaged())
    }

    /// Called once an event that engages is stored.
    pub fn set_engaged(&self) {
        // In this order: whoever links meanwhile sets the person first and then looks here, so that one of both
        // sees the other.
        self.engaged.store(true, Ordering::SeqCst);
        if let Some(person) = &*self.person.load() {
            person.set_engaged();
        }
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
    pub(super) held: Mutex<HashMap<Digest, Weak<Consumer>>>,
    /// The persons as whom those consumers are linked.
    pub(super) persons: Mutex<HashMap<Digest, Weak<Person>>>,
    /// Whether a number, by its keyed digest, opted out of SMS.
    pub(super) numbers: Cache<Digest, bool>,
    /// Read while a consumer is brought into the memo, written while choices change: what was read before
    /// a change can not be put into the memo after it.
    pub(super) changing: tokio::sync::RwLock<()>,
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
            persons: Mutex::default(),
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
        let (choices, person) = match store.choices_and_person(&record.brand, &record.subject).await? {
            None => (Choices::default(), None),
            Some((text, None)) => (read(&text)?, None),
            Some((text, Some(id))) => (read(&text)?, Some(self.person_of(store, &record.brand, id).await?)),
        };
        let fresh = Arc::new(Consumer {
            id: record.id,
            brand: record.brand,
            subject: record.subject,
            pseudonym: record.pseudonym,
            key,
            engaged: AtomicBool::new(record.engaged),
            person: ArcSwapOption::new(person),
            choices: ArcSwap::from_pointee(choices),
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

    /// Replaces what the consumer chose by what `next` makes of it, and what those linked with it chose by what
    /// `linked` makes of theirs and of that; durable and in effect when this returns. One change at a time: each
    /// is made of what stands.
    pub async fn change_choices(
        &self,
        store: &dyn Store,
        consumer: &Consumer,
        change: Change,
        next: impl FnOnce(&Choices) -> Result<Choices, Refusal> + Send,
        linked: impl Fn(&Choices, &Choices) -> Choices + Send,
    ) -> Result<Choices, Refusal> {
        let _alone = self.changing.write().await;
        let mut choices = next(&consumer.choices())?;
        choices.end_refused_permissions();
        let Some(person) = consumer.person.load_full() else {
            store.put_choices(&consumer.brand, &consumer.subject, &write(&choices)?, change).await?;
            consumer.choices.store(Arc::new(choices.clone()));
            return Ok(choices);
        };
        let mut all = self.chosen_by(store, &consumer.brand, person.id).await?;
        for (subject, of_one) in &mut all {
            *of_one = if *subject == consumer.subject { choices.clone() } else { linked(of_one, &choices) };
            of_one.end_refused_permissions();
        }
        self.put_linked(store, &consumer.brand, &person, all, change).await?;
        Ok(choices)
    }
}

pub(super) fn write(choices: &Choices) -> Result<String, Refusal> {
    serde_json::to_string(choices).map_err(|_| Refusal::Internal)
}

fn read(text: &str) -> Result<Choices, Refusal> {
    serde_json::from_str(text).map_err(|_| {
        tracing::error!("a consumer's choices are damaged; nothing of theirs flows");
        Refusal::Internal
    })
}

pub(super) async fn read_choices(
    store: &dyn Store,
    brand: &str,
    subject: &Digest,
) -> Result<Choices, Refusal> {
    store.choices(brand, subject).await?.map_or_else(|| Ok(Choices::default()), |text| read(&text))
}
