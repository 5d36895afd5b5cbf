//! What a partner gets of its plugins' calls: made-up values for what the plugin declares and the brand grants, and
//! nothing by which one consumer differs from another.

use gateway_tests::events::{chat_ended, page_viewed, with};
use gateway_tests::world::{DENTAL, NORTHSIDE};
use gateway_tests::{Options, TestGateway, components, world};
use serde_json::{Value, json};

use super::{call, permit, recording, refused, replay, start};
use crate::hostile::remade::with_manifest;

/// Every plain value of a document.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| leaves(value, found)),
        Value::Array(items) => items.iter().for_each(|value| leaves(value, found)),
        Value::String(text) => found.push(text.clone()),
        other => found.push(other.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_holds_nothing_of_the_consumer() {
    let gateway = start().await;
    let partner = gateway.partner_key("acme-crm").await;
    let event = chat_ended(NORTHSIDE, "ada");
    let flow = call(&gateway, "adf-lead", &event).await;
    let recorded = recording(&partner, &flow).await;
    assert_eq!(recorded["redacted"], true, "{recorded}");
    assert!(recorded.get("input").is_none());

    let (mut of_event, mut of_recording) = (Vec::new(), Vec::new());
    leaves(&event["data"], &mut of_event);
    of_event.extend(["ada", "/tests", "2026-03-02T09:00:00Z"].map(str::to_owned));
    of_event.push(event["id"].as_str().unwrap().to_owned());
    leaves(&recorded, &mut of_recording);
    for value in &of_event {
        assert!(!of_recording.contains(value), "{value}");
        assert!(value.len() < 5 || !recorded.to_string().contains(value.as_str()), "{value}");
    }
    let row = gateway.auditor().await.get(&format!("/v1/flows/{flow}")).await.ok();
    for name in ["consumer", "event"] {
        assert!(!recorded.to_string().contains(row[name].as_str().unwrap()), "{name}");
    }
    // A decision too: its partner has a contract for it.
    let decided = call(&gateway, "chat-button", &page_viewed(DENTAL, "dan")).await;
    let button = recording(&gateway.partner_key("engage").await, &decided).await;
    assert_eq!(button["hook"], "decide chat-button");
    let (_, found) = replay(&gateway, &components().chat_button.bytes, &button).await;
    assert!(found.is_empty(), "{found:?}");
    // Neither a sealed field nor how many turns the chat had.
    assert_eq!(
        recorded["event"]["data"],
        json!({
            "conversation": "made up",
            "contact": { "name": { "first": "made up", "last": "made up" } },
            "visit": { "device_type": "desktop" },
        "transcript": [{ "text": "made up" }],
        })
    );
    let (called, found) = replay(&gateway, &components().adf_lead.bytes, &recorded).await;
    assert!(found.is_empty() && called["outcome"] == "ran", "{found:?} {called}");
}

/// The release that ran is called with the same made-up values: so what is seen of another one is its own doing.
#[tokio::test(flavor = "multi_thread")]
async fn another_component_differs_in_output_labels_and_cost_from_the_release_with_the_same_values() {
    let gateway = start().await;
    let partner = gateway.partner_key("acme-crm").await;
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let narrower = with_manifest(&components().adf_lead.bytes, |manifest| {
        let fields = manifest["share"][0]["receives"].as_array_mut().unwrap();
        fields.retain(|field| field["field"] != "/conversation");
    });
    let recorded = recording(&partner, &flow).await;
    assert_eq!(recorded["recorded"], json!({ "hook": "share chat.ended", "outcome": "ran" }));
    let (_, found) = replay(&gateway, &narrower, &recorded).await;
    for place in ["/fields/~1conversation: ", "/fuel: ", "/requests/0/body: ", "/requests/0/labels/"] {
        assert!(found.iter().any(|line| line.starts_with(place)), "{place} {found:?}");
    }
    // A release that may run nowhere is not run for this either.
    let block = "/v1/plugins/adf-lead/releases/1.0.0/block";
    gateway.operator().await.put(block, &json!({ "reason": "it lies" })).await.expect(200);
    let blocked = recording(&partner, &flow).await;
    assert!(blocked.get("made_up").is_none(), "{blocked}");
    let (_, found) = replay(&gateway, &narrower, &blocked).await;
    assert!(found.is_empty(), "{found:?}");
}

/// Without what `/v1/partner/calls` says of each call too.
fn alike(mut recorded: Value) -> Value {
    for name in ["flow", "fuel", "memory"] {
        recorded.as_object_mut().unwrap().remove(name);
    }
    recorded
}

/// Fields of the call that are withheld, and that are there at all.
async fn decided(gateway: &TestGateway, flow: &str) -> (usize, usize) {
    let row = gateway.auditor().await.get(&format!("/v1/flows/{flow}")).await.ok();
    let fields = row["fields"].as_array().unwrap();
    (fields.iter().filter(|field| field["decision"] == "withhold").count(), fields.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_whatever_the_consumer_gave_and_chose_then_and_since() {
    let gateway = start().await;
    let partner = gateway.partner_key("acme-crm").await;
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let recorded = recording(&partner, &flow).await;
    assert_eq!(decided(&gateway, &flow).await, (0, 7));
    let little = with(
        chat_ended(NORTHSIDE, "bob"),
        [
            ("data/conversation", Value::Null),
            ("data/contact/name/first", json!("B")),
            ("data/contact/email", Value::Null),
            ("data/contact/phone", Value::Null),
            ("data/visit", Value::Null),
            ("data/transcript", json!([])),
        ],
    );
    let untracked = with(chat_ended(NORTHSIDE, "cyd"), [("dnt", json!(true)), ("gpc", json!(true))]);
    let mut withheld = 0;
    for event in [&little, &untracked] {
        let subject = event["subject"].as_str().unwrap();
        permit(&gateway, subject, json!({ "location": true, "cookies": true })).await;
        let flow = call(&gateway, "adf-lead", event).await;
        let (stayed, there) = decided(&gateway, &flow).await;
        withheld += stayed + 7 - there;
        assert_eq!(alike(recording(&partner, &flow).await), alike(recorded.clone()), "{subject}");
    }
    assert!(withheld > 4, "the calls were given what ada's was");
    for opt_out in [json!({ "integrations": ["adf-lead"] }), json!({ "all_integrations": true })] {
        permit(&gateway, "ada", opt_out).await;
        assert_eq!(recording(&partner, &flow).await, recorded);
        assert_eq!(recording(&gateway.brand(NORTHSIDE).await, &flow).await["input"], "changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_of_exactly_the_calls_that_the_partner_sees() {
    let gateway = start().await;
    let partner = gateway.partner_key("acme-crm").await;
    for (subject, opt_out) in [("ada", json!({})), ("zoe", json!({ "all_integrations": true }))] {
        permit(&gateway, subject, opt_out).await;
        call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, subject)).await;
    }
    // It ran, and its consumer is gone since.
    permit(&gateway, "ada", json!({ "all_integrations": true })).await;
    let page = partner.get("/v1/partner/calls").await.ok();
    let seen: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|call| &call["id"]).collect();
    let rows = gateway.auditor().await.flows("stage=call&plugin=adf-lead").await;
    assert!(!seen.is_empty() && seen.len() < rows.len());
    for row in rows {
        let status = refused(&partner, row["id"].as_str().unwrap()).await.0;
        assert_eq!(status == 200, seen.contains(&&row["id"]), "{status} {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_of_what_is_declared_and_granted_now() {
    let gateway = TestGateway::start(Options::default()).await;
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&components().hostile.bytes, |manifest| {
        manifest["share"][0]["receives"][2]["required"] = json!(true);
    });
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let partner = gateway.partner_key("mallory").await;
    let release = partner.publish(&component).await.expect(201);
    world::hostile_behaves(&gateway, &release, "none").await;
    gateway.source("testers").await.post_event(&chat_ended("testers", "ada")).await.expect(202);
    gateway.settled().await;
    let rows = gateway.auditor().await.flows("stage=call").await;
    let flow = rows[0]["id"].as_str().unwrap();
    let name = json!({ "name": { "first": "made up" }, "email": "someone@example.org" });
    let recorded = recording(&partner, flow).await;
    assert_eq!(
        recorded["event"]["data"],
        json!({ "contact": name, "transcript": [{ "text": "made up" }] }),
        "a sealed field that is required is there"
    );
    let mut document = world::connection(&release, json!({ "host": "api", "behaviour": "none" }), json!({}));
    let path = "/v1/brands/testers/connections/hostile";
    let brand = gateway.brand("testers").await;
    document["grant"] = json!({ "share chat.ended": ["/contact/name/first", "/contact/email"] });
    brand.put(path, &document).await.ok();
    assert_eq!(
        recording(&partner, flow).await["event"]["data"],
        json!({ "contact": name, "transcript": [] })
    );
    for grant in [json!({}), json!({ "share chat.ended": ["/contact/name/first"] })] {
        document["grant"] = grant;
        brand.put(path, &document).await.ok();
        let problem = partner.get(&format!("/v1/flows/{flow}/recording")).await.expect(409);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("/contact/email is required") && detail.contains("by hand"), "{detail}");
    }
}
