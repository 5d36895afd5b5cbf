//! What a service provider returned counts as the brand's for as long as its contract stands. Where it does not, all
//! that others made of it is decided about as the provider's own data, over any number of plugins between.

use gateway_tests::events::event;
use gateway_tests::partner::Behaviour;
use gateway_tests::{components, world};
use serde_json::{Value, json};

use super::{BRAND, NAME, PURPOSE, SCORE, VALUE, World, assert_withheld, labels, verdict_on};
use crate::hostile::remade::with_manifest;
use crate::received;

const RELAYED: &str = "/returned/relay/verdict";
const ONWARD: &str = "clause:integrations.onward";

impl World {
    /// `clerk`'s scorer returned something of `ada`, and `trent`'s relay what it made of that; neither returns anything
    /// more. `mallory`'s reader is published, which may read either.
    async fn relayed() -> Self {
        let world = Self::new().await;
        world.switch_on("scorer", "clerk", &[], &[NAME]).await;
        world.chat("ada").await;
        world.behave("scorer", "1.0.0", "value-in-failure", &[NAME]).await;
        world.switch_on("relay", "trent", &[SCORE], &[SCORE]).await;
        world.chat("ada").await;
        world.behave("relay", "1.0.0", "value-in-failure", &[SCORE]).await;
        world.publish("reader", "mallory", &[SCORE, RELAYED]).await;
        world
    }

    async fn contract_of(&self, provider: &str, stands: bool) {
        let terms = if stands { json!({}) } else { json!({ "expires": "2017-03-01T00:00:00Z" }) };
        world::contract(&self.gateway, provider, PURPOSE, terms).await;
    }
}

fn own_label(partner: &str) -> String {
    format!("partner:{partner}:user.telemetry")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_returned_of_it_is_each_makers_in_whichever_order_their_contracts_end() {
    for [first, second] in [["clerk", "trent"], ["trent", "clerk"]] {
        let world = World::relayed().await;
        world.grant("reader", &[RELAYED]).await;
        for (change, theirs) in [
            (None, &[][..]),
            (Some((first, false)), &[first]),
            (Some((second, false)), &["clerk", "trent"]),
            (Some((first, true)), &[second]),
            (Some((second, true)), &[]),
        ] {
            if let Some((provider, stands)) = change {
                world.contract_of(provider, stands).await;
            }
            world.chat("ada").await;
            let verdict = world.verdict("ada", "reader", RELAYED).await;
            match theirs {
                [] => assert_eq!(verdict["decision"], "allow", "{change:?}: {verdict}"),
                _ => assert_withheld(&verdict, ONWARD),
            }
            let of_partners = labels(&verdict).into_iter().filter(|label| label.starts_with("partner:"));
            let expected: Vec<String> = theirs.iter().map(|partner| own_label(partner)).collect();
            assert_eq!(of_partners.collect::<Vec<_>>(), expected, "{change:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_made_of_it_is_withheld_for_as_long_as_no_contract_covers_it() {
    for (reads, ended) in [(SCORE, "clerk"), (RELAYED, "clerk"), (RELAYED, "trent")] {
        let world = World::relayed().await;
        let grant = [NAME, reads];
        world.behave("reader", "1.0.0", "remember", &grant).await;
        world.chat("ada").await;
        world.behave("reader", "1.0.0", "recall", &grant).await;
        for (stands, recalled) in [(true, VALUE), (false, "nothing"), (true, VALUE)] {
            world.contract_of(ended, stands).await;
            world.chat("ada").await;
            assert_eq!(world.read_last().await, recalled, "{reads} {ended}");
            let verdict = verdict_on(&world.row("ada", "reader", "call").await, "memory");
            assert_eq!(labels(&verdict).contains(&own_label(ended).as_str()), !stands, "{verdict}");
            if !stands {
                assert_withheld(&verdict, ONWARD);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_with_what_was_made_of_it_stays() {
    for (behaviour, carried, ended) in
        [("pass-on", RELAYED, "clerk"), ("pass-on", RELAYED, "trent"), ("recall", "memory", "clerk")]
    {
        let world = World::relayed().await;
        let grant = [NAME, RELAYED];
        world.behave("reader", "1.0.0", "remember", &grant).await;
        world.chat("ada").await;
        world.behave("reader", "1.0.0", behaviour, &grant).await;
        world.gateway.partner.behave(Behaviour::Status(503));
        world.chat("ada").await;
        let waits = verdict_on(&world.row("ada", "reader", "delivery").await, carried);
        assert_eq!(waits["decision"], "allow", "{waits}");
        let before = world.gateway.partner.received().len();
        world.contract_of(ended, false).await;
        world.gateway.partner.behave(Behaviour::Status(200));
        world.gateway.clock.advance(time::Duration::seconds(30));
        world.gateway.settled().await;
        let row = world.row("ada", "reader", "delivery").await;
        assert_eq!(row["outcome"], "withheld", "{behaviour} {ended}: {row}");
        let verdict = verdict_on(&row, carried);
        assert_withheld(&verdict, ONWARD);
        assert!(labels(&verdict).contains(&own_label(ended).as_str()), "{verdict}");
        // The event's own field is what it was, and may not meet that.
        let name = verdict_on(&row, NAME);
        assert_withheld(&name, ONWARD);
        assert_eq!(name["kept_apart"]["with"], own_label(ended), "{name}");
        let sent = world.gateway.partner.received();
        assert!(
            !sent[before..].iter().any(|request| request.host().contains("mallory")),
            "{behaviour} {ended}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_made_of_it_is_not_shown_to_its_partner() {
    let world = World::relayed().await;
    world.behave("reader", "1.0.0", "value-in-log", &[RELAYED]).await;
    world.chat("ada").await;
    let partner = world.gateway.partner_key("mallory").await;
    for (stands, shown) in [(true, 1), (false, 0), (true, 1)] {
        world.contract_of("clerk", stands).await;
        let logs = partner.get("/v1/partner/logs").await.ok();
        assert_eq!(logs["items"].as_array().map(Vec::len), Some(shown), "{logs}");
    }
}

/// What a partner sends of a consumer it may have made of everything that it got of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_sent_that_got_it_is_not_handed_to_its_plugin() {
    let world = World::new().await;
    let gateway = &world.gateway;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    world::partner(gateway, "gold-club", "US", "gold-club.example").await;
    world::contract(gateway, "gold-club", PURPOSE, json!({ "onward_transfer": true })).await;
    let component = with_manifest(&components().loyalty_offer.bytes, |manifest| {
        manifest["plugin"]["purpose"] = json!(PURPOSE);
        let field = json!({ "field": SCORE, "access": "read", "why": "to be tested" });
        manifest["share"][0]["receives"].as_array_mut().expect("fields").push(field);
    });
    let release = gateway.partner_key("gold-club").await.publish(&component).await.expect(201);
    let grant = json!({
        "share purchase.completed": ["consumer", SCORE],
        "receive": ["/member/tier"],
        "decide coupon-banner": ["/partner/member/tier"],
    });
    let path = format!("/v1/brands/{BRAND}/connections/loyalty-offer");
    let document = json!({ "release": release["release"], "grant": grant });
    let view = gateway.brand(BRAND).await.put(&path, &document).await.ok();
    let secret = view["inbound_secret"].as_str().expect("the secret is shown once");
    let purchase = || {
        let items = json!([{ "name": "tyres", "quantity": 4 }]);
        let data = json!({ "order": "o-1", "items": items, "total": 20.0, "currency": "USD" });
        event("purchase.completed", BRAND, "ada", data)
    };
    let source = gateway.source(BRAND).await;
    source.post_event(&purchase()).await.expect(202);
    gateway.settled().await;
    assert_eq!(world.verdict("ada", "loyalty-offer", SCORE).await["decision"], "allow");
    let sent = gateway.partner.received();
    let told = sent.iter().rfind(|request| request.host().contains("gold-club")).expect("it was told");
    let told: Value = serde_json::from_slice(&told.body).expect("JSON");
    let tier = json!({ "member": { "ref": told["member"]["ref"], "tier": "gold" } });
    assert_eq!(received::send(gateway, BRAND, secret, "m-1", &tier).await, 202);
    for stands in [true, false, true] {
        world.contract_of("clerk", stands).await;
        source.decide("coupon-banner", &purchase()).await.expect(200);
        let query = "consumer=ada&plugin=loyalty-offer&stage=call&flow=decide";
        let row = gateway.brand(BRAND).await.flows(query).await[0].clone();
        let verdict = verdict_on(&row, "/partner/member/tier");
        assert_eq!(labels(&verdict).contains(&own_label("clerk").as_str()), !stands, "{row}");
        match stands {
            true => assert_eq!(verdict["decision"], "allow", "{row}"),
            false => assert_withheld(&verdict, ONWARD),
        }
    }
}

/// A contract that covers the maker's own words and no longer what it made them of.
#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_contract_ends_it_too_and_another_makers_does_not() {
    let world = World::relayed().await;
    world.grant("reader", &[RELAYED]).await;
    for (categories, theirs) in
        [(json!(["user.telemetry"]), true), (json!(["user.telemetry", "user.name"]), false)]
    {
        world::contract(&world.gateway, "clerk", PURPOSE, json!({ "categories": categories })).await;
        world.chat("ada").await;
        let verdict = world.verdict("ada", "reader", RELAYED).await;
        assert_eq!(labels(&verdict).contains(&own_label("clerk").as_str()), theirs, "{verdict}");
        assert_eq!(verdict["decision"] == "withhold", theirs, "{verdict}");
    }
}
