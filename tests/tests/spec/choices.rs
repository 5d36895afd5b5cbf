//! What a consumer chose stops what comes after it: by keyword, by number, and what is stored already.

use gateway_tests::TestGateway;
use gateway_tests::events::{chat_ended, event, page_viewed, with};
use gateway_tests::world::{DENTAL, NORTHSIDE};
use serde_json::{Value, json};

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
