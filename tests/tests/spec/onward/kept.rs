//! What a partner answered is the partner's, however long its plugin keeps it and although it returns it where it
//! returns what the consumer gave the brand.

use gateway_tests::partner::Behaviour;
use gateway_tests::world;
use serde_json::{Value, json};

use super::{BRAND, SCORE, VALUE, World, assert_withheld, labels, remade, verdict_on};
use crate::hostile::remade::with_manifest;
use crate::memory_exchange::let_all_meet;

/// What the partner answers.
const SAID: &str = "gold";

impl World {
    /// Switches the plugin to a behaviour, with all that it declares granted: what it reads, asks and remembers may
    /// meet.
    async fn granted_all(&self, release: &Value, behaviour: &str) {
        let settings = json!({ "host": "api", "behaviour": behaviour });
        world::switch_on(&self.gateway, BRAND, release, settings, json!({})).await;
    }

    /// What the plugin `scorer` returned last of a consumer.
    async fn scored_last(&self, subject: &str) -> Value {
        let returned = self.returned(subject).await;
        returned.into_iter().find(|row| row["plugin"] == "scorer").unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_answered_is_the_partners_when_its_plugin_returns_it_later() {
    // Of a service provider, too: what it makes of first-party data alone would be the brand's.
    for partner in ["clerk", "mallory"] {
        let world = World::new().await;
        let scorer = with_manifest(&remade("scorer", partner, &[]), let_all_meet);
        let release = world.gateway.partner_key(partner).await.publish(&scorer).await.expect(201);
        let theirs = &*format!("partner:{partner}:user.account");
        let answer = json!({ "echo": SAID }).to_string().into_bytes();
        world.gateway.partner.script([Behaviour::Answer(200, vec![], answer)]);
        world.granted_all(&release, "ask-and-remember").await;
        world.chat("ada").await;
        let asked = world.row("ada", "scorer", "exchange").await;
        assert_eq!(asked["result"]["outcome"], "answered", "{partner}: {asked}");

        // A later call, about another chat: nobody is asked, and it says what it was told.
        world.granted_all(&release, "recall").await;
        world.chat("ada").await;
        let returned = world.scored_last("ada").await;
        assert_eq!(returned["value"], json!({ "verdict": SAID }), "{partner}");
        assert!(returned["labels"]["/verdict"].to_string().contains(theirs), "{returned}");
        for (stage, field) in [("call", "memory"), ("delivery", "memory"), ("return", "/verdict")] {
            let row = world.row("ada", "scorer", stage).await;
            // A request has an entry for each value that was remembered.
            let of_it = row["fields"].as_array().unwrap().iter().filter(|of| of["field"] == field);
            assert!(of_it.clone().all(|of| of["decision"] == "allow"), "{partner} {stage}: {row}");
            assert!(of_it.clone().any(|of| labels(of).contains(&theirs)), "{partner} {stage}: {row}");
        }

        // Another partner's plugin does not get it, and one of its own does.
        world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
        world.switch_on("sibling", partner, &[SCORE], &[SCORE]).await;
        world.chat("ada").await;
        let row = world.row("ada", "reader", "call").await;
        assert_withheld(&verdict_on(&row, SCORE), "clause:integrations.onward");
        assert!(labels(&verdict_on(&row, SCORE)).contains(&theirs), "{partner}: {row}");
        assert_eq!(row["outcome"], "not-run:nothing-left", "{partner}");
        let sent = world.gateway.partner.received();
        assert!(!sent.iter().any(|request| request.host().contains("trent")), "{partner}");
        let verdict = world.verdict("ada", "sibling", SCORE).await;
        assert_eq!(verdict["decision"], "allow", "{partner}: {verdict}");
        assert!(labels(&verdict).contains(&theirs), "{partner}: {verdict}");

        // Written over with what the consumer gave, the memory is still what it was.
        world.granted_all(&release, "remember").await;
        world.chat("ada").await;
        world.granted_all(&release, "recall").await;
        world.chat("ada").await;
        assert_eq!(world.scored_last("ada").await["value"], json!({ "verdict": VALUE }), "{partner}");
        let row = world.row("ada", "scorer", "return").await;
        assert!(labels(&verdict_on(&row, "/verdict")).contains(&theirs), "{partner}: {row}");
        world.chat("ada").await;
        assert_withheld(&world.verdict("ada", "reader", SCORE).await, "clause:integrations.onward");
    }
}

/// The other half: of whom the partner said nothing, a service provider's words are the brand's.
#[tokio::test(flavor = "multi_thread")]
async fn of_whom_the_partner_said_nothing_its_words_go_on() {
    let world = World::new().await;
    let scorer = with_manifest(&remade("scorer", "clerk", &[]), let_all_meet);
    let release = world.gateway.partner_key("clerk").await.publish(&scorer).await.expect(201);
    world.granted_all(&release, "ask-and-remember").await;
    world.chat("ada").await;
    world.granted_all(&release, "recall").await;
    world.chat("bob").await;
    assert_eq!(world.scored_last("bob").await["value"], json!({ "verdict": "nothing" }));
    world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
    world.chat("bob").await;
    let verdict = world.verdict("bob", "reader", SCORE).await;
    assert_eq!(verdict["decision"], "allow", "{verdict}");
    assert!(!labels(&verdict).iter().any(|label| label.starts_with("partner:")), "{verdict}");
}
