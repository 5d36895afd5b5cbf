//! What changes while calls run and requests wait: what the partner received meanwhile, what the consumer permits,
//! what the brand promotes.

use std::time::Duration;

use gateway_tests::{Behaviour, Options, TestGateway, events, eventually, world};
use serde_json::{Value, json};

use super::{BRAND, SUPPORT, call, connection, declared, publish, start, switch_on};

const APART_BY: &str = "clause:integrations.combine";

/// An address and a number of one consumer meet nowhere without a word of the consumer's.
async fn start_apart() -> TestGateway {
    start(Options::apart("user.contact.email", "user.contact.phone_number")).await
}

/// All that meets may meet, but for what the policy keeps apart.
fn let_all_meet(manifest: &mut Value) {
    let of = json!(["first-party:user", "partner:user"]);
    let combine = |into: &str| json!({ "of": of, "into": into, "why": "to be tested" });
    manifest["combine"] = ["/verdict", "json", "ask"].map(combine).to_vec().into();
}

async fn choose(gateway: &TestGateway, subject: &str, choices: Value) {
    let path = format!("/v1/brands/{BRAND}/consumers/{subject}/choices");
    gateway.brand(BRAND).await.put(&path, &choices).await.ok();
}

async fn post(gateway: &TestGateway, event: &Value) {
    gateway.source(BRAND).await.post_event(event).await.expect(202);
}

/// Rows of a plugin about a consumer in one stage, oldest first.
async fn rows(gateway: &TestGateway, plugin: &str, subject: &str, stage: &str) -> Vec<Value> {
    let query = format!("consumer={subject}&plugin={plugin}&stage={stage}");
    let mut rows = gateway.brand(BRAND).await.flows(&query).await;
    rows.reverse();
    rows
}

/// A plugin that places an address and a number, each in a request of its own.
async fn start_with_both() -> TestGateway {
    let gateway = start_apart().await;
    let release = publish(&gateway, "both", SUPPORT, |manifest| {
        manifest["share"][0]["receives"] =
            json!([declared("/contact/email", "sealed"), declared("/contact/phone", "sealed")]);
    })
    .await;
    let grant = json!({ "share chat.ended": ["/contact/email", "/contact/phone"] });
    switch_on(&gateway, &release, "deliver-sealed", grant).await;
    gateway
}

fn permission() -> Value {
    let permission = json!({ "for": { "integration": "both" }, "wording": "It may.", "actor": "agent-7" });
    json!({ "permissions": [permission] })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_of_one_call_bring_nothing_that_one_may_not() {
    let gateway = start_with_both().await;
    post(&gateway, &events::chat_ended(BRAND, "ada")).await;
    let row = call(&gateway, "both", "share", "ada").await;
    assert_eq!(row["outcome"], "refused:combination");
    assert!(gateway.partner.received().is_empty(), "neither leaves");
    let (email, phone) = ("first-party:user.contact.email", "first-party:user.contact.phone_number");
    let pairs = row["fields"].as_array().unwrap().iter().map(|field| &field["kept_apart"]);
    let pairs: Vec<_> = pairs.filter(|pair| !pair.is_null()).collect();
    assert_eq!(pairs.len(), 1, "{row}");
    assert_eq!((&pairs[0]["label"], &pairs[0]["with"]), (&json!(email), &json!(phone)), "{row}");

    choose(&gateway, "bea", permission()).await;
    post(&gateway, &events::chat_ended(BRAND, "bea")).await;
    assert_eq!(call(&gateway, "both", "share", "bea").await["outcome"], "ran");
    assert_eq!(gateway.partner.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_brings_nothing_that_may_no_longer_meet_what_the_partner_has() {
    let gateway = start_with_both().await;
    gateway.partner.script([Behaviour::Status(200), Behaviour::Status(500)]);
    choose(&gateway, "ada", permission()).await;
    post(&gateway, &events::chat_ended(BRAND, "ada")).await;
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 2, "both were tried");

    choose(&gateway, "ada", json!({})).await;
    gateway.clock.advance(time::Duration::minutes(1));
    gateway.settled().await;
    let rows = rows(&gateway, "both", "ada", "delivery").await;
    let last = &rows[2];
    assert_eq!((rows.len(), &last["outcome"]), (3, &json!("withheld")));
    let field = &last["fields"][0];
    assert_eq!((&field["decision"], &field["reason"]), (&json!("withhold"), &json!(APART_BY)), "{last}");
    assert_eq!(gateway.partner.received().len(), 2, "the second try did not leave");
    let other = ["first-party:user.contact.email", "first-party:user.contact.phone_number"]
        .into_iter()
        .find(|label| field["labels"][0] != *label);
    assert_eq!(
        (&field["kept_apart"]["label"], field["kept_apart"]["with"].as_str()),
        (&field["labels"][0], other)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_brings_nothing_together_that_may_no_longer_meet() {
    let gateway = start_apart().await;
    let release = publish(&gateway, "both", SUPPORT, |manifest| {
        manifest["share"][0]["receives"] =
            json!([declared("/contact/email", "sealed"), declared("/contact/phone", "read")]);
    })
    .await;
    let grant = json!({ "share chat.ended": ["/contact/email", "/contact/phone"] });
    switch_on(&gateway, &release, "deliver-sealed", grant).await;
    gateway.partner.script([Behaviour::Status(500)]);
    choose(&gateway, "ada", permission()).await;
    post(&gateway, &events::chat_ended(BRAND, "ada")).await;
    gateway.settled().await;

    choose(&gateway, "ada", json!({})).await;
    gateway.clock.advance(time::Duration::minutes(1));
    gateway.settled().await;
    let tries = rows(&gateway, "both", "ada", "delivery").await;
    let outcomes: Vec<_> = tries.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["attempt", "withheld"], "{tries:?}");
    let fields = tries[1]["fields"].as_array().unwrap();
    let told = |field: &Value| {
        [&field["field"], &field["reason"], &field["kept_apart"]["with"]]
            .map(|word| word.as_str().unwrap().to_owned())
    };
    assert_eq!(
        fields.iter().map(told).collect::<Vec<_>>(),
        [
            ["/contact/phone", APART_BY, "first-party:user.contact.email"],
            ["/contact/email", APART_BY, "first-party:user.contact.phone_number"],
        ]
    );
    assert_eq!(gateway.partner.received().len(), 1, "the second try did not leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_receives_while_a_call_runs_counts_for_what_the_call_gives() {
    let gateway = start_apart().await;
    let slow = publish(&gateway, "slow", SUPPORT, |manifest| {
        manifest["share"][0]["receives"] =
            json!([declared("/visit/browser", "read"), declared("/contact/email", "sealed")]);
        let_all_meet(manifest);
    })
    .await;
    let quick = publish(&gateway, "quick", SUPPORT, |manifest| {
        manifest["share"][0]["event"] = json!("contact.provided");
        manifest["share"][0]["receives"] = json!([declared("/contact/phone", "read")]);
    })
    .await;
    let mut grant = json!(world::full_grant(&slow));
    grant.as_object_mut().expect("a grant").remove("decide slow");
    switch_on(&gateway, &slow, "ask-and-deliver-sealed", grant).await;
    switch_on(&gateway, &quick, "deliver-sealed", json!({ "share contact.provided": ["/contact/phone"] }))
        .await;

    for subject in ["ada", "bea"] {
        choose(&gateway, subject, json!({})).await;
    }
    gateway.partner.script([Behaviour::Delay(Duration::from_millis(600), Box::new(Behaviour::Status(200)))]);
    post(&gateway, &events::chat_ended(BRAND, "ada")).await;
    gateway.partner.wait_for(1).await;
    let number = json!("+1-212-555-0142");
    let contact = events::with(events::contact_provided(BRAND, "ada"), [("/data/contact/phone", number)]);
    post(&gateway, &contact).await;
    eventually("the number to be read", || async {
        (!rows(&gateway, "quick", "ada", "call").await.is_empty()).then_some(())
    })
    .await;
    gateway.settled().await;

    let calls = rows(&gateway, "slow", "ada", "call").await;
    let outcomes: Vec<&Value> = calls.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, ["failed:received-meanwhile", "ran"], "put off, and decided about anew");
    let address = calls[1]["fields"]
        .as_array()
        .and_then(|fields| fields.iter().find(|field| field["field"] == "/contact/email"));
    assert_eq!(address.map(|field| &field["reason"]), Some(&json!(APART_BY)), "{}", calls[1]);
    assert!(rows(&gateway, "slow", "ada", "delivery").await.is_empty());
    let view = gateway.brand(BRAND).await.get(&connection(&slow)).await.expect(200);
    assert_eq!(view["breaker"], "closed", "it is not the plugin's fault");

    post(&gateway, &events::chat_ended(BRAND, "bea")).await;
    gateway.settled().await;
    assert_eq!(rows(&gateway, "slow", "bea", "delivery").await.len(), 1, "of whom nothing else came");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_promotional_decision_asks_its_partner_is_promotional_too() {
    let gateway = start(Options::default()).await;
    let release = publish(&gateway, "asks", SUPPORT, let_all_meet).await;
    let mut document =
        world::connection(&release, json!({ "host": "api", "behaviour": "ask-too-often" }), json!({}));
    document["promotional"] = json!(["asks"]);
    gateway.brand(BRAND).await.put(&connection(&release), &document).await.ok();

    gateway.partner.script([Behaviour::Delay(Duration::from_millis(600), Box::new(Behaviour::Status(200)))]);
    let page = events::page_viewed(BRAND, "ada");
    let source = gateway.source(BRAND).await;
    let asked = async { source.decide("asks", &page).await.expect(200) };
    let opted_out = async {
        gateway.partner.wait_for(1).await;
        choose(&gateway, "ada", json!({ "opt_out": { "marketing": true } })).await;
    };
    tokio::join!(asked, opted_out);
    gateway.settled().await;
    let questions = rows(&gateway, "asks", "ada", "exchange").await;
    assert_eq!(questions[0]["outcome"], "attempt");
    assert_eq!(questions[1]["outcome"], "withheld", "{questions:?}");
    assert_eq!(questions[1]["fields"][0]["reason"], "clause:choice.marketing");
    assert_eq!(gateway.partner.received().len(), 1, "nothing left after the opt-out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_answer_is_judged_by_all_that_it_was_made_of() {
    let gateway = start(Options::default()).await;
    let release = publish(&gateway, "recalls", SUPPORT, |_| {}).await;
    let behave = async |behaviour: &str, promotional: Value| {
        let settings = json!({ "host": "api", "behaviour": behaviour });
        let mut document = world::connection(&release, settings, json!({}));
        document["promotional"] = promotional;
        gateway.brand(BRAND).await.put(&connection(&release), &document).await.ok();
    };
    behave("remember", json!([])).await;
    let cookies = json!("strictly-necessary");
    for (subject, chat) in [
        ("ada", events::with(events::chat_ended(BRAND, "ada"), [("/cookies", cookies)])),
        ("bea", events::chat_ended(BRAND, "bea")),
    ] {
        post(&gateway, &chat).await;
        assert_eq!(call(&gateway, "recalls", "share", subject).await["outcome"], "ran");
    }
    behave("recall", json!([])).await;
    let source = gateway.source(BRAND).await;
    let pages = ["ada", "bea"].map(|subject| events::page_viewed(BRAND, subject));
    for page in &pages {
        let answer = source.decide("recalls", page).await.expect(200);
        assert_eq!(answer["decision"]["verdict"], "Ottoline", "{answer}");
    }
    // What is essential is promotional from now on; so what of it came with those cookies is neither.
    behave("recall", json!(["recalls"])).await;
    let [ada, bea] = &pages;
    let answer = source.decide("recalls", ada).await.expect(200);
    assert_eq!((&answer["decision"], &answer["reason"]), (&Value::Null, &json!("withheld")), "{answer}");
    let answer = source.decide("recalls", bea).await.expect(200);
    assert_eq!(answer["decision"]["verdict"], "Ottoline", "{answer}");
}
