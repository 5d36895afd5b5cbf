//! Answers questions from the connections that read. It writes nothing, and the connections could not.

use futures::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{QueryBuilder, SqlitePool};

use super::super::{
    ApiKeyRecord, ChangedChoices, ConsumerRecord, DecisionRecord, DeliveryRecord, Digest, Document,
    EventRecord, Kept, KnownEvent, MessageRecord, NewLog, ReleaseMeta, ReturnRecord, StoreError, Uid,
    WorkRecord,
};
use super::errors::unavailable;
use super::rows;

type Question = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type Reader<T> = fn(&SqliteRow) -> Result<T, StoreError>;

/// A connection that reads.
pub(super) async fn acquire(readers: &SqlitePool) -> Result<PoolConnection<Sqlite>, StoreError> {
    readers.acquire().await.map_err(|error| unavailable("read", &error))
}

/// Row by row: SQLite's copy of a row is gone before the next one is there.
async fn all<T>(readers: &SqlitePool, question: Question, read: Reader<T>) -> Result<Vec<T>, StoreError> {
    let mut rows = question.fetch(readers);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(|error| unavailable("read", &error))? {
        found.push(read(&row)?);
    }
    Ok(found)
}

async fn one<T>(readers: &SqlitePool, question: Question, read: Reader<T>) -> Result<Option<T>, StoreError> {
    let fetched = question.fetch_optional(readers).await.map_err(|error| unavailable("read", &error))?;
    fetched.as_ref().map(read).transpose()
}

/// A statement of constant text, with its columns.
macro_rules! ask {
    ($before:literal, $columns:expr, $after:literal) => {{
        static SQL: std::sync::LazyLock<std::sync::Arc<str>> =
            std::sync::LazyLock::new(|| [$before, $columns, $after].concat().into());
        // Nothing of a caller's is in it.
        sqlx::query(sqlx::AssertSqlSafe(std::sync::Arc::clone(&SQL)))
    }};
}

pub(super) async fn documents(readers: &SqlitePool) -> Result<Vec<Document>, StoreError> {
    let question = ask!("SELECT ", rows::DOCUMENT, " FROM documents ORDER BY kind, scope, name");
    all(readers, question, rows::document).await
}

pub(super) async fn control_version(readers: &SqlitePool) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM control_changes WHERE control = 1")
        .fetch_one(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn releases(readers: &SqlitePool) -> Result<Vec<ReleaseMeta>, StoreError> {
    let question = ask!("SELECT ", rows::RELEASE, " FROM releases ORDER BY plugin, published_ms, version");
    all(readers, question, rows::release).await
}

pub(super) async fn release_bytes(
    readers: &SqlitePool,
    digest: &Digest,
) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("SELECT bytes FROM components WHERE digest = ?")
        .bind(digest.to_vec())
        .fetch_optional(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn keys(readers: &SqlitePool) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let question =
        ask!("SELECT ", rows::KEY, " FROM api_keys WHERE revoked_ms IS NULL ORDER BY created_ms, id");
    all(readers, question, rows::key).await
}

pub(super) async fn consumer(
    readers: &SqlitePool,
    brand: &str,
    subject: &Digest,
) -> Result<Option<ConsumerRecord>, StoreError> {
    let question = ask!("SELECT ", rows::CONSUMER, " FROM consumers WHERE subject = ? AND brand = ?");
    one(readers, question.bind(subject.to_vec()).bind(brand.to_owned()), rows::consumer).await
}

pub(super) async fn consumer_by_id(
    readers: &SqlitePool,
    id: i64,
) -> Result<Option<ConsumerRecord>, StoreError> {
    let question = ask!("SELECT ", rows::CONSUMER, " FROM consumers WHERE id = ?");
    one(readers, question.bind(id), rows::consumer).await
}

pub(super) async fn consumer_by_pseudonym(
    readers: &SqlitePool,
    pseudonym: &Uid,
) -> Result<Option<ConsumerRecord>, StoreError> {
    let question = ask!("SELECT ", rows::CONSUMER, " FROM consumers WHERE pseudonym = ?");
    one(readers, question.bind(pseudonym.to_vec()), rows::consumer).await
}

/// One question for both: it is asked whenever a consumer comes into memory.
pub(super) async fn kept(readers: &SqlitePool, consumer: i64) -> Result<Kept, StoreError> {
    let question = sqlx::query(
        "SELECT partner, what, NULL, NULL FROM exposures WHERE consumer = ?1 \
         UNION ALL SELECT NULL, NULL, connection, payload FROM received WHERE consumer = ?1",
    );
    let mut kept = Kept::default();
    for row in all(readers, question.bind(consumer), rows::kept).await? {
        match row {
            rows::KeptRow::Exposure(partner, what) => kept.exposures.push((partner, what)),
            rows::KeptRow::Received(connection, payload) => kept.received.push((connection, payload)),
        }
    }
    Ok(kept)
}

pub(super) async fn due_messages(
    readers: &SqlitePool,
    now_ms: i64,
    limit: u32,
) -> Result<Vec<MessageRecord>, StoreError> {
    let question =
        ask!("SELECT ", rows::MESSAGE, " FROM inbox WHERE due_ms <= ? ORDER BY due_ms, uid LIMIT ?");
    all(readers, question.bind(now_ms).bind(limit), rows::message).await
}

pub(super) async fn choices(
    readers: &SqlitePool,
    brand: &str,
    subject: &Digest,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT choices FROM choices WHERE subject = ? AND brand = ?")
        .bind(subject.to_vec())
        .bind(brand.to_owned())
        .fetch_optional(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn choices_version(readers: &SqlitePool) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(changed), 0) FROM choices")
        .fetch_one(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn changed_choices(
    readers: &SqlitePool,
    after: i64,
    limit: u32,
) -> Result<Vec<ChangedChoices>, StoreError> {
    let question =
        sqlx::query("SELECT brand, subject, changed FROM choices WHERE changed > ? ORDER BY changed LIMIT ?");
    all(readers, question.bind(after).bind(limit), rows::changed_choices).await
}

pub(super) async fn choices_and_person(
    readers: &SqlitePool,
    brand: &str,
    subject: &Digest,
) -> Result<Option<(String, Option<Digest>)>, StoreError> {
    let question = sqlx::query(
        "SELECT c.choices, l.person FROM choices c \
         LEFT JOIN links l ON l.subject = c.subject AND l.brand = c.brand WHERE c.subject = ? AND c.brand = ?",
    );
    one(readers, question.bind(subject.to_vec()).bind(brand.to_owned()), rows::choices_and_person).await
}

pub(super) async fn linked(
    readers: &SqlitePool,
    brand: &str,
    person: &Digest,
) -> Result<Vec<Digest>, StoreError> {
    let question = sqlx::query("SELECT subject FROM links WHERE person = ? AND brand = ? ORDER BY subject");
    all(readers, question.bind(person.to_vec()).bind(brand.to_owned()), rows::linked).await
}

pub(super) async fn due_work(
    readers: &SqlitePool,
    now_ms: i64,
    limit: u32,
) -> Result<Vec<WorkRecord>, StoreError> {
    const COLUMNS: [&str; 2] = [rows::WORK, rows::EVENT];
    let question = ask!(
        "SELECT ",
        COLUMNS.join(", ").as_str(),
        " FROM work w CROSS JOIN events e ON e.id = w.event WHERE w.due_ms <= ? ORDER BY w.due_ms, w.id LIMIT ?"
    );
    all(readers, question.bind(now_ms).bind(limit), rows::work).await
}

pub(super) async fn next_due_ms(readers: &SqlitePool, now_ms: i64) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar(
        "SELECT min(due_ms) FROM (SELECT min(due_ms) AS due_ms FROM work WHERE due_ms > ?1 \
         UNION ALL SELECT min(due_ms) FROM inbox WHERE due_ms > ?1 \
         UNION ALL SELECT min(due_ms) FROM delivery_states WHERE state = 0 AND due_ms > ?1)",
    )
    .bind(now_ms)
    .fetch_one(readers)
    .await
    .map_err(|error| unavailable("read", &error))
}

pub(super) async fn event(readers: &SqlitePool, uid: &Uid) -> Result<Option<EventRecord>, StoreError> {
    let question = ask!("SELECT ", rows::EVENT, " FROM events e WHERE e.uid = ?");
    one(readers, question.bind(uid.to_vec()), rows::event).await
}

pub(super) async fn event_by_key(
    readers: &SqlitePool,
    key: &Digest,
) -> Result<Option<KnownEvent>, StoreError> {
    let question = sqlx::query("SELECT uid, body, accepted_ms FROM events WHERE key = ?");
    one(readers, question.bind(key.to_vec()), rows::known_event).await
}

/// The newest of each kind by the index, then the newest of those.
pub(super) async fn recent_events(
    readers: &SqlitePool,
    brand: &str,
    kinds: &[String],
    limit: u32,
) -> Result<Vec<EventRecord>, StoreError> {
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let mut builder = QueryBuilder::<Sqlite>::new("SELECT ");
    builder.push(rows::EVENT).push(" FROM events e WHERE e.id IN (");
    for (at, kind) in kinds.iter().enumerate() {
        builder.push(if at == 0 { "" } else { " UNION " });
        builder.push("SELECT * FROM (SELECT id FROM events WHERE brand = ").push_bind(brand.to_owned());
        builder.push(" AND kind = ").push_bind(kind.clone());
        builder.push(" ORDER BY id DESC LIMIT ").push_bind(limit).push(")");
    }
    builder.push(") ORDER BY e.id DESC LIMIT ").push_bind(limit);
    let fetched = builder.build().persistent(false).fetch_all(readers).await;
    fetched.map_err(|error| unavailable("read", &error))?.iter().map(rows::event).collect()
}

pub(super) async fn consumer_events(
    readers: &SqlitePool,
    consumer: i64,
    limit: u32,
) -> Result<Vec<EventRecord>, StoreError> {
    let question =
        ask!("SELECT ", rows::EVENT, " FROM events e WHERE e.consumer = ? ORDER BY e.id DESC LIMIT ?");
    all(readers, question.bind(consumer).bind(limit), rows::event).await
}

pub(super) async fn memory(
    readers: &SqlitePool,
    consumer: i64,
    connection: &Uid,
) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("SELECT payload FROM memories WHERE consumer = ? AND connection = ?")
        .bind(consumer)
        .bind(connection.to_vec())
        .fetch_optional(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn decision(
    readers: &SqlitePool,
    event_key: &Digest,
    slot: &str,
) -> Result<Option<DecisionRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::DECISION,
        " FROM events e JOIN decisions d ON d.event = e.uid WHERE e.key = ? AND d.slot = ?"
    );
    one(readers, question.bind(event_key.to_vec()).bind(slot.to_owned()), rows::decision).await
}

pub(super) async fn due_deliveries(
    readers: &SqlitePool,
    now_ms: i64,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::DELIVERY,
        " FROM delivery_states s CROSS JOIN deliveries d ON d.id = s.delivery \
         WHERE s.state = 0 AND s.due_ms <= ? ORDER BY s.due_ms, s.uid LIMIT ?"
    );
    all(readers, question.bind(now_ms).bind(limit), rows::delivery).await
}

pub(super) async fn delivery(readers: &SqlitePool, id: &Uid) -> Result<Option<DeliveryRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::DELIVERY,
        " FROM delivery_states s CROSS JOIN deliveries d ON d.id = s.delivery WHERE s.uid = ?"
    );
    one(readers, question.bind(id.to_vec()), rows::delivery).await
}

pub(super) async fn dead_letters(
    readers: &SqlitePool,
    brand: &str,
    before: Option<Uid>,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::DELIVERY,
        " FROM delivery_states s CROSS JOIN deliveries d ON d.id = s.delivery \
         WHERE s.state >= 2 AND s.brand = ? AND s.uid <= ? ORDER BY s.uid DESC LIMIT ?"
    );
    // Ids before the cursor; without one, all of them.
    let last = before.map_or(Some(u128::MAX), |uid| u128::from_be_bytes(uid).checked_sub(1));
    let Some(last) = last else { return Ok(Vec::new()) };
    let question = question.bind(brand.to_owned()).bind(last.to_be_bytes().to_vec()).bind(limit);
    all(readers, question, rows::delivery).await
}

pub(super) async fn returns(
    readers: &SqlitePool,
    brand: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<ReturnRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::RETURN,
        " FROM returns r JOIN flows f ON f.id = r.flow JOIN flow_shapes s ON s.id = f.shape \
         WHERE r.brand = ? AND r.position > ? ORDER BY r.position LIMIT ?"
    );
    all(readers, question.bind(brand.to_owned()).bind(after).bind(limit), rows::returned).await
}

pub(super) async fn consumer_returns(
    readers: &SqlitePool,
    consumer: i64,
    limit: u32,
) -> Result<Vec<ReturnRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::RETURN,
        " FROM consumers c CROSS JOIN flows f ON f.consumer = c.pseudonym CROSS JOIN returns r ON r.flow = f.id \
         JOIN flow_shapes s ON s.id = f.shape WHERE c.id = ? ORDER BY r.position DESC LIMIT ?"
    );
    all(readers, question.bind(consumer).bind(limit), rows::returned).await
}

pub(super) async fn call_log(readers: &SqlitePool, flow: &Uid) -> Result<Option<NewLog>, StoreError> {
    let question = ask!("SELECT ", rows::LOG, " FROM call_logs WHERE flow = ?");
    one(readers, question.bind(flow.to_vec()), rows::log).await
}

pub(super) async fn last_returns(
    readers: &SqlitePool,
    consumer: i64,
    plugin: &str,
    limit: u32,
) -> Result<Vec<ReturnRecord>, StoreError> {
    let question = ask!(
        "SELECT ",
        rows::RETURN,
        " FROM consumers c CROSS JOIN flows f ON f.consumer = c.pseudonym CROSS JOIN returns r ON r.flow = f.id \
         JOIN flow_shapes s ON s.id = f.shape WHERE c.id = ? AND r.plugin = ? ORDER BY r.position DESC LIMIT ?"
    );
    all(readers, question.bind(consumer).bind(plugin.to_owned()).bind(limit), rows::returned).await
}

pub(super) async fn ping(readers: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(readers).await.map(drop).map_err(|error| unavailable("answer", &error))
}
