//! Recorded calls: a brand replays one whole, by what stands now, a partner with made-up values; and who may not have
//! one gets none.

mod partners;
mod stands;

use gateway::boundary::PolicyBook;
use gateway::catalogue::Catalogue;
use gateway::pipeline::{Case, RecordingView, Rehearsal, RehearsedPlugin};
use gateway_tests::builds::Component;
use gateway_tests::events::{chat_ended, page_viewed, with};
use gateway_tests::gateway::shared_host;
use gateway_tests::world::{DENTAL, NORTHSIDE};
use gateway_tests::{Client, Options, TestGateway, components, world};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::hostile::remade::with_manifest;

/// The demo's world, where `ada` permitted the lead.
async fn start() -> TestGateway {
    let gateway = TestGateway::demo().await;
    permit(&gateway, "ada", json!({})).await;
    gateway
}

async fn permit(gateway: &TestGateway, subject: &str, opt_out: Value) {
    let permission =
        json!({ "for": { "integration": "adf-lead" }, "wording": "Send this chat", "actor": "window" });
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/{subject}/choices");
    let choices = json!({ "permissions": [permission], "opt_out": opt_out });
    gateway.brand(NORTHSIDE).await.put(&path, &choices).await.ok();
}

/// Sends an event and gives the row of the call.
async fn call(gateway: &TestGateway, plugin: &str, event: &Value) -> String {
    let brand = event["brand"].as_str().unwrap();
    let source = gateway.source(brand).await;
    if plugin == "chat-button" {
        source.decide("chat-button", event).await.ok();
    } else {
        source.post_event(event).await.expect(202);
    }
    gateway.settled().await;
    row(gateway, plugin, event["subject"].as_str().unwrap(), "call").await
}

async fn row(gateway: &TestGateway, plugin: &str, subject: &str, stage: &str) -> String {
    let query = format!("brand={NORTHSIDE}&consumer={subject}&plugin={plugin}&stage={stage}");
    let other = query.replace(NORTHSIDE, DENTAL);
    let mut rows = gateway.auditor().await.flows(&query).await;
    rows.extend(gateway.auditor().await.flows(&other).await);
    rows[0]["id"].as_str().unwrap().to_owned()
}

async fn recording(client: &Client, flow: &str) -> Value {
    client.get(&format!("/v1/flows/{flow}/recording")).await.expect(200)
}

/// Whether there is a recording for this key; else the status and the problem's type.
async fn refused(client: &Client, flow: &str) -> (u16, String) {
    let answer = client.get(&format!("/v1/flows/{flow}/recording")).await;
    (answer.status, answer.json()["type"].as_str().unwrap_or_default().to_owned())
}

async fn plugin(gateway: &TestGateway, component: &[u8]) -> (Rehearsal, RehearsedPlugin) {
    let (catalogue, book) = (Catalogue::embedded().unwrap(), PolicyBook::shipped().unwrap());
    let rehearsal = Rehearsal::new(catalogue, book, shared_host(), gateway.clock.clone());
    let plugin = rehearsal.plugin(component).await.unwrap();
    (rehearsal, plugin)
}

/// Runs a recording again: what came of it, and where that is not as recorded.
async fn replay(gateway: &TestGateway, component: &[u8], recording: &Value) -> (Value, Vec<String>) {
    let (rehearsal, plugin) = plugin(gateway, component).await;
    let mut case = Case {
        event: Some(recording["event"].to_string().into_bytes()),
        connection: serde_json::from_value(recording["connection"].clone()).unwrap(),
        choices: serde_json::from_value(recording["choices"].clone()).unwrap(),
        hook: recording["hook"].as_str().map(str::to_owned),
        ..Case::default()
    };
    plugin.keep_declared(&mut case.connection);
    let called = rehearsal.run(&plugin, case, "").await.unwrap_or_else(|problems| panic!("{problems:?}"));
    let called = serde_json::to_value(called).unwrap();
    let view: RecordingView = serde_json::from_value(recording.clone()).unwrap();
    let found = view.compare(&called).differences;
    (called, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_replays_its_call_without_a_difference_whatever_the_hook() {
    let gateway = start().await;
    let built = components();
    for (name, component, event) in [
        ("adf-lead", &built.adf_lead, chat_ended(NORTHSIDE, "ada")),
        ("adf-lead", &built.adf_lead, with(chat_ended(NORTHSIDE, "bob"), [("time", Value::Null)])),
        ("transcript-quality", &built.transcript_quality, chat_ended(DENTAL, "cyd")),
        ("chat-button", &built.chat_button, page_viewed(DENTAL, "dan")),
    ] {
        let brand = event["brand"].as_str().unwrap().to_owned();
        let flow = call(&gateway, name, &event).await;
        let recorded = recording(&gateway.brand(&brand).await, &flow).await;
        assert_eq!(recorded["redacted"], false);
        assert_eq!(recorded["release"]["sha256"], component.digest, "{name}");
        assert_eq!(recorded["event"]["data"], event["data"], "{name}");
        let ran = recorded["recorded"]["outcome"] == "ran";
        assert!(recorded["not_repeated"].as_array().unwrap().contains(&json!("had")), "{recorded}");
        assert_eq!(recorded["input"], if ran { json!("same") } else { Value::Null }, "{name}: {recorded}");
        let (called, found) = replay(&gateway, &component.bytes, &recorded).await;
        assert!(found.is_empty(), "{name} {}: {found:?}", event["subject"]);
        assert_eq!((&called["fuel"], &called["memory-bytes"]), (&recorded["fuel"], &recorded["memory"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_shows_what_differs_and_a_change_of_mind_that_the_input_did() {
    let gateway = start().await;
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let brand = gateway.brand(NORTHSIDE).await;
    let narrower = with_manifest(&components().adf_lead.bytes, |manifest| {
        let fields = manifest["share"][0]["receives"].as_array_mut().unwrap();
        fields.retain(|field| field["field"] != "/conversation");
        manifest["plugin"]["version"] = json!("1.1.0");
    });
    let (_, found) = replay(&gateway, &narrower, &recording(&brand, &flow).await).await;
    for place in ["/fields/~1conversation: ", "/fuel: ", "/requests/0/body: "] {
        assert!(found.iter().any(|line| line.starts_with(place)), "{place} {found:?}");
    }
    permit(&gateway, "ada", json!({ "integrations": ["adf-lead"] })).await;
    let changed = recording(&brand, &flow).await;
    assert_eq!(changed["input"], "changed");
    let (called, found) = replay(&gateway, &components().adf_lead.bytes, &changed).await;
    assert_eq!(called["outcome"], "not-run:required-withheld");
    assert!(found.iter().any(|line| line.starts_with("/outcome: ")), "{found:?}");
}

/// A replay calls the plugin and sends nothing: not what the call once sent, nor what may not go any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_sends_nothing_and_asks_for_nothing_that_is_no_longer_allowed() {
    let gateway = start().await;
    let Component { path, bytes, .. } = &components().adf_lead;
    let (brand, partner) = (gateway.brand(NORTHSIDE).await, gateway.partner_key("acme-crm").await);
    let ledger = async || {
        gateway.settled().await;
        gateway.auditor().await.flows("plugin=adf-lead").await
    };
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let before = ledger().await;
    assert_eq!(gateway.partner.received().len(), 1, "the call's own request");
    for (opt_out, outcome, verdict, reason) in [
        (json!({}), "ran", "allow", None),
        (
            json!({ "all_integrations": true }),
            "not-run:required-withheld",
            "withhold",
            Some("clause:integrations.opt-out"),
        ),
    ] {
        permit(&gateway, "ada", opt_out).await;
        let (called, _) = replay(&gateway, bytes, &recording(&brand, &flow).await).await;
        assert_eq!(called["outcome"], outcome, "{called}");
        let email = &called["fields"]["/contact/email"];
        assert_eq!(email["verdict"], verdict, "{called}");
        assert!(reason.is_none_or(|reason| email["reason"] == reason), "{called}");
        assert_eq!(email["labels"], json!(["first-party:user.contact.email"]), "{called}");
        let requests = called["requests"].as_array().map(Vec::len);
        assert_eq!(requests, Some(usize::from(reason.is_none())), "{called}");
        // By the command too, whoever it is that replays.
        for client in [&brand, &partner] {
            command(&gateway, client, &["replay", &flow, path.to_str().unwrap()]).await;
        }
        assert_eq!(ledger().await, before, "a replay is no flow");
        assert_eq!(gateway.partner.received().len(), 1, "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_call_it_is_not_gets_no_recording_and_cannot_tell_why() {
    let gateway = start().await;
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let not_found = (404, "/problems/not-found".to_owned());
    let (brand, partner) = (gateway.brand(NORTHSIDE).await, gateway.partner_key("acme-crm").await);
    for other in [gateway.brand(DENTAL).await, gateway.partner_key("engage").await] {
        assert_eq!(refused(&other, &flow).await, not_found);
    }
    assert_eq!(refused(&gateway.auditor().await, &flow).await.0, 403);
    let sent = row(&gateway, "adf-lead", "ada", "delivery").await;
    for unknown in [&*sent, &"0".repeat(32), "nothing", "..%2F.."] {
        assert_eq!(refused(&brand, unknown).await, not_found, "{unknown}");
        assert_eq!(refused(&partner, unknown).await, not_found, "{unknown}");
    }
    // A call that did not take place is there for the brand alone.
    permit(&gateway, "zoe", json!({ "all_integrations": true })).await;
    let stayed = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "zoe")).await;
    assert_eq!(refused(&partner, &stayed).await, not_found);
    let stayed = recording(&brand, &stayed).await;
    let (_, found) = replay(&gateway, &components().adf_lead.bytes, &stayed).await;
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_any_more_is_named() {
    let gateway = start().await;
    let (brand, partner) = (gateway.brand(NORTHSIDE).await, gateway.partner_key("acme-crm").await);
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let made_up = recording(&partner, &flow).await;
    let gone = async |client: &Client, missing: &str| {
        let problem = client.get(&format!("/v1/flows/{flow}/recording")).await.expect(410);
        assert_eq!(problem["type"], "/problems/no-longer-kept");
        let detail = problem["detail"].as_str().unwrap();
        for part in [missing, "can not be replayed", "write the case by hand"] {
            assert!(detail.contains(part), "{detail}");
        }
    };
    let url = format!("sqlite:{}", gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut store).await.unwrap();
    sqlx::query("DELETE FROM events").execute(&mut store).await.unwrap();
    gone(&brand, "the event is not stored").await;
    sqlx::query("DELETE FROM consumers").execute(&mut store).await.unwrap();
    gone(&brand, "the consumer is deleted").await;
    // Neither is any business of the partner's.
    assert_eq!(recording(&partner, &flow).await, made_up);
    let path = format!("/v1/brands/{NORTHSIDE}/connections/adf-lead");
    brand.delete(&path).await.expect(204);
    for client in [&brand, &partner] {
        gone(client, "the plugin is switched off").await;
    }
    store.close().await.unwrap();
}

/// The `hostile` plugin with a second slot, `other`, that is about the same events and declares the same fields.
async fn two_slots() -> (TestGateway, Vec<u8>) {
    let gateway = TestGateway::start(Options::default()).await;
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&components().hostile.bytes, |manifest| {
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
        let mut other = manifest["decide"][0].clone();
        other["slot"] = json!("other");
        manifest["decide"].as_array_mut().unwrap().push(other);
    });
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    world::contract(&gateway, "mallory", "essential.service.operations.support", json!({})).await;
    let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
    world::hostile_behaves(&gateway, &release, "none").await;
    (gateway, component)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_of_the_slot_that_was_asked_for() {
    let (gateway, component) = two_slots().await;
    let (brand, partner) = (gateway.brand("testers").await, gateway.partner_key("mallory").await);
    let event = page_viewed("testers", "ada");
    let mut flows = Vec::new();
    for slot in ["other", "hostile"] {
        gateway.source("testers").await.decide(slot, &event).await.ok();
        let row = gateway.auditor().await.flows("stage=call").await[0].clone();
        assert_eq!(row["endpoint"], slot, "{row}");
        let calls = partner.get("/v1/partner/calls").await.ok();
        assert_eq!((&calls["items"][0]["id"], &calls["items"][0]["slot"]), (&row["id"], &json!(slot)));
        let flow = row["id"].as_str().unwrap().to_owned();
        for client in [&brand, &partner] {
            let recorded = recording(client, &flow).await;
            assert_eq!(recorded["hook"], format!("decide {slot}"));
            let (called, found) = replay(&gateway, &component, &recorded).await;
            assert_eq!((&called["hook"], &found), (&recorded["hook"], &vec![]), "{recorded}");
        }
        flows.push(flow);
    }
    // A row that was written before rows named it does not tell it.
    let url = format!("sqlite:{}", gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for change in ["DROP TRIGGER flow_shapes_update", "UPDATE flow_shapes SET endpoint = NULL"] {
        sqlx::query(change).execute(&mut store).await.unwrap();
    }
    store.close().await.unwrap();
    for (client, flow) in [(&brand, &flows[0]), (&brand, &flows[1]), (&partner, &flows[0])] {
        let problem = client.get(&format!("/v1/flows/{flow}/recording")).await.expect(409);
        assert!(problem["detail"].as_str().unwrap().contains("which of the plugin's slots"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_calls_the_slot_that_it_expects() {
    let (gateway, component) = two_slots().await;
    let (rehearsal, plugin) = plugin(&gateway, &component).await;
    for (expects, hook) in [(None, None), (Some("decide other"), Some("decide other"))] {
        let expects = expects.map(str::to_owned);
        let event = Some(page_viewed("testers", "ada").to_string().into_bytes());
        let settings = json!({ "settings": { "host": "api", "behaviour": "none" } });
        let connection = serde_json::from_value(settings).unwrap();
        let called = rehearsal.run(&plugin, Case { event, connection, expects, ..Case::default() }, "").await;
        assert_eq!(called.ok().map(|called| called.hook).as_deref(), hook);
    }
}

/// What `gateway plugin` prints, with its exit status.
async fn command(gateway: &TestGateway, client: &Client, arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(gateway_tests::gateway_binary());
    command.arg("plugin").args(arguments).env("GATEWAY_URL", &gateway.url);
    let output = command.env("GATEWAY_KEY", client.key()).output().await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_compares_and_writes_a_case_that_passes() {
    let gateway = start().await;
    let Component { path, bytes, .. } = &components().adf_lead;
    let component = path.to_str().unwrap();
    let flow = call(&gateway, "adf-lead", &chat_ended(NORTHSIDE, "ada")).await;
    let dir = tempfile::tempdir().unwrap();
    let (cases, other) = (dir.path().join("cases"), dir.path().join("other.wasm"));
    std::fs::write(
        &other,
        with_manifest(bytes, |manifest| {
            let fields = manifest["share"][0]["receives"].as_array_mut().unwrap();
            fields.retain(|field| field["field"] != "/conversation");
        }),
    )
    .unwrap();
    for (client, name, same, is_whole) in [
        (gateway.brand(NORTHSIDE).await, "whole", "no difference in hook, outcome, recipient, fields,", true),
        (
            gateway.partner_key("acme-crm").await,
            "made-up",
            "no difference in hook, outcome, recipient,",
            false,
        ),
    ] {
        let case = cases.join(name);
        let written = ["replay", &flow, component, "--write", case.to_str().unwrap()];
        let (code, told) = command(&gateway, &client, &written).await;
        assert!(code == 0 && told.contains("the component that ran") && told.contains(same), "{told}");
        assert_eq!(told.contains("keep it out of every repository"), is_whole, "{told}");
        for says in [
            "(may differ: values are made up)",
            "compared with the call: hook, outcome; all else of it depends on values",
            "compared with what the release that ran makes of these values: recipient, fields, returned, requests,",
        ] {
            assert_eq!(told.contains(says), !is_whole, "{says}\n{told}");
        }
        // Never over another.
        let before = std::fs::read(case.join("expected.json")).unwrap();
        let (code, told) = command(&gateway, &client, &written).await;
        assert!(code == 2 && told.contains("is there already"), "{told}");
        assert_eq!(std::fs::read(case.join("expected.json")).unwrap(), before);
    }
    let names = std::fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2, "nothing half written is left");
    // What a write that broke off left is no case.
    std::fs::create_dir(cases.join(".broke-off.1")).unwrap();
    let cases = cases.to_str().unwrap();
    let brand = gateway.brand(NORTHSIDE).await;
    let test = ["test", "--component", component, "--cases", cases];
    let (code, told) = command(&gateway, &brand, &test).await;
    assert!(code == 0 && told.contains("2 of 2 passed"), "{told}");

    let json = ["replay", &flow, other.to_str().unwrap(), "--format", "json"];
    let (code, told) = command(&gateway, &brand, &json).await;
    assert!(code == 1 && told.contains("\"same_component\": false"), "{told}");
    assert!(told.contains("/fields/~1conversation: "), "{told}");
    // Progress is told on standard error.
    let told: Value = serde_json::from_str(&told[..=told.rfind('}').unwrap()]).unwrap();
    let names = |of: &str| told[of].as_array().unwrap().to_vec();
    for name in told["outcome"].as_object().unwrap().keys() {
        let is_stated = told["recorded"].get(name).is_some();
        assert_eq!(names("compared").contains(&json!(name)), is_stated, "{name}");
        assert_eq!(names("not_compared").contains(&json!(name)), !is_stated, "{name}");
    }
    for dir in ["/", "..", "cases/.."] {
        let (code, told) = command(&gateway, &brand, &["replay", &flow, component, "--write", dir]).await;
        assert!(code == 2 && told.contains("names no folder"), "{code} {told}");
    }
    for (flow, component, says) in [
        ("0".repeat(32), component, "there is no call with this id"),
        (flow.clone(), components().hostile.path.to_str().unwrap(), "the call is one of adf-lead"),
        (flow.clone(), "nowhere", "nowhere"),
    ] {
        let (code, told) = command(&gateway, &brand, &["replay", &flow, component]).await;
        assert!(code == 2 && told.contains(says), "{code} {told}");
    }
}
