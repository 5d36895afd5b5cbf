//! Writes partners' messages that are taken, and puts them off. What is done is deleted with the call that did it:
//! see `calls`.

use sqlx::SqliteConnection;

use super::super::{NewMessage, Uid};
use super::errors::Trouble;
use super::operation::{Answer, Outcome};

/// Takes a message, unless it was taken before.
pub(super) async fn take(connection: &mut SqliteConnection, new: &NewMessage) -> Result<Outcome, Trouble> {
    let message = &new.message;
    let noted = sqlx::query("INSERT INTO messages (key, at_ms) VALUES (?, ?) ON CONFLICT (key) DO NOTHING")
        .bind(new.key.as_slice())
        .bind(message.at_ms)
        .execute(&mut *connection)
        .await?;
    if noted.rows_affected() == 0 {
        return Ok(Ok(Answer::Whether(false)));
    }
    sqlx::query(
        "INSERT INTO inbox (uid, brand, plugin, connection, at_ms, attempt, due_ms, payload) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(message.uid.as_slice())
    .bind(&message.brand)
    .bind(&message.plugin)
    .bind(message.connection.as_slice())
    .bind(message.at_ms)
    .bind(message.attempt)
    .bind(message.at_ms)
    .bind(message.payload.as_slice())
    .execute(&mut *connection)
    .await?;
    Ok(Ok(Answer::Whether(true)))
}

/// Puts a message off; void where it is done.
pub(super) async fn defer(
    connection: &mut SqliteConnection,
    message: &Uid,
    attempt: u32,
    due_ms: i64,
) -> Result<(), Trouble> {
    let updated = sqlx::query("UPDATE inbox SET attempt = ?, due_ms = ? WHERE uid = ?")
        .bind(attempt)
        .bind(due_ms)
        .bind(message.as_slice())
        .execute(connection)
        .await?;
    if updated.rows_affected() == 1 { Ok(()) } else { Err(Trouble::Void) }
}
