//! What a partner sends of a consumer: verified, labelled, stored for that brand and consumer, combined only where
//! the brand granted it, and out of use when the consumer opts out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway::boundary::PolicyBook;
use gateway_tests::events::event;
use gateway_tests::world::{DENTAL, NORTHSIDE, brand, contract, full_grant, partner, publish};
use gateway_tests::{Options, TestGateway, components};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::hostile::remade::with_manifest;
use crate::onward::{assert_withheld, labels, verdict_on};
use crate::versions::versions;

const PLUGIN: &str = "loyalty-offer";
const PURPOSE: &str = "marketing.advertising.first_party.targeted";

/// A gateway where northside-motors has `loyalty-offer` on; the secret that the programme signs with.
async fn world() -> (TestGateway, Value, String) {
    world_with(Options::default()).await
}

async fn world_with(options: Options) -> (TestGateway, Value, String) {
    let gateway = TestGateway::start(options).await;
    for name in [NORTHSIDE, DENTAL] {
        brand(&gateway, name, false).await;
    }
    partner(&gateway, "gold-club", "US", "gold-club.example").await;
    contract(&gateway, "gold-club", PURPOSE, json!({ "onward_transfer": true })).await;
    let release = publish(&gateway, "gold-club", &components().loyalty_offer).await;
    let secret = switch_on(&gateway, NORTHSIDE, &release).await;
    (gateway, release, secret)
}

fn whole_grant(release: &Value) -> Value {
    json!(full_grant(release))
}

async fn switch_on(gateway: &TestGateway, brand: &str, release: &Value) -> String {
    let document = json!({ "release": release["release"], "grant": whole_grant(release) });
    let path = format!("/v1/brands/{brand}/connections/{PLUGIN}");
    let view = gateway.brand(brand).await.put(&path, &document).await.ok();
    view["inbound_secret"].as_str().expect("the secret is shown once").to_owned()
}

fn purchase(subject: &str, total: f64) -> Value {
    let data = json!({ "order": "o-1", "items": [{ "name": "tyres", "quantity": 4 }], "total": total, "currency": "USD" });
    event("purchase.completed", NORTHSIDE, subject, data)
}

/// The pseudonym under which the programme got to know a consumer.
async fn pseudonym(gateway: &TestGateway, subject: &str) -> String {
    let before = gateway.partner.received().len();
    gateway.source(NORTHSIDE).await.post_event(&purchase(subject, 20.0)).await.expect(202);
    gateway.settled().await;
    let received = gateway.partner.received();
    assert_eq!(received.len(), before + 1);
    let body: Value = serde_json::from_slice(&received[before].body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["member"]["ref"].as_str().unwrap().to_owned()
}

/// Sends a message signed with `secret` and waits for all that comes of it; the status.
pub async fn send(gateway: &TestGateway, brand: &str, secret: &str, id: &str, body: &Value) -> u16 {
    send_at(gateway, brand, secret, id, gateway.clock.now_ms() / 1000, body).await
}

async fn send_at(gateway: &TestGateway, brand: &str, secret: &str, id: &str, at: i64, body: &Value) -> u16 {
    let signature = Webhook::new(secret).unwrap().sign(id, at, body.to_string().as_bytes()).unwrap();
    send_signed(gateway, brand, &signature, id, at, body).await
}

async fn send_signed(
    gateway: &TestGateway,
    brand: &str,
    signature: &str,
    id: &str,
    at: i64,
    body: &Value,
) -> u16 {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/inbound/{brand}/{PLUGIN}", gateway.url))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    gateway.settled().await;
    answer.status().as_u16()
}

fn tier(handle: &str, tier: &str) -> Value {
    json!({ "member": { "ref": handle, "tier": tier } })
}

async fn received(gateway: &TestGateway, subject: &str) -> Value {
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/{subject}");
    gateway.brand(NORTHSIDE).await.get(&path).await.ok()["received"].clone()
}

async fn decide(gateway: &TestGateway, subject: &str, total: f64) -> Value {
    gateway.source(NORTHSIDE).await.decide("coupon-banner", &purchase(subject, total)).await.expect(200)
}

async fn outcomes(gateway: &TestGateway, stage: &str) -> Vec<String> {
    let flows = gateway.auditor().await.get(&format!("/v1/flows?stage={stage}")).await.ok();
    let items = flows["items"].as_array().unwrap().iter();
    items.map(|flow| flow["outcome"].as_str().unwrap().to_owned()).collect()
}

/// The newest row under a query.
async fn newest(gateway: &TestGateway, query: &str) -> Value {
    gateway.auditor().await.flows(query).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_is_stored_with_labels_and_meets_a_purchase_where_that_is_granted() {
    let (gateway, _, secret) = world().await;
    let handle = pseudonym(&gateway, "ada").await;
    assert_eq!(decide(&gateway, "ada", 900.0).await["decision"]["offer"]["percent"], 5, "no tier is known");

    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-1", &tier(&handle, "gold")).await, 202);
    let kept = received(&gateway, "ada").await;
    assert_eq!(kept[PLUGIN]["value"], json!({ "member": { "tier": "gold" } }));
    // The partner made it from what it had: the pseudonym, and what its plugin read of the purchase.
    assert_eq!(
        kept[PLUGIN]["labels"]["/member/tier"],
        json!([
            "partner:gold-club:user.account",
            "first-party:user.behavior.purchase_history",
            "first-party:user.unique_id.pseudonymous"
        ])
    );
    // As the row of the message says, and the row of each call that reads it.
    let row = newest(&gateway, "stage=receive").await;
    let stored = verdict_on(&row, "/member/tier");
    assert_eq!((&stored["access"], &stored["decision"]), (&json!("return"), &json!("allow")), "{row}");
    assert_eq!(stored["labels"], kept[PLUGIN]["labels"]["/member/tier"], "{row}");
    let answer = decide(&gateway, "ada", 900.0).await;
    assert_eq!(answer["decision"]["offer"], json!({ "percent": 25, "for": "members" }), "{answer}");
    gateway.settled().await;
    let row = newest(&gateway, "stage=call&flow=decide").await;
    let read = verdict_on(&row, "/partner/member/tier");
    assert_eq!((&read["decision"], &read["labels"]), (&json!("allow"), &stored["labels"]), "{row}");
    let labels = &answer["provenance"]["labels"]["/offer/percent"];
    for label in ["first-party:user.behavior.purchase_history", "partner:gold-club:user.account"] {
        assert!(labels.as_array().unwrap().contains(&json!(label)), "{labels}");
    }
    assert_eq!(decide(&gateway, "bob", 900.0).await["decision"]["offer"]["percent"], 5, "another consumer");
    assert_eq!(outcomes(&gateway, "receive").await, ["received"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_has_of_a_linked_visitor_counts_as_the_consumers() {
    let (gateway, _, secret) = world().await;
    let handle = pseudonym(&gateway, "ada").await;
    // Of the visitor the partner's plugin read a purchase, of the consumer none.
    decide(&gateway, "visitor", 900.0).await;
    let derives_from_purchases = async |gateway: &TestGateway, id: &str| {
        assert_eq!(send(gateway, NORTHSIDE, &secret, id, &tier(&handle, "gold")).await, 202);
        let labels = received(gateway, "ada").await[PLUGIN]["labels"]["/member/tier"].clone();
        labels.as_array().unwrap().contains(&json!("first-party:user.behavior.purchase_history"))
    };
    assert!(!derives_from_purchases(&gateway, "m-1").await);
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/ada/links");
    let body = json!({ "visitor": "visitor" }).to_string().into_bytes();
    gateway.source(NORTHSIDE).await.post_body(&path, "application/json", body).await.expect(200);
    assert!(derives_from_purchases(&gateway, "m-2").await);
    let gateway = gateway.stop().await.start().await;
    assert!(derives_from_purchases(&gateway, "m-3").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_meet_without_a_granted_combination_is_not_switched_on() {
    let (gateway, release, _) = world().await;
    let mut grant = whole_grant(&release);
    grant.as_object_mut().unwrap().remove("combine /offer");
    let path = format!("/v1/brands/{NORTHSIDE}/connections/{PLUGIN}");
    let client = gateway.brand(NORTHSIDE).await;
    let document = |grant: &Value| json!({ "release": release["release"], "grant": grant });
    let refused = client.put(&path, &document(&grant)).await.expect(422);
    let detail = refused["detail"].as_str().unwrap();
    for part in [
        "loyalty-offer `decide coupon-banner` /total (first-party:user.behavior.purchase_history) would meet",
        "/partner/member/tier (partner:gold-club:user.account)",
        "clause:integrations.combine",
        "grant the combination (`combine /offer`)",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    grant["combine /offer"] = json!(["partner:user.account"]);
    let refused = client.put(&path, &document(&grant)).await.expect(422);
    assert!(refused.to_string().contains("granted as a whole or not at all"), "{refused}");
    // Either of the two alone may be granted.
    for field in ["/total", "/partner/member/tier"] {
        grant = whole_grant(&release);
        grant.as_object_mut().unwrap().remove("combine /offer");
        grant["decide coupon-banner"] = json!([field]);
        client.put(&path, &document(&grant)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_ends_the_use_of_what_is_stored_and_of_what_comes() {
    let (gateway, _, secret) = world().await;
    let handle = pseudonym(&gateway, "ada").await;
    send(&gateway, NORTHSIDE, &secret, "m-1", &tier(&handle, "silver")).await;
    assert_eq!(decide(&gateway, "ada", 20.0).await["decision"]["offer"]["percent"], 15);
    let choices = format!("/v1/brands/{NORTHSIDE}/consumers/ada/choices");
    let client = gateway.brand(NORTHSIDE).await;
    client.put(&choices, &json!({ "opt_out": { "integrations": [PLUGIN] } })).await.ok();
    assert_eq!(received(&gateway, "ada").await, json!({}));
    let answer = decide(&gateway, "ada", 20.0).await;
    assert_eq!(answer["decision"], Value::Null, "the slot's ordinary default: {answer}");
    gateway.settled().await;
    let read = verdict_on(&newest(&gateway, "stage=call&flow=decide").await, "/partner/member/tier");
    assert_withheld(&read, "clause:integrations.opt-out");
    // To the partner everything looks as before, and nothing comes of it.
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-2", &tier(&handle, "gold")).await, 202);
    let sent = verdict_on(&newest(&gateway, "stage=receive").await, "/member/tier");
    assert_withheld(&sent, "clause:integrations.opt-out");
    assert!(labels(&sent).contains(&"partner:gold-club:user.account"), "{sent}");
    client.put(&choices, &json!({ "opt_out": {} })).await.ok();
    assert_eq!(received(&gateway, "ada").await[PLUGIN]["value"]["member"]["tier"], "silver");
    assert_eq!(outcomes(&gateway, "receive").await, ["not-run:nothing-left", "received"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_taken_once_and_only_from_the_partner_and_only_for_its_brand() {
    let (gateway, release, secret) = world().await;
    let handle = pseudonym(&gateway, "ada").await;
    let now = gateway.clock.now_ms() / 1000;
    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let gold = tier(&handle, "gold");
    for (name, brand, secret, id, at, expected) in [
        ("another secret", NORTHSIDE, stranger, "m-1", now, 401),
        ("no such connection", DENTAL, secret.as_str(), "m-1", now, 401),
        ("an old message", NORTHSIDE, secret.as_str(), "m-1", now - 301, 401),
        ("the partner's", NORTHSIDE, secret.as_str(), "m-1", now, 202),
        ("a replay", NORTHSIDE, secret.as_str(), "m-1", now, 202),
    ] {
        assert_eq!(send_at(&gateway, brand, secret, id, at, &gold).await, expected, "{name}");
    }
    assert_eq!(outcomes(&gateway, "receive").await, ["received"], "the replay left no row");
    // The pseudonym of one brand says nothing at another, and a made-up one nothing anywhere.
    let other = switch_on(&gateway, DENTAL, &release).await;
    for (brand, secret, body) in [
        (DENTAL, &other, gold.clone()),
        (NORTHSIDE, &secret, tier("00112233445566778899aabbccddeeff", "gold")),
        (NORTHSIDE, &secret, json!({ "member": { "tier": "gold" } })),
    ] {
        assert_eq!(send(&gateway, brand, secret, "m-9", &body).await, 202);
    }
    let unknown = outcomes(&gateway, "receive").await;
    assert_eq!(
        unknown.iter().filter(|outcome| *outcome == "not-run:unknown-consumer").count(),
        2,
        "{unknown:?}"
    );
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-10", &json!([1])).await, 400);
}

/// Standard Webhooks `v1a`: keys of the partner's record instead of the connection's secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_signed_with_a_key_is_taken_from_the_partner_whose_record_has_it() {
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let (own, others, nobodys) = (pair(1), pair(2), pair(3));
    let sign = |pair: &Ed25519KeyPair, id: &str, at: i64, body: &Value| {
        format!("v1a,{}", STANDARD.encode(pair.sign(format!("{id}.{at}.{body}").as_bytes())))
    };
    let (gateway, _, _) = world().await;
    partner(&gateway, "ident", "US", "ident.example").await;
    let has_keys = async |name: &str, keys: &[&Ed25519KeyPair]| {
        let keys: Vec<String> =
            keys.iter().map(|key| format!("whpk_{}", STANDARD.encode(key.public_key()))).collect();
        let document = json!({
            "display_name": name, "region": "US", "domains": [format!("{name}.example")], "webhook_keys": keys,
        });
        gateway.operator().await.put(&format!("/v1/partners/{name}"), &document).await.ok();
    };
    has_keys("gold-club", &[&own]).await;
    has_keys("ident", &[&others]).await;
    let handle = pseudonym(&gateway, "ada").await;
    let gold = tier(&handle, "gold");
    let now = gateway.clock.now_ms() / 1000;
    for (name, pair, id, at, expected) in [
        ("another partner's key", &others, "m-1", now, 401),
        ("nobody's key", &nobodys, "m-1", now, 401),
        ("before the window", &own, "m-1", now - 310, 401),
        ("after the window", &own, "m-1", now + 310, 401),
        ("its own key", &own, "m-1", now, 202),
        ("a replay", &own, "m-1", now, 202),
    ] {
        let signature = sign(pair, id, at, &gold);
        assert_eq!(send_signed(&gateway, NORTHSIDE, &signature, id, at, &gold).await, expected, "{name}");
    }
    let of_another = sign(&own, "m-2", now, &tier(&handle, "silver"));
    assert_eq!(send_signed(&gateway, NORTHSIDE, &of_another, "m-2", now, &gold).await, 401);
    assert_eq!(
        outcomes(&gateway, "receive").await,
        ["received"],
        "what was refused, and the replay, left no row"
    );
    assert_eq!(received(&gateway, "ada").await[PLUGIN]["value"], json!({ "member": { "tier": "gold" } }));

    // A key that the record has no more signs nothing more.
    has_keys("gold-club", &[&others]).await;
    for (pair, id, expected) in [(&own, "m-3", 401), (&others, "m-3", 202)] {
        let signature = sign(pair, id, now, &gold);
        assert_eq!(send_signed(&gateway, NORTHSIDE, &signature, id, now, &gold).await, expected, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_taken_for_a_day() {
    let (gateway, release, old) = world().await;
    let handle = pseudonym(&gateway, "ada").await;
    let path = format!("/v1/brands/{NORTHSIDE}/connections/{PLUGIN}");
    let document = json!({
        "release": release["release"], "grant": whole_grant(&release), "rotate_inbound_secret": true,
    });
    let view = gateway.brand(NORTHSIDE).await.put(&path, &document).await.ok();
    let new = view["inbound_secret"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    assert_eq!(send(&gateway, NORTHSIDE, &old, "m-1", &tier(&handle, "gold")).await, 202);
    assert_eq!(send(&gateway, NORTHSIDE, &new, "m-2", &tier(&handle, "gold")).await, 202);
    gateway.clock.advance(time::Duration::seconds(24 * 3600 + 1));
    assert_eq!(send(&gateway, NORTHSIDE, &old, "m-3", &tier(&handle, "gold")).await, 401);
    assert_eq!(send(&gateway, NORTHSIDE, &new, "m-4", &tier(&handle, "gold")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_messages_do_not_open_the_breaker() {
    const MORE_THAN_OPEN_IT: usize = 7;
    let (gateway, _, _) = world().await;
    // A release whose schema knows no gold tier, and whose code stores one: each such message is a violation.
    let component = with_manifest(&components().loyalty_offer.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        manifest["receive"][0]["returns"]["properties"]["member"]["properties"]["tier"]["enum"] =
            json!(["bronze", "silver"]);
    });
    let release = gateway.partner_key("gold-club").await.publish(&component).await.ok();
    let path = format!("/v1/brands/{NORTHSIDE}/connections/{PLUGIN}");
    let client = gateway.brand(NORTHSIDE).await;
    let document = json!({
        "release": release["release"], "grant": whole_grant(&release), "rotate_inbound_secret": true,
    });
    let secret = client.put(&path, &document).await.ok()["inbound_secret"].as_str().unwrap().to_owned();
    let (ada, bob) = (pseudonym(&gateway, "ada").await, pseudonym(&gateway, "bob").await);
    let choices = format!("/v1/brands/{NORTHSIDE}/consumers/bob/choices");
    client.put(&choices, &json!({ "opt_out": { "integrations": [PLUGIN] } })).await.ok();

    for (who, handle, outcome) in [("bob", &bob, "not-run:nothing-left"), ("ada", &ada, "refused:")] {
        for number in 0..MORE_THAN_OPEN_IT {
            let id = format!("{who}-{number}");
            // Alike, whether the plugin ran and failed or the consumer had opted out.
            assert_eq!(send(&gateway, NORTHSIDE, &secret, &id, &tier(handle, "gold")).await, 202, "{id}");
        }
        let last = &outcomes(&gateway, "receive").await[..MORE_THAN_OPEN_IT];
        assert!(last.iter().all(|made| made.starts_with(outcome)), "{who}: {last:?}");
        assert_eq!(client.get(&path).await.ok()["breaker"], "closed", "{who}");
    }
    // And what comes next is taken.
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "good", &tier(&ada, "silver")).await, 202);
    assert_eq!(received(&gateway, "ada").await[PLUGIN]["value"]["member"]["tier"], "silver");
}

/// What a partner sent while members got no offers of their own stays unused, whatever a later version lets go: of somebody
/// whom it knows from then also what it sends later, which it may have made of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_looser_version_does_not_reach_what_was_received_before_it() {
    let rule = "\n[[rule]]\neffect = 'forbid'\nflow = ['decide']\nrecipient = ['third-party', 'service-provider']\n\
                category = ['user.account']\nclause = 'integrations.share'\n";
    let strict = format!("{}{rule}", PolicyBook::SHIPPED);
    let (gateway, _, secret) = world_with(versions(&strict, PolicyBook::SHIPPED, 1)).await;
    let handle = pseudonym(&gateway, "ada").await;
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-1", &tier(&handle, "gold")).await, 202);
    gateway.clock.advance(time::Duration::days(1));
    assert_eq!(decide(&gateway, "ada", 900.0).await["decision"]["offer"]["percent"], 5);
    assert_eq!(received(&gateway, "ada").await[PLUGIN]["value"]["member"]["tier"], "gold", "it is kept");
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-2", &tier(&handle, "gold")).await, 202);
    assert_eq!(decide(&gateway, "ada", 900.0).await["decision"]["offer"]["percent"], 5);
    gateway.settled().await;
    let other = pseudonym(&gateway, "bob").await;
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-3", &tier(&other, "gold")).await, 202);
    assert_eq!(decide(&gateway, "bob", 900.0).await["decision"]["offer"]["percent"], 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_is_made_up_for_a_partner_where_the_call_needs_what_it_sent() {
    let (gateway, _, _) = world().await;
    let component = with_manifest(&components().loyalty_offer.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        manifest["decide"][0]["receives"][1]["required"] = json!(true);
    });
    let (partner, client) = (gateway.partner_key("gold-club").await, gateway.brand(NORTHSIDE).await);
    let release = partner.publish(&component).await.ok();
    let path = format!("/v1/brands/{NORTHSIDE}/connections/{PLUGIN}");
    let document = json!({
        "release": release["release"], "grant": whole_grant(&release), "rotate_inbound_secret": true,
    });
    let secret = client.put(&path, &document).await.ok()["inbound_secret"].as_str().unwrap().to_owned();
    let handle = pseudonym(&gateway, "ada").await;
    assert_eq!(send(&gateway, NORTHSIDE, &secret, "m-1", &tier(&handle, "gold")).await, 202);
    assert_eq!(decide(&gateway, "ada", 900.0).await["decision"]["offer"]["percent"], 25);
    gateway.settled().await;
    let page = partner.get("/v1/partner/calls").await.ok();
    for (hook, status) in [("decide", 409), ("share", 200)] {
        let calls = page["items"].as_array().unwrap();
        let call = calls.iter().find(|call| call["hook"] == hook).unwrap()["id"].as_str().unwrap();
        let answer = partner.get(&format!("/v1/flows/{call}/recording")).await.expect(status);
        assert_eq!(
            answer.to_string().contains("/partner/member/tier is required"),
            status == 409,
            "{answer}"
        );
        assert!(!answer.to_string().contains("gold\""), "{answer}");
    }
}
