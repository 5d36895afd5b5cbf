//! The store, in domain words. The only room with sqlx; it knows the policy's types and nothing else
//! of this project. Whoever holds a [`Store`] cannot tell SQLite from PostgreSQL.

#[cfg(test)]
mod conformance;
pub mod crypto;
mod records;
mod sqlite;

use async_trait::async_trait;

pub use records::*;
pub use sqlite::{ServedAlone, SqliteStore};

/// What can go wrong in a store. The database's own errors stay inside; their text goes to the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Full, closed, or out of reach: nothing was written, nothing may be released.
    #[error("the store cannot take anything now; nothing was written")]
    Unavailable,
    /// Something with that name is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// The database refuses it: it names something that is not there, or is there already, or that is no
    /// longer in the state for it. Nothing of it was written, nothing may be released.
    #[error("the {0} contradicts what is stored; nothing was written")]
    Contradiction(&'static str),
    /// What is stored does not read as what it should be.
    #[error("the stored {0} is damaged")]
    Damaged(&'static str),
    /// A store that this version may not use.
    #[error("{0}")]
    Unusable(String),
}

/// Everything that must outlive the process. Each method is one transaction: all of it or nothing.
/// A method that writes returns only once the write is durable.
#[async_trait]
pub trait Store: Send + Sync {
    // ---- what there is: brands, partners, contracts, connections, releases, keys ----

    /// Every document of the control plane.
    async fn documents(&self) -> Result<Vec<Document>, StoreError>;
    /// Writes a document and its entry in the record of changes.
    async fn put_document(&self, document: Document, change: Change) -> Result<(), StoreError>;
    /// Deletes a document and records the change; `false` where there was none. With a connection goes what its
    /// plugin remembers and received of every consumer.
    async fn delete_document(
        &self,
        kind: DocumentKind,
        scope: &str,
        name: &str,
        change: Change,
    ) -> Result<bool, StoreError>;
    /// Grows with every change of documents, releases and keys, by any process.
    async fn control_version(&self) -> Result<i64, StoreError>;
    /// Stores a release; [`StoreError::Exists`] where its version number is taken by other bytes.
    async fn put_release(&self, release: ReleaseRecord, change: Change) -> Result<(), StoreError>;
    /// Every release, without its bytes.
    async fn releases(&self) -> Result<Vec<ReleaseMeta>, StoreError>;
    /// The component's bytes.
    async fn release_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores an API key by the digest of its secret.
    async fn put_key(&self, key: ApiKeyRecord, change: Change) -> Result<(), StoreError>;
    /// Revokes a key; `false` where there is none with this id that is not revoked.
    async fn revoke_key(&self, id: &str, change: Change) -> Result<bool, StoreError>;
    /// Every key that is not revoked.
    async fn keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError>;

    // ---- consumers ----

    /// Finds the consumer, or stores the one offered.
    async fn ensure_consumer(&self, offered: ConsumerRecord) -> Result<ConsumerRecord, StoreError>;
    /// Finds the consumer.
    async fn consumer(&self, brand: &str, subject: &Digest) -> Result<Option<ConsumerRecord>, StoreError>;
    /// Finds the consumer by row.
    async fn consumer_by_id(&self, id: i64) -> Result<Option<ConsumerRecord>, StoreError>;
    /// Finds the consumer by the ledger's name.
    async fn consumer_by_pseudonym(&self, pseudonym: &Uid) -> Result<Option<ConsumerRecord>, StoreError>;
    /// What partners received of the consumer, and what plugins received from them.
    async fn kept(&self, consumer: i64) -> Result<Kept, StoreError>;
    /// What the consumer chose: a JSON document. Kept by the keyed digest of the subject, so that it
    /// survives the consumer's deletion.
    async fn choices(&self, brand: &str, subject: &Digest) -> Result<Option<String>, StoreError>;
    /// Replaces what the consumer chose.
    async fn put_choices(
        &self,
        brand: &str,
        subject: &Digest,
        choices: &str,
        change: Change,
    ) -> Result<(), StoreError>;

    /// The version of the last change of any choice or link, by any process; 0: there is none.
    async fn choices_version(&self) -> Result<i64, StoreError>;
    /// The next `limit` of those whose choices or links changed after a version, oldest first; each once, by its last
    /// change.
    async fn changed_choices(&self, after: i64, limit: u32) -> Result<Vec<ChangedChoices>, StoreError>;
    /// What the consumer chose, and the person as whom it is linked with others.
    async fn choices_and_person(
        &self,
        brand: &str,
        subject: &Digest,
    ) -> Result<Option<(String, Option<Digest>)>, StoreError>;
    /// The consumers who are this person, by keyed digest; sorted.
    async fn linked(&self, brand: &str, person: &Digest) -> Result<Vec<Digest>, StoreError>;
    /// Makes consumers one person, where they are not already, and replaces what each of them chose.
    async fn put_linked_choices(&self, linked: LinkedChoices) -> Result<(), StoreError>;

    // ---- events and work ----

    /// Stores new events with their work, all of them or, where one conflicts, none. Where one conflicts,
    /// the others are answered with what they would have been, and with no work.
    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Acceptance>, StoreError>;
    /// A stored event by its key.
    async fn event_by_key(&self, key: &Digest) -> Result<Option<KnownEvent>, StoreError>;
    /// Stores an event together with the call that decided about it. Anything but [`Acceptance::New`]:
    /// nothing was written.
    async fn accept_decided(&self, event: NewEvent, call: CallRecord) -> Result<Acceptance, StoreError>;
    /// Work that is not done and is due, oldest first.
    async fn due_work(&self, now_ms: i64, limit: u32) -> Result<Vec<WorkRecord>, StoreError>;
    /// When, after `now_ms`, the next work, message or delivery will be due; none where there is none.
    async fn next_due_ms(&self, now_ms: i64) -> Result<Option<i64>, StoreError>;
    /// Puts work off, with the flow that says why; a contradiction where the work is done.
    async fn defer_work(&self, deferral: Deferral) -> Result<(), StoreError>;
    /// One event.
    async fn event(&self, uid: &Uid) -> Result<Option<EventRecord>, StoreError>;
    /// The newest events of these types, newest first.
    async fn recent_events(
        &self,
        brand: &str,
        kinds: &[String],
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError>;
    /// The newest events of one consumer, newest first.
    async fn consumer_events(&self, consumer: i64, limit: u32) -> Result<Vec<EventRecord>, StoreError>;

    // ---- outcomes and the ledger ----

    /// What a connection's plugin remembers about a consumer: [`NewMemory::payload`] as it was last recorded.
    async fn memory(&self, consumer: i64, connection: &Uid) -> Result<Option<Vec<u8>>, StoreError>;
    /// Commits flows, outcome, outbox, memory and decision, and marks the work done: in one transaction, before
    /// anything is released. Of a delivery whose first attempt's row is among the flows, that attempt may be sent then.
    /// `false`, and nothing written, where the work or the message was done already or the event's decision for that
    /// slot is recorded already.
    async fn record_call(&self, call: CallRecord) -> Result<bool, StoreError>;
    /// The log and failure texts of one call; none where it left none, or its consumer is deleted.
    async fn call_log(&self, flow: &Uid) -> Result<Option<NewLog>, StoreError>;
    /// The recorded answer for an event and a slot.
    async fn decision(&self, event_key: &Digest, slot: &str) -> Result<Option<DecisionRecord>, StoreError>;
    /// Deliveries that are due, oldest first.
    async fn due_deliveries(&self, now_ms: i64, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError>;
    /// One delivery.
    async fn delivery(&self, id: &Uid) -> Result<Option<DeliveryRecord>, StoreError>;
    /// Writes the row of an attempt (the first is 1) that came with no call; only then may it be sent. A contradiction
    /// where the delivery is not pending: then it may not be sent.
    async fn record_attempt(&self, delivery: &Uid, attempt: u32, flow: FlowRecord) -> Result<(), StoreError>;
    /// Writes what came of an attempt, and what the delivery becomes.
    async fn record_result(&self, result: AttemptResult) -> Result<(), StoreError>;
    /// Writes one row of the ledger by itself, with what the partner receives by it: of an exchange, whose call
    /// goes on. Only then may it be sent.
    async fn record_flow(&self, flow: FlowRecord, exposures: Vec<Exposure>) -> Result<(), StoreError>;
    /// Writes what came of the exchange with this row; a contradiction where there is no such row, or a result.
    async fn record_flow_result(&self, flow: &Uid, result: FlowResult) -> Result<(), StoreError>;
    /// Drops a pending delivery that may no longer be sent, with the flow that says why.
    async fn drop_delivery(&self, delivery: &Uid, attempt: u32, flow: FlowRecord) -> Result<(), StoreError>;
    /// Deliveries that are dead or dropped, newest first, before the cursor.
    async fn dead_letters(
        &self,
        brand: &str,
        before: Option<Uid>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;
    /// Makes a dead letter due again; `false` where there is none such.
    async fn resend(&self, brand: &str, id: &Uid, now_ms: i64, change: Change) -> Result<bool, StoreError>;
    /// Rows of the ledger, newest first, with the results of attempts.
    async fn flows(&self, query: &FlowQuery) -> Result<Vec<FlowRecord>, StoreError>;
    /// One row of the ledger.
    async fn flow(&self, id: &Uid) -> Result<Option<FlowRecord>, StoreError>;
    /// The next `limit` rows of the ledger after a position, oldest first, those of one shape with the same
    /// facts told together.
    async fn ledger_after(&self, after: i64, limit: u32) -> Result<LedgerPage, StoreError>;
    /// The next `limit` rows of the ledger after a position, oldest first, each by itself.
    async fn ledger_rows_after(&self, after: i64, limit: u32) -> Result<Vec<LedgerRow>, StoreError>;
    /// Every shape that rows of the ledger have, for [`Self::flow_shape`].
    async fn flow_shapes(&self) -> Result<Vec<i64>, StoreError>;
    /// What the rows of a shape have in common.
    async fn flow_shape(&self, shape: i64) -> Result<Option<FlowShape>, StoreError>;
    /// Returned fields of a brand after a position, oldest first.
    async fn returns(&self, brand: &str, after: i64, limit: u32) -> Result<Vec<ReturnRecord>, StoreError>;
    /// Returned fields of one consumer, newest first.
    async fn consumer_returns(&self, consumer: i64, limit: u32) -> Result<Vec<ReturnRecord>, StoreError>;

    /// Fields that a plugin returned of one consumer, newest first.
    async fn last_returns(
        &self,
        consumer: i64,
        plugin: &str,
        limit: u32,
    ) -> Result<Vec<ReturnRecord>, StoreError>;

    // ---- partners' messages ----

    /// Takes a partner's message, to be worked on; `false`, and nothing written, where it was taken before.
    async fn take_message(&self, message: NewMessage) -> Result<bool, StoreError>;
    /// Messages that are not done and are due, oldest first.
    async fn due_messages(&self, now_ms: i64, limit: u32) -> Result<Vec<MessageRecord>, StoreError>;
    /// Puts a message off, with the flow that says why; a contradiction where it is done.
    async fn defer_message(
        &self,
        message: &Uid,
        attempt: u32,
        due_ms: i64,
        flows: Vec<FlowRecord>,
    ) -> Result<(), StoreError>;
    /// Writes rows of the ledger that no call made, and the change that they are part of.
    async fn record_flows(&self, flows: Vec<FlowRecord>, change: Option<Change>) -> Result<(), StoreError>;

    // ---- aggregates ----

    /// Events of one type whose ids are from the first on and below the second, in the order of ids.
    async fn events_between(
        &self,
        brand: &str,
        kind: &str,
        from: Uid,
        until: Uid,
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError>;
    /// The kept answers of one day's events of one type.
    async fn aggregate(&self, brand: &str, event: &str, day: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps answers where there are none; what is kept then, which is never replaced.
    async fn keep_aggregate(
        &self,
        brand: &str,
        event: &str,
        day: &str,
        now_ms: i64,
        answers: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError>;
    /// Counts a question of an asker on a day; `false`, and not counted, where that day's are used up.
    async fn count_question(
        &self,
        asker: &str,
        brand: &str,
        day: &str,
        limit: u32,
    ) -> Result<bool, StoreError>;

    // ---- disclosures ----

    /// Stores a request for an export to an authority.
    async fn put_disclosure(&self, disclosure: DisclosureRecord, change: Change) -> Result<(), StoreError>;
    /// One request of a brand.
    async fn disclosure(&self, brand: &str, id: &Uid) -> Result<Option<DisclosureRecord>, StoreError>;
    /// Approves a request; `false` where there is none that is not approved.
    async fn approve_disclosure(
        &self,
        brand: &str,
        id: &Uid,
        approval: Approval,
        change: Change,
    ) -> Result<bool, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// Finishes what is under way and closes.
    async fn close(&self);
}
