//! What a release returned is used for that for which it was returned, whatever runs now.

use gateway_tests::partner::Behaviour;
use gateway_tests::world;
use serde_json::{Value, json};

use super::{NAME, PURPOSE, SCORE, World, assert_withheld, remade, verdict_on};
use crate::hostile::remade::with_manifest;

const MARKETING: &str = "marketing.advertising.first_party.targeted";

impl World {
    /// Switches the scorer to another release; it returns what it reads, or nothing.
    async fn scorer(&self, version: &str, returns: bool, change: impl FnOnce(&mut Value)) {
        let component = with_manifest(&remade("scorer", "clerk", &[]), |manifest| {
            manifest["plugin"]["version"] = json!(version);
            change(manifest);
        });
        self.gateway.partner_key("clerk").await.publish(&component).await.expect(201);
        let behaviour = if returns { "pass-on" } else { "value-in-failure" };
        self.behave("scorer", version, behaviour, &[NAME]).await;
    }

    async fn purposes_of_clerk(&self, purposes: &[&str]) {
        world::contract(&self.gateway, "clerk", PURPOSE, json!({ "purposes": purposes })).await;
    }

    /// What `reader` may have of what the scorer returned of `ada`, and whether the brand's feed has it.
    async fn used(&self) -> (Value, bool) {
        self.chat("ada").await;
        let verdict = self.verdict("ada", "reader", SCORE).await;
        (verdict, self.returned("ada").await.iter().any(|row| row["plugin"] == "scorer"))
    }
}

fn is_for(purpose: &str) -> impl FnOnce(&mut Value) {
    move |manifest| manifest["plugin"]["purpose"] = json!(purpose)
}

fn choices(opted_out: bool) -> Value {
    // Given in a conversation, it is for marketing with a permission only.
    let permission = json!({ "for": { "purpose": MARKETING }, "wording": "You may.", "actor": "agent-7" });
    match opted_out {
        true => json!({ "opt_out": { "marketing": true } }),
        false => json!({ "permissions": [permission] }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_returned_for_one_purpose_is_used_for_that_one() {
    for (returned_for, runs_for) in [(MARKETING, PURPOSE), (PURPOSE, MARKETING)] {
        let world = World::new().await;
        world.purposes_of_clerk(&[PURPOSE, MARKETING]).await;
        world.choose("ada", choices(false)).await;
        world.scorer("1.0.0", true, is_for(returned_for)).await;
        world.chat("ada").await;
        world.scorer("1.1.0", false, is_for(runs_for)).await;
        world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
        let (verdict, is_fed) = world.used().await;
        assert_eq!((&verdict["decision"], is_fed), (&json!("allow"), true), "{verdict}");

        world.choose("ada", choices(true)).await;
        let (verdict, is_fed) = world.used().await;
        match returned_for {
            MARKETING => assert_withheld(&verdict, "clause:choice.marketing"),
            _ => assert_eq!(verdict["decision"], "allow", "{verdict}"),
        }
        assert_eq!(is_fed, returned_for != MARKETING);

        // What it was made under is the contract for that purpose.
        world.choose("ada", choices(false)).await;
        for (covered, reason) in [(runs_for, Some("clause:integrations.onward")), (returned_for, None)] {
            world.purposes_of_clerk(&[covered]).await;
            let (verdict, _) = world.used().await;
            match reason {
                Some(reason) => assert_withheld(&verdict, reason),
                None => assert_eq!(verdict["decision"], "allow", "{verdict}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_returned_for_a_slot_that_is_no_more_counts_as_promotional() {
    let world = World::new().await;
    world.scorer("1.0.0", true, |_| {}).await;
    world.chat("ada").await;
    world.scorer("1.1.0", false, |_| {}).await;
    world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
    world.choose("ada", choices(true)).await;
    let (verdict, is_fed) = world.used().await;
    assert_eq!(
        (&verdict["decision"], is_fed),
        (&json!("allow"), true),
        "the slot is not promotional: {verdict}"
    );
    world.scorer("1.2.0", false, |manifest| manifest["decide"][0]["slot"] = json!("another")).await;
    let (verdict, is_fed) = world.used().await;
    assert_withheld(&verdict, "clause:choice.marketing");
    assert!(!is_fed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_while_the_brand_may_use_it_for_that() {
    enum Then {
        OptsOut,
        Blocks,
        DropsTheSlot,
    }
    let cases = [
        (MARKETING, false, Then::OptsOut, "clause:choice.marketing"),
        (PURPOSE, false, Then::Blocks, "missing-fact"),
        (PURPOSE, true, Then::DropsTheSlot, "clause:choice.marketing"),
    ];
    for (returned_for, opted_out, then, reason) in cases {
        let world = World::new().await;
        world.purposes_of_clerk(&[PURPOSE, MARKETING]).await;
        world.choose("ada", choices(opted_out)).await;
        world.scorer("1.0.0", true, is_for(returned_for)).await;
        world.chat("ada").await;
        world.scorer("1.1.0", false, |_| {}).await;
        world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
        world.gateway.partner.behave(Behaviour::Status(503));
        world.chat("ada").await;
        let first = world.row("ada", "reader", "delivery").await;
        assert_eq!(verdict_on(&first, SCORE)["decision"], "allow", "{first}");
        let before = world.gateway.partner.received().len();
        match then {
            Then::OptsOut => world.choose("ada", choices(true)).await,
            Then::Blocks => world.block().await,
            Then::DropsTheSlot => {
                world
                    .scorer("1.2.0", false, |manifest| manifest["decide"][0]["slot"] = json!("another"))
                    .await;
            }
        }
        world.gateway.partner.behave(Behaviour::Status(200));
        world.gateway.clock.advance(time::Duration::seconds(30));
        world.gateway.settled().await;
        assert_withheld(&verdict_on(&world.row("ada", "reader", "delivery").await, SCORE), reason);
        let sent = world.gateway.partner.received();
        assert!(!sent[before..].iter().any(|request| request.host().contains("trent")), "{reason}");
    }
}
