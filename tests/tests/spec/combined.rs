//! What may not meet in one call may not meet over several: what a partner already received of a consumer counts,
//! whichever of its plugins received it.

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
/// The plugin that is told whose page it is, and the one that is told what is read.
const WHO: &str = "who";
const WHAT: &str = "what";

/// A gateway with two plugins of one partner, each with a contract for its purpose: one forwards e-mail addresses
/// that it cannot read, the other counts pages for analytics.
async fn start() -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let path = "/v1/partners/mallory/contracts/terms";
    let purposes = ["essential.service.operations.support", "analytics.reporting.content_performance"];
    let terms = json!({ "purposes": purposes, "categories": ["user"], "onward_transfer": true });
    gateway.operator().await.put(path, &terms).await.ok();
    for (name, purpose) in [(WHO, purposes[0]), (WHAT, purposes[1])] {
        let component = with_manifest(&built.hostile.bytes, |manifest| {
            manifest["plugin"]["name"] = json!(name);
            manifest["plugin"]["purpose"] = json!(purpose);
            manifest["decide"][0]["slot"] = json!(name);
        });
        let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
        let mut document =
            world::connection(&release, json!({ "host": "api", "behaviour": "none" }), json!({}));
        document["grant"] = match name {
            WHO => json!({ "share chat.ended": ["/contact/email"] }),
            _ => json!({ "decide what": ["/url"] }),
        };
        let path = format!("/v1/brands/{BRAND}/connections/{name}");
        gateway.brand(BRAND).await.put(&path, &document).await.ok();
    }
    gateway
}

/// The verdict on the page's address in a decision about a consumer.
async fn verdict(gateway: &TestGateway, subject: &str) -> Value {
    let page = events::page_viewed(BRAND, subject);
    gateway.source(BRAND).await.decide(WHAT, &page).await.expect(200);
    let rows =
        gateway.brand(BRAND).await.flows(&format!("consumer={subject}&plugin={WHAT}&stage=call")).await;
    rows[0]["fields"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_go_in_one_call_does_not_go_in_two() {
    let gateway = start().await;
    for subject in ["told", "stranger"] {
        let answer = verdict(&gateway, subject).await;
        assert_eq!((&answer["field"], &answer["decision"]), (&json!("/url"), &json!("allow")), "{answer}");
    }
    let chat = events::chat_ended(BRAND, "told");
    gateway.source(BRAND).await.post_event(&chat).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1, "the address went to the partner");

    let answer = verdict(&gateway, "told").await;
    assert_eq!(
        (&answer["decision"], &answer["reason"]),
        (&json!("withhold"), &json!("clause:cookies.third-party-analytics")),
        "{answer}"
    );
    assert_eq!(verdict(&gateway, "stranger").await["decision"], "allow", "of whom it has no address");

    // What the partner has outlives the process.
    let gateway = gateway.stop().await.start().await;
    assert_eq!(verdict(&gateway, "told").await["decision"], "withhold");
    assert_eq!(verdict(&gateway, "stranger").await["decision"], "allow");
}
