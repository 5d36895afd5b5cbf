//! Opens connections: which SQLite is good enough, which settings each connection has, who may read the
//! file. It runs no statement about the store's own tables but the migrations.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::super::StoreError;
use super::errors::unavailable;

/// SQLite 3.7.0 to 3.51.2 can lose commits when the write-ahead log is reset.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];
/// How long to wait for another process that writes (the command line beside a server).
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of a page. 8192 would make the file of chats two fifths smaller, and an event some 5 % dearer: each
/// random place in an index costs a page of the log.
const PAGE: u32 = 4096;
/// Page cache of the connection that writes, in KiB.
const WRITER_CACHE_KIB: u32 = 4 * 1024;
/// Page cache of each connection that reads, in KiB.
const READER_CACHE_KIB: u32 = 1024;
/// Connections that read: more would only wait for each other on a small machine.
const READERS: u32 = 4;
/// The log's file is cut back to this many bytes when it starts again.
const WAL_BYTES: u64 = 64 << 20;
/// Six sizes of the texts that groups are made of, and the rest; a text of many rows holds some hundred KB.
const STATEMENTS: usize = 100;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

fn options(path: &Path, cache_kib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .page_size(PAGE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", format!("-{cache_kib}"))
        .pragma("journal_size_limit", WAL_BYTES.to_string())
        // `checkpoint` does it, beside the writer and not within a commit.
        .pragma("wal_autocheckpoint", "0")
        .pragma("temp_store", "MEMORY")
        // The database may have been made by others: its schema runs nothing but built-in functions.
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// A connection that may write.
pub(super) async fn writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    options(path, WRITER_CACHE_KIB).connect().await.map_err(|error| unavailable("open the store", &error))
}

/// A connection that may write until the database has so many pages.
#[cfg(test)]
pub(super) async fn writer_with_pages(path: &Path, pages: u32) -> Result<SqliteConnection, StoreError> {
    let options = options(path, WRITER_CACHE_KIB).pragma("max_page_count", pages.to_string());
    options.connect().await.map_err(|error| unavailable("open the store", &error))
}

/// A connection for the checkpointer alone: it passes over pages once, so it needs no cache.
pub(super) async fn checkpointer(path: &Path) -> Result<SqliteConnection, StoreError> {
    options(path, 256).connect().await.map_err(|error| unavailable("open the store", &error))
}

/// The connections that read, and cannot write.
pub(super) async fn readers(path: &Path) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(READERS)
        .test_before_acquire(false)
        .max_lifetime(None)
        .idle_timeout(Some(Duration::from_secs(60)))
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options(path, READER_CACHE_KIB).pragma("query_only", "ON"))
        .await
        .map_err(|error| unavailable("open the store", &error))
}

/// Makes the file with mode 600 where there is none, and brings its tables up to date.
///
/// # Errors
/// An old SQLite, a file that cannot be made, a store of a later version.
pub(super) async fn prepare(path: &Path) -> Result<(), StoreError> {
    refuse_old_sqlite().await?;
    // SQLite gives the log the mode of the database's file.
    own_file(path)?;
    let mut connection = writer(path).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| {
        StoreError::Unusable(format!("the store {} cannot be brought up to date: {error}", path.display()))
    })?;
    connection.close().await.map_err(|error| unavailable("open the store", &error))
}

/// Opens a file of the store's, made with mode 600 where there is none.
///
/// # Errors
/// [`StoreError::Unusable`]: it cannot be made or opened.
pub(super) fn own_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let opened = options.create(true).append(true).mode(0o600).open(path);
    opened.map_err(|error| StoreError::Unusable(format!("the store {}: {error}", path.display())))
}

async fn refuse_old_sqlite() -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| unavailable("ask for SQLite's version", &error);
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.map_err(failed)?;
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.map_err(failed)?;
    if is_new_enough(&version) {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "SQLite {version} can lose commits when its log is reset; build with 3.51.3 or later (libsqlite3-sys 0.37, feature `bundled`)"
    )))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let mut next = || parts.next().flatten();
    match (next(), next(), next()) {
        (Some(major), Some(minor), Some(patch)) => [major, minor, patch] >= OLDEST_SQLITE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_loses_commits_is_refused() {
        for (version, good) in [
            ("3.51.2", false),
            ("3.7.0", false),
            ("3.50.9", false),
            ("", false),
            ("3.51", false),
            ("3.51.3", true),
            ("3.52.0", true),
            ("4.0.0", true),
        ] {
            assert_eq!(is_new_enough(version), good, "{version}");
        }
    }
}
