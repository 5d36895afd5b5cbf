//! Given a request that waits for its next try; when a switch, a choice, a contract or a partner's record
//! changes; then neither that request nor the next call goes out, and the ledger says which clause stopped it.

mod verdicts;
mod waiting_calls;

use std::collections::BTreeMap;

use gateway_tests::{Behaviour, Client, TestGateway, components, events, remade, world};
use serde_json::{Value, json};

use crate::choices::by_sms::change;

const BUTTON: &str = "/v1/brands/northside-motors/connections/chat-button";
const BRAND: &str = world::NORTHSIDE;
const CONNECTION: &str = "/v1/brands/northside-motors/connections/adf-lead";
/// The hour after which the waiting request is due.
const WAIT: &str = "3600";
/// The consumer whose choices change; others' do not.
const CONSUMER: &str = "ottoline";
const CHOICES: &str = "/v1/brands/northside-motors/consumers/ottoline/choices";
const TRANSCRIPT: &str = "/transcript/*/text";

/// Past the waiting request's time.
fn past() -> time::Duration {
    time::Duration::seconds(3700)
}

async fn post(gateway: &TestGateway) -> Value {
    let event = events::chat_ended(BRAND, CONSUMER);
    gateway.source(BRAND).await.post_event(&event).await.expect(202);
    gateway.settled().await;
    event
}

/// Rows of the consumer, newest first.
async fn rows(gateway: &TestGateway, stage: &str) -> Vec<Value> {
    gateway.auditor().await.flows(&format!("brand={BRAND}&consumer={CONSUMER}&stage={stage}")).await
}

/// Field → `allow` or the reason why not.
fn verdicts_of(row: &Value) -> BTreeMap<String, String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = row["fields"].as_array().into_iter().flatten();
    fields
        .map(|field| {
            let verdict = if field["decision"] == "allow" { json!("allow") } else { field["reason"].clone() };
            (word(&field["field"]), word(&verdict))
        })
        .collect()
}

/// A change of heart, made by whoever may make it.
#[derive(Clone, Copy)]
enum Change {
    SwitchOff,
    Choices(fn() -> Value),
    Grant(&'static [&'static str]),
    Partner(fn(&mut Value)),
    /// The contract that is there runs out by the clock alone.
    ContractExpires,
}

/// What the world is like before.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// The partner is a third party.
    ThirdParty,
    /// A contract covers it, and it reads transcripts.
    Contract,
    /// The consumer permitted the integration, and it reads transcripts.
    Permission,
}

/// What becomes of the next event.
enum Next {
    /// No call at all; the row's outcome, or none where there is no row.
    NotRun(Option<&'static str>),
    /// A call that is given less: these fields are withheld.
    Less(&'static [(&'static str, &'static str)]),
}

struct Case {
    name: &'static str,
    before: Before,
    change: Change,
    /// The outcome of the waiting request's row.
    dropped: &'static str,
    /// A field of that row, and why it is withheld; none where the request is withheld for no field's sake.
    why: Option<(&'static str, &'static str)>,
    next: Next,
}

const EMAIL: &str = "/contact/email";
const FIRST: &str = "/contact/name/first";

fn cases() -> Vec<Case> {
    use Before::{Contract, Permission, ThirdParty};
    let withheld = |name, change, reason, next| Case {
        name,
        before: ThirdParty,
        change,
        dropped: "withheld",
        why: Some((EMAIL, reason)),
        next,
    };
    let required = || Next::NotRun(Some("not-run:required-withheld"));
    vec![
        withheld("the switch turned off", Change::SwitchOff, "clause:use.brand-directed", Next::NotRun(None)),
        withheld(
            "an opt-out of this integration",
            Change::Choices(|| json!({ "opt_out": { "integrations": ["adf-lead"] } })),
            "clause:integrations.opt-out",
            required(),
        ),
        withheld(
            "an opt-out of all integrations",
            Change::Choices(|| json!({ "opt_out": { "all_integrations": true } })),
            "clause:integrations.opt-out",
            required(),
        ),
        withheld(
            "a request to limit that is pending",
            Change::Choices(|| json!({ "limit_pending": true })),
            "clause:rights.limit",
            required(),
        ),
        withheld(
            "a request to delete that is pending",
            Change::Choices(|| json!({ "deletion_pending": true })),
            "clause:rights.delete",
            required(),
        ),
        withheld(
            "something of value given for the data",
            Change::Partner(|partner| partner["consideration"] = json!(true)),
            "clause:share.no-sale",
            required(),
        ),
        withheld("the grant narrowed to nothing", Change::Grant(&[]), "not-granted", required()),
        Case {
            name: "the grant narrowed by one field",
            before: ThirdParty,
            change: Change::Grant(&[
                FIRST,
                "/contact/name/last",
                "/conversation",
                "/visit/device_type",
                "/contact/phone",
            ]),
            dropped: "withheld",
            why: Some((EMAIL, "not-granted")),
            next: Next::Less(&[(EMAIL, "not-granted")]),
        },
        Case {
            name: "the contract run out",
            before: Contract,
            change: Change::ContractExpires,
            dropped: "withheld",
            why: Some((TRANSCRIPT, "clause:share.content")),
            next: Next::Less(&[(TRANSCRIPT, "clause:share.content")]),
        },
        Case {
            name: "the permission withdrawn",
            before: Permission,
            change: Change::Choices(|| json!({})),
            dropped: "withheld",
            why: Some((TRANSCRIPT, "clause:share.content")),
            next: Next::Less(&[(TRANSCRIPT, "clause:share.content")]),
        },
        Case {
            name: "the partner's domain taken away",
            before: ThirdParty,
            change: Change::Partner(|partner| partner["domains"] = json!([])),
            dropped: "domain-not-registered",
            why: None,
            next: Next::NotRun(Some("failed:domain-not-registered")),
        },
    ]
}

fn acme() -> Value {
    json!({ "display_name": "acme-crm", "region": "US", "domains": ["acme.example"] })
}

fn permission() -> Value {
    let wording = "Acme may read this chat to answer you.";
    json!({ "permissions": [{ "for": { "integration": "adf-lead" }, "wording": wording, "actor": "agent-7" }] })
}

async fn prepare(gateway: &TestGateway, before: Before) {
    match before {
        Before::ThirdParty => {}
        Before::Contract => {
            let end = gateway.clock.now() + time::Duration::minutes(30);
            let end = end.format(&time::format_description::well_known::Rfc3339).expect("a time");
            let purpose = "essential.service.operations.support";
            world::contract(gateway, "acme-crm", purpose, json!({ "expires": end })).await;
        }
        Before::Permission => {
            gateway.brand(BRAND).await.put(CHOICES, &permission()).await.ok();
        }
    }
}

async fn apply(gateway: &TestGateway, change: Change, release: &Value) {
    let brand = gateway.brand(BRAND).await;
    match change {
        Change::SwitchOff => drop(brand.delete(CONNECTION).await.ok()),
        Change::Choices(choices) => drop(brand.put(CHOICES, &choices()).await.ok()),
        Change::Grant(fields) => {
            let mut document = world::connection(release, world::adf_settings(), world::adf_secrets());
            document["grant"] = json!({ "share chat.ended": fields });
            brand.put(CONNECTION, &document).await.ok();
        }
        Change::Partner(change) => {
            let mut record = acme();
            change(&mut record);
            gateway.operator().await.put("/v1/partners/acme-crm", &record).await.ok();
        }
        Change::ContractExpires => {}
    }
}

/// Everything back as it was.
async fn undo(gateway: &TestGateway, release: &Value) {
    gateway.operator().await.put("/v1/partners/acme-crm", &acme()).await.ok();
    gateway.brand(BRAND).await.put(CHOICES, &json!({})).await.ok();
    world::switch_on(gateway, BRAND, release, world::adf_settings(), world::adf_secrets()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_stops_what_is_queued_and_the_next_call_and_only_for_as_long_as_it_stands() {
    for case in cases() {
        let name = case.name;
        let gateway = TestGateway::demo().await;
        let release =
            gateway.brand(BRAND).await.get("/v1/plugins/adf-lead/releases").await.expect(200)[0].clone();
        prepare(&gateway, case.before).await;

        // Given: a request that the partner asked to be sent again in an hour.
        gateway.partner.script([Behaviour::with_header(503, "retry-after", WAIT)]);
        post(&gateway).await;
        assert_eq!(gateway.partner.received().len(), 1, "{name}");
        let reads_transcript = gateway.partner.received()[0].text().contains("turquoise roadster");
        assert_eq!(reads_transcript, case.before != Before::ThirdParty, "{name}");

        // When it changes, and the hour is over.
        apply(&gateway, case.change, &release).await;
        gateway.clock.advance(past());
        gateway.settled().await;

        // Then the waiting request is dropped whole, and its row says why.
        assert_eq!(gateway.partner.received().len(), 1, "{name}: what was queued went out");
        let tries = rows(&gateway, "delivery").await;
        assert_eq!(tries.len(), 2, "{name}: {tries:?}");
        assert_eq!((&tries[0]["outcome"], &tries[0]["attempt"]), (&json!(case.dropped), &json!(2)), "{name}");
        assert_eq!(tries[0]["result"], Value::Null, "{name}: nothing was sent");
        if let Some((field, reason)) = case.why {
            let verdicts = verdicts_of(&tries[0]);
            assert_eq!(verdicts.get(field).map(String::as_str), Some(reason), "{name}: {verdicts:?}");
        }
        let letters = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/dead-letters")).await;
        assert_eq!(letters.expect(200)["items"][0]["state"], "dropped", "{name}");

        // And the next call is stopped, or given less.
        let calls = rows(&gateway, "call").await.len();
        post(&gateway).await;
        let now = rows(&gateway, "call").await;
        match case.next {
            Next::NotRun(outcome) => {
                assert_eq!(now.len() - calls, usize::from(outcome.is_some()), "{name}");
                if let Some(outcome) = outcome {
                    assert_eq!(now[0]["outcome"], outcome, "{name}");
                }
                assert_eq!(gateway.partner.received().len(), 1, "{name}: the next call went out");
            }
            Next::Less(withheld) => {
                assert_eq!(now[0]["outcome"], "ran", "{name}");
                let stopped: Vec<_> =
                    verdicts_of(&now[0]).into_iter().filter(|(_, verdict)| verdict != "allow").collect();
                // What a third party never gets without permission stays out of the comparison.
                let stopped: Vec<_> = stopped
                    .iter()
                    .map(|(field, reason)| (field.as_str(), reason.as_str()))
                    .filter(|(field, _)| *field != TRANSCRIPT || withheld[0].0 == TRANSCRIPT)
                    .collect();
                assert_eq!(stopped, withheld, "{name}");
                let received = gateway.partner.received();
                assert_eq!(received.len(), 2, "{name}");
                let text = received[1].text();
                let value = if withheld[0].0 == EMAIL { "ottoline.quillfeather@" } else { "turquoise" };
                assert!(!text.contains(value), "{name}: {text}");
            }
        }

        // Only for as long as it stands.
        undo(&gateway, &release).await;
        let before = gateway.partner.received().len();
        post(&gateway).await;
        assert_eq!(gateway.partner.received().len(), before + 1, "{name}: it does not come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_its_own_consumer_and_brand_only() {
    let gateway = TestGateway::demo().await;
    let choices = json!({ "opt_out": { "all_integrations": true } });
    gateway.brand(BRAND).await.put(CHOICES, &choices).await.ok();
    post(&gateway).await;
    assert!(gateway.partner.received().is_empty());
    gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, "somebody-else")).await.expect(202);
    // The same subject at another brand is another consumer: no choice crosses brands.
    let dental = gateway.source(world::DENTAL).await;
    dental.post_event(&events::chat_ended(world::DENTAL, CONSUMER)).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1);
    let rows = gateway.auditor().await.flows(&format!("brand={}&stage=call", world::DENTAL)).await;
    assert_eq!(rows.iter().map(|row| &row["outcome"]).collect::<Vec<_>>(), ["ran"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_made_before_the_first_event_holds_for_it() {
    let gateway = TestGateway::demo().await;
    let choices = json!({ "opt_out": { "integrations": ["adf-lead"] } });
    // A source may tighten.
    gateway.source(BRAND).await.put(CHOICES, &choices).await.ok();
    post(&gateway).await;
    assert!(gateway.partner.received().is_empty());
    let call = &rows(&gateway, "call").await[0];
    assert_eq!(verdicts_of(call)[EMAIL], "clause:integrations.opt-out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_sent_again_by_hand_is_decided_as_things_stand_then() {
    let gateway = TestGateway::demo().await;
    let brand = gateway.brand(BRAND).await;
    gateway.partner.script([Behaviour::Status(410)]);
    post(&gateway).await;
    let release = brand.get("/v1/plugins/adf-lead/releases").await.expect(200)[0].clone();
    world::switch_on(&gateway, BRAND, &release, world::adf_settings(), world::adf_secrets()).await;
    let letters = brand.get(&format!("/v1/brands/{BRAND}/dead-letters")).await.expect(200);
    let id = letters["items"][0]["id"].as_str().expect("a dead letter").to_owned();
    let resend = format!("/v1/brands/{BRAND}/dead-letters/{id}/resend");

    brand.put(CHOICES, &json!({ "opt_out": { "all_integrations": true } })).await.ok();
    brand.post(&resend).await.ok();
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 1);
    let tries = rows(&gateway, "delivery").await;
    assert_eq!(tries[0]["outcome"], "withheld");
    assert_eq!(verdicts_of(&tries[0])[EMAIL], "clause:integrations.opt-out");

    brand.put(CHOICES, &json!({})).await.ok();
    brand.post(&resend).await.ok();
    gateway.settled().await;
    let received = gateway.partner.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].webhook_id(), received[1].webhook_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotional_slot_counts_as_marketing_and_a_decision_tells_the_brand_why_there_is_none() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    let ask = async || {
        let view = source.decide("chat-button", &events::page_viewed(BRAND, CONSUMER)).await.expect(200);
        // A busy machine may be late with a decision; then it is asked again, about another page view.
        (view["reason"] != "late").then_some(view)
    };
    let decided = || gateway_tests::eventually("a decision", &ask);
    assert_ne!(decided().await["decision"], Value::Null);

    brand.put(CHOICES, &json!({ "opt_out": { "marketing": true } })).await.ok();
    assert_ne!(decided().await["decision"], Value::Null, "the slot is not promotional");
    let release = brand.get("/v1/plugins/chat-button/releases").await.expect(200)[0].clone();
    mark_promotional(&brand, &release, json!(["chat-button"])).await;
    let view = decided().await;
    assert_eq!(view, json!({ "decision": null, "reason": "not-run:nothing-left" }));
    assert_eq!(verdicts_of(&rows(&gateway, "call").await[0])["/url"], "clause:choice.marketing");

    brand.delete(BUTTON).await.ok();
    assert_eq!(decided().await, json!({ "decision": null, "reason": "no-connection" }));
}

/// Something may be given for data by it, which nobody knows any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_cannot_be_read_counts_the_strict_way() {
    let gateway = TestGateway::demo().await;
    world::contract(&gateway, "acme-crm", "analytics.reporting", json!({})).await;
    let name = async || {
        post(&gateway).await;
        verdicts_of(&rows(&gateway, "call").await[0])["/contact/name/first"].clone()
    };
    assert_eq!(name().await, "allow");
    change(&gateway, "UPDATE documents SET body = '{' WHERE kind = 'contract' AND scope = 'acme-crm'").await;
    // It is read with the next change.
    world::brand(&gateway, "elsewhere", false).await;
    assert_eq!(name().await, "clause:share.no-sale");
}

/// Or both would be on once the block ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_taken_while_the_release_that_fills_it_is_blocked() {
    let gateway = TestGateway::demo().await;
    let block = "/v1/plugins/chat-button/releases/1.0.0/block";
    gateway.operator().await.put(block, &json!({ "reason": "it says too much" })).await.expect(200);
    let rival = remade::with_manifest(&components().hostile.bytes, |manifest| {
        manifest["decide"][0]["slot"] = json!("chat-button");
    });
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let release = gateway.partner_key("mallory").await.publish(&rival).await.expect(201);
    let settings = json!({ "host": "api", "behaviour": "none" });
    let document = world::connection(&release, settings, json!({}));
    let path = "/v1/brands/northside-motors/connections/hostile";
    let refused = gateway.brand(BRAND).await.put(path, &document).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("is filled by plugin chat-button"), "{refused}");
}

/// Writes the brand's connection of the chat button with these slots marked promotional.
async fn mark_promotional(brand: &Client, release: &Value, slots: Value) {
    let mut document = world::connection(release, json!({}), json!({}));
    document["promotional"] = slots;
    brand.put(BUTTON, &document).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_answer_is_judged_as_its_slot_stands_now() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    let release = brand.get("/v1/plugins/chat-button/releases").await.expect(200)[0].clone();
    let promotional = async |slots: Value| mark_promotional(&brand, &release, slots).await;
    // A busy machine may be late with an answer; then it is asked about another page view.
    let (page, answer) = gateway_tests::eventually("a decision", || async {
        let page = events::page_viewed(BRAND, CONSUMER);
        let view = source.decide("chat-button", &page).await.expect(200);
        (view["decision"] != Value::Null).then_some((page, view))
    })
    .await;
    let again = async || source.decide("chat-button", &page).await.expect(200);
    let withheld = json!({ "decision": null, "reason": "withheld" });

    brand.put(CHOICES, &json!({ "opt_out": { "marketing": true } })).await.ok();
    assert_eq!(again().await, answer, "the slot is not promotional");
    promotional(json!(["chat-button"])).await;
    assert_eq!(again().await, withheld, "marked since");
    promotional(json!([])).await;
    assert_eq!(again().await, answer, "and no longer");
    promotional(json!(["chat-button"])).await;
    brand.put(CHOICES, &json!({})).await.ok();
    assert_eq!(again().await, answer, "marked, and the consumer has not opted out");
    assert_eq!(rows(&gateway, "call").await.len(), 1, "the plugin ran once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_holds_an_answer_to_what_its_slot_is_now() {
    let gateway = TestGateway::demo().await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    let release = brand.get("/v1/plugins/chat-button/releases").await.expect(200)[0].clone();
    let promotional = async |slots: Value| mark_promotional(&brand, &release, slots).await;
    gateway_tests::eventually("a decision", || async {
        let view = source.decide("chat-button", &events::page_viewed(BRAND, CONSUMER)).await.expect(200);
        (view["decision"] != Value::Null).then_some(())
    })
    .await;
    // In the feed and in what is shown of the consumer.
    let fed = async || {
        let feed = brand.get(&format!("/v1/brands/{BRAND}/returns")).await.expect(200);
        let of_one = brand.get(&format!("/v1/brands/{BRAND}/consumers/{CONSUMER}")).await.expect(200);
        let of_slot = |row: &&Value| row["plugin"] == "chat-button";
        let counted = |rows: &Value| rows.as_array().into_iter().flatten().filter(of_slot).count();
        let (feed, of_one) = (counted(&feed), counted(&of_one["returned"]));
        assert_eq!(feed, of_one);
        feed > 0
    };
    for (opted_out, slots, is_there) in [
        (true, Some(json!([])), true),
        (true, Some(json!(["chat-button"])), false),
        (false, Some(json!(["chat-button"])), true),
        // Off: nothing says any more what the slot is.
        (true, None, false),
        (false, None, true),
        (true, Some(json!([])), true),
    ] {
        brand.put(CHOICES, &json!({ "opt_out": { "marketing": opted_out } })).await.ok();
        match &slots {
            Some(slots) => promotional(slots.clone()).await,
            None => drop(brand.delete(BUTTON).await),
        }
        assert_eq!(fed().await, is_there, "opted out: {opted_out}, promotional: {slots:?}");
    }
}
