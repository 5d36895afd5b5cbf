//! Given a ledger that takes no row; when an event is worked on, a decision is asked for, or a request is tried again;
//! then nothing leaves, and once rows can be written all of it is done.

use gateway_tests::events::{chat_ended, page_viewed};
use gateway_tests::world::NORTHSIDE;
use gateway_tests::{Behaviour, TestGateway, eventually};
use serde_json::json;

use crate::choices::by_sms::change;

/// A row whose parent is missing when its transaction commits, with each row of the ledger.
const REFUSE: [&str; 2] = [
    "CREATE TABLE orphans (parent INTEGER REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER refuse AFTER INSERT ON flows BEGIN INSERT INTO orphans VALUES (-1); END",
];
const ALLOW: [&str; 2] = ["DROP TRIGGER refuse", "DROP TABLE orphans"];

async fn each(gateway: &TestGateway, changes: [&'static str; 2]) {
    for one in changes {
        change(gateway, one).await;
    }
}

/// Until something could not be recorded.
async fn unrecorded(gateway: &TestGateway) {
    eventually("what cannot be recorded", || async {
        (gateway.gateway.counts().unrecorded > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_row_nothing_is_sent_or_answered_and_nothing_is_lost() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(NORTHSIDE).await, gateway.brand(NORTHSIDE).await);
    let page = page_viewed(NORTHSIDE, "ottoline");
    each(&gateway, REFUSE).await;
    source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
    unrecorded(&gateway).await;
    let answer = source.decide("chat-button", &page).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(gateway.partner.received().is_empty());
    assert_eq!(brand.get(&format!("/v1/brands/{NORTHSIDE}/returns")).await.ok(), json!([]));
    assert_eq!(gateway.auditor().await.flows("stage=call").await.len(), 0);

    each(&gateway, ALLOW).await;
    gateway.clock.advance(time::Duration::seconds(2));
    gateway.partner.wait_for(1).await;
    assert!(source.decide("chat-button", &page).await.expect(200)["provenance"].is_object());
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1);
    assert_eq!(brand.flows("stage=delivery").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_without_a_row_is_not_made() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(NORTHSIDE).await, gateway.brand(NORTHSIDE).await);
    gateway.partner.script([Behaviour::Status(503)]);
    source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
    gateway.partner.wait_for(1).await;
    gateway.settled().await;
    each(&gateway, REFUSE).await;
    gateway.clock.advance(time::Duration::seconds(6));
    unrecorded(&gateway).await;
    assert_eq!(gateway.partner.received().len(), 1);
    each(&gateway, ALLOW).await;
    gateway.partner.wait_for(2).await;
    gateway.settled().await;
    let outcomes: Vec<_> =
        brand.flows("stage=delivery").await.iter().map(|row| row["result"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["delivered", "retry"]);
}
