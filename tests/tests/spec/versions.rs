//! Several versions of the policy (clause policy.version): what an event may do is what the version at its acceptance
//! and the one in force both allow, and what an event says of its own time changes neither.

use gateway::boundary::PolicyBook;
use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{Behaviour, Options, TestGateway, components, events};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hostile::remade::with_manifest;
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

/// SHA-256 as `sha256sum` prints it.
fn digest(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_names_the_policy_in_force_and_the_release_by_their_digests() {
    let options = versions(PolicyBook::SHIPPED, &without_addresses(), 1);
    let texts = options.policies.clone().unwrap();
    let [old_policy, new_policy] = [digest(&texts[0]), digest(&texts[1])];
    let gateway = TestGateway::demo_with(options).await;
    let old = &components().adf_lead.bytes;
    let new = with_manifest(old, |manifest| manifest["plugin"]["version"] = json!("9.0.0"));
    let [old_release, new_release] = [digest(old.as_slice()), digest(&new)];

    // One request waits for the day of the new version, under the release that planned it.
    gateway.partner.script([Behaviour::with_header(503, "retry-after", "90000")]);
    chat(&gateway, "before", NOW).await;
    gateway.clock.advance(DAY + time::Duration::hours(2));
    gateway.settled().await;
    chat(&gateway, "between", NOW).await;
    let published = gateway.partner_key("acme-crm").await.publish(&new).await.expect(201);
    world::switch_on(&gateway, NORTHSIDE, &published, world::adf_settings(), world::adf_secrets()).await;
    chat(&gateway, "after", NOW).await;

    let auditor = gateway.auditor().await;
    for (subject, stage, rows) in [
        ("before", "call", vec![[&old_policy, &old_release]]),
        ("before", "delivery", vec![[&new_policy, &old_release], [&old_policy, &old_release]]),
        ("between", "call", vec![[&new_policy, &old_release]]),
        ("between", "delivery", vec![[&new_policy, &old_release]]),
        ("after", "call", vec![[&new_policy, &new_release]]),
        ("after", "delivery", vec![[&new_policy, &new_release]]),
    ] {
        let found = auditor.flows(&format!("brand={NORTHSIDE}&consumer={subject}&stage={stage}")).await;
        let named: Vec<_> = found.iter().map(|row| [&row["policy"], &row["release"]]).collect();
        assert_eq!(named, rows, "{subject}, {stage}");
    }
    // The same names as the API has for what is published.
    let releases = gateway.brand(NORTHSIDE).await.get("/v1/plugins/adf-lead/releases").await.expect(200);
    let listed: Vec<_> = releases.as_array().unwrap().iter().map(|release| &release["release"]).collect();
    assert_eq!(listed, [&new_release, &old_release]);
}
