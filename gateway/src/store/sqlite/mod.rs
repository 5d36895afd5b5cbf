//! The store on SQLite: one writer that commits in groups, a few connections that read. Nothing of it is
//! known outside but [`SqliteStore`] and [`ServedAlone`].

mod accept;
mod aggregates;
mod alone;
mod apply;
mod bulk;
mod calls;
mod checkpoint;
mod connection;
mod control;
mod deliveries;
mod disclosures;
mod errors;
mod flow_query;
mod ledger;
mod messages;
mod operation;
mod reads;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{mpsc, oneshot};

pub use self::alone::ServedAlone;
use self::checkpoint::Checkpointer;
use self::ledger::shaped;
use self::operation::{Answer, Operation, Request, Shaped};
use self::writer::Writer;
use super::{
    Acceptance, ApiKeyRecord, Approval, AttemptResult, CallRecord, Change, ChangedChoices, ConsumerRecord,
    DecisionRecord, Deferral, DeliveryRecord, Digest, DisclosureRecord, Document, DocumentKind, EventRecord,
    Exposure, FlowQuery, FlowRecord, FlowResult, FlowShape, Kept, KnownEvent, LedgerPage, LedgerRow,
    LinkedChoices, MessageRecord, NewEvent, NewLog, NewMessage, ReleaseMeta, ReleaseRecord, ReturnRecord,
    Store, StoreError, Uid, WorkRecord,
};

/// Operations that may wait for the writer; beyond it their callers wait to be let in.
const QUEUE: usize = 1024;

/// The store in one SQLite file.
pub struct SqliteStore {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    writer_end: Mutex<Option<oneshot::Receiver<()>>>,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the store in this file, which is made (mode 600) where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] where the file cannot be made, or SQLite or the store's version does not
    /// fit; [`StoreError::Unavailable`] where the database cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        connection::prepare(path).await?;
        Self::start(path, connection::writer(path).await?).await
    }

    /// A store that may grow to so many pages and no more, as on a disk that fills up.
    #[cfg(test)]
    async fn open_with_pages(path: &Path, pages: u32) -> Result<Self, StoreError> {
        connection::prepare(path).await?;
        Self::start(path, connection::writer_with_pages(path, pages).await?).await
    }

    async fn start(path: &Path, connection: SqliteConnection) -> Result<Self, StoreError> {
        let checkpointer = Checkpointer::start(path).await?;
        let readers = connection::readers(path).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer::new(path.to_owned(), connection, checkpointer);
        // A thread of its own: a group is a few round trips to the connection's thread, and a thread is
        // woken more cheaply than a task. It ends when the senders are gone.
        let runtime = tokio::runtime::Handle::current();
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                runtime.block_on(writer.run(receiver));
                let _ = ended.send(());
            })
            .map_err(|error| StoreError::Unusable(format!("the store's writer cannot start: {error}")))?;
        Ok(Self { requests: Mutex::new(Some(sender)), writer_end: Mutex::new(Some(end)), readers })
    }

    /// Sends an operation to the writer and waits for its commit. Whoever stops waiting has still asked.
    async fn write(&self, operation: Operation) -> Result<Answer, StoreError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, outcome) = oneshot::channel();
        let requests = requests.ok_or(StoreError::Unavailable)?;
        requests.send(Request { operation, reply }).await.map_err(|_| StoreError::Unavailable)?;
        drop(requests);
        outcome.await.unwrap_or(Err(StoreError::Unavailable))
    }

    async fn write_done(&self, operation: Operation) -> Result<(), StoreError> {
        match self.write(operation).await? {
            Answer::Done => Ok(()),
            _ => Err(StoreError::Damaged("answer")),
        }
    }

    async fn write_whether(&self, operation: Operation) -> Result<bool, StoreError> {
        match self.write(operation).await? {
            Answer::Whether(done) => Ok(done),
            _ => Err(StoreError::Damaged("answer")),
        }
    }
}

fn all_shaped(flows: Vec<FlowRecord>) -> Vec<Shaped> {
    flows.into_iter().map(shaped).collect()
}

#[async_trait]
impl Store for SqliteStore {
    async fn documents(&self) -> Result<Vec<Document>, StoreError> {
        reads::documents(&self.readers).await
    }

    async fn put_document(&self, document: Document, change: Change) -> Result<(), StoreError> {
        self.write_done(Operation::PutDocument { document, change }).await
    }

    async fn delete_document(
        &self,
        kind: DocumentKind,
        scope: &str,
        name: &str,
        change: Change,
    ) -> Result<bool, StoreError> {
        let (scope, name) = (scope.to_owned(), name.to_owned());
        self.write_whether(Operation::DeleteDocument { kind, scope, name, change }).await
    }

    async fn control_version(&self) -> Result<i64, StoreError> {
        reads::control_version(&self.readers).await
    }

    async fn put_release(&self, release: ReleaseRecord, change: Change) -> Result<(), StoreError> {
        self.write_done(Operation::PutRelease { release, change }).await
    }

    async fn releases(&self) -> Result<Vec<ReleaseMeta>, StoreError> {
        reads::releases(&self.readers).await
    }

    async fn release_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        reads::release_bytes(&self.readers, digest).await
    }

    async fn put_key(&self, key: ApiKeyRecord, change: Change) -> Result<(), StoreError> {
        self.write_done(Operation::PutKey { key, change }).await
    }

    async fn revoke_key(&self, id: &str, change: Change) -> Result<bool, StoreError> {
        self.write_whether(Operation::RevokeKey { id: id.to_owned(), change }).await
    }

    async fn keys(&self) -> Result<Vec<ApiKeyRecord>, StoreError> {
        reads::keys(&self.readers).await
    }

    async fn ensure_consumer(&self, offered: ConsumerRecord) -> Result<ConsumerRecord, StoreError> {
        if let Some(found) = reads::consumer(&self.readers, &offered.brand, &offered.subject).await? {
            return Ok(found);
        }
        match self.write(Operation::Consumer(offered)).await? {
            Answer::Consumer(consumer) => Ok(consumer),
            _ => Err(StoreError::Damaged("answer")),
        }
    }

    async fn consumer(&self, brand: &str, subject: &Digest) -> Result<Option<ConsumerRecord>, StoreError> {
        reads::consumer(&self.readers, brand, subject).await
    }

    async fn consumer_by_id(&self, id: i64) -> Result<Option<ConsumerRecord>, StoreError> {
        reads::consumer_by_id(&self.readers, id).await
    }

    async fn consumer_by_pseudonym(&self, pseudonym: &Uid) -> Result<Option<ConsumerRecord>, StoreError> {
        reads::consumer_by_pseudonym(&self.readers, pseudonym).await
    }

    async fn kept(&self, consumer: i64) -> Result<Kept, StoreError> {
        reads::kept(&self.readers, consumer).await
    }

    async fn choices(&self, brand: &str, subject: &Digest) -> Result<Option<String>, StoreError> {
        reads::choices(&self.readers, brand, subject).await
    }

    async fn put_choices(
        &self,
        brand: &str,
        subject: &Digest,
        choices: &str,
        change: Change,
    ) -> Result<(), StoreError> {
        let (brand, choices) = (brand.to_owned(), choices.to_owned());
        self.write_done(Operation::PutChoices { brand, subject: *subject, choices, change }).await
    }

    async fn choices_version(&self) -> Result<i64, StoreError> {
        reads::choices_version(&self.readers).await
    }

    async fn changed_choices(&self, after: i64, limit: u32) -> Result<Vec<ChangedChoices>, StoreError> {
        reads::changed_choices(&self.readers, after, limit).await
    }

    async fn choices_and_person(
        &self,
        brand: &str,
        subject: &Digest,
    ) -> Result<Option<(String, Option<Digest>)>, StoreError> {
        reads::choices_and_person(&self.readers, brand, subject).await
    }

    async fn linked(&self, brand: &str, person: &Digest) -> Result<Vec<Digest>, StoreError> {
        reads::linked(&self.readers, brand, person).await
    }

    async fn put_linked_choices(&self, linked: LinkedChoices) -> Result<(), StoreError> {
        self.write_done(Operation::PutLinkedChoices(linked)).await
    }

    async fn accept(&self, events: Vec<NewEvent>) -> Result<Vec<Acceptance>, StoreError> {
        match self.write(Operation::Accept(events)).await? {
            Answer::Accepted(acceptances) => Ok(acceptances),
            _ => Err(StoreError::Damaged("answer")),
        }
    }

    async fn event_by_key(&self, key: &Digest) -> Result<Option<KnownEvent>, StoreError> {
        reads::event_by_key(&self.readers, key).await
    }

    async fn accept_decided(&self, event: NewEvent, mut call: CallRecord) -> Result<Acceptance, StoreError> {
        let flows = all_shaped(std::mem::take(&mut call.flows));
        match self.write(Operation::Decided { event: Box::new([event]), call, flows }).await? {
            Answer::Accepted(mut acceptances) => acceptances.pop().ok_or(StoreError::Damaged("answer")),
            _ => Err(StoreError::Damaged("answer")),
        }
    }

    async fn due_work(&self, now_ms: i64, limit: u32) -> Result<Vec<WorkRecord>, StoreError> {
        reads::due_work(&self.readers, now_ms, limit).await
    }

    async fn next_due_ms(&self, now_ms: i64) -> Result<Option<i64>, StoreError> {
        reads::next_due_ms(&self.readers, now_ms).await
    }

    async fn defer_work(&self, mut deferral: Deferral) -> Result<(), StoreError> {
        let flows = all_shaped(std::mem::take(&mut deferral.flows));
        self.write_done(Operation::Defer { deferral, flows }).await
    }

    async fn event(&self, uid: &Uid) -> Result<Option<EventRecord>, StoreError> {
        reads::event(&self.readers, uid).await
    }

    async fn recent_events(
        &self,
        brand: &str,
        kinds: &[String],
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError> {
        reads::recent_events(&self.readers, brand, kinds, limit).await
    }

    async fn consumer_events(&self, consumer: i64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        reads::consumer_events(&self.readers, consumer, limit).await
    }

    async fn memory(&self, consumer: i64, connection: &Uid) -> Result<Option<Vec<u8>>, StoreError> {
        reads::memory(&self.readers, consumer, connection).await
    }

    async fn record_call(&self, mut call: CallRecord) -> Result<bool, StoreError> {
        let flows = all_shaped(std::mem::take(&mut call.flows));
        self.write_whether(Operation::Call { call, flows }).await
    }

    async fn decision(&self, event_key: &Digest, slot: &str) -> Result<Option<DecisionRecord>, StoreError> {
        reads::decision(&self.readers, event_key, slot).await
    }

    async fn due_deliveries(&self, now_ms: i64, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        reads::due_deliveries(&self.readers, now_ms, limit).await
    }

    async fn delivery(&self, id: &Uid) -> Result<Option<DeliveryRecord>, StoreError> {
        reads::delivery(&self.readers, id).await
    }

    async fn record_attempt(&self, delivery: &Uid, attempt: u32, flow: FlowRecord) -> Result<(), StoreError> {
        let flow = shaped(flow);
        self.write_done(Operation::Attempt { delivery: *delivery, attempt, flow }).await
    }

    async fn record_result(&self, result: AttemptResult) -> Result<(), StoreError> {
        self.write_done(Operation::Result(result)).await
    }

    async fn record_flow(&self, flow: FlowRecord, exposures: Vec<Exposure>) -> Result<(), StoreError> {
        self.write_done(Operation::Flow { flow: shaped(flow), exposures }).await
    }

    async fn record_flow_result(&self, flow: &Uid, result: FlowResult) -> Result<(), StoreError> {
        self.write_done(Operation::FlowResult { flow: *flow, result }).await
    }

    async fn drop_delivery(&self, delivery: &Uid, attempt: u32, flow: FlowRecord) -> Result<(), StoreError> {
        let flow = shaped(flow);
        self.write_done(Operation::Drop { delivery: *delivery, attempt, flow }).await
    }

    async fn dead_letters(
        &self,
        brand: &str,
        before: Option<Uid>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        reads::dead_letters(&self.readers, brand, before, limit).await
    }

    async fn resend(&self, brand: &str, id: &Uid, now_ms: i64, change: Change) -> Result<bool, StoreError> {
        let brand = brand.to_owned();
        self.write_whether(Operation::Resend { brand, delivery: *id, now_ms, change }).await
    }

    async fn flows(&self, query: &FlowQuery) -> Result<Vec<FlowRecord>, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::flows(&mut connection, query).await
    }

    async fn flow(&self, id: &Uid) -> Result<Option<FlowRecord>, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::flow(&mut connection, id).await
    }

    async fn ledger_after(&self, after: i64, limit: u32) -> Result<LedgerPage, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::ledger_after(&mut connection, after, limit).await
    }

    async fn ledger_rows_after(&self, after: i64, limit: u32) -> Result<Vec<LedgerRow>, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::ledger_rows_after(&mut connection, after, limit).await
    }

    async fn flow_shapes(&self) -> Result<Vec<i64>, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::flow_shapes(&mut connection).await
    }

    async fn flow_shape(&self, shape: i64) -> Result<Option<FlowShape>, StoreError> {
        let mut connection = reads::acquire(&self.readers).await?;
        flow_query::flow_shape(&mut connection, shape).await
    }

    async fn returns(&self, brand: &str, after: i64, limit: u32) -> Result<Vec<ReturnRecord>, StoreError> {
        reads::returns(&self.readers, brand, after, limit).await
    }

    async fn call_log(&self, flow: &Uid) -> Result<Option<NewLog>, StoreError> {
        reads::call_log(&self.readers, flow).await
    }

    async fn last_returns(
        &self,
        consumer: i64,
        plugin: &str,
        limit: u32,
    ) -> Result<Vec<ReturnRecord>, StoreError> {
        reads::last_returns(&self.readers, consumer, plugin, limit).await
    }

    async fn consumer_returns(&self, consumer: i64, limit: u32) -> Result<Vec<ReturnRecord>, StoreError> {
        reads::consumer_returns(&self.readers, consumer, limit).await
    }

    async fn take_message(&self, message: NewMessage) -> Result<bool, StoreError> {
        self.write_whether(Operation::TakeMessage(message)).await
    }

    async fn due_messages(&self, now_ms: i64, limit: u32) -> Result<Vec<MessageRecord>, StoreError> {
        reads::due_messages(&self.readers, now_ms, limit).await
    }

    async fn defer_message(
        &self,
        message: &Uid,
        attempt: u32,
        due_ms: i64,
        flows: Vec<FlowRecord>,
    ) -> Result<(), StoreError> {
        let flows = all_shaped(flows);
        self.write_done(Operation::DeferMessage { message: *message, attempt, due_ms, flows }).await
    }

    async fn record_flows(&self, flows: Vec<FlowRecord>, change: Option<Change>) -> Result<(), StoreError> {
        self.write_done(Operation::Flows { flows: all_shaped(flows), change }).await
    }

    async fn events_between(
        &self,
        brand: &str,
        kind: &str,
        from: Uid,
        until: Uid,
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError> {
        aggregates::events_between(&self.readers, brand, kind, &from, &until, limit).await
    }

    async fn aggregate(&self, brand: &str, event: &str, day: &str) -> Result<Option<Vec<u8>>, StoreError> {
        aggregates::kept(&self.readers, brand, event, day).await
    }

    async fn keep_aggregate(
        &self,
        brand: &str,
        event: &str,
        day: &str,
        now_ms: i64,
        answers: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let (of, kind, date) = (brand.to_owned(), event.to_owned(), day.to_owned());
        let write = aggregates::Write::Keep { brand: of, event: kind, day: date, now_ms, answers };
        self.write_done(Operation::Aggregates(write)).await?;
        self.aggregate(brand, event, day).await?.ok_or(StoreError::Damaged("aggregate"))
    }

    async fn count_question(
        &self,
        asker: &str,
        brand: &str,
        day: &str,
        limit: u32,
    ) -> Result<bool, StoreError> {
        let (asker, brand, day) = (asker.to_owned(), brand.to_owned(), day.to_owned());
        let write = aggregates::Write::Count { asker, brand, day, limit };
        self.write_whether(Operation::Aggregates(write)).await
    }

    async fn put_disclosure(&self, disclosure: DisclosureRecord, change: Change) -> Result<(), StoreError> {
        let write = disclosures::Write::Put(disclosure);
        self.write_whether(Operation::Disclosures { write, change }).await.map(drop)
    }

    async fn disclosure(&self, brand: &str, id: &Uid) -> Result<Option<DisclosureRecord>, StoreError> {
        disclosures::one(&self.readers, brand, id).await
    }

    async fn approve_disclosure(
        &self,
        brand: &str,
        id: &Uid,
        approval: Approval,
        change: Change,
    ) -> Result<bool, StoreError> {
        let write = disclosures::Write::Approve { brand: brand.to_owned(), id: *id, approval };
        self.write_whether(Operation::Disclosures { write, change }).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if self.requests.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(StoreError::Unavailable);
        }
        reads::ping(&self.readers).await
    }

    async fn close(&self) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(requests);
        let end = self.writer_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.close().await;
        if let Some(end) = end
            && end.await.is_err()
        {
            tracing::error!("the store's writer ended badly");
        }
    }
}
