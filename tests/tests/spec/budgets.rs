//! Given a plugin whose work grows with the input, that comes near a limit, or that fails again and again; when events
//! come; then it has what it needs, its partner reads which budget it was and how things stand, and everything goes on
//! by itself once it works again.

use gateway_tests::{Client, Options, TestGateway, components, events, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
/// Past the half minute that a breaker stays open.
const OPEN: time::Duration = time::Duration::seconds(31);

async fn start(behaviour: &str) -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, behaviour).await;
    gateway
}

async fn send(gateway: &TestGateway, event: &Value) {
    let brand = event["brand"].as_str().expect("a brand");
    gateway.source(brand).await.post_event(event).await.expect(202);
    gateway.settled().await;
}

/// A conversation of so many turns.
fn conversation(brand: &str, subject: &str, turns: usize) -> Value {
    let turn = |number: usize| {
        let speaker = if number.is_multiple_of(2) { "consumer" } else { "agent" };
        let text = format!("This is turn {number}, in which somebody says a sentence.");
        json!({ "speaker": speaker, "text": text, "at": "2026-03-02T08:58:00Z" })
    };
    let turns: Vec<Value> = (0..turns).map(turn).collect();
    events::with(events::chat_ended(brand, subject), [("/data/transcript", json!(turns))])
}

/// The next event, with a plugin that behaves again, passes.
async fn assert_next_passes(gateway: &TestGateway, subject: &str) {
    let release = gateway.brand(BRAND).await.get("/v1/plugins/hostile/releases").await.ok()[0].clone();
    world::hostile_behaves(gateway, &release, "none").await;
    let before = gateway.partner.received().len();
    send(gateway, &events::chat_ended(BRAND, subject)).await;
    assert_eq!(outcomes(gateway, subject).await, ["ran"], "{subject}");
    assert_eq!(gateway.partner.received().len(), before + 1, "{subject}");
    gateway.anonymous().get("/readyz").await.expect(200);
}

async fn items(partner: &Client, what: &str) -> Vec<Value> {
    let page = partner.get(&format!("/v1/partner/{what}")).await.ok();
    page["items"].as_array().expect("a page").clone()
}

/// How the partner's one plugin stands.
async fn status(gateway: &TestGateway) -> Value {
    gateway.partner_key("mallory").await.get("/v1/partner/status").await.ok()[0].clone()
}

/// Outcomes of a consumer's calls, oldest first.
async fn outcomes(gateway: &TestGateway, subject: &str) -> Vec<Value> {
    let rows = gateway.brand(BRAND).await.flows(&format!("consumer={subject}&stage=call")).await;
    rows.iter().rev().map(|row| row["outcome"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_looks_at_fifteen_turns_and_at_fifteen_hundred() {
    let gateway = TestGateway::demo().await;
    for turns in [15, 1_500] {
        send(&gateway, &conversation(world::DENTAL, "ada", turns)).await;
        let path = format!("/v1/brands/{}/returns", world::DENTAL);
        let returns = gateway.brand(world::DENTAL).await.get(&path).await.ok();
        let quality = &returns.as_array().and_then(|feed| feed.last()).expect("a score")["value"]["quality"];
        assert_eq!((&quality["agent_turns"], &quality["partial"]), (&json!(turns / 2), &Value::Null));
    }
    for call in items(&gateway.partner_key("clarity").await, "calls").await {
        assert_eq!((&call["outcome"], &call["warnings"]), (&json!("ran"), &json!([])), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_may_use_grows_with_the_conversation() {
    let gateway = start("loop").await;
    let release = gateway.brand(BRAND).await.get("/v1/plugins/hostile/releases").await.ok()[0].clone();
    let choices = json!({ "permissions": [
        { "for": { "integration": "hostile" }, "wording": "It may.", "actor": "agent-7" },
    ] });
    let path = format!("/v1/brands/{BRAND}/consumers/ada/choices");
    gateway.brand(BRAND).await.put(&path, &choices).await.ok();
    for (turns, percent) in [(15, 100..=100), (1_500, 150..=300)] {
        world::hostile_behaves(&gateway, &release, "loop").await;
        send(&gateway, &conversation(BRAND, "ada", turns)).await;
        let call = items(&gateway.partner_key("mallory").await, "calls").await.remove(0);
        let warning = &call["warnings"][0];
        // Which of the two a busy machine comes to first is a matter of chance.
        let base = match warning["budget"].as_str() {
            Some("fuel") => 500_000_000,
            Some("time") => 1_000,
            _ => panic!("{call}"),
        };
        let allowed = warning["allowed"].as_u64().expect("a number");
        assert!(percent.contains(&(allowed * 100 / base)), "{turns} turns: {call}");
        assert!(warning["used"].as_u64() >= Some(allowed), "{call}");
        assert_next_passes(&gateway, &format!("after-{turns}-turns")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_passes_four_fifths_of_a_budget_warns_the_partner() {
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, "none").await;
    // It asks once about each field that it may place, and may ask four times.
    let component = with_manifest(&components().hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.1.0");
        for field in ["/contact/phone", "/visit/ip", "/visit/os"] {
            let field = json!({ "field": field, "access": "sealed", "why": "to be placed" });
            manifest["share"][0]["receives"].as_array_mut().expect("fields").push(field);
        }
    });
    let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
    world::hostile_behaves(&gateway, &release, "ask-sealed").await;
    let whole = events::with(events::chat_ended(BRAND, "ada"), [("/data/contact/name", Value::Null)]);
    let three =
        events::with(whole.clone(), [("/data/visit/os", Value::Null), ("id", json!(events::new_id()))]);
    let warning = json!({ "budget": "exchanges", "used": 4, "allowed": 4 });
    for (event, warnings) in [(three, json!([])), (whole, json!([warning]))] {
        send(&gateway, &event).await;
        let call = items(&gateway.partner_key("mallory").await, "calls").await.remove(0);
        assert_eq!((&call["outcome"], &call["warnings"]), (&json!("ran"), &warnings), "{call}");
    }
    // Of the day there is one line for each budget.
    let warning = json!({ "budget": "exchanges", "calls": 1, "used": 4, "allowed": 4 });
    let status = status(&gateway).await;
    assert_eq!((&status["calls"], &status["warnings"]), (&json!(2), &json!([warning])), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_half_opens_and_closes_by_itself_and_the_partner_sees_it() {
    let gateway = start("trap").await;
    let chat = |subject: &str| events::chat_ended(BRAND, subject);
    for number in 0..5 {
        assert_eq!(status(&gateway).await["breaker"], "closed", "after {number} failures");
        send(&gateway, &chat("early")).await;
    }
    let open = status(&gateway).await;
    assert_eq!((&open["breaker"], &open["calls"], &open["failures"]), (&json!("open"), &json!(5), &json!(5)));
    gateway.clock.advance(OPEN);
    assert_eq!(status(&gateway).await["breaker"], "half-open");
    send(&gateway, &chat("probe")).await;
    assert_eq!(outcomes(&gateway, "probe").await, ["failed:trap"]);
    assert_eq!(status(&gateway).await["breaker"], "open", "one failure is enough now");

    let release = gateway.brand(BRAND).await.get("/v1/plugins/hostile/releases").await.ok()[0].clone();
    world::hostile_behaves(&gateway, &release, "none").await;
    send(&gateway, &chat("waits")).await;
    assert_eq!(outcomes(&gateway, "waits").await, ["not-run:breaker-open"]);
    assert_eq!(status(&gateway).await["calls"], 6, "a call that did not run is not there");
    gateway.clock.advance(OPEN);
    gateway.settled().await;
    assert_eq!(outcomes(&gateway, "waits").await, ["not-run:breaker-open", "ran"]);
    assert_eq!(status(&gateway).await["breaker"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_says_later_is_called_again_after_that() {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let release = world::publish(&gateway, "mallory", &built.pen_pal).await;
    let behave = async |behaviour: &str| {
        world::switch_on(&gateway, BRAND, &release, json!({ "behaviour": behaviour }), json!({})).await;
    };
    behave("later").await;
    send(&gateway, &events::chat_ended(BRAND, "ada")).await;
    let call = items(&gateway.partner_key("mallory").await, "calls").await.remove(0);
    assert_eq!((&call["outcome"], &call["code"]), (&json!("failed"), &json!("later")));
    // It asks for ten minutes each time.
    for (minutes, behaviour, expected) in [
        (9, "later", ["failed:later"].as_slice()),
        (2, "", &["failed:later", "failed:later"]),
        (9, "", &["failed:later", "failed:later"]),
        (2, "", &["failed:later", "failed:later", "ran"]),
    ] {
        gateway.clock.advance(time::Duration::minutes(minutes));
        gateway.settled().await;
        assert_eq!(outcomes(&gateway, "ada").await, expected, "{minutes} minutes later");
        behave(behaviour).await;
    }
    assert_eq!(status(&gateway).await["breaker"], "closed");
}

/// What a sealed field holds may keep a request from being put together; whether it did would tell of it.
#[tokio::test(flavor = "multi_thread")]
async fn neither_codes_nor_the_breaker_tell_a_partner_what_a_sealed_field_holds() {
    let gateway = start("sealed-in-header").await;
    // One after another: a call that succeeds between them would close the breaker.
    for number in 0..7 {
        let subject = format!("consumer-{number}");
        let odd = events::with(
            events::chat_ended(BRAND, &subject),
            [("/data/contact/email", json!("ada\r\nx-note: 1"))],
        );
        send(&gateway, &odd).await;
        assert_eq!(outcomes(&gateway, &subject).await, ["refused:header-value"]);
    }
    assert_next_passes(&gateway, "after-all").await;
    let partner = gateway.partner_key("mallory").await;
    for call in items(&partner, "calls").await {
        assert_eq!((&call["outcome"], &call["code"]), (&json!("ran"), &Value::Null), "{call}");
    }
    let status = status(&gateway).await;
    assert_eq!((&status["failures"], &status["breaker"]), (&json!(0), &json!("closed")), "{status}");
}
