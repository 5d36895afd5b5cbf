//! Given a plugin that asks a service provider about sealed fields; when a consumer gives contact details; then the
//! brand learns whether the service knows them, the plugin never holds them, and the answer keeps their labels.

use std::time::Duration;

use gateway_tests::events::{contact_provided, with};
use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{Behaviour, Options, TestGateway, components, eventually};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const PURPOSE: &str = "essential.service.operations.support";
const ADDRESS: &str = "ottoline.quillfeather@example.org";
const NUMBER: &str = "+1-212-555-0142";
const EMAIL: &str = "first-party:user.contact.email";
const PHONE: &str = "first-party:user.contact.phone_number";
const REPLY: &str = "partner:ident:user.unique_id.pseudonymous";

/// A gateway with `identity-sync` of `ident`, in the US and without a contract, at one brand.
struct World {
    gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        Self::with_manifest(|_| ()).await
    }

    async fn with_manifest(change: impl FnOnce(&mut Value)) -> Self {
        let gateway = TestGateway::start(Options::default()).await;
        let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
        world::brand(&gateway, NORTHSIDE, false).await;
        world::partner(&gateway, "ident", "US", "ident.example").await;
        let component = with_manifest(&built.identity_sync.bytes, change);
        let release = gateway.partner_key("ident").await.publish(&component).await.expect(201);
        assert_eq!(release["combinations"], json!({}), "none is needed");
        world::switch_on(&gateway, NORTHSIDE, &release, json!({}), json!({})).await;
        gateway.partner.behave(says(&json!({ "match": "known" })));
        Self { gateway }
    }

    /// Puts the service under contract, and onward transfer with it.
    async fn contract(&self, changes: Value) {
        let mut terms = json!({ "onward_transfer": true });
        terms.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap_or_default());
        world::contract(&self.gateway, "ident", PURPOSE, terms).await;
    }

    async fn choose(&self, subject: &str, choices: Value) {
        let path = format!("/v1/brands/{NORTHSIDE}/consumers/{subject}/choices");
        self.gateway.brand(NORTHSIDE).await.put(&path, &choices).await.ok();
    }

    async fn send(&self, event: &Value) {
        self.gateway.source(NORTHSIDE).await.post_event(event).await.expect(202);
        self.gateway.settled().await;
    }

    /// All that was returned to the brand.
    async fn returns(&self) -> Vec<Value> {
        let path = format!("/v1/brands/{NORTHSIDE}/returns?limit=1000");
        let feed = self.gateway.brand(NORTHSIDE).await.get(&path).await.expect(200);
        feed.as_array().cloned().unwrap_or_default()
    }

    /// The rows of a consumer in one stage, newest first.
    async fn rows(&self, subject: &str, stage: &str) -> Vec<Value> {
        let query = format!("consumer={subject}&stage={stage}");
        self.gateway.brand(NORTHSIDE).await.flows(&query).await
    }

    fn asked(&self) -> Vec<Value> {
        let received = self.gateway.partner.received();
        received.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }
}

fn says(body: &Value) -> Behaviour {
    Behaviour::Answer(200, vec![], body.to_string().into_bytes())
}

/// Contact details, of a consumer in this region.
fn contact(subject: &str, region: &str) -> Value {
    with(
        contact_provided(NORTHSIDE, subject),
        [
            ("/region", json!(region)),
            ("/data/contact/email", json!(ADDRESS)),
            ("/data/contact/phone", json!(NUMBER)),
        ],
    )
}

/// A field of a row: how it crosses, its labels, and the reason where it is withheld.
type Field<'r> = (&'r str, &'r str, Vec<&'r str>, Option<&'r str>);

/// Both fields of the contact, both withheld for a reason or both allowed.
fn sealed(reason: Option<&str>) -> [Field<'_>; 2] {
    [("/contact/email", "sealed", vec![EMAIL], reason), ("/contact/phone", "sealed", vec![PHONE], reason)]
}

fn fields(row: &Value) -> Vec<Field<'_>> {
    let fields = row["fields"].as_array().into_iter().flatten();
    fields
        .map(|field| {
            let labels = field["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let withheld = field["decision"] == "withhold";
            (
                field["field"].as_str().unwrap_or_default(),
                field["access"].as_str().unwrap_or_default(),
                labels.collect(),
                withheld.then(|| field["reason"].as_str().unwrap_or_default()),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brand_learns_whether_the_service_knows_a_contact_that_the_plugin_never_held() {
    let world = World::new().await;
    world.contract(json!({})).await;
    let partner = &world.gateway.partner;
    let known = says(&json!({ "match": "known" }));
    partner.script([Behaviour::Delay(Duration::from_millis(300), Box::new(known))]);
    world.gateway.source(NORTHSIDE).await.post_event(&contact("ada", "EU")).await.expect(202);
    let request = partner.wait_for(1).await.remove(0);
    let rows = world.rows("ada", "exchange").await;
    assert_eq!((rows.len(), &rows[0]["result"]), (1, &Value::Null), "the row is there before the answer");
    assert_eq!((&rows[0]["outcome"], &rows[0]["endpoint"]), (&json!("attempt"), &json!("lookup")));
    assert_eq!((&rows[0]["recipient"], &rows[0]["partner"]), (&json!("service-provider"), &json!("ident")));
    assert_eq!(fields(&rows[0]), sealed(None));
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/lookup"));
    assert_eq!(request.host(), "api.ident.example");
    assert_eq!(world.asked(), [json!({ "email": ADDRESS, "phone": NUMBER })], "filled in outside");

    world.gateway.settled().await;
    let calls = world.rows("ada", "call").await;
    assert_eq!(calls.len(), 1);
    assert_eq!(fields(&calls[0]), sealed(None), "and nothing that the plugin could read");
    let returned = world.returns().await.remove(0);
    assert_eq!(returned["value"], json!({ "match": { "status": "known" } }));
    let labels: std::collections::BTreeSet<_> =
        returned["labels"]["/match/status"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(labels, [EMAIL, PHONE, REPLY].into(), "{returned}");
    eventually("the result of the exchange", || async {
        let rows = world.rows("ada", "exchange").await;
        (rows[0]["result"]["outcome"] == "answered").then_some(())
    })
    .await;

    // A service that repeats what it was sent gets none of it to the brand.
    partner.behave(says(&json!({ "match": ADDRESS })));
    world.send(&contact("bea", "US")).await;
    assert_eq!(world.returns().await[1]["value"], json!({ "match": { "status": "unclear" } }));
    let ledger = world.gateway.auditor().await.get("/v1/flows?limit=1000").await.text;
    assert!(!ledger.contains(ADDRESS) && !ledger.contains(NUMBER), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_consumer_in_the_eu_only_what_the_contract_covers_leaves() {
    let world = World::new().await;
    let onward = Some("clause:transfer.onward");
    for terms in [None, Some(json!({ "onward_transfer": false }))] {
        if let Some(terms) = terms {
            world.contract(terms).await;
        }
        world.send(&contact("ada", "EU")).await;
        let calls = world.rows("ada", "call").await;
        assert_eq!(calls[0]["outcome"], "not-run:required-withheld");
        assert_eq!(fields(&calls[0]), sealed(onward));
    }
    assert!(world.rows("ada", "exchange").await.is_empty(), "the plugin is not even called");
    assert!(world.asked().is_empty() && world.returns().await.is_empty());

    world.contract(json!({ "categories": ["user.contact.email"] })).await;
    world.send(&contact("ada", "EU")).await;
    assert_eq!(world.asked(), [json!({ "email": ADDRESS })]);
    let calls = world.rows("ada", "call").await;
    assert_eq!(fields(&calls[0])[1], ("/contact/phone", "sealed", vec![PHONE], onward));
    let exchanges = world.rows("ada", "exchange").await;
    assert_eq!(fields(&exchanges[0]), [("/contact/email", "sealed", vec![EMAIL], None)]);
    let returned = world.returns().await.remove(0);
    let labels = returned["labels"]["/match/status"].as_array().unwrap();
    assert!(labels.contains(&json!(EMAIL)) && !labels.contains(&json!(PHONE)), "{returned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_may_not_leave_and_a_service_that_is_silent_are_one_failure_to_the_plugin() {
    // What the policy withholds from the question alone: a number that wants no text messages.
    let world = World::with_manifest(|manifest| manifest["endpoint"][0]["channel"] = json!("sms")).await;
    world.contract(json!({})).await;
    world.choose("closed", json!({ "opt_out": { "sms": true } })).await;
    world.gateway.partner.script([Behaviour::Close]);
    for (subject, exchange, asked) in [("silent", "attempt", 1), ("closed", "withheld", 1)] {
        world.send(&contact(subject, "US")).await;
        let calls = world.rows(subject, "call").await;
        assert_eq!((calls.len(), &calls[0]["outcome"]), (1, &json!("failed:unavailable")), "{subject}");
        assert_eq!(world.rows(subject, "exchange").await[0]["outcome"], exchange, "{subject}");
        assert_eq!(world.asked().len(), asked, "{subject}");
    }
    assert!(world.returns().await.is_empty());
    // Either is tried again later; who opted out is asked about no more than before.
    world.gateway.clock.advance(time::Duration::minutes(1));
    world.gateway.settled().await;
    assert_eq!((world.asked().len(), world.returns().await.len()), (2, 1));
    assert_eq!(world.rows("silent", "call").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_opt_out_nothing_leaves() {
    let world = World::new().await;
    world.contract(json!({})).await;
    world.send(&contact("ada", "US")).await;
    assert_eq!((world.asked().len(), world.returns().await.len()), (1, 1));
    world.choose("ada", json!({ "opt_out": { "integrations": ["identity-sync"] } })).await;
    world.send(&contact("ada", "US")).await;
    let calls = world.rows("ada", "call").await;
    assert_eq!(calls[0]["outcome"], "not-run:required-withheld");
    assert_eq!(fields(&calls[0]), sealed(Some("clause:integrations.opt-out")));
    assert_eq!(world.rows("ada", "exchange").await.len(), 1);
    assert_eq!(world.asked().len(), 1, "nothing more left");
}
