//! A release on trial beside the one that stands.

use std::collections::BTreeSet;

use gateway_tests::Behaviour;

use super::*;

/// A consumer that gets the release on trial, which has all but one of a hundred.
async fn with_the_new_release(gateway: &TestGateway, new: &Value) -> String {
    for number in 0..100 {
        let subject = format!("tried-{number}@example.com");
        gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, &subject)).await.expect(202);
        gateway.settled().await;
        let rows = gateway.brand(BRAND).await.flows(&format!("consumer={subject}&stage=call")).await;
        if rows[0]["release"] == new["release"] {
            return subject;
        }
    }
    panic!("nobody gets the new release")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidates_endpoint_that_is_gone_fails_its_trial_and_leaves_the_others_alone() {
    let (gateway, _) = start().await;
    let new = publish(&gateway, "1.1.0", |manifest| {
        let url = &mut manifest["endpoint"][0]["url"];
        *url = json!(url.as_str().expect("an address").replace("/v1/", "/v2/"));
    })
    .await;
    let grant = world::full_grant(&new);
    rollout(&gateway, json!({ "release": "1.1.0", "percent": 99, "grant": grant })).await.expect(200);
    let subject = with_the_new_release(&gateway, &new).await;
    gateway.partner.behave(Behaviour::Status(410));
    for number in 0..4 {
        assert_eq!(connection(&gateway).await["rollout"]["ended"], Value::Null, "after {number}");
        gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, &subject)).await.expect(202);
        gateway.settled().await;
        assert_eq!(connection(&gateway).await["endpoints_off"], json!([]), "the other release has another");
    }
    let view = gateway_tests::eventually("the rollout to end", || async {
        let view = connection(&gateway).await;
        view["rollout"]["ended"].is_string().then_some(view)
    })
    .await;
    assert_eq!(view["rollout"]["percent"], 0, "{view}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_ask_about_one_event_under_ids_of_their_own() {
    let (gateway, first) = start().await;
    world::hostile_behaves(&gateway, &first, "ask").await;
    let new = publish(&gateway, "1.1.0", |_| {}).await;
    rollout(&gateway, json!({ "release": "1.1.0", "percent": 99 })).await.expect(200);
    let subject = with_the_new_release(&gateway, &new).await;
    // It breaks with the fifth question, after one at least that was sent; the one that stands asks once.
    let broken = json!({ "host": "api", "behaviour": "ask-too-often" });
    rollout(&gateway, json!({ "release": "1.1.0", "percent": 99, "settings": broken })).await.expect(200);
    let before = gateway.partner.received().len();
    let nameless = events::with(events::chat_ended(BRAND, &subject), [("/data/contact/name", Value::Null)]);
    gateway.source(BRAND).await.post_event(&nameless).await.expect(202);
    gateway.settled().await;
    let asked = &gateway.partner.received()[before..];
    let ids: BTreeSet<&str> = asked.iter().map(|request| request.webhook_id()).collect();
    assert_eq!(ids.len(), asked.len(), "{asked:?}");
    let rows = gateway.brand(BRAND).await.flows(&format!("consumer={subject}&stage=exchange")).await;
    let event = &rows[0]["event"];
    let sent = rows.iter().filter(|row| row["event"] == *event && row["outcome"] == "attempt");
    let by: BTreeSet<&str> = sent.filter_map(|row| row["release"].as_str()).collect();
    assert_eq!(by.len(), 2, "both asked: {rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_asked_about_one_type_of_event_while_two_releases_fill_it() {
    let (gateway, _) = start().await;
    let new = publish(&gateway, "1.1.0", |manifest| {
        manifest["decide"][0]["event"] = json!("chat.ended");
        let name = json!({ "field": "/contact/name/first", "access": "read", "why": "to be tested" });
        manifest["decide"][0]["receives"] = json!([name]);
    })
    .await;
    let grant = world::full_grant(&new);
    let of = |percent: u8| json!({ "release": "1.1.0", "percent": percent, "grant": grant });
    let problem = rollout(&gateway, of(50)).await.expect(422);
    assert_eq!(problem["pointer"], "/release", "{problem}");
    for part in ["slot hostile about chat.ended", "1.0.0 about page.viewed", "`percent` 100"] {
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    rollout(&gateway, of(100)).await.expect(200);
    let chat = events::chat_ended(BRAND, "ada");
    let decided = gateway.source(BRAND).await.decide("hostile", &chat).await.expect(200);
    assert_eq!(decided["provenance"]["release"], new["release"], "{decided}");
}
