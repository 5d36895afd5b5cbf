//! Consumers: their keys, pseudonyms and choices, in a bounded memo over the store. The memo is written
//! through, so a choice takes effect on the next decision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use gateway_policy::{Choices, Conditions, Label, Purpose};
use moka::sync::Cache;

use super::error::Refusal;
use super::links::{Exposures, Person};
use super::memories::Memories;
use super::onward::LastReturned;
use crate::boundary::{Exposed, Received};
use crate::store::crypto::{ConsumerKey, MasterKey, format_uid, new_pseudonym};
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
    /// Shared with those linked with the consumer.
    pub(super) person: ArcSwap<Person>,
    pub(super) choices: ArcSwap<Choices>,
    pub(super) memories: Memories,
    /// What plugins received of the consumer, by connection; none: it is not known whether what was written last is
    /// stored.
    received: Mutex<Option<AllReceived>>,
    pub(super) returned: LastReturned,
    /// Held while a message is merged into what stands.
    pub(super) receiving: tokio::sync::Mutex<()>,
}

impl Consumer {
    /// Whether the consumer has engaged with the brand, or one linked with it.
    pub fn engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst) || self.person.load().engaged()
    }

    /// The person whose id this is: the same of all that are linked, as far as that is known now.
    pub(super) fn person_id(&self) -> Digest {
        self.person.load().id.unwrap_or(self.subject)
    }

    /// Called once an event that engages is stored.
    pub fn set_engaged(&self) {
        // In this order: whoever links meanwhile sets the person first and then looks here, so that one of both
        // sees the other.
        self.engaged.store(true, Ordering::SeqCst);
        self.person.load().set_engaged();
    }

    /// What the consumer chose, as it stands now.
    pub fn choices(&self) -> Arc<Choices> {
        self.choices.load_full()
    }

    /// Reads or writes what partners received of the person; a person that is given up meanwhile is not used.
    fn exposures<R>(&self, act: impl FnOnce(&mut Exposures) -> R) -> R {
        loop {
            let person = self.person.load_full();
            let mut exposures = person.exposures();
            if Arc::ptr_eq(&person, &self.person.load_full()) {
                return act(&mut exposures);
            }
        }
    }

    /// What a partner already received of the consumer, or of one linked with it.
    pub fn exposed(&self, partner: &str) -> Arc<Exposed> {
        self.exposures(|exposures| exposures.of(partner))
    }

    /// Takes in that a partner is about to receive these labels for a purpose. Not so where it received something
    /// since `seen`: then the decision was made on too little.
    pub fn expose<'l>(
        &self,
        partner: &str,
        purpose: Purpose,
        seen: &Arc<Exposed>,
        labels: impl Iterator<Item = &'l Label> + Clone,
        conditions: &Conditions,
    ) -> bool {
        self.exposures(|exposures| exposures.add(self.id, partner, purpose, seen, labels, conditions))
    }

    /// What a partner received that no committed row says yet: to be committed with the next one.
    pub fn unwritten(&self, partner: &str) -> Vec<Exposure> {
        self.exposures(|exposures| exposures.unwritten(partner))
    }

    /// These are committed.
    pub fn exposures_written(&self, written: &[Exposure]) {
        if !written.is_empty() {
            self.exposures(|exposures| exposures.written(written));
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<AllReceived>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the plugin of a connection received of the consumer; none too where it is not known: see
    /// [`Self::know_received`].
    pub fn received(&self, connection: &Uid) -> Option<Arc<Received>> {
        self.known().as_ref()?.get(connection).cloned()
    }

    /// Reads what plugins received of the consumer again, where it is not known.
    pub(super) async fn know_received(&self, store: &dyn Store) -> Result<(), Refusal> {
        if self.known().is_some() {
            return Ok(());
        }
        let alone = self.receiving.lock().await;
        self.know_received_alone(store, &alone).await
    }

    /// The same, for who merges a message.
    pub(super) async fn know_received_alone(
        &self,
        store: &dyn Store,
        _alone: &tokio::sync::MutexGuard<'_, ()>,
    ) -> Result<(), Refusal> {
        if self.known().is_none() {
            let (_, received) = read_kept(store, self.id, &self.key).await?;
            *self.known() = Some(received);
        }
        Ok(())
    }

    /// Called once it is committed.
    pub fn set_received(&self, connection: &Uid, received: Received) {
        if let Some(known) = &mut *self.known() {
            known.insert(*connection, Arc::new(received));
        }
    }

    /// Called where it may be committed, or another may have been: whoever comes next reads the store.
    pub(super) fn forget_received(&self) {
        *self.known() = None;
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
        let (choices, person) = match store.choices_and_person(&record.brand, &record.subject).await? {
            None => (Choices::default(), None),
            Some((text, person)) => (read(&text)?, person),
        };
        let (exposures, received) = read_kept(store, record.id, &key).await?;
        let person = match person {
            None => Arc::new(Person::alone(exposures)),
            Some(id) => self.person_of(store, &record.brand, id).await?,
        };
        let fresh = Arc::new(Consumer {
            id: record.id,
            brand: record.brand,
            subject: record.subject,
            pseudonym: record.pseudonym,
            key,
            engaged: AtomicBool::new(record.engaged),
            person: ArcSwap::new(person),
            choices: ArcSwap::from_pointee(choices),
            memories: Memories::default(),
            received: Mutex::new(Some(received)),
            returned: LastReturned::default(),
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

    /// Lets a consumer go, so that whoever comes next reads the store. What is under way keeps the value that it has.
    pub(super) fn forget(&self, consumer: &Consumer) {
        self.by_subject.invalidate(&consumer.subject);
        self.by_id.invalidate(&consumer.id);
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
        self.catch_up(store, &consumer.brand, &consumer.subject).await?;
        let mut choices = next(&consumer.choices())?;
        choices.end_refused_permissions();
        let person = consumer.person.load_full();
        let Some(id) = person.id else {
            store.put_choices(&consumer.brand, &consumer.subject, &write(&choices)?, change).await?;
            consumer.choices.store(Arc::new(choices.clone()));
            return Ok(choices);
        };
        let mut all = self.chosen_by(store, &consumer.brand, id).await?;
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

pub(super) fn read(text: &str) -> Result<Choices, Refusal> {
    serde_json::from_str(text).map_err(|_| {
        tracing::error!("a consumer's choices are damaged; nothing of theirs flows");
        Refusal::Internal
    })
}

/// The place of what a plugin received of a consumer: associated data of its encryption.
pub(super) fn received_place(connection: &Uid) -> String {
    format!("received/{}", format_uid(connection))
}

fn damaged() -> Refusal {
    tracing::error!("what is kept of a consumer is damaged; nothing of theirs flows");
    Refusal::Internal
}

/// By connection.
type AllReceived = HashMap<Uid, Arc<Received>>;

async fn read_kept(
    store: &dyn Store,
    consumer: i64,
    key: &ConsumerKey,
) -> Result<(Exposures, AllReceived), Refusal> {
    let kept = store.kept(consumer).await?;
    let mut all = AllReceived::new();
    for (connection, payload) in kept.received {
        let text = key.open(&received_place(&connection), &payload).map_err(|_| damaged())?;
        let received: Received = serde_json::from_slice(&text).map_err(|_| damaged())?;
        all.insert(connection, Arc::new(received));
    }
    Ok((Exposures::read(kept.exposures).ok_or_else(damaged)?, all))
}

/// What partners received of a consumer, by its row.
pub(super) async fn read_exposures(store: &dyn Store, consumer: i64) -> Result<Exposures, Refusal> {
    Exposures::read(store.kept(consumer).await?.exposures).ok_or_else(damaged)
}

pub(super) async fn read_choices(
    store: &dyn Store,
    brand: &str,
    subject: &Digest,
) -> Result<Choices, Refusal> {
    store.choices(brand, subject).await?.map_or_else(|| Ok(Choices::default()), |text| read(&text))
}
