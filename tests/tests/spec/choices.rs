//! What a consumer chose stops what comes after it: by keyword, by number, and what is stored already.

pub(crate) mod by_sms;

use gateway_tests::events::{chat_ended, contact_provided, event, page_viewed, with};
use gateway_tests::world::{self, DENTAL, NORTHSIDE};
use gateway_tests::{TestGateway, components};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

fn sms(subject: &str, phone: &str, text: &str) -> Value {
    event("sms.received", NORTHSIDE, subject, json!({ "text": text, "phone": phone }))
}

async fn opted_out_of_sms(gateway: &TestGateway, subject: &str) -> bool {
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/{subject}/choices");
    gateway.brand(NORTHSIDE).await.get(&path).await.ok()["opt_out"]["sms"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_message_of_a_keyword_opts_out_of_sms_and_start_reverses_it() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    for (number, (text, expected)) in [
        ("STOP", true),
        ("  stop\n", true),
        ("opt out", true),
        ("Unsubscribe", true),
        ("please stop", false),
        ("STOP!", false),
    ]
    .into_iter()
    .enumerate()
    {
        let (subject, phone) = (format!("texter-{number}"), format!("+1 212 555 01{number:02}"));
        source.post_event(&sms(&subject, &phone, text)).await.expect(202);
        assert_eq!(opted_out_of_sms(&gateway, &subject).await, expected, "{text:?}");
        source.post_event(&sms(&subject, &phone, "START")).await.expect(202);
        assert!(!opted_out_of_sms(&gateway, &subject).await, "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_by_keyword_holds_for_the_number_whoever_is_met_with_it() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    source.post_event(&sms("texter", "+1 (212) 555-0199", "STOP")).await.expect(202);
    let chat = with(chat_ended(NORTHSIDE, "visitor"), [("/data/contact/phone", json!("+12125550199"))]);
    source.post_event(&chat).await.expect(202);
    assert!(opted_out_of_sms(&gateway, "visitor").await);
    source.post_event(&chat_ended(NORTHSIDE, "another")).await.expect(202);
    assert!(!opted_out_of_sms(&gateway, "another").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_sent_again_loosens_nothing() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(NORTHSIDE).await;
    let start = sms("texter", "+12125550133", "START");
    source.post_event(&start).await.expect(202);
    source.post_event(&sms("texter", "+12125550133", "STOP")).await.expect(202);
    assert_eq!(source.post_event(&start).await.expect(202)["duplicates"], 1);
    assert!(opted_out_of_sms(&gateway, "texter").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_returned_is_not_used_once_the_consumer_opted_out_of_it() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(DENTAL).await, gateway.brand(DENTAL).await);
    source.post_event(&chat_ended(DENTAL, "patient")).await.expect(202);
    let page = page_viewed(DENTAL, "patient");
    assert!(source.decide("chat-button", &page).await.ok()["decision"].is_object());
    gateway.settled().await;
    let returned = || async {
        let consumer = brand.get(&format!("/v1/brands/{DENTAL}/consumers/patient")).await.ok();
        consumer["returned"].as_array().unwrap().iter().map(|row| row["plugin"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(returned().await.len(), 2);

    let choices = json!({ "opt_out": { "integrations": ["transcript-quality"] } });
    brand.put(&format!("/v1/brands/{DENTAL}/consumers/patient/choices"), &choices).await.ok();
    assert_eq!(returned().await, ["chat-button"]);

    let choices = json!({ "opt_out": { "all_integrations": true } });
    brand.put(&format!("/v1/brands/{DENTAL}/consumers/patient/choices"), &choices).await.ok();
    assert_eq!(returned().await, Vec::<Value>::new());
    let again = source.decide("chat-button", &page).await.ok();
    assert_eq!((&again["decision"], &again["reason"]), (&Value::Null, &json!("withheld")));
}

const CHOICES: &str = "/v1/brands/northside-motors/consumers/ottoline/choices";

fn permission(name: &str, wording: &str) -> Value {
    json!({ "for": { "integration": name }, "wording": wording, "actor": "agent-7" })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_shows_who_when_and_the_wording_and_ends_when_it_is_withdrawn_or_refused() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    let put = async |document: Value| brand.put(CHOICES, &document).await.ok()["permissions"].clone();
    let reads_transcript = async || {
        source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
        gateway.settled().await;
        gateway.partner.received().last().is_some_and(|lead| lead.text().contains("turquoise roadster"))
    };
    let both =
        json!({ "permissions": [permission("adf-lead", "It may."), permission("chat-button", "B may.")] });
    let first = put(both.clone()).await;
    let at = first[0]["at"].as_str().unwrap().to_owned();
    assert!(time::OffsetDateTime::parse(&at, &time::format_description::well_known::Rfc3339).is_ok(), "{at}");
    assert_eq!((&first[0]["wording"], &first[0]["actor"]), (&json!("It may."), &json!("agent-7")));
    assert_eq!(brand.get(CHOICES).await.expect(200)["permissions"], first);
    assert!(reads_transcript().await);

    // Said again it keeps its time, whatever time is claimed for it; in other words it is another.
    gateway.clock.advance(time::Duration::hours(1));
    let mut claimed = both.clone();
    claimed["permissions"][0]["at"] = json!("1999-01-01T00:00:00Z");
    claimed["permissions"][1]["wording"] = json!("B may do more.");
    let second = put(claimed).await;
    assert_eq!(second[0]["at"], json!(at));
    assert_ne!(second[1]["at"], json!(at));
    assert!(second[1]["at"].as_str().unwrap() > at.as_str());

    // Withdrawn.
    assert_eq!(put(json!({ "permissions": [second[1]] })).await.as_array().unwrap().len(), 1);
    assert!(!reads_transcript().await);

    // Refused: it ends, by whomever, and does not come back when the refusal is reversed.
    put(both).await;
    let mut refused = brand.get(CHOICES).await.expect(200);
    refused["opt_out"]["integrations"] = json!(["adf-lead"]);
    let left = source.put(CHOICES, &refused).await.ok()["permissions"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let mut reversed = brand.get(CHOICES).await.expect(200);
    reversed["opt_out"]["integrations"] = json!([]);
    put(reversed).await;
    let before = gateway.partner.received().len();
    assert!(!reads_transcript().await, "it has to be given anew");
    assert_eq!(gateway.partner.received().len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_reverses_the_opt_out_of_sms_and_no_other() {
    let gateway = TestGateway::demo().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    let out = json!({ "marketing": true, "location": true, "integrations": ["adf-lead"] });
    brand.put(CHOICES, &json!({ "opt_out": out, "limit_pending": true })).await.ok();
    let before = brand.get(CHOICES).await.expect(200);
    source.post_event(&sms("ottoline", "+12125550142", "STOP")).await.expect(202);
    assert!(opted_out_of_sms(&gateway, "ottoline").await);
    source.post_event(&sms("ottoline", "+12125550142", "start")).await.expect(202);
    assert_eq!(brand.get(CHOICES).await.expect(200), before);
}

/// Conditions travel with the value that was collected under them: a later value has its own, and what derives
/// from both has both. The text makes no lasting choice of a signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_holds_for_what_it_came_with_and_for_what_derives_from_it() {
    let gateway = TestGateway::start(Default::default()).await;
    world::hostile(&gateway, "none").await;
    let (source, brand) = (gateway.source("testers").await, gateway.brand("testers").await);
    source.post_event(&contact_provided("testers", "ottoline")).await.expect(202);
    let ask = async |signal: Option<&str>| {
        let mut page = page_viewed("testers", "ottoline");
        if let Some(signal) = signal {
            page[signal] = json!(true);
        }
        source.decide("hostile", &page).await.ok();
        let row = brand.flows("consumer=ottoline&stage=call&flow=decide").await[0].clone();
        row["fields"][0]["reason"].clone()
    };
    assert_eq!(ask(Some("dnt")).await, "clause:signals.dnt");
    assert_eq!(ask(None).await, "clause:integrations.share");
    assert_eq!(ask(Some("gpc")).await, "clause:integrations.share", "an essential purpose");
    for gpc in [Value::Null, json!(true)] {
        let chat = with(chat_ended("testers", "ottoline"), [("gpc", gpc)]);
        source.post_event(&chat).await.expect(202);
        gateway.settled().await;
    }
    let stored = brand.get("/v1/brands/testers/consumers/ottoline").await.expect(200);
    // Newest first: of the stored values, and of what the plugin returned for the last two.
    let signals = |of: &str, signal: &str, newest: usize| -> Vec<bool> {
        let rows = stored[of].as_array().unwrap().iter().take(newest);
        rows.map(|row| row["conditions"][signal] == true).collect()
    };
    assert_eq!(signals("events", "gpc", 6), [true, false, true, false, false, false]);
    assert_eq!(signals("events", "dnt", 6), [false, false, false, false, true, false]);
    assert_eq!(signals("returned", "gpc", 2), [true, false]);
}

/// Clause integrations.no-control: what a partner does with what it gets is governed by its own privacy policy, which the
/// consumer is shown with what there is of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumers_record_names_the_privacy_policy_of_each_partner() {
    const OLD: &str = "https://clarity.example/privacy";
    const NEW: &str = "https://clarity.example/privacy-2";
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(DENTAL).await, gateway.brand(DENTAL).await);
    let chat = async || {
        source.post_event(&chat_ended(DENTAL, "ottoline")).await.expect(202);
        gateway.settled().await;
    };
    chat().await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&built.transcript_quality.bytes, |manifest| {
        assert_eq!(manifest["plugin"]["privacy-policy"], OLD);
        manifest["plugin"]["version"] = json!("1.0.1");
        manifest["plugin"]["privacy-policy"] = json!(NEW);
    });
    let release = gateway.partner_key("clarity").await.publish(&component).await.expect(201);
    world::switch_on(&gateway, DENTAL, &release, json!({}), json!({})).await;
    chat().await;
    let record = brand.get(&format!("/v1/brands/{DENTAL}/consumers/ottoline")).await.expect(200);
    // Also of a plugin that has given nothing back: it may have got something.
    let of_those_on = json!({
        "chat-button": "https://engage.example/privacy", "transcript-quality": NEW,
    });
    assert_eq!(record["privacy_policies"], of_those_on);
    // Newest first, each as the release names it that returned it.
    let returned = record["returned"].as_array().expect("fields").iter();
    let returned: Vec<_> = returned.map(|row| row["privacy_policy"].as_str().expect("a link")).collect();
    assert_eq!(returned, [NEW, OLD]);
    let answer = gateway_tests::eventually("a decision", || async {
        let view = source.decide("chat-button", &page_viewed(DENTAL, "ottoline")).await.expect(200);
        (view["decision"] != Value::Null).then_some(view)
    })
    .await;
    assert_eq!(answer["provenance"]["privacy_policy"], "https://engage.example/privacy", "{answer}");
}
