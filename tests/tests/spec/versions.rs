//! Several versions of the policy (clause policy.version): what an event may do is what the version at its acceptance
//! and the one in force both allow, and what an event says of its own time changes neither.

use gateway::boundary::PolicyBook;
use gateway_tests::world::NORTHSIDE;
use gateway_tests::{Behaviour, Options, TestGateway, events};
use serde_json::{Value, json};

use crate::onward::{NAME, SCORE, World};

const TRANSCRIPT: &str = "/transcript/*/text";
const EMAIL: &str = "/contact/email";
const DAY: time::Duration = time::Duration::days(1);

/// The shipped policy, and one of another text that is in force from so many days from now on.
async fn world(first: &str, then: &str, days: i64) -> TestGateway {
    TestGateway::demo_with(versions(first, then, days)).await
}

/// The first text, and the other in force from so many days from now on.
pub fn versions(first: &str, then: &str, days: i64) -> Options {
    let day = (time::OffsetDateTime::now_utc() + DAY * i32::try_from(days).unwrap()).date();
    let effective =
        format!("effective = \"{:04}-{:02}-{:02}\"", day.year(), u8::from(day.month()), day.day());
    let then = then.replace("effective = \"2017-03-01\"", &effective);
    assert!(then.contains(&effective));
    let policies = Some(vec![first.to_owned(), then]);
    Options { policies, ..Options::default() }
}

/// The shipped text under which content goes to third parties.
pub fn loose() -> String {
    let line = "content-needs-permission = \"strict\"";
    assert!(PolicyBook::SHIPPED.contains(line));
    PolicyBook::SHIPPED.replace(line, &line.replace("strict", "loose"))
}

/// The shipped text with a rule that keeps addresses.
fn without_addresses() -> String {
    let rule = "\n[[rule]]\neffect = 'forbid'\nflow = ['share', 'decide']\nrecipient = ['third-party', 'service-provider']\n\
                category = ['user.contact.email', 'user.behavior']\nclause = 'integrations.share'\n";
    format!("{}{rule}", PolicyBook::SHIPPED)
}

async fn chat(gateway: &TestGateway, subject: &str, time: &str) {
    let event = events::with(events::chat_ended(NORTHSIDE, subject), [("/time", json!(time))]);
    gateway.source(NORTHSIDE).await.post_event(&event).await.expect(202);
    gateway.settled().await;
}

/// The verdict on a field in the newest row of a stage about a consumer.
async fn decision(gateway: &TestGateway, subject: &str, stage: &str, field: &str) -> Value {
    let rows = gateway.brand(NORTHSIDE).await.flows(&format!("consumer={subject}&stage={stage}")).await;
    let mut fields = rows[0]["fields"].as_array().unwrap().iter();
    fields.find(|one| one["field"] == field).unwrap_or_else(|| panic!("no {field}: {rows:?}"))["decision"]
        .clone()
}

const NOW: &str = "2026-03-02T09:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_tighter_version_is_held_to_both() {
    let gateway = world(PolicyBook::SHIPPED, &without_addresses(), 1).await;
    gateway.partner.script([Behaviour::with_header(503, "retry-after", "90000")]);
    chat(&gateway, "before", NOW).await;
    assert_eq!(decision(&gateway, "before", "call", EMAIL).await, "allow");
    assert_eq!(gateway.partner.received().len(), 1, "tried once, and failed");
    gateway.clock.advance(DAY + time::Duration::hours(2));
    gateway.settled().await;
    assert_eq!(decision(&gateway, "before", "delivery", EMAIL).await, "withhold");
    assert_eq!(gateway.partner.received().len(), 1, "the version in force now keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_looser_version_reaches_only_what_comes_after_it() {
    // A page of which nobody asked anything while the tighter version stood.
    let gateway = world(&without_addresses(), PolicyBook::SHIPPED, 1).await;
    let source = gateway.source(NORTHSIDE).await;
    let before = events::page_viewed(NORTHSIDE, "before");
    source.post_event(&before).await.expect(202);
    gateway.settled().await;
    gateway.clock.advance(DAY);
    let page = events::page_viewed(NORTHSIDE, "after");
    for (subject, event, expected) in [("before", &before, "withhold"), ("after", &page, "allow")] {
        source.decide("chat-button", event).await.expect(200);
        assert_eq!(decision(&gateway, subject, "call", "/url").await, expected, "{subject}");
    }
}

/// What a plugin returned while third parties got no names stays from them, whatever it is that a later version
/// lets go; what it returns from then on does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_looser_version_does_not_reach_what_was_returned_before_it() {
    let rule = "\n[[rule]]\neffect = 'forbid'\nflow = ['share']\nrecipient = ['third-party']\n\
                category = ['user.name']\nclause = 'integrations.share'\n";
    let strict = format!("{}{rule}", PolicyBook::SHIPPED);
    let world = World::with(versions(&strict, PolicyBook::SHIPPED, 1)).await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    world.gateway.clock.advance(DAY);
    // It returns nothing more for now.
    world.grant("scorer", &[]).await;
    world.switch_on("reader", "mallory", &[SCORE], &[NAME, SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", NAME).await["decision"], "allow");
    let verdict = world.verdict("ada", "reader", SCORE).await;
    assert_eq!(
        (&verdict["decision"], &verdict["reason"]),
        (&json!("withhold"), &json!("clause:integrations.share")),
        "{verdict}"
    );
    world.grant("scorer", &[NAME]).await;
    world.chat("ada").await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_backdated_by_its_time_does_not_reach_an_older_version() {
    // The looser version is the older one, and was in force until yesterday.
    let gateway = world(&loose(), PolicyBook::SHIPPED, -1).await;
    for (subject, time) in
        [("now", NOW), ("last-year", "2025-01-01T00:00:00Z"), ("long-ago", "2018-01-01T00:00:00Z")]
    {
        chat(&gateway, subject, time).await;
        assert_eq!(decision(&gateway, subject, "call", TRANSCRIPT).await, "withhold", "{time}");
    }
    // Under the looser version it would have gone.
    let gateway = world(&loose(), PolicyBook::SHIPPED, 1).await;
    chat(&gateway, "in-time", NOW).await;
    assert_eq!(decision(&gateway, "in-time", "call", TRANSCRIPT).await, "allow");
}
