//! Two versions of the policy, of which one gives a telephone number that is cut to its country another label: what
//! is kept of it, what was returned of it and what waits with it.

use gateway::boundary::PolicyBook;
use serde_json::{Value, json};

use super::{BRAND, NAME, SCORE, VALUE, World, assert_withheld, labels, remade, verdict_on};
use crate::forms::{form, without, without_the_country};
use crate::hostile::remade::with_manifest;
use crate::memory_exchange::let_all_meet;
use crate::versions::versions;

const PHONE: &str = "/contact/phone";
const DAY: time::Duration = time::Duration::days(1);

impl World {
    /// One version today and the other from tomorrow on; two plugins that may ask for the number.
    async fn of_two(first: &str, then: &str) -> Self {
        let world = Self::with(versions(first, then, 1)).await;
        world.publish("scorer", "clerk", &[PHONE]).await;
        world.publish("reader", "mallory", &[PHONE, SCORE]).await;
        world
    }

    /// Switches a plugin to a behaviour; of the number it gets the country.
    async fn of_country(&self, plugin: &str, behaviour: &str, grant: &[&str]) {
        let fields = grant.iter().map(|field| json!(field)).chain([form(PHONE, "country-code")]);
        let document = json!({
            "release": "1.0.0",
            "grant": { "share chat.ended": fields.collect::<Vec<Value>>() },
            "settings": { "host": "api", "behaviour": behaviour },
        });
        let path = format!("/v1/brands/{BRAND}/connections/{plugin}");
        self.gateway.brand(BRAND).await.put(&path, &document).await.ok();
    }

    /// How much of what a plugin returned the brand may use.
    async fn returned_by(&self, plugin: &str) -> usize {
        self.returned("ada").await.iter().filter(|one| one["plugin"] == plugin).count()
    }

    /// The next day.
    async fn later(&self) {
        self.gateway.clock.advance(DAY);
        self.gateway.settled().await;
    }
}

/// A rule that keeps a category from partners and from what plugins return.
fn forbidding(category: &str) -> String {
    format!(
        "\n[[rule]]\neffect = 'forbid'\nflow = ['share', 'decide', 'return']\n\
         recipient = ['third-party', 'service-provider', 'brand']\ncategory = ['{category}']\n\
         clause = 'integrations.share'\n"
    )
}

/// The brand grants what the fields give now: of the country as a number it granted nothing, nor the other way round.
async fn a_memory_is_forgotten(of_another: bool) {
    let shipped = PolicyBook::SHIPPED.to_owned();
    for (first, then) in [(shipped.clone(), without_the_country()), (without_the_country(), shipped)] {
        let world = World::of_two(&first, &then).await;
        let reads = async |behaviour: &str| match of_another {
            true => world.behave("reader", "1.0.0", behaviour, &[SCORE]).await,
            false => world.of_country("reader", behaviour, &[]).await,
        };
        if of_another {
            world.of_country("scorer", "pass-on", &[]).await;
            world.chat("ada").await;
        }
        reads("remember").await;
        world.chat("ada").await;
        reads("recall").await;
        world.chat("ada").await;
        let memory = async || verdict_on(&world.row("ada", "reader", "call").await, "memory");
        assert_eq!(memory().await["decision"], "allow");
        assert_ne!(world.read_last().await, "nothing");

        world.later().await;
        world.chat("ada").await;
        assert_withheld(&memory().await, "not-granted");
        assert_eq!(world.read_last().await, "nothing");
        world.chat("ada").await;
        assert_eq!(memory().await, Value::Null, "it is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_stays_granted_by_the_version_in_force() {
    a_memory_is_forgotten(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_made_of_what_another_returned_does_too() {
    a_memory_is_forgotten(true).await;
}

/// Of what else a request carries the older version counts too, and says nothing of the number's label.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_a_label_by_the_versions_of_its_event() {
    for (of_another, carried) in [(false, "memory"), (true, SCORE)] {
        let world = World::of_two(&without_the_country(), PolicyBook::SHIPPED).await;
        match of_another {
            true => world.behave("scorer", "1.0.0", "pass-on", &[NAME]).await,
            false => world.behave("reader", "1.0.0", "remember", &[NAME]).await,
        }
        world.chat("ada").await;
        world.later().await;
        if of_another {
            // It returns nothing more.
            world.behave("scorer", "1.0.0", "value-in-failure", &[NAME]).await;
        }
        let behaviour = if of_another { "pass-on" } else { "recall" };
        world.of_country("reader", behaviour, &[NAME, SCORE]).await;
        world.chat("ada").await;
        assert_eq!(world.read_last().await, VALUE, "{carried}");
        let row = world.row("ada", "reader", "delivery").await;
        assert_eq!(verdict_on(&row, carried)["decision"], "allow", "{row}");
        let number = verdict_on(&row, PHONE);
        assert_eq!(number["decision"], "transform", "{row}");
        assert_eq!(labels(&number), ["first-party:user.contact.address.country"], "{row}");
        assert_eq!(row["result"]["outcome"], "delivered", "{row}");
    }
}

/// Whoever may not have the number may not have what was made of its country either, once the country is the number.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_returned_has_the_numbers_label_once_no_version_in_force_gives_it_another() {
    let (country, number, own) = (
        "first-party:user.contact.address.country",
        "first-party:user.contact.phone_number",
        "first-party:user.telemetry",
    );
    for (then, expected) in [
        (without_the_country(), vec![country, number, own]),
        (PolicyBook::SHIPPED.to_owned(), vec![country, own]),
    ] {
        let gives_way = expected.len() == 2;
        let world =
            World::of_two(PolicyBook::SHIPPED, &format!("{then}{}", forbidding("user.contact.phone_number")))
                .await;
        world.of_country("scorer", "pass-on", &[]).await;
        world.behave("reader", "1.0.0", "pass-on", &[SCORE]).await;
        world.chat("ada").await;
        // It returns nothing more.
        world.behave("scorer", "1.0.0", "value-in-failure", &[]).await;
        world.chat("ada").await;
        assert_eq!(labels(&world.verdict("ada", "reader", SCORE).await), [country, own]);
        assert_eq!(world.returned_by("scorer").await, 1);

        world.later().await;
        world.chat("ada").await;
        let verdict = world.verdict("ada", "reader", SCORE).await;
        assert_eq!(labels(&verdict), expected);
        match gives_way {
            true => assert_eq!(verdict["decision"], "allow", "{verdict}"),
            false => assert_withheld(&verdict, "clause:integrations.share"),
        }
        assert_eq!(world.returned_by("scorer").await, usize::from(gives_way), "which the brand sees");
    }
}

/// Two questions whose answers have the same labels: of what gave way in the second the call knows too.
#[tokio::test(flavor = "multi_thread")]
async fn each_field_that_gave_way_in_a_question_counts_for_what_came_of_it() {
    for (then, returned) in [(without("contact-to-pseudonym"), 0), (PolicyBook::SHIPPED.to_owned(), 1)] {
        let then = format!("{then}{}", forbidding("user.contact.email"));
        let world = World::with(versions(PolicyBook::SHIPPED, &then, 1)).await;
        let fields = ["/contact/email", "/conversation"];
        let component = with_manifest(&remade("asker", "clerk", &[]), |manifest| {
            manifest["share"][0]["receives"] = fields
                .map(|field| json!({ "field": field, "access": "sealed", "why": "to be tested" }))
                .into();
            let_all_meet(manifest);
        });
        world.gateway.partner_key("clerk").await.publish(&component).await.expect(201);
        let all = ["first-party:user", "partner:user"];
        let document = json!({
            "release": "1.0.0",
            "grant": {
                "share chat.ended": fields.map(|field| form(field, "pseudonym")),
                "combine ask": all, "combine /verdict": all,
            },
            "settings": { "host": "api", "behaviour": "ask-sealed" },
        });
        world
            .gateway
            .brand(BRAND)
            .await
            .put(&format!("/v1/brands/{BRAND}/connections/asker"), &document)
            .await
            .ok();
        world.chat("ada").await;
        assert_eq!((world.gateway.partner.received().len(), world.returned_by("asker").await), (2, 1));
        world.later().await;
        assert_eq!(world.returned_by("asker").await, returned);
    }
}
