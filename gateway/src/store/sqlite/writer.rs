//! The one writer: takes what is asked, commits it in groups, answers after the commit. It knows
//! transactions and not tables.
//!
//! Invariant: no operation is answered with success before the transaction that holds it is durable.
//! Invariant: an operation is written wholly or not at all, whatever the others of its group do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;

use super::super::StoreError;
use super::apply::{Numbers, State};
use super::bulk::Script;
use super::checkpoint::Checkpointer;
use super::connection;
use super::errors::{Trouble, is_broken, refused, unavailable};
use super::operation::{Answer, Operation, Outcome, Request};

/// Operations of a group, at most: a few times what waits in one commit's time, so that a burst does not
/// make the first of it wait for all.
const GROUP: usize = 256;
/// Rows of a group, at most; the last operation may exceed it.
const GROUP_ROWS: usize = 2048;
/// Rest from one commit to the next group, where many ask at once: what is asked meanwhile is committed together. Every
/// commit writes the last page of each table and of most indexes again, so under load larger groups cost a sixth less
/// of the processor for each event, and all are answered sooner. For a decision a page waits, so where some are among
/// them nobody rests.
const REST: Duration = Duration::from_millis(1);
/// Operations of a group from which on many ask at once: where one asks after the other, nobody rests.
const MANY: usize = 8;
/// How long to wait before a lost connection is made again.
const RECONNECT: Duration = Duration::from_millis(200);

pub(super) struct Writer {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    state: State,
    checkpointer: Checkpointer,
}

impl Writer {
    pub(super) fn new(path: PathBuf, connection: SqliteConnection, checkpointer: Checkpointer) -> Self {
        Self { path, connection: Some(connection), state: State::default(), checkpointer }
    }

    /// Works until the last sender is gone and all that was sent is answered.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP);
        let (mut ended, mut many) = (Instant::now(), false);
        while let Some(first) = requests.recv().await {
            if many && requests.len() < GROUP && !is_decision(&first) {
                // Nothing else runs on this thread.
                std::thread::sleep(REST.saturating_sub(ended.elapsed()));
            }
            let mut rows = first.operation.weight();
            group.push(first);
            while rows < GROUP_ROWS && group.len() < GROUP {
                let Ok(next) = requests.try_recv() else { break };
                rows += next.operation.weight();
                group.push(next);
            }
            many = group.len() >= MANY && !group.iter().any(is_decision);
            self.commit(&mut group).await;
            if let Some(connection) = &mut self.connection {
                self.checkpointer.after_commit(connection).await;
            }
            ended = Instant::now();
        }
        self.checkpointer.stop().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store's connection did not close cleanly");
        }
    }

    /// Commits the group and answers it.
    async fn commit(&mut self, group: &mut Vec<Request>) {
        let operations: Vec<&Operation> = group.iter().map(|request| &request.operation).collect();
        let mut outcomes = self.outcomes(&operations).await.unwrap_or_default().into_iter();
        for request in group.drain(..) {
            // A caller that went away is no reason to fail: what it asked for is done.
            let _ = request.reply.send(outcomes.next().unwrap_or(Err(StoreError::Unavailable)));
        }
    }

    /// The outcomes of the group, after its transaction; none where nothing of it was written.
    ///
    /// First all operations together, table by table, in few statements. Where one of them cannot be
    /// written, the transaction is rolled back and the operations run again one by one, each in a savepoint.
    /// In effect both are the same as a savepoint each from the start: none of a group's operations has been
    /// answered, so any order among them is a valid one, and the second way lets each fail alone.
    async fn outcomes(&mut self, operations: &[&Operation]) -> Option<Vec<Outcome>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let Ok(opened) = connection::writer(&self.path).await else {
                    // Nothing else runs on this thread.
                    std::thread::sleep(RECONNECT);
                    return None;
                };
                self.connection.insert(opened)
            }
        };
        let mut done = together(connection, &mut self.state, operations).await;
        if done.as_ref().is_err_and(Trouble::is_of_one) {
            undo(connection, &mut self.state).await;
            done = one_by_one(connection, &mut self.state, operations).await;
        }
        match done {
            Ok(outcomes) => {
                self.state.committed();
                Some(outcomes)
            }
            Err(trouble) => {
                undo(connection, &mut self.state).await;
                if let Trouble::Database(error) = &trouble {
                    unavailable("commit", error);
                    if is_broken(error) {
                        self.connection = None;
                    }
                }
                None
            }
        }
    }
}

fn is_decision(request: &Request) -> bool {
    matches!(request.operation, Operation::Decided { .. })
}

/// IMMEDIATE: the write lock at once, with the busy timeout, so that another process that writes is waited
/// for rather than run into halfway.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Has enough row numbers for any group: reserved durably before any is used, so that no process ever uses
/// one twice.
async fn ensure_numbers(connection: &mut SqliteConnection, state: &mut State) -> Result<(), Trouble> {
    if state.numbers.left() < Numbers::ENOUGH {
        sqlx::query(BEGIN).execute(&mut *connection).await?;
        let numbers = Numbers::reserve(connection).await?;
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        state.numbers = numbers;
    }
    Ok(())
}

async fn together(
    connection: &mut SqliteConnection,
    state: &mut State,
    operations: &[&Operation],
) -> Result<Vec<Outcome>, Trouble> {
    ensure_numbers(connection, state).await?;
    let mut script = Script::new(BEGIN);
    let outcomes = state.apply(connection, &mut script, operations).await?;
    script.end(connection, "COMMIT").await?;
    Ok(outcomes)
}

async fn one_by_one(
    connection: &mut SqliteConnection,
    state: &mut State,
    operations: &[&Operation],
) -> Result<Vec<Outcome>, Trouble> {
    ensure_numbers(connection, state).await?;
    sqlx::query(BEGIN).execute(&mut *connection).await?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        let shapes = state.uncommitted_shapes();
        match alone(connection, state, operation).await {
            Ok(mut outcome) => outcomes.append(&mut outcome),
            Err(trouble) if trouble.is_of_one() => {
                sqlx::query("ROLLBACK TO operation; RELEASE operation").execute(&mut *connection).await?;
                state.forget_shapes_after(shapes);
                outcomes.push(match (&trouble, operation) {
                    (Trouble::Void, Operation::Call { .. }) => Ok(Answer::Whether(false)),
                    _ => Err(refused(operation.subject(), &trouble)),
                });
            }
            Err(trouble) => return Err(trouble),
        }
    }
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(outcomes)
}

async fn alone(
    connection: &mut SqliteConnection,
    state: &mut State,
    operation: &Operation,
) -> Result<Vec<Outcome>, Trouble> {
    sqlx::query("SAVEPOINT operation").execute(&mut *connection).await?;
    let mut script = Script::new("");
    let outcomes = state.apply(connection, &mut script, &[operation]).await?;
    script.run(connection).await?;
    sqlx::query("RELEASE operation").execute(&mut *connection).await?;
    Ok(outcomes)
}

/// Rolls back what is open. SQLite may have done so itself (a full disk), and then says that there is
/// nothing to roll back.
async fn undo(connection: &mut SqliteConnection, state: &mut State) {
    state.forget_shapes_after(0);
    if let Err(error) = sqlx::query("ROLLBACK").execute(&mut *connection).await {
        tracing::debug!(%error, "nothing to roll back");
    }
}
