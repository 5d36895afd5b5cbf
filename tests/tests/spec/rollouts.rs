//! Given a connection and newer releases of its plugin; when a release is rolled out, fails, is completed, rolled back,
//! withdrawn or blocked while events flow; then each event is handled once, by a release that the ledger names, and
//! nothing gets more than the brand agreed to.

mod agreed;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
const CONNECTION: &str = "/v1/brands/testers/connections/hostile";

async fn start() -> (TestGateway, Value) {
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, "none").await;
    let releases = gateway.brand(BRAND).await.get("/v1/plugins/hostile/releases").await.expect(200);
    (gateway, releases[0].clone())
}

/// Publishes the plugin as another version, its manifest changed.
async fn publish(gateway: &TestGateway, version: &str, change: impl FnOnce(&mut Value)) -> Value {
    let component = with_manifest(&components().hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!(version);
        change(manifest);
    });
    gateway.partner_key("mallory").await.publish(&component).await.expect(201)
}

async fn connection(gateway: &TestGateway) -> Value {
    gateway.brand(BRAND).await.get(CONNECTION).await.expect(200)
}

async fn rollout(gateway: &TestGateway, document: Value) -> gateway_tests::Answer {
    gateway.brand(BRAND).await.put(&format!("{CONNECTION}/rollout"), &document).await
}

async fn roll_back(gateway: &TestGateway, document: Value) -> gateway_tests::Answer {
    let path = format!("{CONNECTION}/rollback");
    let body = document.to_string().into_bytes();
    gateway.brand(BRAND).await.post_body(&path, "application/json", body).await
}

/// Sends one chat of each consumer.
async fn send(gateway: &TestGateway, consumers: usize) {
    let source = gateway.source(BRAND).await;
    for consumer in 0..consumers {
        let event = events::chat_ended(BRAND, &format!("consumer-{consumer}@example.com"));
        source.post_event(&event).await.expect(202);
    }
}

/// Of each event its rows of calls, oldest first: (release, outcome, consumer).
async fn calls(gateway: &TestGateway) -> BTreeMap<String, Vec<(String, String, String)>> {
    let mut calls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let rows = gateway.brand(BRAND).await.flows("stage=call").await;
    for row in rows.into_iter().rev() {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        calls.entry(text("event")).or_default().push((text("release"), text("outcome"), text("consumer")));
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_while_a_release_fails_returns_completes_and_is_rolled_back() {
    const CONSUMERS: usize = 40;
    let (gateway, first) = start().await;
    let bad = publish(&gateway, "1.1.0", |_| {}).await;
    send(&gateway, CONSUMERS).await;
    // The same code, told to trap: what a broken release does.
    let broken = json!({ "host": "api", "behaviour": "trap" });
    let view =
        rollout(&gateway, json!({ "release": "1.1.0", "percent": 50, "settings": broken })).await.expect(200);
    assert_eq!((&view["rollout"]["percent"], &view["release"]), (&json!(50), &first["release"]));
    for _ in 0..5 {
        send(&gateway, CONSUMERS).await;
    }
    gateway.settled().await;
    let mut view = connection(&gateway).await;
    for _ in 0..40 {
        if view["rollout"]["ended"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        view = connection(&gateway).await;
    }
    assert!(view["rollout"]["ended"].as_str().unwrap().contains("calls failed"), "{view}");
    assert_eq!((&view["rollout"]["percent"], &view["release"]), (&json!(0), &first["release"]));

    let good = publish(&gateway, "1.2.0", |_| {}).await;
    rollout(&gateway, json!({ "release": "1.2.0", "percent": 50 })).await.expect(200);
    send(&gateway, CONSUMERS).await;
    send(&gateway, CONSUMERS).await;
    gateway.settled().await;
    let halves = calls(&gateway).await;
    rollout(&gateway, json!({ "release": "1.2.0", "percent": 100 })).await.expect(200);
    send(&gateway, CONSUMERS).await;
    gateway.settled().await;
    let view = connection(&gateway).await;
    assert_eq!((&view["version"], &view["history"][0]["release"]), (&json!("1.2.0"), &first["release"]));
    let view = roll_back(&gateway, json!({})).await.expect(200);
    assert_eq!(view["release"], first["release"]);
    send(&gateway, CONSUMERS).await;
    gateway.settled().await;

    let all = calls(&gateway).await;
    assert_eq!(all.len(), CONSUMERS * 10, "nothing is lost");
    for rows in all.values() {
        let ran = rows.iter().filter(|(_, outcome, _)| outcome == "ran").count();
        assert_eq!(ran, 1, "each event is handled once: {rows:?}");
        let failed = rows.iter().filter(|(_, outcome, _)| outcome != "ran");
        assert!(
            failed.clone().all(|(release, ..)| *release == bad["release"]),
            "only the bad release fails: {rows:?}"
        );
    }
    let by_release =
        |release: &Value| all.values().flatten().filter(|(by, ..)| release == by.as_str()).count();
    assert!(
        by_release(&bad["release"]) > 3 && by_release(&good["release"]) > CONSUMERS,
        "{} {}",
        by_release(&bad["release"]),
        by_release(&good["release"])
    );
    // A consumer stays with its release while half of them have the new one.
    let mut of_consumer: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let before_half = all.len();
    assert!(before_half > 0);
    for (release, _, consumer) in
        halves.values().flatten().filter(|(release, ..)| good["release"] == *release)
    {
        of_consumer.entry(consumer).or_default().insert(release);
    }
    let on_good: usize = of_consumer.len();
    let good_rows = halves.values().flatten().filter(|(release, ..)| good["release"] == *release).count();
    assert!((5..35).contains(&on_good) && good_rows == 2 * on_good, "{on_good} consumers, {good_rows} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_release_waits_for_the_brand_and_a_narrower_one_is_followed() {
    let (gateway, first) = start().await;
    let mut document = world::connection(&first, json!({ "host": "api", "behaviour": "none" }), json!({}));
    document["follow"] = json!("narrower");
    gateway.brand(BRAND).await.put(CONNECTION, &document).await.expect(200);
    let lost = "/contact/email";
    let narrower = |manifest: &mut Value| {
        let receives = manifest["share"][0]["receives"].as_array_mut().unwrap();
        receives.retain(|field| field["field"] != lost);
    };
    publish(&gateway, "1.1.0", narrower).await;
    assert_eq!(connection(&gateway).await["version"], "1.1.0");
    // It has again what the one before had lost: that is more than runs now.
    publish(&gateway, "1.2.0", |_| {}).await;
    let view = connection(&gateway).await;
    assert_eq!(
        (&view["version"], &view["offered"]["version"], &view["offered"]["reach"]),
        (&json!("1.1.0"), &json!("1.2.0"), &json!("wider"))
    );
    let problem = rollout(&gateway, json!({ "release": "1.2.0", "percent": 10 })).await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains(lost), "{problem}");
    let path = "/v1/plugins/hostile/releases/1.2.0/diff?from=1.1.0";
    let found = gateway.brand(BRAND).await.get(path).await.expect(200);
    assert!(found["changes"].as_array().unwrap().iter().any(|change| change["reach"] == "wider"), "{found}");
    let grant = world::full_grant(&first);
    rollout(&gateway, json!({ "release": "1.2.0", "percent": 100, "grant": grant })).await.expect(200);
    assert_eq!(connection(&gateway).await["version"], "1.2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_release_takes_nobody_and_a_blocked_one_runs_nowhere() {
    let (gateway, first) = start().await;
    let partner = gateway.partner_key("mallory").await;
    let operator = gateway.operator().await;
    publish(&gateway, "1.1.0", |_| {}).await;
    let reason = json!({ "reason": "it loses leads" });
    let post =
        async |path: &str| partner.post_body(path, "application/json", reason.to_string().into_bytes()).await;
    let view = post("/v1/plugins/hostile/releases/1.1.0/withdraw").await.expect(200);
    assert_eq!((&view["status"], &view["reason"]), (&json!("withdrawn"), &json!("it loses leads")));
    let problem = rollout(&gateway, json!({ "release": "1.1.0", "percent": 10 })).await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains("withdrawn"), "{problem}");
    post(&format!("/v1/plugins/hostile/releases/{}/withdraw", first["version"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!(connection(&gateway).await["state"], "withdrawn");
    send(&gateway, 1).await;
    gateway.settled().await;

    let block = format!("/v1/plugins/hostile/releases/{}/block", first["version"].as_str().unwrap());
    operator.put(&block, &reason).await.expect(200);
    assert_eq!(connection(&gateway).await["state"], "blocked");
    let status = gateway.partner_key("mallory").await.get("/v1/partner/status").await.ok();
    assert_eq!((&status[0]["brand"], &status[0]["blocked"]), (&json!(BRAND), &reason["reason"]), "{status}");
    send(&gateway, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let outcomes: Vec<String> =
        calls(&gateway).await.into_values().flatten().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "ran").count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| outcome == "not-run:blocked"), "{outcomes:?}");
    // A connection that would return to it is refused; once it is unblocked, what waited runs.
    publish(&gateway, "1.2.0", |_| {}).await;
    let mut document = world::connection(&first, json!({ "host": "api", "behaviour": "none" }), json!({}));
    document["release"] = json!("1.2.0");
    gateway.brand(BRAND).await.put(CONNECTION, &document).await.expect(200);
    let problem = roll_back(&gateway, json!({})).await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains("blocked"), "{problem}");
    operator.delete(&block).await.expect(200);
    let status = gateway.partner_key("mallory").await.get("/v1/partner/status").await.ok();
    assert_eq!(status[0]["blocked"], Value::Null, "{status}");
    let problem = roll_back(&gateway, json!({})).await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains("withdrawn"), "{problem}");
}
