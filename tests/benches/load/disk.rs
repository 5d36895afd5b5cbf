//! What the disk gives through the store: one durable row.

use std::path::Path;
use std::sync::Arc;

use gateway::store::crypto::{new_pseudonym, new_uid};
use gateway::store::{ConsumerRecord, NewEvent, SqliteStore, Store};

/// A store that takes rows of one event each.
#[derive(Clone)]
pub struct Rows {
    store: Arc<SqliteStore>,
    consumer: i64,
}

impl Rows {
    pub async fn open(path: &Path) -> Self {
        let store = SqliteStore::open(path).await.unwrap();
        let consumer = ConsumerRecord {
            id: 0,
            brand: "b".into(),
            subject: [1; 32],
            pseudonym: new_pseudonym(),
            wrapped_key: vec![0; 60],
            engaged: false,
        };
        let consumer = store.ensure_consumer(consumer).await.unwrap().id;
        Self { store: Arc::new(store), consumer }
    }

    pub async fn write(&self, number: usize) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let now_ms = 1_700_000_000_000;
        let event = NewEvent {
            uid: new_uid(now_ms),
            key,
            body: key,
            consumer: self.consumer,
            brand: "b".into(),
            kind: "page.viewed".into(),
            accepted_ms: now_ms,
            payload: vec![0; 400],
            engages: false,
            work: vec![],
        };
        self.store.accept(vec![event]).await.unwrap();
    }
}
