//! Reads and writes requests for exports to authorities. It decides nothing about them.

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

use super::super::{Approval, Change, DisclosureRecord, StoreError, Uid};
use super::control::record_change;
use super::errors::{Trouble, unavailable};
use super::operation::{Answer, Outcome};
use super::rows::Columns;

/// What is written.
pub(super) enum Write {
    Put(DisclosureRecord),
    Approve { brand: String, id: Uid, approval: Approval },
}

const COLUMNS: &str =
    "id, brand, subject, requested_ms, requester, body, approved_ms, approver, approval_body";

pub(super) async fn one(
    readers: &SqlitePool,
    brand: &str,
    id: &Uid,
) -> Result<Option<DisclosureRecord>, StoreError> {
    let mut builder = sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT ");
    builder.push(COLUMNS).push(" FROM disclosures WHERE id = ").push_bind(id.to_vec());
    builder.push(" AND brand = ").push_bind(brand.to_owned());
    let fetched = builder.build().fetch_optional(readers).await;
    fetched.map_err(|error| unavailable("read", &error))?.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<DisclosureRecord, StoreError> {
    let mut columns = Columns::new(row, "disclosure");
    Ok(DisclosureRecord {
        id: columns.bytes()?,
        brand: columns.take()?,
        subject: columns.bytes()?,
        requested_ms: columns.take()?,
        requester: columns.take()?,
        body: columns.take()?,
        approval: match (columns.take()?, columns.take()?, columns.take()?) {
            (Some(at_ms), Some(approver), Some(body)) => Some(Approval { at_ms, approver, body }),
            _ => None,
        },
    })
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    write: &Write,
    change: &Change,
) -> Result<Outcome, Trouble> {
    let written = match write {
        Write::Put(DisclosureRecord { id, brand, subject, requested_ms, requester, body, approval: _ }) => {
            let insert = "INSERT INTO disclosures (id, brand, subject, requested_ms, requester, body) \
                          VALUES (?, ?, ?, ?, ?, ?)";
            sqlx::query(insert)
                .bind(id.as_slice())
                .bind(brand)
                .bind(subject.as_slice())
                .bind(requested_ms)
                .bind(requester)
                .bind(body.as_slice())
                .execute(&mut *connection)
                .await?
        }
        Write::Approve { brand, id, approval } => {
            let update = "UPDATE disclosures SET approved_ms = ?, approver = ?, approval_body = ? \
                          WHERE id = ? AND brand = ? AND approved_ms IS NULL";
            sqlx::query(update)
                .bind(approval.at_ms)
                .bind(&approval.approver)
                .bind(approval.body.as_slice())
                .bind(id.as_slice())
                .bind(brand)
                .execute(&mut *connection)
                .await?
        }
    };
    let done = written.rows_affected() > 0;
    if done {
        record_change(connection, change, false).await?;
    }
    Ok(Ok(Answer::Whether(done)))
}
