//! `kill -9` in the middle of ingesting, fifty times on one store: nothing acknowledged is lost, nothing is
//! delivered under two ids, the database stays sound; and no two processes serve it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway::pipeline::Role;
use gateway_tests::events::{chat_ended, with};
use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{ChildConfig, Client, Keyed as _, Partner, client, components, eventually};
use serde_json::json;
use sqlx::Connection as _;
use tokio::sync::Mutex;

const ROUNDS: usize = 50;
const CLIENTS: usize = 6;

/// What partners have of a consumer is known to one process: a second one could let meet what the first keeps apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_served_by_one_process_at_a_time() {
    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "log-level = \"error\"");
    tokio::task::block_in_place(|| {
        let first = config.serve();
        let refused = config.serve_refused();
        for says in ["another `gateway serve` has the store", "gateway.db", "stop it first"] {
            assert!(refused.contains(says), "{says}: {refused}");
        }
        // Keys are made beside it.
        config.key(Role::Operator, None);
        first.kill();
        config.serve().terminate();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_that_was_acknowledged_and_deliver_nothing_under_two_ids() {
    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "log-level = \"error\"");
    let built = tokio::task::spawn_blocking(components).await.unwrap();
    let child = tokio::task::block_in_place(|| config.serve());
    let gateway = config.with(&child);
    world::brand(&gateway, NORTHSIDE, false).await;
    world::partner(&gateway, "acme-crm", "US", "acme.example").await;
    let release = world::publish(&gateway, "acme-crm", &built.adf_lead).await;
    world::switch_on(&gateway, NORTHSIDE, &release, world::adf_settings(), world::adf_secrets()).await;
    let key = gateway.source(NORTHSIDE).await.key().to_owned();
    tokio::task::block_in_place(|| child.kill());

    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut sent = 0;
    for round in 0..ROUNDS {
        let child = tokio::task::block_in_place(|| config.serve());
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let source = child.client(&key);
            let (count, acknowledged) = (Arc::clone(&count), Arc::clone(&acknowledged));
            let first = sent;
            sent += 1_000;
            clients.spawn(async move { ingest(source, first, &count, &acknowledged).await });
        }
        // At another point in each round: the first acknowledgement, or somewhere in the flow of them.
        let enough = 1 + (round * 7) % 40;
        eventually("acknowledgements", || async { (count.load(Ordering::SeqCst) >= enough).then_some(()) })
            .await;
        tokio::task::block_in_place(|| child.kill());
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }

    let acknowledged = acknowledged.lock().await.clone();
    assert!(acknowledged.len() > ROUNDS, "{}", acknowledged.len());
    let child = tokio::task::block_in_place(|| config.serve());
    let arrived = || {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for request in partner.received() {
            ids.entry(conversation(&request.text())).or_default().insert(request.webhook_id().to_owned());
        }
        ids
    };
    eventually("every acknowledged event at the partner", || async {
        let arrived = arrived();
        acknowledged.iter().all(|event| arrived.contains_key(event)).then_some(())
    })
    .await;
    for (event, ids) in arrived() {
        assert_eq!(ids.len(), 1, "{event} was delivered under {ids:?}");
    }

    // Each is in the store once and has one call on the ledger; what was sent has a row for each attempt.
    let gateway = config.with(&child);
    let auditor = gateway.auditor().await;
    let brand = gateway.brand(NORTHSIDE).await;
    for event in acknowledged.iter().step_by(acknowledged.len() / 40) {
        let stored = brand.get(&format!("/v1/brands/{NORTHSIDE}/consumers/{event}")).await.expect(200);
        assert_eq!(stored["events"].as_array().unwrap().len(), 1, "{event}");
    }
    let rows = auditor.flows("stage=call").await;
    let events: BTreeSet<_> = rows.iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(rows.len(), events.len(), "one call for each event");
    assert!(events.len() >= acknowledged.len());
    // What arrives after this has its row by then too.
    let received = partner.received();
    let attempts: BTreeSet<String> = auditor
        .flows("stage=delivery")
        .await
        .iter()
        .map(|row| format!("msg_{}", row["delivery"].as_str().unwrap()))
        .collect();
    for request in received {
        assert!(attempts.contains(request.webhook_id()), "a request without its row on the ledger");
    }
    tokio::task::block_in_place(|| child.terminate());

    let url = format!("sqlite:{}", config.database().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let sound: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(sound, "ok");
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert_eq!(dangling.len(), 0);
    connection.close().await.unwrap();
}

/// Sends events one after the other until the gateway is gone.
async fn ingest(source: Client, first: usize, count: &AtomicUsize, acknowledged: &Mutex<BTreeSet<String>>) {
    for number in first..first + 1_000 {
        let name = format!("kill-{number}");
        let event =
            with(chat_ended(NORTHSIDE, &name), [("id", json!(name)), ("data/conversation", json!(name))]);
        let path = format!("/v1/brands/{NORTHSIDE}/events");
        let body = event.to_string().into_bytes();
        match source.try_send(reqwest::Method::POST, &path, Some(client::EVENT), body).await {
            Some(answer) if answer.status == 202 => {
                acknowledged.lock().await.insert(name);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Some(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
            None => return,
        }
    }
}

/// The chat that a lead is of.
fn conversation(lead: &str) -> String {
    let (_, rest) = lead.split_once("source=\"chat\">").expect("a lead has its conversation");
    rest.split('<').next().unwrap().to_owned()
}
