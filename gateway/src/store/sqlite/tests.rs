//! What is particular to SQLite: the file, the triggers, the log, another process that writes.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sqlx::Connection;
use tempfile::TempDir;

use super::super::conformance::{self, NOW, accepted, call, change, consumer, event, flow};
use super::super::{Acceptance, Document, DocumentKind, Exposure, FlowQuery, NewEvent, Store, StoreError};
use super::{SqliteStore, accept, calls, connection, deliveries};

async fn open() -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStore::open(&path(&dir)).await.unwrap(), dir)
}

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("gateway.db")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_store_does() {
    conformance::all(open).await;
}

#[tokio::test]
async fn its_files_are_readable_by_their_owner_alone() {
    let (store, dir) = open().await;
    consumer(&store, "north", 1).await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

/// What a `kill -9` leaves is what is in the files at some moment: so the files are copied away while the
/// store is open, in the order that SQLite's recovery needs, and opened as another store.
#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let (store, dir) = open().await;
    let consumer = consumer(&store, "north", 1).await;
    let (first, work) = accepted(&store, &consumer, 1).await;
    assert!(store.record_call(call(&consumer, &first.uid, Some(work))).await.unwrap());
    let (second, second_work) = accepted(&store, &consumer, 2).await;
    // An exchange's row, whose call has not come to its end.
    let received = Exposure { consumer: consumer.id, partner: "acme".into(), what: "something".into() };
    store.record_flow(flow(&consumer, &second.uid, NOW), vec![received]).await.unwrap();

    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        std::fs::copy(
            dir.path().join(format!("gateway.db{suffix}")),
            copy.path().join(format!("gateway.db{suffix}")),
        )
        .unwrap();
    }
    let after = SqliteStore::open(&path(&copy)).await.unwrap();
    let due = after.due_work(i64::MAX, 9).await.unwrap();
    assert_eq!(due.iter().map(|work| work.id).collect::<Vec<_>>(), [second_work]);
    assert_eq!(after.flows(&FlowQuery { limit: 9, ..FlowQuery::default() }).await.unwrap().len(), 2);
    assert_eq!(after.kept(consumer.id).await.unwrap().exposures.len(), 1);
    assert_eq!(after.accept(vec![event(&consumer, 2)]).await.unwrap(), [Acceptance::Duplicate]);
    let (_, third_work) = accepted(&after, &consumer, 3).await;
    assert!(third_work > second_work, "numbers are never used again");
}

#[tokio::test]
async fn rows_of_the_ledger_do_not_change() {
    let (store, dir) = open().await;
    let consumer = consumer(&store, "north", 1).await;
    let (event, work) = accepted(&store, &consumer, 1).await;
    store.record_call(call(&consumer, &event.uid, Some(work))).await.unwrap();
    store.put_choices("north", &[0; 32], "{}", change("choose")).await.unwrap();
    let mut raw = connection::writer(&path(&dir)).await.unwrap();
    for statement in [
        "UPDATE flows SET brand = 'other'",
        "DELETE FROM flows",
        "UPDATE flow_shapes SET verdicts = '[]'",
        "DELETE FROM flow_shapes",
        "UPDATE flow_shape_categories SET decision = 'allow'",
        "DELETE FROM flow_shape_categories",
        "UPDATE control_changes SET actor = 'other'",
        "DELETE FROM control_changes",
    ] {
        let refused = sqlx::query(statement).execute(&mut raw).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn results_of_attempts_do_not_change() {
    let (_store, dir) = open().await;
    let mut raw = connection::writer(&path(&dir)).await.unwrap();
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut raw).await.unwrap();
    let insert = "INSERT INTO flow_results (flow, at_ms, outcome) VALUES (x'00', 1, 'delivered')";
    sqlx::query(insert).execute(&mut raw).await.unwrap();
    for statement in ["UPDATE flow_results SET outcome = 'dead'", "DELETE FROM flow_results"] {
        assert!(sqlx::query(statement).execute(&mut raw).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn another_process_that_writes_is_waited_for() {
    let (store, dir) = open().await;
    let consumer = consumer(&store, "north", 1).await;
    let mut other = connection::writer(&path(&dir)).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let write = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    };
    let (answer, ()) = tokio::join!(store.accept(vec![event(&consumer, 1)]), write);
    assert!(matches!(answer.unwrap()[0], Acceptance::New { .. }));

    // And its changes are seen.
    let beside = SqliteStore::open(&path(&dir)).await.unwrap();
    let before = store.control_version().await.unwrap();
    let document = Document {
        kind: DocumentKind::Brand,
        scope: String::new(),
        name: "north".into(),
        body: "{}".into(),
        secret: None,
        connection: None,
    };
    beside.put_document(document, change("put brand north")).await.unwrap();
    assert!(store.control_version().await.unwrap() > before);
    let numbers = [accepted(&beside, &consumer, 8).await.1, accepted(&store, &consumer, 9).await.1];
    assert!(numbers[0] != numbers[1], "two processes never use one number");
}

/// SQLite reports a full disk and a full database alike (SQLITE_FULL).
#[tokio::test]
async fn a_full_disk_refuses_all_writes_nothing_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open_with_pages(&path(&dir), 200).await.unwrap();
    let consumer = consumer(&store, "north", 1).await;
    let large = |seed| NewEvent { payload: vec![1; 20_000], ..event(&consumer, seed) };
    let mut stored = 0_u64;
    let refused = loop {
        match store.accept(vec![large(stored)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000);
    };
    assert!(matches!(refused, StoreError::Unavailable));
    let choices = "x".repeat(20_000);
    let (first, second, small) = tokio::join!(
        store.accept(vec![large(stored)]),
        store.accept(vec![large(stored + 1)]),
        store.put_choices("north", &[0; 32], &choices, change("choose")),
    );
    assert!(first.is_err() && second.is_err() && small.is_err());
    assert_eq!(store.due_work(i64::MAX, 1_000).await.unwrap().len() as u64, stored);

    // Space comes back: rows are deleted by another connection.
    let mut raw = connection::writer(&path(&dir)).await.unwrap();
    sqlx::query("DELETE FROM work").execute(&mut raw).await.unwrap();
    sqlx::query("DELETE FROM events").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    assert!(matches!(store.accept(vec![large(stored)]).await.unwrap()[0], Acceptance::New { .. }));
}

/// A statement of the writer that reads a whole table is fast in a test and stops a store that has grown.
#[tokio::test]
async fn no_statement_of_the_writer_reads_a_whole_table() {
    let (_store, dir) = open().await;
    let mut raw = connection::writer(&path(&dir)).await.unwrap();
    for text in [accept::texts(), calls::texts(), deliveries::texts()].concat() {
        let plan = format!("EXPLAIN QUERY PLAN {text}");
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(plan)).fetch_all(&mut raw).await.unwrap();
        let steps: Vec<_> = plan.into_iter().map(|(.., step)| step).collect();
        for table in ["consumers", "events", "work", "delivery_states", "m"] {
            assert!(!steps.iter().any(|step| step.starts_with(&format!("SCAN {table}"))), "{steps:?}");
        }
        assert!(steps.iter().any(|step| step.starts_with("SEARCH")), "{steps:?}");
    }
}

#[tokio::test]
async fn the_log_starts_again_under_load() {
    let (store, dir) = open().await;
    let consumer = consumer(&store, "north", 1).await;
    // 200 MB in all.
    for round in 0..100_u64 {
        let batch = (0..20).map(|at| NewEvent {
            payload: vec![1; 100_000],
            accepted_ms: NOW,
            ..event(&consumer, 20 * round + at)
        });
        store.accept(batch.collect()).await.unwrap();
        // The copying looks every so many commits.
        for _ in 0..8 {
            store.put_choices("north", &[0; 32], "{}", change("choose")).await.unwrap();
        }
    }
    let log = std::fs::metadata(dir.path().join("gateway.db-wal")).unwrap().len();
    assert!(log < 150_000_000, "the log has {log} bytes");
}
