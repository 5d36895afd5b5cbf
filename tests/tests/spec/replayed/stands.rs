//! What of a recording is of now: when it says that the plugin is given the same, what an answer may be used for, and
//! how much of contracts is in it.

use gateway_tests::events::{contact_provided, page_viewed, with};
use gateway_tests::world::{self, DENTAL};
use gateway_tests::{Client, Options, TestGateway, components};
use serde_json::{Value, json};

use super::{call, recording, start};

const BUTTON: &str = "/v1/brands/city-dental/connections/chat-button";

/// Writes what is switched on, with changes.
async fn switched(brand: &Client, path: &str, release: &Value, changes: Value) {
    let mut document = world::connection(release, json!({}), json!({}));
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    brand.put(path, &document).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_is_the_same_only_with_the_same_fields_and_settings() {
    let gateway = TestGateway::start(Options::default()).await;
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "ident", "US", "ident.example").await;
    world::contract(&gateway, "ident", "essential.service.operations.support", json!({})).await;
    let release = world::publish(&gateway, "ident", &components().identity_sync).await;
    let (brand, path) = (gateway.brand("testers").await, "/v1/brands/testers/connections/identity-sync");
    switched(&brand, path, &release, json!({})).await;
    let both = [
        ("data/contact/email", json!("ottoline.quillfeather@example.org")),
        ("data/contact/phone", json!("+1-212-555-0142")),
    ];
    let event = with(contact_provided("testers", "ada"), both);
    gateway.source("testers").await.post_event(&event).await.expect(202);
    gateway.settled().await;
    let flow = gateway.auditor().await.flows("stage=call").await[0]["id"].as_str().unwrap().to_owned();
    // It reads nothing, so that only the names of what it may place tell one call from another; it has no settings.
    for (grant, input) in [
        (json!(["/contact/email", "/contact/phone"]), "same"),
        (json!(["/contact/email"]), "changed"),
        (json!(["/contact/email", "/contact/phone"]), "same"),
    ] {
        gateway.clock.advance(time::Duration::SECOND);
        switched(&brand, path, &release, json!({ "grant": { "share contact.provided": grant } })).await;
        assert_eq!(recording(&brand, &flow).await["input"], input, "{grant}");
    }
    // Settings are written with all else; what they were is not kept.
    let gateway = start().await;
    let flow = call(&gateway, "adf-lead", &super::chat_ended(super::NORTHSIDE, "ada")).await;
    let brand = gateway.brand(super::NORTHSIDE).await;
    assert_eq!(recording(&brand, &flow).await["input"], "same");
    gateway.clock.advance(time::Duration::SECOND);
    let release = brand.get("/v1/plugins/adf-lead/releases").await.ok()[0].clone();
    let mut settings = world::adf_settings();
    settings["dealer"] = json!("4712");
    let changes = json!({ "settings": settings, "secrets": world::adf_secrets() });
    switched(&brand, "/v1/brands/northside-motors/connections/adf-lead", &release, changes).await;
    assert_eq!(recording(&brand, &flow).await["input"], "changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_in_it_while_the_brand_would_still_be_given_it() {
    let gateway = start().await;
    let brand = gateway.brand(DENTAL).await;
    let flow = gateway_tests::eventually("a decision", || async {
        let flow = call(&gateway, "chat-button", &page_viewed(DENTAL, "dan")).await;
        // A busy machine may be late with an answer.
        (recording(&brand, &flow).await["recorded"]["outcome"] == "ran").then_some(flow)
    })
    .await;
    let release = brand.get("/v1/plugins/chat-button/releases").await.ok()[0].clone();
    let is_there = async || {
        let recorded = recording(&brand, &flow).await;
        let lacks = recorded["not_repeated"].as_array().unwrap().contains(&json!("returned-value"));
        assert_eq!(recorded["recorded"].get("returned").is_none(), lacks, "{recorded}");
        !lacks
    };
    let choices = json!({ "opt_out": { "marketing": true } });
    brand.put("/v1/brands/city-dental/consumers/dan/choices", &choices).await.ok();
    assert!(is_there().await, "the slot is not promotional");
    switched(&brand, BUTTON, &release, json!({ "promotional": ["chat-button"] })).await;
    assert!(!is_there().await, "marked since");
    switched(&brand, BUTTON, &release, json!({})).await;
    assert!(is_there().await, "and no longer");
    let block = "/v1/plugins/chat-button/releases/1.0.0/block";
    gateway.operator().await.put(block, &json!({ "reason": "it says too much" })).await.expect(200);
    assert!(!is_there().await, "blocked since");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_something_is_given_for_the_data_is_in_it_where_a_decision_turns_on_it() {
    let gateway = start().await;
    let record = json!({
        "display_name": "Acme CRM", "region": "US", "domains": ["acme.example"], "consideration": true,
    });
    gateway.operator().await.put("/v1/partners/acme-crm", &record).await.ok();
    // What is said in a conversation is not sold.
    let flow = call(&gateway, "adf-lead", &super::chat_ended(super::NORTHSIDE, "ada")).await;
    let recorded = recording(&gateway.brand(super::NORTHSIDE).await, &flow).await;
    assert_eq!(recorded["recorded"]["outcome"], "not-run:required-withheld");
    assert_eq!(recorded["connection"]["partner"]["consideration"], true, "{recorded}");
    let (_, found) = super::replay(&gateway, &components().adf_lead.bytes, &recorded).await;
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_contracts_it_has_what_covers_the_plugin() {
    let gateway = start().await;
    let operator = gateway.operator().await;
    for (name, purpose, expires) in [
        ("other", "essential.service.operations.support", Value::Null),
        ("over", "personalize", json!("2020-01-01T00:00:00Z")),
        ("wide", "personalize", json!("2120-01-01T00:00:00Z")),
    ] {
        let mut document = json!({
            "purposes": [purpose, "analytics"], "categories": ["user", "system"], "consideration": name == "wide",
        });
        if !expires.is_null() {
            document["expires"] = expires;
        }
        operator.put(&format!("/v1/partners/engage/contracts/{name}"), &document).await.ok();
    }
    let flow = call(&gateway, "chat-button", &page_viewed(DENTAL, "dan")).await;
    for client in [gateway.brand(DENTAL).await, gateway.partner_key("engage").await] {
        let connection = recording(&client, &flow).await["connection"].clone();
        let contracts = connection["contracts"].as_object().unwrap();
        assert_eq!(contracts.keys().collect::<Vec<_>>(), ["terms", "wide"], "{connection}");
        for contract in contracts.values() {
            assert_eq!(contract["purposes"], json!(["personalize.content.limited"]));
            let categories = contract["categories"].as_array().unwrap();
            assert!(!categories.is_empty() && categories.iter().all(|of| *of != "user" && *of != "system"));
            assert_eq!(contract["consideration"], false, "no decision turns on it: {connection}");
        }
        assert!(connection["partner"].get("consideration").is_none(), "{connection}");
        assert_eq!(contracts["wide"]["expires"], "2120-01-01T00:00:00Z");
    }
}
