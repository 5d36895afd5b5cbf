//! What a plugin remembers.

use gateway::boundary::PolicyBook;
use gateway_tests::{events, eventually};
use serde_json::{Value, json};

use super::{BRAND, VALUE, World, chat, has_label, nameless, permitted, verdict_on};
use crate::versions::{loose, versions};

const NAME: &str = "first-party:user.name.first";
const CONTENT: &str = "first-party:user.content.private.transcript";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_under_one_consumer_is_there_for_that_one_alone_with_its_labels() {
    let world = World::new().await;
    world.share("remember", &chat("ada")).await;
    world.share("recall", &nameless("bea")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    let rows = world.rows("bea", "call").await;
    assert_eq!(verdict_on(&rows[0], "memory"), None, "there is nothing to decide about");

    world.share("recall", &nameless("ada")).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], VALUE);
    assert!(has_label(&returned["labels"]["/verdict"], NAME), "{returned}");
    // The row toward the plugin says what it could look at, and the request carries it, too.
    let rows = world.rows("ada", "call").await;
    let memory = verdict_on(&rows[1], "memory").expect("a verdict on the memory");
    assert_eq!((&memory["access"], &memory["decision"]), (&json!("memory"), &json!("allow")));
    assert!(has_label(&memory["labels"], NAME), "{memory}");
    let deliveries = world.rows("ada", "delivery").await;
    let carried = verdict_on(&deliveries[1], "memory").expect("the request carries the memory's labels");
    assert!(has_label(&carried["labels"], NAME), "{carried}");

    // Another hook of the connection has the same memory, under its own flow.
    world.behave("recall", &[]).await;
    let page = events::page_viewed(BRAND, "ada");
    let answer = world.gateway.source(BRAND).await.decide("hostile", &page).await.expect(200);
    assert_eq!(answer["decision"]["verdict"], VALUE, "{answer}");
    assert!(has_label(&answer["provenance"]["labels"]["/verdict"], NAME), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_is_withheld_looks_like_none_and_nothing_is_written_over_it() {
    let world = World::new().await;
    world.choose("ada", permitted()).await;
    world.share("remember", &nameless("ada")).await;
    let remembered = "Is the turquoise roadster still available?";

    // Without the permission the transcript may not be read, nor what was remembered of it.
    world.choose("ada", json!({})).await;
    world.share("recall", &chat("ada")).await;
    let withheld = world.returned().await;
    world.share("recall", &chat("new")).await;
    let missing = world.returned().await;
    assert_eq!(withheld["value"], missing["value"], "withheld and missing look the same");
    assert_eq!(withheld["labels"], missing["labels"], "what could not be seen is in nothing that comes out");
    let rows = world.rows("ada", "call").await;
    let memory = verdict_on(&rows[1], "memory").expect("a verdict on the memory");
    assert_eq!(
        (&memory["decision"], &memory["reason"]),
        (&json!("withhold"), &json!("clause:share.content"))
    );

    // A write succeeds, is read in the same call, and leaves what is there.
    world.share("recall-what-it-remembers", &chat("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], VALUE);
    world.share("recall", &chat("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    world.choose("ada", permitted()).await;
    world.share("recall", &nameless("ada")).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], remembered);
    assert!(has_label(&returned["labels"]["/verdict"], CONTENT), "{returned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_memory_only_grow() {
    let world = World::new().await;
    world.choose("ada", permitted()).await;
    world.share("remember", &nameless("ada")).await;
    // Written over by a call that reads the name alone: the memory was there to be seen.
    let wordless = || events::with(chat("ada"), [("/data/transcript", json!([{ "speaker": "agent" }]))]);
    world.share("remember", &wordless()).await;
    world.share("recall", &wordless()).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], VALUE);
    let rows = world.rows("ada", "call").await;
    let memory = verdict_on(&rows[2], "memory").expect("a verdict on the memory");
    assert_eq!(memory["decision"], "allow", "{memory}");
    for label in [NAME, CONTENT] {
        assert!(has_label(&returned["labels"]["/verdict"], label), "{label}: {returned}");
        assert!(has_label(&memory["labels"], label), "{label}: {memory}");
    }
    // A miss is an answer: it carries what it was looked for in.
    world.share("recall-by-name", &wordless()).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], "nothing");
    assert!(has_label(&returned["labels"]["/verdict"], CONTENT), "{returned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_narrowed_takes_back_what_was_remembered_of_it() {
    let world = World::new().await;
    world.share("remember", &chat("ada")).await;
    world.behave("recall", &["/contact/name/first"]).await;
    world.send(&chat("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    let rows = world.rows("ada", "call").await;
    let memory = verdict_on(&rows[1], "memory").expect("a verdict on the memory");
    assert_eq!((&memory["decision"], &memory["reason"]), (&json!("withhold"), &json!("not-granted")));
    // It is gone, also once the brand grants the field again.
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    let rows = world.rows("ada", "call").await;
    assert_eq!(verdict_on(&rows[2], "memory"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_values_are_kept_as_values_are() {
    let world = World::new().await;
    world.share("remember-by-name", &chat("ada")).await;
    world.share("recall-by-name", &chat("ada")).await;
    let returned = world.returned().await;
    assert_eq!(returned["value"]["verdict"], "named");
    assert!(has_label(&returned["labels"]["/verdict"], NAME), "{returned}");
    // The row knows the memory by one name, whatever its keys are, and by the labels of them all.
    let rows = world.rows("ada", "call").await;
    let memory = verdict_on(&rows[1], "memory").expect("a verdict on the memory");
    assert_eq!((&memory["access"], &memory["decision"]), (&json!("memory"), &json!("allow")));
    assert_eq!(memory["labels"], json!([NAME]));
    let ledger = world.gateway.auditor().await.get("/v1/flows?limit=1000").await.text;
    assert!(!ledger.contains(VALUE), "{ledger}");
    let database = world.gateway.database();
    for file in [database.clone(), database.with_extension("db-wal")] {
        let bytes = std::fs::read(&file).expect("the store's file");
        assert!(!bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_limits_is_refused_and_the_rest_is_kept() {
    let world = World::new().await;
    world.share("overfill", &chat("ada")).await;
    assert_eq!(world.returned().await["value"], json!({ "verdict": "overfilled", "count": 6 }));
    world.share("recall", &chat("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_leaves_no_memory_and_one_that_passes_outlives_the_process() {
    let mut world = World::new().await;
    world.share("remember-and-trap", &chat("ada")).await;
    assert_eq!(world.rows("ada", "call").await[0]["outcome"], "failed:trap");
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");

    world.share("remember", &chat("ada")).await;
    world.gateway = world.gateway.stop().await.start().await;
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], VALUE);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_one_consumer_remember_one_after_the_other() {
    const CALLS: u32 = 24;
    let world = World::new().await;
    world.behave("count", &[]).await;
    let chats: Vec<Value> = (0..CALLS).map(|_| chat("ada")).collect();
    world.gateway.source(BRAND).await.post_batch(BRAND, &chats).await.expect(202);
    let path = format!("/v1/brands/{BRAND}/returns?limit=1000");
    let brand = world.gateway.brand(BRAND).await;
    let counts = eventually("every call to return its count", || async {
        let feed = brand.get(&path).await.expect(200);
        let counts: Vec<u64> =
            feed.as_array()?.iter().filter_map(|row| row["value"]["count"].as_u64()).collect();
        (counts.len() >= CALLS as usize).then_some(counts)
    })
    .await;
    assert_eq!(counts, (1..=u64::from(CALLS)).collect::<Vec<_>>(), "none has written over another");
}

/// A memory is held to the policy under which it was made, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_looser_version_does_not_reach_what_was_remembered_before_it() {
    let world = World::with(versions(PolicyBook::SHIPPED, &loose(), 1)).await;
    world.choose("ada", permitted()).await;
    world.share("remember", &nameless("ada")).await;
    world.choose("ada", json!({})).await;
    world.gateway.clock.advance(time::Duration::days(1));
    world.share("recall", &nameless("ada")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "nothing");
    let rows = world.rows("ada", "call").await;
    let text = verdict_on(&rows[1], "/transcript/*/text").expect("a verdict on what comes now");
    assert_eq!(text["decision"], "allow", "{text}");
    let memory = verdict_on(&rows[1], "memory").expect("a verdict on the memory");
    assert_eq!(
        (&memory["decision"], &memory["reason"]),
        (&json!("withhold"), &json!("clause:share.content"))
    );
    // What is remembered from now on goes by what stands now.
    world.share("remember", &nameless("bea")).await;
    world.share("recall", &nameless("bea")).await;
    assert_eq!(world.returned().await["value"]["verdict"], "Is the turquoise roadster still available?");
}
