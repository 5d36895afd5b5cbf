//! What a brand agreed to for one release, and what another one, or none, says about it.

use sqlx::Connection as _;

use super::*;

const EMAIL: &str = "/contact/email";

async fn put(gateway: &TestGateway, release: &Value, without: Option<&str>) {
    let settings = json!({ "host": "api", "behaviour": "none" });
    let mut document = world::connection(release, settings, json!({}));
    for fields in document["grant"].as_object_mut().unwrap().values_mut() {
        fields.as_array_mut().unwrap().retain(|field| field.as_str() != without);
    }
    gateway.brand(BRAND).await.put(CONNECTION, &document).await.expect(200);
}

fn without_email(manifest: &mut Value) {
    let receives = manifest["share"][0]["receives"].as_array_mut().unwrap();
    receives.retain(|field| field["field"] != EMAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_grants_nothing_that_was_taken_away_under_a_release_between() {
    let (gateway, first) = start().await;
    let second = publish(&gateway, "1.1.0", |_| {}).await;
    let third = publish(&gateway, "1.2.0", without_email).await;
    put(&gateway, &second, Some(EMAIL)).await;
    // This one does not declare the field: nothing of what stands says that it was taken away.
    put(&gateway, &third, None).await;
    let view = roll_back(&gateway, json!({ "release": "1.0.0" })).await.expect(200);
    assert_eq!(view["release"], first["release"]);
    let granted = view["grant"]["share chat.ended"].as_array().unwrap();
    assert!(!granted.contains(&json!(EMAIL)), "{view}");
    assert!(granted.contains(&json!("/contact/name/first")), "the rest is granted again: {view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_status_cannot_be_read_is_blocked() {
    let (gateway, first) = start().await;
    let path = format!("/v1/plugins/hostile/releases/{}/withdraw", first["version"].as_str().unwrap());
    let reason = json!({ "reason": "a newer one" }).to_string().into_bytes();
    gateway.partner_key("mallory").await.post_body(&path, "application/json", reason).await.expect(200);
    assert_eq!(connection(&gateway).await["state"], "withdrawn");

    let stopped = gateway.stop().await;
    let url = format!("sqlite:{}?mode=rw", stopped.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let damaged = "UPDATE documents SET body = '{' WHERE kind = 'release-status'";
    assert_eq!(sqlx::query(damaged).execute(&mut store).await.unwrap().rows_affected(), 1);
    store.close().await.unwrap();
    let gateway = stopped.start().await;
    assert_eq!(connection(&gateway).await["state"], "blocked");
    send(&gateway, 1).await;
    gateway.settled().await;
    let outcomes: Vec<String> =
        calls(&gateway).await.into_values().flatten().map(|(_, outcome, _)| outcome).collect();
    assert_eq!(outcomes, ["not-run:blocked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_answer_of_a_blocked_release_is_not_given() {
    let (gateway, first) = start().await;
    let second = publish(&gateway, "1.1.0", |_| {}).await;
    let source = gateway.source(BRAND).await;
    // Of somebody who wrote to the brand, a page may be told.
    source.post_event(&events::chat_ended(BRAND, "ada")).await.expect(202);
    gateway.settled().await;
    let page = events::page_viewed(BRAND, "ada");
    let answer = source.decide("hostile", &page).await.expect(200);
    assert_eq!(answer["provenance"]["release"], first["release"], "{answer}");
    put(&gateway, &second, None).await;
    assert_eq!(source.decide("hostile", &page).await.expect(200), answer, "an event has one answer");
    let block = "/v1/plugins/hostile/releases/1.0.0/block";
    gateway.operator().await.put(block, &json!({ "reason": "it lies" })).await.expect(200);
    let withheld = source.decide("hostile", &page).await.expect(200);
    assert_eq!((&withheld["decision"], &withheld["reason"]), (&Value::Null, &json!("withheld")));
    gateway.operator().await.delete(block).await.expect(200);
    assert_eq!(source.decide("hostile", &page).await.expect(200), answer);
}

/// What a stored answer may be used for is what the brand agreed to for the release that gave it, and not what a
/// partner publishes since, nor what runs since.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_holds_what_was_returned_to_the_purpose_of_the_release_that_returned_it() {
    const MARKETING: &str = "marketing.advertising.first_party.targeted";
    let (gateway, first) = start().await;
    send(&gateway, 1).await;
    gateway.settled().await;
    let path = format!("/v1/brands/{BRAND}/consumers/consumer-0@example.com/choices");
    let brand = gateway.brand(BRAND).await;
    let opt_out = async |marketing: bool| {
        brand.put(&path, &json!({ "opt_out": { "marketing": marketing } })).await.ok();
    };
    opt_out(true).await;
    let returned = async || {
        let feed = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/returns")).await.ok();
        feed.as_array().map_or(0, Vec::len)
    };
    assert_eq!(returned().await, 1);
    let other = publish(&gateway, "1.1.0", |manifest| manifest["plugin"]["purpose"] = json!(MARKETING)).await;
    assert_eq!(returned().await, 1, "nobody switched it on");
    put(&gateway, &other, None).await;
    assert_eq!(returned().await, 1, "what was returned before was returned for support");
    opt_out(false).await;
    // Given in a conversation, it is for marketing with a permission only.
    let permission = json!({ "for": { "purpose": MARKETING }, "wording": "You may.", "actor": "agent-7" });
    brand.put(&path, &json!({ "permissions": [permission] })).await.ok();
    send(&gateway, 1).await;
    gateway.settled().await;
    assert_eq!(returned().await, 2, "one for each purpose");
    opt_out(true).await;
    assert_eq!(returned().await, 1);
    put(&gateway, &first, None).await;
    assert_eq!(returned().await, 1, "what was returned for marketing stays that");
}

/// What the connection never had is measured by what the brand agreed to, and granted no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_any_release_that_gets_no_more_than_one_that_was_agreed_to() {
    let (gateway, first) = start().await;
    for version in ["0.6.0", "0.7.0", "0.8.0", "0.9.0"] {
        publish(&gateway, version, |_| {}).await;
    }
    publish(&gateway, "1.1.0", without_email).await;
    let third = publish(&gateway, "1.2.0", without_email).await;
    let purpose = json!("marketing.advertising.first_party.targeted");
    publish(&gateway, "1.3.0", |manifest| manifest["plugin"]["purpose"] = purpose).await;
    let reason = json!({ "reason": "it loses leads" });
    let withdraw = "/v1/plugins/hostile/releases/0.8.0/withdraw";
    let body = reason.to_string().into_bytes();
    gateway.partner_key("mallory").await.post_body(withdraw, "application/json", body).await.expect(200);
    gateway.operator().await.put("/v1/plugins/hostile/releases/0.7.0/block", &reason).await.expect(200);

    put(&gateway, &third, None).await;
    let has_email =
        |view: &Value| view["grant"]["share chat.ended"].as_array().unwrap().contains(&json!(EMAIL));
    // The one gets no more than what stands, the other no more than what was there before.
    for (version, email) in [("1.1.0", false), ("0.9.0", true)] {
        let view = roll_back(&gateway, json!({ "release": version })).await.expect(200);
        assert_eq!((&view["version"], has_email(&view)), (&json!(version), email), "{view}");
        send(&gateway, 1).await;
        gateway.settled().await;
        let rows = gateway.brand(BRAND).await.flows("stage=call").await;
        assert_eq!(rows[0]["release"], view["release"], "the next call is that release's");
    }
    for (version, told) in [
        ("0.9.0", "is the one that stands"),
        ("0.8.0", "is withdrawn by its partner"),
        ("0.7.0", "is blocked by the operator"),
        ("1.3.0", "its purpose is marketing"),
    ] {
        let problem = roll_back(&gateway, json!({ "release": version })).await.expect(409);
        assert!(problem["detail"].as_str().unwrap().contains(told), "{version}: {problem}");
        assert_eq!(connection(&gateway).await["version"], "0.9.0", "{version}");
    }
    // What the brand took away stays away.
    put(&gateway, &first, Some(EMAIL)).await;
    let view = roll_back(&gateway, json!({ "release": "0.6.0" })).await.expect(200);
    assert_eq!((&view["version"], has_email(&view)), (&json!("0.6.0"), false), "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_a_release_that_gets_more_names_what_and_how_to_agree_to_it() {
    const OTHERS: &str = "/v1/brands/others/connections/hostile";
    let (gateway, first) = start().await;
    let narrow = publish(&gateway, "1.1.0", without_email).await;
    world::brand(&gateway, "others", false).await;
    let settings = json!({ "host": "api", "behaviour": "none" });
    world::switch_on(&gateway, "others", &narrow, settings, json!({})).await;
    let brand = gateway.brand("others").await;
    let back = async |document: Value| {
        let body = document.to_string().into_bytes();
        brand.post_body(&format!("{OTHERS}/rollback"), "application/json", body).await
    };
    let problem = back(json!({})).await.expect(409);
    assert!(problem["detail"].as_str().unwrap().contains("had no other release before"), "{problem}");
    let problem = back(json!({ "release": "1.0.0" })).await.expect(409);
    let detail = problem["detail"].as_str().unwrap();
    for told in [
        "more than 1.1.0",
        "share chat.ended: gains /contact/email",
        "rollout of 100 percent with its `grant`",
    ] {
        assert!(detail.contains(told), "{told}: {detail}");
    }
    let agreed = json!({ "release": "1.0.0", "percent": 100, "grant": world::full_grant(&first) });
    let view = brand.put(&format!("{OTHERS}/rollout"), &agreed).await.expect(200);
    assert_eq!(view["release"], first["release"]);
    assert_eq!(back(json!({})).await.expect(200)["release"], narrow["release"], "and back again");
}
