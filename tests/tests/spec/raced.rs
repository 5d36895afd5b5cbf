//! A call whose commit came to nothing, because somebody else did its work meanwhile, ran all the same: its
//! plugin saw the fields, so its row is in the ledger. The store is held still until the call has run.

use std::time::Duration;

use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{Options, TestGateway, events};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

/// Longer than a call takes, and shorter than the store waits for another process that writes.
const A_CALL: Duration = Duration::from_millis(1500);

/// Holds every write back until it is let go, with a change of its own.
struct Held(SqliteConnection);

impl Held {
    async fn hold(gateway: &TestGateway) -> Self {
        let url = format!("sqlite:{}?mode=rw", gateway.database().display());
        let mut connection = SqliteConnection::connect(&url).await.expect("the store opens");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("nobody else writes");
        Self(connection)
    }

    async fn let_go(mut self, change: Option<&'static str>) {
        if let Some(change) = change {
            sqlx::query(change).execute(&mut self.0).await.expect("the change is made");
        }
        sqlx::query("COMMIT").execute(&mut self.0).await.expect("it commits");
        self.0.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_asked_twice_at_once_leaves_a_row_for_each_call() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    let page = events::page_viewed(NORTHSIDE, "ada");
    source.post_event(&page).await.expect(202);
    gateway.settled().await;

    let held = Held::hold(&gateway).await;
    let release = async {
        tokio::time::sleep(A_CALL).await;
        held.let_go(None).await;
    };
    let (first, second, ()) =
        tokio::join!(source.decide("chat-button", &page), source.decide("chat-button", &page), release);
    for answer in [first, second] {
        answer.expect(200);
    }
    let rows = gateway.auditor().await.flows("plugin=chat-button&stage=call").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row["payload"].is_string()), "both had the page's fields: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_work_was_done_meanwhile_keeps_its_row_and_sends_nothing() {
    const FAILURES: usize = 5;
    const BRAND: &str = "testers";
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, "trap").await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    // The breaker is open, so that the last one's work waits.
    for number in 0..=FAILURES {
        source.post_event(&events::chat_ended(BRAND, &format!("c-{number}"))).await.expect(202);
        gateway.settled().await;
    }
    let release = gateway.partner_key("mallory").await.get("/v1/plugins/hostile/releases").await.ok();
    world::hostile_behaves(&gateway, &release[0], "none").await;

    let held = Held::hold(&gateway).await;
    gateway.clock.advance(time::Duration::seconds(31));
    tokio::time::sleep(A_CALL).await;
    held.let_go(Some("DELETE FROM work")).await;
    gateway.settled().await;

    let rows = brand.flows(&format!("consumer=c-{FAILURES}")).await;
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("ran"), json!("not-run:breaker-open")]);
    assert!(gateway.partner.received().is_empty(), "nothing else of the call is kept");
}
