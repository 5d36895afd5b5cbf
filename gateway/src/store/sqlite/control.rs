//! Writes the control plane: documents, releases, keys, consumers' choices, and the record of who changed
//! what. Every write here leaves a row in that record.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::{Change, Digest, DocumentKind, ReleaseRecord, StoreError};
use super::errors::Trouble;
use super::operation::{Answer, Operation, Outcome};

/// The word that stands for a kind in the database.
pub(super) fn kind_word(kind: DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Brand => "brand",
        DocumentKind::Partner => "partner",
        DocumentKind::Contract => "contract",
        DocumentKind::Connection => "connection",
    }
}

/// The kind that a word stands for.
pub(super) fn kind_of(word: &str) -> Option<DocumentKind> {
    use DocumentKind::{Brand, Connection, Contract, Partner};
    [Brand, Partner, Contract, Connection].into_iter().find(|kind| kind_word(*kind) == word)
}

/// Records a change; `control` where it is of documents, releases or keys.
pub(super) async fn record_change(
    connection: &mut SqliteConnection,
    change: &Change,
    control: bool,
) -> Result<(), Trouble> {
    sqlx::query("INSERT INTO control_changes (at_ms, actor, what, control) VALUES (?, ?, ?, ?)")
        .bind(change.at_ms)
        .bind(&change.actor)
        .bind(&change.what)
        .bind(control)
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes an operation of the control plane.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    operation: &Operation,
) -> Result<Outcome, Trouble> {
    match operation {
        Operation::PutDocument { document, change } => {
            sqlx::query(
                "INSERT INTO documents (kind, scope, name, body, secret, connection) VALUES (?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (kind, scope, name) DO UPDATE SET body = excluded.body, secret = excluded.secret",
            )
            .bind(kind_word(document.kind))
            .bind(&document.scope)
            .bind(&document.name)
            .bind(&document.body)
            .bind(&document.secret)
            .bind(document.connection.as_ref().map(|id| id.as_slice()))
            .execute(&mut *connection)
            .await?;
            record_change(connection, change, true).await?;
            Ok(Ok(Answer::Done))
        }
        Operation::DeleteDocument { kind, scope, name, change } => {
            // What hangs on a connection first: it is found by the document.
            for table in ["memories", "received"] {
                let text = format!(
                    "DELETE FROM {table} WHERE connection IN \
                     (SELECT connection FROM documents WHERE kind = ? AND scope = ? AND name = ?)"
                );
                sqlx::query(AssertSqlSafe(text))
                    .bind(kind_word(*kind))
                    .bind(scope)
                    .bind(name)
                    .execute(&mut *connection)
                    .await?;
            }
            let deleted = sqlx::query("DELETE FROM documents WHERE kind = ? AND scope = ? AND name = ?")
                .bind(kind_word(*kind))
                .bind(scope)
                .bind(name)
                .execute(&mut *connection)
                .await?;
            whether(connection, deleted.rows_affected() > 0, change).await
        }
        Operation::PutRelease { release, change } => put_release(connection, release, change).await,
        Operation::PutKey { key, change } => {
            let added = sqlx::query(
                "INSERT INTO api_keys (id, secret_digest, role, brand, partner, created_ms) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(&key.id)
            .bind(key.secret_digest.as_slice())
            .bind(&key.role)
            .bind(&key.brand)
            .bind(&key.partner)
            .bind(key.created_ms)
            .execute(&mut *connection)
            .await?;
            if added.rows_affected() == 0 {
                return Ok(Err(StoreError::Exists(format!("the key {}", key.id))));
            }
            record_change(connection, change, true).await?;
            Ok(Ok(Answer::Done))
        }
        Operation::RevokeKey { id, change } => {
            let revoked =
                sqlx::query("UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL")
                    .bind(change.at_ms)
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
            whether(connection, revoked.rows_affected() > 0, change).await
        }
        Operation::PutChoices { brand, subject, choices, change } => {
            put_choices(connection, brand, subject, choices).await?;
            record_change(connection, change, false).await?;
            Ok(Ok(Answer::Done))
        }
        Operation::PutLinkedChoices(linked) => {
            for (subject, choices) in &linked.choices {
                put_choices(connection, &linked.brand, subject, choices).await?;
                sqlx::query(
                    "INSERT INTO links (subject, brand, person) VALUES (?, ?, ?) \
                     ON CONFLICT (subject, brand) DO UPDATE SET person = excluded.person",
                )
                .bind(subject.as_slice())
                .bind(&linked.brand)
                .bind(linked.person.as_slice())
                .execute(&mut *connection)
                .await?;
            }
            record_change(connection, &linked.change, false).await?;
            Ok(Ok(Answer::Done))
        }
        // The others have functions of their own: see `apply`.
        _ => Ok(Err(StoreError::Unavailable)),
    }
}

async fn put_choices(
    connection: &mut SqliteConnection,
    brand: &str,
    subject: &Digest,
    choices: &str,
) -> Result<(), Trouble> {
    sqlx::query(
        "INSERT INTO choices (subject, brand, choices, changed) \
         VALUES (?, ?, ?, (SELECT coalesce(max(changed), 0) + 1 FROM choices)) \
         ON CONFLICT (subject, brand) DO UPDATE SET choices = excluded.choices, changed = excluded.changed",
    )
    .bind(subject.as_slice())
    .bind(brand)
    .bind(choices)
    .execute(connection)
    .await?;
    Ok(())
}

async fn whether(connection: &mut SqliteConnection, done: bool, change: &Change) -> Result<Outcome, Trouble> {
    if done {
        record_change(connection, change, true).await?;
    }
    Ok(Ok(Answer::Whether(done)))
}

/// The same bytes again change nothing; other bytes under the same version are refused.
async fn put_release(
    connection: &mut SqliteConnection,
    release: &ReleaseRecord,
    change: &Change,
) -> Result<Outcome, Trouble> {
    let meta = &release.meta;
    let taken: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT digest FROM releases WHERE (plugin = ? AND version = ?) OR digest = ?")
            .bind(&meta.plugin)
            .bind(&meta.version)
            .bind(meta.digest.as_slice())
            .fetch_optional(&mut *connection)
            .await?;
    match taken {
        Some(digest) if digest == meta.digest => return Ok(Ok(Answer::Done)),
        Some(_) => {
            let name = format!("release {} of plugin {}, with other bytes,", meta.version, meta.plugin);
            return Ok(Err(StoreError::Exists(name)));
        }
        None => {}
    }
    // A plugin's name is its first partner's for good, also where that one's releases cannot be used now.
    let owner: Option<String> = sqlx::query_scalar("SELECT partner FROM releases WHERE plugin = ? LIMIT 1")
        .bind(&meta.plugin)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(owner) = owner.filter(|owner| *owner != meta.partner) {
        return Ok(Err(StoreError::Exists(format!("plugin {} of partner {owner}", meta.plugin))));
    }
    sqlx::query(
        "INSERT INTO releases (digest, plugin, version, partner, manifest, provenance, size, published_ms, \
         signed_by, signature) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(meta.digest.as_slice())
    .bind(&meta.plugin)
    .bind(&meta.version)
    .bind(&meta.partner)
    .bind(&meta.manifest)
    .bind(&meta.provenance)
    .bind(meta.size.cast_signed())
    .bind(meta.published_ms)
    .bind(&meta.signed_by)
    .bind(&meta.signature)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO components (digest, bytes) VALUES (?, ?)")
        .bind(meta.digest.as_slice())
        .bind(release.component.as_slice())
        .execute(&mut *connection)
        .await?;
    record_change(connection, change, true).await?;
    Ok(Ok(Answer::Done))
}
