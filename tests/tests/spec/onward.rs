//! Given a plugin that reads what another returned; when data of one partner would reach another that way; then it
//! does so only as the policy says of everything that it was made from, for as long as the consumer lets it, and a
//! row of the ledger says so.

mod behalf;
mod blocked;
mod kept;
mod numbers;
mod purposes;
mod sealed;
mod taken_back;
mod versions;

use gateway_tests::partner::Behaviour;
use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
const PURPOSE: &str = "essential.service.operations.support";
pub const NAME: &str = "/contact/name/first";
const TEXT: &str = "/transcript/*/text";
/// What the consumer says.
const VALUE: &str = "Zyxomma-Petiolatum";

/// A gateway where plugins of several partners are published that pass on what they read.
pub struct World {
    pub gateway: TestGateway,
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let gateway = TestGateway::start(options).await;
        tokio::task::spawn_blocking(components).await.expect("the components are built");
        world::brand(&gateway, BRAND, false).await;
        for partner in ["clerk", "trent", "mallory"] {
            world::partner(&gateway, partner, "US", &format!("{partner}.example")).await;
        }
        for provider in ["clerk", "trent"] {
            world::contract(&gateway, provider, PURPOSE, json!({})).await;
        }
        Self { gateway }
    }

    /// Publishes a plugin of a partner that also declares these fields, and switches it on with this grant.
    pub async fn switch_on(&self, plugin: &str, partner: &str, reads: &[&str], grant: &[&str]) {
        self.publish(plugin, partner, reads).await;
        self.grant(plugin, grant).await;
    }

    async fn publish(&self, plugin: &str, partner: &str, reads: &[&str]) {
        let component = remade(plugin, partner, reads);
        self.gateway.partner_key(partner).await.publish(&component).await.expect(201);
    }

    pub async fn grant(&self, plugin: &str, grant: &[&str]) {
        self.put(plugin, "1.0.0", grant).await.ok();
    }

    async fn put(&self, plugin: &str, release: &str, grant: &[&str]) -> gateway_tests::Answer {
        let document = json!({
            "release": release,
            "grant": { "share chat.ended": grant },
            "settings": { "host": "api", "behaviour": "pass-on" },
        });
        let path = format!("/v1/brands/{BRAND}/connections/{plugin}");
        self.gateway.brand(BRAND).await.put(&path, &document).await
    }

    async fn switch_off(&self, plugin: &str) {
        let path = format!("/v1/brands/{BRAND}/connections/{plugin}");
        self.gateway.brand(BRAND).await.delete(&path).await.ok();
    }

    /// A chat of a consumer, and all that comes of it.
    pub async fn chat(&self, subject: &str) {
        let turns = json!([{ "speaker": "consumer", "text": VALUE, "at": "2026-03-02T08:58:00Z" }]);
        let chat = events::chat_ended(BRAND, subject);
        let chat =
            events::with(chat, [("/data/contact/name/first", json!(VALUE)), ("/data/transcript", turns)]);
        self.gateway.source(BRAND).await.post_event(&chat).await.expect(202);
        self.gateway.settled().await;
    }

    async fn choose(&self, subject: &str, choices: Value) {
        let path = format!("/v1/brands/{BRAND}/consumers/{subject}/choices");
        self.gateway.brand(BRAND).await.put(&path, &choices).await.ok();
    }

    /// The newest row of a plugin about a consumer in a stage.
    async fn row(&self, subject: &str, plugin: &str, stage: &str) -> Value {
        let query = format!("consumer={subject}&plugin={plugin}&stage={stage}");
        self.gateway.brand(BRAND).await.flows(&query).await.first().cloned().unwrap_or_default()
    }

    /// The verdict on a field in the newest call of a plugin: null where the field was not there.
    pub async fn verdict(&self, subject: &str, plugin: &str, field: &str) -> Value {
        verdict_on(&self.row(subject, plugin, "call").await, field)
    }

    /// What plugins returned of a consumer that the brand may use, newest first.
    async fn returned(&self, subject: &str) -> Vec<Value> {
        let path = format!("/v1/brands/{BRAND}/consumers/{subject}");
        let view = self.gateway.brand(BRAND).await.get(&path).await.ok();
        view["returned"].as_array().cloned().unwrap_or_default()
    }
}

/// The plugin that does as it is told, as another plugin of another partner.
pub(crate) fn remade(plugin: &str, partner: &str, reads: &[&str]) -> Vec<u8> {
    with_manifest(&components().hostile.bytes, |manifest| {
        *manifest = serde_json::from_str(&manifest.to_string().replace("mallory", partner)).expect("JSON");
        manifest["plugin"]["name"] = json!(plugin);
        manifest["decide"][0]["slot"] = json!(plugin);
        for field in reads {
            let field = json!({ "field": field, "access": "read", "why": "to be tested" });
            manifest["share"][0]["receives"].as_array_mut().expect("fields").push(field);
        }
    })
}

pub(crate) fn verdict_on(row: &Value, field: &str) -> Value {
    let fields = row["fields"].as_array().into_iter().flatten();
    fields.into_iter().find(|verdict| verdict["field"] == field).cloned().unwrap_or_default()
}

pub(crate) fn labels(of: &Value) -> Vec<&str> {
    of["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[track_caller]
pub(crate) fn assert_withheld(verdict: &Value, reason: &str) {
    assert_eq!((&verdict["decision"], &verdict["reason"]), (&json!("withhold"), &json!(reason)), "{verdict}");
}

pub const SCORE: &str = "/returned/scorer/verdict";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_provider_made_of_first_party_data_goes_on_with_all_its_labels() {
    let mut world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    world.switch_off("scorer").await;
    world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await, Value::Null, "its plugin is not on");

    world.grant("scorer", &[NAME]).await;
    world.chat("ada").await;
    let row = world.row("ada", "reader", "call").await;
    let verdict = verdict_on(&row, SCORE);
    assert_eq!(verdict["decision"], "allow", "{row}");
    assert_eq!(labels(&verdict), ["first-party:user.name.first", "first-party:user.telemetry"], "{row}");
    // Whatever comes of it carries on what it was made from.
    let returned = world.returned("ada").await;
    let passed_on = returned.iter().find(|row| row["plugin"] == "reader").expect("it returned");
    assert_eq!(passed_on["value"], json!({ "verdict": VALUE }));
    let names = passed_on["labels"]["/verdict"].to_string();
    assert!(names.contains("first-party:user.name.first"), "{names}");
    assert_eq!(passed_on["conditions"]["through"], json!(["scorer"]));
    let carried = verdict_on(&world.row("ada", "reader", "delivery").await, SCORE);
    assert_eq!(labels(&carried), labels(&verdict));
    assert_eq!(world.verdict("bob", "reader", SCORE).await, Value::Null);

    // What was returned outlives the process, and what is newer takes its place.
    world.gateway = world.gateway.stop().await.start().await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
    world.grant("reader", &[NAME]).await;
    world.chat("ada").await;
    assert_withheld(&world.verdict("ada", "reader", SCORE).await, "not-granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_data_does_not_reach_another_partner() {
    let world = World::new().await;
    // A third party's own words, whatever it made them of.
    world.switch_on("scorer", "mallory", &[], &[NAME]).await;
    world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
    world.chat("ada").await;
    world.chat("ada").await;
    let row = world.row("ada", "reader", "call").await;
    assert_withheld(&verdict_on(&row, SCORE), "clause:integrations.onward");
    assert!(labels(&verdict_on(&row, SCORE)).contains(&"partner:mallory:user.telemetry"), "{row}");
    assert_eq!(row["outcome"], "not-run:nothing-left", "{row}");
    // Another plugin of its own may have it.
    world.switch_on("sibling", "mallory", &[SCORE], &[SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "sibling", SCORE).await["decision"], "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_ran_out_leaves_what_was_made_under_it_to_the_partner() {
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
    world::contract(&world.gateway, "clerk", PURPOSE, json!({ "expires": "2017-03-01T00:00:00Z" })).await;
    world.chat("ada").await;
    assert_withheld(&world.verdict("ada", "reader", SCORE).await, "clause:integrations.onward");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_as_the_one_who_returned_it_stands_then() {
    for (gone, reason) in [("contract", "clause:integrations.onward"), ("connection", "not-granted")] {
        let world = World::new().await;
        world.switch_on("scorer", "clerk", &[], &[NAME]).await;
        world.chat("ada").await;
        world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
        world.gateway.partner.behave(Behaviour::Status(503));
        world.chat("ada").await;
        let before = world.gateway.partner.received().len();
        match gone {
            "contract" => {
                let ended = json!({ "expires": "2017-03-01T00:00:00Z" });
                world::contract(&world.gateway, "clerk", PURPOSE, ended).await;
            }
            _ => world.switch_off("scorer").await,
        }
        world.gateway.partner.behave(Behaviour::Status(200));
        world.gateway.clock.advance(time::Duration::seconds(30));
        world.gateway.settled().await;
        let row = world.row("ada", "reader", "delivery").await;
        assert_withheld(&verdict_on(&row, SCORE), reason);
        let sent = world.gateway.partner.received();
        assert!(!sent[before..].iter().any(|request| request.host().contains("trent")), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hops_wash_no_label_off() {
    const RELAYED: &str = "/returned/relay/verdict";
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[TEXT]).await;
    world.chat("ada").await;
    world.switch_on("relay", "trent", &[SCORE], &[SCORE]).await;
    world.chat("ada").await;
    world.switch_on("reader", "mallory", &[RELAYED], &[RELAYED]).await;
    world.chat("ada").await;
    let verdict = world.verdict("ada", "reader", RELAYED).await;
    assert_withheld(&verdict, "clause:share.content");
    assert!(labels(&verdict).contains(&"first-party:user.content.private.transcript"), "{verdict}");
    assert!(!world.gateway.partner.received().iter().any(|request| request.host().contains("mallory")));
    // With the consumer's permission it is what the consumer permits.
    let permission = json!({ "for": { "integration": "reader" }, "wording": "It may.", "actor": "agent-7" });
    world.choose("ada", json!({ "permissions": [permission] })).await;
    world.chat("ada").await;
    assert_eq!(world.verdict("ada", "reader", RELAYED).await["decision"], "allow");
    // An opt-out from the first of the three reaches the last, and all that was made between.
    world
        .choose("ada", json!({ "permissions": [permission], "opt_out": { "integrations": ["scorer"] } }))
        .await;
    world.chat("ada").await;
    assert_withheld(&world.verdict("ada", "reader", RELAYED).await, "clause:integrations.opt-out");
    assert_eq!(world.returned("ada").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_from_either_stops_what_waits_and_what_comes() {
    for refused in ["scorer", "reader"] {
        let world = World::new().await;
        world.switch_on("scorer", "clerk", &[], &[NAME]).await;
        world.chat("ada").await;
        world.switch_on("reader", "trent", &[SCORE], &[SCORE]).await;
        world.gateway.partner.behave(Behaviour::Status(503));
        world.chat("ada").await;
        assert_eq!(world.verdict("ada", "reader", SCORE).await["decision"], "allow");
        let before = world.gateway.partner.received().len();
        world.choose("ada", json!({ "opt_out": { "integrations": [refused] } })).await;
        world.gateway.partner.behave(Behaviour::Status(200));
        world.gateway.clock.advance(time::Duration::seconds(30));
        world.gateway.settled().await;
        let row = world.row("ada", "reader", "delivery").await;
        assert_withheld(&verdict_on(&row, SCORE), "clause:integrations.opt-out");
        assert_eq!(row["outcome"], "withheld", "{refused}");
        let sent = world.gateway.partner.received();
        assert!(!sent[before..].iter().any(|request| request.host().contains("trent")), "{refused}");

        world.chat("ada").await;
        assert_withheld(&world.verdict("ada", "reader", SCORE).await, "clause:integrations.opt-out");
        assert!(world.returned("ada").await.iter().all(|row| row["plugin"] != "reader"), "{refused}");
        // Somebody else's choice is their own.
        world.chat("bob").await;
        world.chat("bob").await;
        assert_eq!(world.verdict("bob", "reader", SCORE).await["decision"], "allow", "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_by_way_of_another_plugin_is_refused_with_the_whole_path() {
    const OFFER: &str = "/returned/loyalty-offer/offer/percent";
    let world = World::new().await;
    let gateway = &world.gateway;
    world::partner(gateway, "gold-club", "US", "gold-club.example").await;
    let purposes = ["marketing.advertising.first_party.targeted", PURPOSE];
    let terms = json!({ "purposes": purposes, "categories": ["user"], "onward_transfer": true });
    gateway.operator().await.put("/v1/partners/gold-club/contracts/terms", &terms).await.ok();
    let release = world::publish(gateway, "gold-club", &components().loyalty_offer).await;
    world.publish("reader", "gold-club", &[OFFER]).await;
    // Nothing meets while the plugin that it reads from is off.
    world.grant("reader", &[NAME, OFFER]).await;

    let path = format!("/v1/brands/{BRAND}/connections/loyalty-offer");
    let document = world::connection(&release, json!({}), json!({}));
    let brand = gateway.brand(BRAND).await;
    let says = |refused: &Value| {
        let detail = refused.to_string();
        for part in [
            "reader `share chat.ended` /contact/name/first (first-party:user.name.first)",
            "reader `share chat.ended` /returned/loyalty-offer/offer/percent from loyalty-offer \
             `decide coupon-banner` /partner/member/tier (partner:gold-club:user.account)",
            "clause:integrations.combine",
        ] {
            assert!(detail.contains(part), "{part}\nis not in\n{detail}");
        }
    };
    says(&brand.put(&path, &document).await.expect(422));
    world.grant("reader", &[NAME]).await;
    brand.put(&path, &document).await.ok();
    says(&world.put("reader", "1.0.0", &[NAME, OFFER]).await.expect(422));
    world.grant("reader", &[OFFER]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_read_all_of_each_other_are_judged_by_labels_and_not_by_ways() {
    const LEAVES: usize = 24;
    let world = World::new().await;
    let leaf = |plugin: &str, number: usize| format!("/returned/{plugin}/leaf-{number}");
    let of = |plugin: &str| (0..LEAVES).map(|number| leaf(plugin, number)).collect::<Vec<_>>();
    for (plugin, partner, other) in [("one", "clerk", "two"), ("two", "trent", "one")] {
        let reads = of(other);
        let component = remade(plugin, partner, &reads.iter().map(String::as_str).collect::<Vec<_>>());
        let component = with_manifest(&component, |manifest| {
            let properties = &mut manifest["share"][0]["returns"]["properties"];
            for number in 0..LEAVES {
                properties[format!("leaf-{number}")] = properties["count"].clone();
            }
        });
        world.gateway.partner_key(partner).await.publish(&component).await.expect(201);
    }
    for (plugin, other) in [("one", "two"), ("two", "one")] {
        let grant = of(other);
        let grant: Vec<&str> = grant.iter().map(String::as_str).chain([NAME]).collect();
        world.grant(plugin, &grant).await;
    }
    world.chat("ada").await;
    assert_eq!(world.row("ada", "two", "call").await["outcome"], "ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_nobody_returns_is_named_with_what_there_is() {
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    for (field, says) in [
        ("/returned/scores/verdict", "there is no plugin scores (published: reader, scorer)"),
        ("/returned/scorer/score", "scorer 1.0.0 does not return /score; it returns: /count, /verdict"),
    ] {
        let component = remade("reader", "trent", &[field]);
        let version = if field.contains("scores/") { "1.0.0" } else { "1.0.1" };
        let component = with_manifest(&component, |manifest| manifest["plugin"]["version"] = json!(version));
        world.gateway.partner_key("trent").await.publish(&component).await.expect(201);
        let refused = world.put("reader", version, &[field]).await.expect(422);
        assert!(refused.to_string().contains(says), "{refused}");
        assert!(refused.to_string().contains("/grant/share chat.ended"), "{refused}");
        world.put("reader", version, &[NAME]).await.ok();
    }
    for field in ["/returned/scorer", "/returned/other/verdict", "/returned/Scorer/verdict"] {
        let refused =
            world.gateway.partner_key("trent").await.publish(&remade("other", "trent", &[field])).await;
        let refused = refused.expect(422);
        assert!(refused.to_string().contains("share[0].receives[3].field"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_where_it_comes_from() {
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    world.publish("reader", "trent", &[SCORE]).await;
    world.chat("ada").await;
    let path = format!("/v1/brands/{BRAND}/connections/reader/preview");
    let preview = world.gateway.brand(BRAND).await.get(&path).await.ok();
    let fields = preview["hooks"][0]["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["field"] == SCORE).expect("it is named");
    assert_eq!((&field["category"], &field["contract"]), (&json!("user.telemetry"), &json!("terms")));
    assert_eq!(field["would_allow"], 2, "{field}");
    let sentences = preview["sentences"].to_string();
    assert!(sentences.contains("/returned/scorer/verdict is what scorer returned last"), "{sentences}");
}
