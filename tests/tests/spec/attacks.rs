//! Attacks that are no other test's: each with what stops it, and the row of the ledger that shows it. The table of
//! all of them is in `gateway/ARCHITECTURE.md`.

mod table;

use gateway::boundary::PolicyBook;
use gateway::manifest::{SECTION, inspect};
use gateway_tests::{Behaviour, Options, TestGateway, components, events, world};
use serde_json::{Value, json};

use crate::hostile::remade::{custom_section, with_manifest, without_manifest};

const BRAND: &str = "testers";
const PURPOSE: &str = "essential.service.operations.support";
const EMAIL: &str = "ottoline.quillfeather@example.org";

/// A gateway where `mallory` is registered, and nothing published.
async fn start(options: Options) -> TestGateway {
    let gateway = TestGateway::start(options).await;
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    gateway
}

/// Publishes the plugin with its manifest changed; the release.
async fn publish(gateway: &TestGateway, change: impl FnOnce(&mut Value)) -> Value {
    let component = with_manifest(&components().hostile.bytes, change);
    gateway.partner_key("mallory").await.publish(&component).await.expect(201)
}

/// Switches a release on with a grant for finished chats.
async fn switch_on(gateway: &TestGateway, release: &Value, host: &str, behaviour: &str, grant: &[&str]) {
    let plugin = release["plugin"].as_str().expect("a release names its plugin");
    let document = json!({
        "release": release["release"],
        "grant": { "share chat.ended": grant },
        "settings": { "host": host, "behaviour": behaviour },
    });
    let path = format!("/v1/brands/{BRAND}/connections/{plugin}");
    gateway.brand(BRAND).await.put(&path, &document).await.ok();
}

async fn send(gateway: &TestGateway, event: &Value) {
    gateway.source(BRAND).await.post_event(event).await.expect(202);
    gateway.settled().await;
}

/// The newest row about a consumer in a stage.
async fn row(gateway: &TestGateway, subject: &str, stage: &str) -> Value {
    let query = format!("consumer={subject}&stage={stage}");
    gateway.brand(BRAND).await.flows(&query).await.first().cloned().unwrap_or_default()
}

/// Field → why it is withheld, or that it is not.
fn verdict(row: &Value, field: &str) -> Option<String> {
    let fields = row["fields"].as_array().into_iter().flatten();
    let found = fields.into_iter().find(|verdict| verdict["field"] == field)?;
    let word = if found["decision"] == "withhold" { &found["reason"] } else { &found["decision"] };
    word.as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_a_wider_manifest_gets_what_the_grant_names() {
    const GRANT: [&str; 1] = ["/contact/name/first"];
    let gateway = start(Options::default()).await;
    let first = publish(&gateway, |_| {}).await;
    switch_on(&gateway, &first, "api", "none", &GRANT).await;
    let wider = publish(&gateway, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        let phone = json!({ "field": "/contact/phone", "access": "read", "why": "to have more" });
        manifest["share"][0]["receives"].as_array_mut().expect("fields").push(phone);
    })
    .await;
    // Published is not switched on.
    send(&gateway, &events::chat_ended(BRAND, "ada")).await;
    let before = row(&gateway, "ada", "call").await;
    assert_eq!((&before["release"], verdict(&before, "/contact/phone")), (&first["release"], None));
    // Switched on under the old grant, it gets no field more, and the row says so.
    switch_on(&gateway, &wider, "api", "none", &GRANT).await;
    send(&gateway, &events::chat_ended(BRAND, "ada")).await;
    let after = row(&gateway, "ada", "call").await;
    assert_eq!(after["release"], wider["release"]);
    assert_eq!(verdict(&after, "/contact/phone").as_deref(), Some("not-granted"));
    assert_eq!(verdict(&after, "/contact/name/first").as_deref(), Some("allow"));
    let carried = row(&gateway, "ada", "delivery").await;
    assert_eq!(verdict(&carried, "/contact/phone"), None, "{carried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_says_it_is_old_is_judged_by_the_policy_of_when_it_came() {
    let strict = PolicyBook::SHIPPED.to_owned();
    let loose =
        strict.replace(r#"page-view-is-no-engagement = "strict""#, r#"page-view-is-no-engagement = "loose""#);
    assert_ne!(strict, loose);
    let since = strict.replace(r#"effective = "2017-03-01""#, r#"effective = "2026-01-01""#);
    for (policies, expected) in [
        (vec![loose.clone()], "allow"),
        // The older one would let it go; it was over when the event came, whatever the event says.
        (vec![loose, since], "clause:integrations.share"),
    ] {
        let gateway = start(Options { policies: Some(policies), ..Options::default() }).await;
        let release = publish(&gateway, |manifest| manifest["decide"][0]["deadline-ms"] = json!(2_000)).await;
        let settings = json!({ "host": "api", "behaviour": "none" });
        world::switch_on(&gateway, BRAND, &release, settings, json!({})).await;
        let page = events::page_viewed(BRAND, "ada");
        let page = events::with(page, [("/time", json!("2020-05-01T09:00:00Z"))]);
        gateway.source(BRAND).await.decide("hostile", &page).await.expect(200);
        let row = row(&gateway, "ada", "call").await;
        assert_eq!(verdict(&row, "/url").as_deref(), Some(expected), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_claims_no_relation_and_its_purpose_is_worth_what_the_contract_says() {
    let gateway = start(Options::default()).await;
    world::contract(&gateway, "mallory", PURPOSE, json!({ "onward_transfer": true })).await;
    let hostile = &components().hostile.bytes;
    let mut manifest = serde_json::to_value(inspect(hostile).expect("it is one").manifest).expect("JSON");
    manifest["plugin"]["relation"] = json!("service-provider");
    let text = manifest.to_string();
    let claims = [without_manifest(hostile), custom_section(SECTION, text.as_bytes())].concat();
    let refused = gateway.partner_key("mallory").await.publish(&claims).await.expect(422);
    assert!(refused.to_string().contains("relation"), "{refused}");

    for (version, purpose, stands, transcript) in [
        ("1.0.0", PURPOSE, "service-provider", "allow"),
        // Nearly the same word, and no contract for it.
        ("1.0.1", "essential.service.security", "third-party", "clause:share.content"),
    ] {
        let release = publish(&gateway, |manifest| {
            manifest["plugin"]["version"] = json!(version);
            manifest["plugin"]["purpose"] = json!(purpose);
        })
        .await;
        switch_on(&gateway, &release, "api", "none", &["/transcript/*/text"]).await;
        send(&gateway, &events::chat_ended(BRAND, "ada")).await;
        let row = row(&gateway, "ada", "call").await;
        assert_eq!((&row["recipient"], &row["purpose"]), (&json!(stands), &json!(purpose)), "{row}");
        assert_eq!(verdict(&row, "/transcript/*/text").as_deref(), Some(transcript), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_value_is_only_where_it_was_placed_and_the_row_has_it() {
    let gateway = start(Options::default()).await;
    let release = publish(&gateway, |_| {}).await;
    for behaviour in ["sealed-in-header", "sealed-in-path", "sealed-in-return", "sealed-in-log"] {
        let grant = ["/contact/name/first", "/contact/email"];
        switch_on(&gateway, &release, "api", behaviour, &grant).await;
        send(&gateway, &events::chat_ended(BRAND, behaviour)).await;
        let request = gateway.partner.received().pop().expect("a request");
        let note = request.header("x-note").unwrap_or_default();
        assert_eq!(note == EMAIL, behaviour == "sealed-in-header", "{behaviour}: {note}");
        assert_eq!(request.path.contains("quillfeather"), behaviour == "sealed-in-path", "{}", request.path);
        let carried = row(&gateway, behaviour, "delivery").await;
        let email = &carried["fields"][1];
        assert_eq!((&email["field"], &email["access"]), (&json!("/contact/email"), &json!("sealed")));
        assert_eq!(email["labels"], json!(["first-party:user.contact.email"]), "{behaviour}");
    }
    let brand = gateway.brand(BRAND).await;
    let feed = brand.get(&format!("/v1/brands/{BRAND}/returns")).await.text;
    assert!(feed.contains(r#""verdict":"/contact/email""#), "its own words: {feed}");
    let ledger = gateway.auditor().await.get("/v1/flows?limit=1000").await.text;
    let metrics = gateway.anonymous().get("/metrics").await.text;
    for text in [feed, ledger, metrics] {
        assert!(!text.contains("quillfeather"), "{text}");
    }
}

/// What no boundary can see, the labels account for: what was readable is in the row of whatever came out, and goes no
/// further than it may itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_readable_value_encoded_in_another_ones_place_takes_its_labels_along() {
    const TRANSCRIPT: &str = "first-party:user.content.private.transcript";
    let gateway = start(Options::default()).await;
    let release = publish(&gateway, |_| {}).await;
    switch_on(&gateway, &release, "api", "encode", &["/transcript/*/text", "/contact/email"]).await;
    let choices = format!("/v1/brands/{BRAND}/consumers/ada/choices");
    let permission = json!({ "for": { "integration": "hostile" }, "wording": "It may.", "actor": "agent-7" });
    let brand = gateway.brand(BRAND).await;
    brand.put(&choices, &json!({ "permissions": [permission] })).await.ok();
    gateway.partner.script([Behaviour::Status(503)]);
    let chat = events::chat_ended(BRAND, "ada");
    send(&gateway, &chat).await;

    // It arrived, as a checksum of the address and as a verdict, and nothing in it says so.
    let said = chat["data"]["transcript"][0]["text"].as_str().expect("a text");
    let encoded: String = said.bytes().take(32).map(|byte| format!("{byte:02x}")).rev().collect();
    let [request] = &gateway.partner.received()[..] else { panic!("one request") };
    let sent: Value = serde_json::from_str(&request.text()).expect("JSON");
    assert_eq!(sent, json!({ "email": EMAIL, "checksum": encoded }));
    let feed = brand.get(&format!("/v1/brands/{BRAND}/returns")).await.ok();
    assert_eq!(feed[0]["value"], json!({ "verdict": encoded }));
    // The rows do.
    let labels = |row: &Value, field: &str| {
        let fields = row["fields"].as_array().into_iter().flatten();
        fields.into_iter().find(|verdict| verdict["field"] == field).map(|verdict| verdict["labels"].clone())
    };
    let carried = row(&gateway, "ada", "delivery").await;
    assert_eq!(labels(&carried, "/transcript/*/text"), Some(json!([TRANSCRIPT])), "{carried}");
    let returned = row(&gateway, "ada", "return").await;
    assert!(
        labels(&returned, "/verdict").is_some_and(|of| of.to_string().contains(TRANSCRIPT)),
        "{returned}"
    );
    // So it is sent no more once the transcript may not be, whatever it is called.
    brand.put(&choices, &json!({})).await.ok();
    gateway.clock.advance(time::Duration::seconds(6));
    gateway.settled().await;
    let dropped = row(&gateway, "ada", "delivery").await;
    assert_eq!(dropped["outcome"], "withheld", "{dropped}");
    assert_eq!(verdict(&dropped, "/transcript/*/text").as_deref(), Some("clause:share.content"));
    assert_eq!(gateway.partner.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_from_a_plugin_and_what_is_not_there_are_one_to_its_partner() {
    let gateway = start(Options::default()).await;
    let release = publish(&gateway, |_| {}).await;
    let grant = ["/transcript/*/text", "/contact/email"];
    switch_on(&gateway, &release, "api", "pass-on", &grant).await;
    let nameless =
        |subject| events::with(events::chat_ended(BRAND, subject), [("/data/contact/name", Value::Null)]);
    // No permission for what was said; and nothing said.
    send(&gateway, &nameless("quiet")).await;
    let silent = events::with(nameless("silent"), [("/data/transcript", json!([{ "speaker": "agent" }]))]);
    send(&gateway, &silent).await;
    let withheld = row(&gateway, "quiet", "call").await;
    assert_eq!(verdict(&withheld, "/transcript/*/text").as_deref(), Some("clause:share.content"));
    let absent = row(&gateway, "silent", "call").await;
    assert_eq!(verdict(&absent, "/transcript/*/text"), None);
    assert_eq!(withheld["fuel"], absent["fuel"], "not even in what the call costs");
    let sent: Vec<String> = gateway.partner.received().iter().map(|request| request.text()).collect();
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_says_nothing_of_an_opt_out_from_the_first() {
    let gateway = start(Options::default()).await;
    for plugin in ["first", "second"] {
        let release = publish(&gateway, |manifest| {
            manifest["plugin"]["name"] = json!(plugin);
            manifest["decide"][0]["slot"] = json!(plugin);
        })
        .await;
        switch_on(&gateway, &release, plugin, "pass-on", &["/contact/name/first", "/contact/email"]).await;
    }
    let choices = json!({ "opt_out": { "integrations": ["first"] } });
    let path = format!("/v1/brands/{BRAND}/consumers/refused/choices");
    gateway.brand(BRAND).await.put(&path, &choices).await.ok();
    for subject in ["refused", "other"] {
        send(&gateway, &events::chat_ended(BRAND, subject)).await;
    }
    let received = gateway.partner.received();
    let of = |plugin: &str| {
        let requests = received.iter().filter(|request| request.host().starts_with(plugin));
        requests.map(|request| (request.webhook_id().to_owned(), request.text())).collect::<Vec<_>>()
    };
    let (first, second) = (of("first"), of("second"));
    assert_eq!((first.len(), second.len()), (1, 2));
    assert_eq!(second[0].1, second[1].1, "what the second gets is the same");
    // Nor does it tell whose event the first did not get: each connection has names of its own.
    assert!(second.iter().all(|(id, _)| *id != first[0].0), "{first:?} {second:?}");
    let rows = gateway.brand(BRAND).await.flows("consumer=refused&plugin=first").await;
    assert_eq!(rows[0]["outcome"], "not-run:nothing-left");
    assert_eq!(verdict(&rows[0], "/contact/email").as_deref(), Some("clause:integrations.opt-out"));
}
