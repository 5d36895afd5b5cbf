//! What is kept of a message: where the store or its size says no, and whose it is however long it is kept.

use gateway_tests::world;

use super::*;
use crate::hostile::remade::with_manifest;
use crate::onward::remade;

/// A row whose parent is missing when its transaction commits, for each document that is written.
const REFUSE: [&str; 3] = [
    "CREATE TABLE orphans (parent INTEGER REFERENCES consumers (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER refuse_insert AFTER INSERT ON received BEGIN INSERT INTO orphans VALUES (-1); END",
    "CREATE TRIGGER refuse_update AFTER UPDATE ON received BEGIN INSERT INTO orphans VALUES (-1); END",
];
const ALLOW: [&str; 3] = ["DROP TRIGGER refuse_insert", "DROP TRIGGER refuse_update", "DROP TABLE orphans"];

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_commit_fails_is_kept_by_nobody_and_done_once_it_can_be() {
    let world = World::new().await;
    let url = format!("sqlite:{}?mode=rw", world.gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.expect("the store opens");
    world.send("m-1", "silver").await;
    for change in REFUSE {
        sqlx::query(change).execute(&mut store).await.expect("the change is made");
    }
    assert_eq!(world.post("m-2", &world.handle, "gold").await.0, 202);
    gateway_tests::eventually("a commit that fails", || async {
        (world.gateway.gateway.counts().unrecorded > 0).then_some(())
    })
    .await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "silver" }), "as it is stored");
    assert_eq!(world.outcomes().await, ["received"], "a row of what is not there would be a lie");
    for change in ALLOW {
        sqlx::query(change).execute(&mut store).await.expect("the change is made");
    }
    world.later(60).await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));
    assert_eq!(world.outcomes().await, ["received", "received"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_would_make_the_document_too_large_leaves_it_as_it_is() {
    let mut world = World::new().await;
    let talkative = with_manifest(&components().pen_pal.bytes, |manifest| {
        manifest["plugin"]["version"] = json!("1.1.0");
        for leaf in ["said", "also"] {
            manifest["receive"][0]["returns"]["properties"][leaf]["maxLength"] = json!(100_000);
        }
    });
    world.release = world.gateway.partner_key("mallory").await.publish(&talkative).await.expect(201);
    world.behave("").await;
    // Each fits, and both together do not.
    let fits = "x".repeat(40_000);
    world.send("m-1", &fits).await;
    world.behave("also").await;
    world.send("m-2", &fits).await;
    assert_eq!(world.outcomes().await, ["received", "not-kept:too-large"]);
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": fits }));
    // The partner makes room by sending the other leaf anew.
    world.behave("").await;
    world.send("m-3", "gold").await;
    world.behave("also").await;
    world.send("m-4", &fits).await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold", "also": fits }));
}

/// Its plugin remembers what the partner wrote and returns it from another hook, where it returns what a consumer gave
/// the brand. A contract covers all of it, so that what is made of first-party data alone would be the brand's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_wrote_is_the_partners_when_its_plugin_returns_it_later() {
    const SAID: &str = "/returned/pen-pal/said";
    const PURPOSE: &str = "essential.service.operations.support";
    let world = World::with(|manifest| {
        let of = ["first-party:user", "partner:user"];
        manifest["combine"] = json!([{ "of": of, "into": "/said", "why": "to be tested" }]);
    })
    .await;
    let gateway = &world.gateway;
    world::contract(gateway, "mallory", PURPOSE, json!({})).await;
    world.behave("remember").await;
    world.send("m-1", "gold").await;
    assert_eq!(world.newest("receive").await["outcome"], "nothing-received");

    world.behave("recall").await;
    world.chat().await;
    let returned = world.returned().await;
    assert_eq!(returned["value"], json!({ "said": "gold" }));
    assert!(returned["labels"]["/said"].to_string().contains(OWN), "{returned}");
    for (stage, field) in [("call", "memory"), ("return", "/said")] {
        let row = world.newest(stage).await;
        let verdict = verdict_on(&row, field);
        assert_eq!(verdict["decision"], "allow", "{stage}: {row}");
        assert!(labels(&verdict).contains(&OWN), "{stage}: {row}");
    }

    partner(gateway, "trent", "US", "trent.example").await;
    world::contract(gateway, "trent", PURPOSE, json!({})).await;
    let reader = remade("reader", "trent", &[SAID]);
    let release = gateway.partner_key("trent").await.publish(&reader).await.expect(201);
    let settings = json!({ "host": "api", "behaviour": "pass-on" });
    let document = json!({
        "release": release["release"], "grant": { "share chat.ended": [SAID] }, "settings": settings,
    });
    let path = format!("/v1/brands/{BRAND}/connections/reader");
    gateway.brand(BRAND).await.put(&path, &document).await.ok();
    world.chat().await;
    let row = gateway.auditor().await.flows("stage=call&plugin=reader").await.remove(0);
    assert_withheld(&verdict_on(&row, SAID), "clause:integrations.onward");
    assert!(labels(&verdict_on(&row, SAID)).contains(&OWN), "{row}");
    assert_eq!(row["outcome"], "not-run:nothing-left", "{row}");
    assert!(!gateway.partner.received().iter().any(|request| request.host().contains("trent")));
}
