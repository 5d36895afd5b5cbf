//! Clause choice.sms where something goes by SMS: to whom it would go is asked by consumer and by number, wherever the
//! number came from, and however it is written.

use gateway::pipeline::Tuning;
use gateway_tests::events::{chat_ended, event, with};
use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{Behaviour, Options, TestGateway, components, eventually};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{opted_out_of_sms, sms};
use crate::hostile::remade::with_manifest;
use crate::messages;

const NOTIFY: &str = "essential.service.notifications.sms";

/// The demo's world, where leads go by SMS.
async fn by_sms() -> TestGateway {
    by_sms_with(Options::default()).await
}

async fn by_sms_with(options: Options) -> TestGateway {
    let gateway = TestGateway::demo_with(options).await;
    let component = with_manifest(&components().adf_lead.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.1");
        manifest["endpoint"][0]["channel"] = json!("sms");
    });
    let release = gateway.partner_key("acme-crm").await.publish(&component).await.expect(201);
    world::switch_on(&gateway, NORTHSIDE, &release, world::adf_settings(), world::adf_secrets()).await;
    gateway
}

/// The verdict on a field, by a row.
fn verdict<'r>(row: &'r Value, field: &str) -> &'r Value {
    let found = row["fields"].as_array().unwrap().iter().find(|verdict| verdict["field"] == field);
    found.unwrap_or_else(|| panic!("no {field} in {row}"))
}

/// Why it goes or stays.
fn reason<'r>(row: &'r Value, field: &str) -> &'r str {
    verdict(row, field)["reason"].as_str().expect("a reason")
}

/// Clause choice.sms, the other half: whatever the purpose, no request by SMS carries the number.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_sms_is_dropped_once_the_consumer_opted_out_of_sms() {
    let gateway = by_sms().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    let send = async |event: Value| {
        source.post_event(&event).await.expect(202);
        gateway.settled().await;
        gateway.partner.received().len()
    };
    assert_eq!(send(chat_ended(NORTHSIDE, "ottoline")).await, 1);
    source.post_event(&sms("ottoline", "+1-212-555-0142", "STOP")).await.expect(202);
    assert_eq!(send(chat_ended(NORTHSIDE, "ottoline")).await, 1);
    let row = &brand.flows("consumer=ottoline&stage=delivery").await[0];
    assert_eq!((&row["outcome"], reason(row, "/contact/phone")), (&json!("withheld"), "clause:choice.sms"));
    // Without the number nothing of it is by SMS.
    let other = with(chat_ended(NORTHSIDE, "ottoline"), [("/data/contact/phone", Value::Null)]);
    assert_eq!(send(other).await, 2);
}

/// The same where the number opted out through somebody else's message, also once the request waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_sms_that_waits_is_dropped_once_its_number_opted_out_whoever_sent_the_keyword() {
    let gateway = by_sms().await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    gateway.partner.script([Behaviour::Status(503)]);
    source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
    gateway.partner.wait_for(1).await;
    gateway.settled().await;
    source.post_event(&sms("texter", "+1 (212) 555-0142", "STOP")).await.expect(202);
    gateway.clock.advance(time::Duration::seconds(6));
    gateway.settled().await;
    let rows = brand.flows("consumer=ottoline&stage=delivery").await;
    let outcomes: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["withheld", "attempt"]);
    assert_eq!(reason(&rows[0], "/contact/phone"), "clause:choice.sms");
    assert_eq!(gateway.partner.received().len(), 1);
    // Whoever is met with such a number has opted out; another number of another consumer has not.
    assert!(opted_out_of_sms(&gateway, "ottoline").await);
    let other = with(chat_ended(NORTHSIDE, "another"), [("/data/contact/phone", json!("+12125550177"))]);
    source.post_event(&other).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 2);
}

/// And toward a plugin whose purpose is SMS: the call that was put off does not get the number.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_does_not_get_a_number_that_opted_out_meanwhile() {
    let gateway = TestGateway::start(Default::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let component = with_manifest(&built.pen_pal.bytes, |manifest| {
        manifest["plugin"]["purpose"] = json!(NOTIFY);
        let phone = json!({ "field": "/contact/phone", "access": "read", "why": "whom to text" });
        manifest["share"][0]["receives"].as_array_mut().unwrap().push(phone);
    });
    world::brand(&gateway, NORTHSIDE, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
    let behave = async |behaviour: &str| {
        world::switch_on(&gateway, NORTHSIDE, &release, json!({ "behaviour": behaviour }), json!({})).await;
    };
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    behave("later").await;
    source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
    gateway.settled().await;
    source.post_event(&sms("texter", "+12125550142", "STOP")).await.expect(202);
    behave("").await;
    gateway.clock.advance(time::Duration::minutes(11));
    gateway.settled().await;
    let rows = brand.flows("consumer=ottoline&stage=call").await;
    let outcomes: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["ran", "failed:later"]);
    assert_eq!(reason(&rows[1], "/contact/phone"), "clause:integrations.share");
    assert_eq!(reason(&rows[0], "/contact/phone"), "clause:choice.sms");
}

/// What the partner said and what the brand gave may meet wherever the plugin puts it.
fn let_all_meet(manifest: &mut Value) {
    let of = json!(["first-party:user", "partner:user"]);
    let combine = |into: &str| json!({ "of": of, "into": into, "why": "to be tested" });
    manifest["combine"] = ["/said", "/also", "members"].map(combine).to_vec().into();
}

async fn stop(gateway: &TestGateway, phone: &str) {
    let stop = event("sms.received", messages::BRAND, "texter", json!({ "text": "STOP", "phone": phone }));
    gateway.source(messages::BRAND).await.post_event(&stop).await.expect(202);
}

/// The newest row of a stage about the consumer of a message.
async fn newest(gateway: &TestGateway, stage: &str) -> Value {
    let query = format!("consumer=ada&stage={stage}");
    gateway.brand(messages::BRAND).await.flows(&query).await[0].clone()
}

/// A number that a partner sent is a number like any other, as a text or as a JSON number, and whether the endpoint or the
/// plugin's purpose is what makes it SMS.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_partner_sent_is_not_texted_once_it_opted_out() {
    const AS_TEXT: (&str, &str) = ("string", "");
    const AS_NUMBER: (&str, &str) = ("integer", "dial");
    for ((kind, behaviour), by_purpose) in [(AS_TEXT, false), (AS_NUMBER, false), (AS_NUMBER, true)] {
        let world = messages::World::with(|manifest| {
            let returned = &mut manifest["receive"][0]["returns"]["properties"]["said"];
            *returned = json!({
                "type": kind, "description": "Whom to text.", "x-category": "user.contact.phone_number",
            });
            if kind == "string" {
                returned["maxLength"] = json!(64);
            }
            match by_purpose {
                true => manifest["plugin"]["purpose"] = json!(NOTIFY),
                false => manifest["endpoint"][0]["channel"] = json!("sms"),
            }
            let said = json!({ "field": "/partner/said", "access": "read", "why": "whom to text" });
            manifest["share"][0]["receives"].as_array_mut().unwrap()[1] = said;
            let_all_meet(manifest);
        })
        .await;
        world.behave(behaviour).await;
        world.send("m-1", "+1 212 555 0177").await;
        world.chat().await;
        let delivery = newest(&world.gateway, "delivery").await;
        assert_eq!(delivery["result"]["outcome"], "delivered", "{delivery}");
        assert_eq!(verdict(&delivery, "/partner/said")["decision"], "allow", "{delivery}");
        stop(&world.gateway, "+1-212-555-0177").await;
        world.chat().await;
        let stage = if by_purpose { "call" } else { "delivery" };
        let row = newest(&world.gateway, stage).await;
        assert_eq!(reason(&row, "/partner/said"), "clause:choice.sms", "{kind}");
        if !by_purpose {
            assert_eq!(row["outcome"], "withheld", "{kind}");
        }
    }
}

/// A plugin of this purpose whose partner's messages may bring a number.
async fn notified(behaviour: &str) -> messages::World {
    let world = messages::World::with(|manifest| {
        manifest["plugin"]["purpose"] = json!(NOTIFY);
        manifest["receive"][0]["returns"]["properties"]["said"]["x-category"] =
            json!("user.contact.phone_number");
        let_all_meet(manifest);
    })
    .await;
    world.behave(behaviour).await;
    world
}

/// Nothing says which leaf of a message is the number, so each that reads as one is asked about.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_brings_no_number_that_opted_out() {
    let world = notified("").await;
    stop(&world.gateway, "+1-212-555-0177").await;
    for (id, says, outcome) in
        [("m-1", "+1 212 555 0188", "received"), ("m-2", "+1 212 555 0177", "withheld")]
    {
        world.send(id, says).await;
        let row = newest(&world.gateway, "receive").await;
        assert_eq!(row["outcome"], outcome, "{row}");
    }
    assert_eq!(reason(&newest(&world.gateway, "receive").await, "/said"), "clause:choice.sms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_not_get_what_was_remembered_of_a_number_that_opted_out() {
    let world = notified("remember").await;
    world.send("m-1", "+1 212 555 0177").await;
    world.behave("recall").await;
    world.chat().await;
    let call = newest(&world.gateway, "call").await;
    assert_eq!(verdict(&call, "memory")["decision"], "allow", "{call}");
    stop(&world.gateway, "+1-212-555-0177").await;
    world.chat().await;
    assert_eq!(reason(&newest(&world.gateway, "call").await, "memory"), "clause:choice.sms");
}

/// All that anybody chose becomes unreadable with the row of the next request: between the decision and the sending.
pub(crate) const DAMAGE: &str = "CREATE TRIGGER damage AFTER INSERT ON flows WHEN NEW.delivery IS NOT NULL \
                                 BEGIN UPDATE choices SET choices = '{'; END";
const MEND: [&str; 2] = ["DROP TRIGGER damage", "UPDATE choices SET choices = '{}'"];

/// A process that keeps no consumer and no number in memory, so that each question is one to the store.
pub(crate) fn forgetful() -> Options {
    let tuning = Tuning { consumer_cache: 0, ..Tuning::default() };
    Options { tuning, ..Options::default() }
}

/// Changes the store behind the gateway's back.
pub(crate) async fn change(gateway: &TestGateway, sql: &'static str) {
    let url = format!("sqlite:{}?mode=rw", gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.expect("the store opens");
    sqlx::query(sql).execute(&mut store).await.expect("the change is made");
    store.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_sent_where_its_number_cannot_be_asked_about_any_more() {
    let gateway = by_sms_with(forgetful()).await;
    let (brand, source) = (gateway.brand(NORTHSIDE).await, gateway.source(NORTHSIDE).await);
    // The number has a choice that can be damaged.
    for text in ["STOP", "START"] {
        source.post_event(&sms("texter", "+1-212-555-0142", text)).await.expect(202);
    }
    change(&gateway, DAMAGE).await;
    source.post_event(&chat_ended(NORTHSIDE, "ottoline")).await.expect(202);
    let rows = async || brand.flows("consumer=ottoline&stage=delivery").await;
    let tried = eventually("what came of it", || async {
        rows().await.into_iter().find(|row| row["result"].is_object())
    })
    .await;
    let result = &tried["result"];
    assert_eq!((&result["outcome"], &result["code"]), (&json!("not-sent"), &json!("decision-stale")));
    assert!(gateway.partner.received().is_empty());
    for sql in MEND {
        change(&gateway, sql).await;
    }
    gateway.partner.wait_for(1).await;
    gateway.settled().await;
    let outcomes: Vec<Value> = rows().await.iter().map(|row| row["result"]["outcome"].clone()).collect();
    assert_eq!(outcomes, ["delivered", "not-sent"]);
}
