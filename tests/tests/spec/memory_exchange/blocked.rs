//! The operator blocks a release while one of its calls waits for the partner.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_tests::{Behaviour, events};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::sync::Notify;

use super::{BRAND, World, chat, let_all_meet};

const BLOCK: &str = "/v1/plugins/hostile/releases/1.0.0/block";

/// A plugin that asks a partner which answers once the notice is given, of somebody who wrote to the brand before.
async fn asking() -> (World, Arc<Notify>) {
    let world = World::new().await;
    world.share("value-in-failure", &chat("ada")).await;
    world.behave("ask", &[]).await;
    let answer = Box::new(Behaviour::Status(200));
    let blocked = Arc::new(Notify::new());
    world.gateway.partner.script([Behaviour::Held(Arc::clone(&blocked), answer)]);
    (world, blocked)
}

/// Blocks the release while the question is open, then has it answered.
async fn block(world: &World, blocked: &Notify) {
    let reason = json!({ "reason": "it loses leads" });
    world.gateway.partner.wait_for(1).await;
    world.gateway.operator().await.put(BLOCK, &reason).await.expect(200);
    blocked.notify_one();
}

fn outcomes(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["outcome"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_brings_whose_release_is_blocked_meanwhile_is_not_kept_and_the_work_is_done_later() {
    let (world, blocked) = asking().await;
    world.gateway.source(BRAND).await.post_event(&chat("ada")).await.expect(202);
    block(&world, &blocked).await;
    world.gateway.settled().await;
    assert_eq!(outcomes(&world.rows("ada", "call").await), ["failed:rejected", "failed:blocked"]);
    assert_eq!(world.returned().await, Value::Null);

    world.gateway.operator().await.delete(BLOCK).await.expect(200);
    world.gateway.clock.advance(time::Duration::seconds(31));
    world.gateway.settled().await;
    assert_eq!(outcomes(&world.rows("ada", "call").await), ["failed:rejected", "failed:blocked", "ran"]);
    assert_eq!(world.returned().await["value"]["verdict"], "answered");
    // The same release asks the same, under the same id.
    let asked = world.gateway.partner.received();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].webhook_id(), asked[1].webhook_id());
}

/// Calls look whether their release is blocked and then commit: whoever blocks it waits for those that looked before.
/// Commits take long here, so that there are some at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_release_is_stored_once_its_block_is_answered() {
    const SLOW: [&str; 2] = [
        "CREATE TABLE numbers AS WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400) SELECT x FROM n",
        "CREATE TRIGGER slow AFTER INSERT ON returns BEGIN SELECT sum(a.x * b.x) FROM numbers a, numbers b; END",
    ];
    let world = World::new().await;
    world.behave("none", &[]).await;
    let url = format!("sqlite:{}?mode=rw", world.gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.expect("the store opens");
    for change in SLOW {
        sqlx::query(change).execute(&mut store).await.expect("the change is made");
    }
    let mut stored = async || -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM returns").fetch_one(&mut store).await;
        count.expect("the store answers")
    };
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..4 {
        let source = world.gateway.source(BRAND).await;
        posts.spawn(async move {
            loop {
                source.post_event(&chat(&format!("consumer-{number}"))).await.expect(202);
            }
        });
    }
    let end = std::time::Instant::now() + gateway_tests::BOUND;
    while stored().await < 10 {
        assert!(std::time::Instant::now() < end, "calls are stored");
    }
    world.gateway.operator().await.put(BLOCK, &json!({ "reason": "it loses leads" })).await.expect(200);
    let when_answered = stored().await;
    posts.shutdown().await;
    world.gateway.settled().await;
    assert_eq!(stored().await, when_answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_release_is_blocked_meanwhile_is_none() {
    let (world, blocked) = asking().await;
    let source = world.gateway.source(BRAND).await;
    let page = events::page_viewed(BRAND, "ada");
    let (answer, ()) = tokio::join!(source.decide("hostile", &page), block(&world, &blocked));
    let answer = answer.expect(200);
    assert_eq!(
        (&answer["decision"], &answer["reason"]),
        (&Value::Null, &json!("failed:blocked")),
        "{answer}"
    );
    world.gateway.operator().await.delete(BLOCK).await.expect(200);
    let again = source.decide("hostile", &page).await.expect(200);
    assert_eq!(again, answer, "an event has one answer");
    assert_eq!(world.returned().await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hooks_ask_about_one_event_under_two_ids() {
    let mut world = World::new().await;
    let built = gateway_tests::components();
    let release = crate::hostile::remade::with_manifest(&built.hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.0.2");
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
        manifest["decide"][0]["event"] = json!("chat.ended");
        let name = json!({ "field": "/contact/name/first", "access": "read", "why": "to be tested" });
        manifest["decide"][0]["receives"] = json!([name]);
        let_all_meet(manifest);
    });
    world.release = world.gateway.partner_key("mallory").await.publish(&release).await.expect(201);
    world.behave("ask", &[]).await;
    world.gateway.source(BRAND).await.decide("hostile", &chat("ada")).await.expect(200);
    world.gateway.settled().await;
    let asked = world.gateway.partner.received();
    let ids: BTreeSet<_> =
        asked.iter().filter(|one| one.path.ends_with("/ask")).map(|one| one.webhook_id()).collect();
    assert_eq!(ids.len(), 2, "{asked:?}");
}
