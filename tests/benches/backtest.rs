//! `gateway policy backtest` over a large ledger: rows that a real gateway wrote about the demo's world, each
//! repeated under numbers of its own, decided again on one core.
//!
//! `cargo bench --bench backtest` (`-- --rows 1000000` for fewer)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

use gateway::pipeline::Role;
use gateway_tests::client::{Keyed as _, brand_of};
use gateway_tests::{ChildConfig, Partner, child, events, paths, world};
use serde_json::Value;
use sqlx::Connection as _;

/// Each row once more, under another number.
const DOUBLE: &str = "INSERT INTO flows (id, at_ms, shape, brand, consumer, event, facts, delivery, attempt, payload, \
                      fuel, micros, memory) SELECT randomblob(16), at_ms, shape, brand, consumer, event, facts, \
                      delivery, attempt, payload, fuel, micros, memory FROM flows LIMIT ?";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rows = arguments.iter().position(|a| a == "--rows").and_then(|at| arguments.get(at + 1));
    let rows = rows.map_or(3_000_000, |text| text.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(run(rows));
}

async fn run(rows: i64) {
    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "log-level = \"warn\"");
    ledger(&config).await;
    let url = format!("sqlite://{}", config.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let mut there = count(&mut store, "SELECT count(*) FROM flows").await;
    let shapes = count(&mut store, "SELECT count(DISTINCT shape || ':' || facts) FROM flows").await;
    println!("{there} rows of a gateway, {shapes} of them different; repeated until there are {rows}");
    while there < rows {
        sqlx::query(DOUBLE).bind(rows - there).execute(&mut store).await.unwrap();
        there = count(&mut store, "SELECT count(*) FROM flows").await;
    }
    store.close().await.unwrap();

    let shipped = paths::root().join("gateway/policies/platform-2017-03-01.toml");
    let output = child::command(config.dir.path())
        .args(["policy", "backtest", "--format", "json", "--config"])
        .arg(config.file())
        .arg(shipped)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((found["rows"].as_i64(), found["rows_that_flip"].as_i64()), (Some(rows), Some(0)));
    let seconds = found["seconds"].as_f64().unwrap();
    println!("{rows} rows decided again in {seconds:.2} s: {:.0} rows/s", there as f64 / seconds);
}

/// What a gateway writes about the demo's events: real ones where they are, else the project's sample.
async fn ledger(config: &ChildConfig) {
    let server = config.serve();
    let keyed = config.with(&server);
    world::demo(&keyed).await;
    let input = paths::shared("events.jsonl").unwrap_or_else(paths::sample);
    for event in events::read(&input) {
        let source = keyed.client(Role::Source, Some(brand_of(&event))).await;
        if event["type"] == "page.viewed" && brand_of(&event) != world::BANK {
            source.decide("chat-button", &event).await.ok();
        } else {
            source.post_event(&event).await.ok();
        }
    }
    server.terminate();
}

async fn count(store: &mut sqlx::SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(store).await.unwrap()
}
