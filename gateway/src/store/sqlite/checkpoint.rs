//! Copies the write-ahead log back into the database. It writes no row.
//!
//! A checkpoint inside a commit would hold up everything behind it. So a connection of its own copies most
//! of the log while the writer goes on, and syncs it. The log can start again only once all of it is copied
//! and nobody writes meanwhile: so where it has grown long, the writer itself copies the last, short piece
//! between two groups.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::super::StoreError;
use super::connection;

/// Commits between two looks at the log.
const COMMITS: u32 = 16;
/// Pages in the log that are not copied yet from which they are (16 MiB): fewer would copy pages again and again
/// that change often.
const COPY_FROM: i64 = 4_000;
/// Pages in the log from which the writer copies the rest, so that it starts again (48 MiB).
const FINISH_FROM: i64 = 12_000;
/// How long a store must be idle before what little is in the log is copied too.
const IDLE: Duration = Duration::from_secs(5);

/// The writer's side.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    copying: Option<JoinHandle<()>>,
    commits: u32,
}

#[derive(Default)]
struct Shared {
    wake: Notify,
    stop: AtomicBool,
    /// The log is long, and the last of it is to be copied.
    finish: AtomicBool,
}

/// What a checkpoint says.
struct Log {
    /// Pages in the log, copied or not.
    pages: i64,
    /// Those of them that are copied.
    copied: i64,
}

impl Log {
    fn is_to_be_copied(&self, idle: bool) -> bool {
        let left = self.pages - self.copied;
        left >= COPY_FROM || (left > 0 && (idle || self.pages >= FINISH_FROM))
    }
}

impl Checkpointer {
    /// Starts the copying beside the writer; it ends with the writer.
    pub(super) async fn start(path: &Path) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::default());
        let connection = connection::checkpointer(path).await?;
        let database = File::open(path)
            .map_err(|error| StoreError::Unusable(format!("the store {}: {error}", path.display())))?;
        // Never closed: by POSIX, that would end the locks which the connections of this process have on the file.
        let database: &'static File = Box::leak(Box::new(database));
        let copying = tokio::spawn(copy(connection, database, Arc::clone(&shared)));
        Ok(Self { shared, copying: Some(copying), commits: 0 })
    }

    /// To be called after each commit, between two transactions.
    pub(super) async fn after_commit(&mut self, connection: &mut SqliteConnection) {
        if self.shared.finish.swap(false, Ordering::AcqRel)
            && let Err(error) = checkpoint(connection).await
        {
            tracing::warn!(%error, "the store's log could not be copied");
        }
        self.commits += 1;
        if self.commits >= COMMITS {
            self.commits = 0;
            self.shared.wake.notify_one();
        }
    }

    /// Ends the copying and waits for its end.
    pub(super) async fn stop(mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(copying) = self.copying.take()
            && let Err(error) = copying.await
        {
            tracing::warn!(%error, "the copying of the store's log ended badly");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

async fn copy(mut connection: SqliteConnection, database: &'static File, shared: Arc<Shared>) {
    let mut copied = 0;
    while !shared.stop.load(Ordering::Acquire) {
        let idle = tokio::time::timeout(IDLE, shared.wake.notified()).await.is_err();
        let looked = match log(&mut connection).await {
            Ok(log) if log.is_to_be_copied(idle) => match checkpoint(&mut connection).await {
                Ok(log) => sync(database).await.map(|()| log),
                failed => failed,
            },
            looked => looked,
        };
        let looked = match looked {
            Ok(log) if log.pages >= FINISH_FROM && log.copied > copied => {
                catch_up(&mut connection, database).await.inspect(|_| {
                    shared.finish.store(true, Ordering::Release);
                })
            }
            looked => looked,
        };
        match looked {
            Ok(log) => copied = log.copied,
            // A full disk, most likely: the log keeps what it has, and the next look tries again.
            Err(error) => tracing::warn!(%error, "the store's log could not be copied"),
        }
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the checkpointer's connection did not close cleanly");
    }
}

/// Leaves as little as can be for the writer, behind which all wait: what is copied is on the disk, and what was
/// written meanwhile is copied too. SQLite itself syncs only once all is copied, which is in the writer.
async fn catch_up(connection: &mut SqliteConnection, database: &'static File) -> Result<Log, sqlx::Error> {
    sync(database).await?;
    checkpoint(connection).await?;
    sync(database).await?;
    checkpoint(connection).await
}

async fn sync(database: &'static File) -> Result<(), sqlx::Error> {
    let done = tokio::task::spawn_blocking(|| database.sync_data()).await;
    done.map_err(|_| sqlx::Error::WorkerCrashed)?.map_err(sqlx::Error::Io)
}

/// The state of the log; copies nothing.
async fn log(connection: &mut SqliteConnection) -> Result<Log, sqlx::Error> {
    pragma(connection, "PRAGMA wal_checkpoint(NOOP)").await
}

/// Copies what can be copied without waiting for anyone.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<Log, sqlx::Error> {
    pragma(connection, "PRAGMA wal_checkpoint(PASSIVE)").await
}

async fn pragma(connection: &mut SqliteConnection, pragma: &'static str) -> Result<Log, sqlx::Error> {
    let (_busy, pages, copied): (i64, i64, i64) = sqlx::query_as(pragma).fetch_one(connection).await?;
    Ok(Log { pages, copied })
}
