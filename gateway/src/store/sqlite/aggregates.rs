//! Reads and writes what aggregates need: the events of a day, answers that are kept, questions counted. It
//! counts no consumers.

use sqlx::{SqliteConnection, SqlitePool};

use super::super::{EventRecord, StoreError, Uid};
use super::errors::{Trouble, unavailable};
use super::operation::{Answer, Outcome};
use super::rows;

/// What is written.
pub(super) enum Write {
    Keep { brand: String, event: String, day: String, now_ms: i64, answers: Vec<u8> },
    Count { asker: String, brand: String, day: String, limit: u32 },
}

/// By the id, which begins with the moment of acceptance: a day's part of an index that is there anyway.
pub(super) async fn events_between(
    readers: &SqlitePool,
    brand: &str,
    kind: &str,
    from: &Uid,
    until: &Uid,
    limit: u32,
) -> Result<Vec<EventRecord>, StoreError> {
    let mut builder = sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT ");
    builder.push(rows::EVENT).push(" FROM events e WHERE e.uid >= ").push_bind(from.to_vec());
    builder.push(" AND e.uid < ").push_bind(until.to_vec());
    // The unary plus keeps these from choosing another index.
    builder.push(" AND +e.brand = ").push_bind(brand.to_owned());
    builder.push(" AND +e.kind = ").push_bind(kind.to_owned());
    builder.push(" ORDER BY e.uid LIMIT ").push_bind(limit);
    let fetched = builder.build().persistent(false).fetch_all(readers).await;
    fetched.map_err(|error| unavailable("read", &error))?.iter().map(rows::event).collect()
}

pub(super) async fn kept(
    readers: &SqlitePool,
    brand: &str,
    event: &str,
    day: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar("SELECT answers FROM aggregates WHERE brand = ? AND event = ? AND day = ?")
        .bind(brand.to_owned())
        .bind(event.to_owned())
        .bind(day.to_owned())
        .fetch_optional(readers)
        .await
        .map_err(|error| unavailable("read", &error))
}

pub(super) async fn write(connection: &mut SqliteConnection, write: &Write) -> Result<Outcome, Trouble> {
    match write {
        Write::Keep { brand, event, day, now_ms, answers } => {
            sqlx::query(
                "INSERT INTO aggregates (brand, event, day, counted_ms, answers) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT (brand, event, day) DO NOTHING",
            )
            .bind(brand)
            .bind(event)
            .bind(day)
            .bind(now_ms)
            .bind(answers.as_slice())
            .execute(&mut *connection)
            .await?;
            Ok(Ok(Answer::Done))
        }
        Write::Count { asker, brand, day, limit } => {
            let counted = sqlx::query(
                "INSERT INTO aggregate_questions (asker, brand, day, asked) SELECT ?1, ?2, ?3, 1 WHERE ?4 > 0 \
                 ON CONFLICT (asker, brand, day) DO UPDATE SET asked = asked + 1 WHERE asked < ?4",
            )
            .bind(asker)
            .bind(brand)
            .bind(day)
            .bind(*limit)
            .execute(&mut *connection)
            .await?;
            Ok(Ok(Answer::Whether(counted.rows_affected() > 0)))
        }
    }
}
