//! What a partner sees of its own plugins, and what it can not tell from it.

use gateway_tests::{Behaviour, Client, Options, TestGateway, events, world};
use serde_json::{Value, json};

const BRAND: &str = "testers";

async fn start(behaviour: &str) -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, behaviour).await;
    gateway
}

async fn send(gateway: &TestGateway, subject: &str) {
    gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, subject)).await.expect(202);
    gateway.settled().await;
}

async fn opt_out(gateway: &TestGateway, subject: &str) {
    let path = format!("/v1/brands/{BRAND}/consumers/{subject}/choices");
    let choices = json!({ "opt_out": { "all_integrations": true } });
    gateway.brand(BRAND).await.put(&path, &choices).await.ok();
}

async fn items(partner: &Client, what: &str) -> Vec<Value> {
    let page = partner.get(&format!("/v1/partner/{what}")).await.ok();
    page["items"].as_array().expect("a page").clone()
}

/// All that there is to see.
async fn everything(gateway: &TestGateway) -> Value {
    let partner = gateway.partner_key("mallory").await;
    let mut status = partner.get("/v1/partner/status").await.ok();
    status[0]["since"] = Value::Null;
    json!({
        "calls": items(&partner, "calls").await, "deliveries": items(&partner, "deliveries").await,
        "logs": items(&partner, "logs").await, "status": status,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opted_out_looks_like_nobody() {
    let gateway = start("value-in-log").await;
    send(&gateway, "ada").await;
    let before = everything(&gateway).await;
    assert_eq!(before["calls"].as_array().map(Vec::len), Some(1), "{before}");
    assert_eq!(before["calls"][0]["outcome"], "ran", "{before}");
    assert_eq!(before["status"][0]["calls"], 1, "{before}");
    opt_out(&gateway, "bob").await;
    send(&gateway, "bob").await;
    assert_eq!(everything(&gateway).await, before, "one who opted out wrote, and nobody did");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_there_while_its_labels_may_flow_and_the_call_is_there_for_good() {
    let gateway = start("value-in-failure").await;
    send(&gateway, "ada").await;
    let partner = gateway.partner_key("mallory").await;
    let calls = items(&partner, "calls").await;
    assert_eq!((&calls[0]["outcome"], &calls[0]["code"]), (&json!("failed"), &json!("rejected")));
    let logs = items(&partner, "logs").await;
    assert!(logs[0]["failure"].as_str().is_some_and(|text| text.starts_with("no such customer")), "{logs:?}");
    // Another partner sees nothing of it, and asks for it in vain.
    world::partner(&gateway, "other", "US", "other.example").await;
    let other = gateway.partner_key("other").await;
    for what in ["calls", "calls?plugin=hostile", "logs?plugin=hostile", "deliveries"] {
        assert!(items(&other, what).await.is_empty(), "{what}");
    }
    opt_out(&gateway, "ada").await;
    assert!(items(&partner, "logs").await.is_empty());
    assert_eq!(items(&partner, "calls").await, calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_says_so_and_by_how_much() {
    for (behaviour, dropped, cut, last) in [
        ("value-in-log", 0, 0, ""),
        ("flood-log", 99_900, 0, "line 99"),
        ("long-log-line", 0, 1, "x… [cut: 978 bytes more]"),
    ] {
        let gateway = start(behaviour).await;
        send(&gateway, "ada").await;
        let logs = items(&gateway.partner_key("mallory").await, "logs").await;
        let counts = (&logs[0]["lines_dropped"], &logs[0]["lines_cut"]);
        assert_eq!(counts, (&json!(dropped), &json!(cut)), "{behaviour}");
        let line = logs[0]["lines"].as_array().and_then(|lines| lines.last()).expect("a line");
        assert!(line[1].as_str().is_some_and(|line| line.ends_with(last)), "{behaviour}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overrun_names_the_budget_what_was_used_and_what_is_allowed() {
    let gateway = start("loop").await;
    send(&gateway, "ada").await;
    let calls = items(&gateway.partner_key("mallory").await, "calls").await;
    let warning = &calls[0]["warnings"][0];
    assert!(["fuel", "time"].iter().any(|budget| warning["budget"] == *budget), "{calls:?}");
    assert!(warning["used"].as_u64() >= warning["allowed"].as_u64(), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_fails_says_what_the_endpoint_answered_and_when_it_is_tried_again() {
    let gateway = start("none").await;
    gateway.partner.script([Behaviour::Status(503)]);
    send(&gateway, "ada").await;
    let partner = gateway.partner_key("mallory").await;
    let deliveries = items(&partner, "deliveries").await;
    let first = &deliveries[0];
    assert_eq!((&first["outcome"], &first["status"]), (&json!("retry"), &json!(503)), "{first}");
    assert!(first["next_try"].is_string(), "{first}");
    let status = partner.get("/v1/partner/status").await.ok();
    assert_eq!(status[0]["deliveries_waiting"], 1, "{status}");
    // Dropped when it is due: until then it looks as it did, and afterwards no try was made.
    opt_out(&gateway, "ada").await;
    assert_eq!(items(&partner, "deliveries").await, deliveries);
    gateway.clock.advance(time::Duration::minutes(1));
    gateway.settled().await;
    let after = items(&partner, "deliveries").await;
    assert_eq!((after.len(), &after[0]["next_try"]), (1, &Value::Null));
}
