//! A telephone number that another plugin returned is one like any other (clause choice.sms).

use gateway_tests::events::event;
use serde_json::json;

use super::{BRAND, NAME, World, assert_withheld, remade, verdict_on};
use crate::hostile::remade::with_manifest;

const COUNT: &str = "/returned/scorer/count";

/// What the plugin counts to, as a JSON number: a short one, for a telephone.
const NUMBER: &str = "1";

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_texted_once_it_opted_out_also_as_a_json_number() {
    for (by_purpose, stage) in [(true, "call"), (false, "delivery")] {
        let world = World::new().await;
        let scorer = with_manifest(&remade("scorer", "clerk", &[]), |manifest| {
            let count = &mut manifest["share"][0]["returns"]["properties"]["count"];
            count["x-category"] = json!("user.contact.phone_number");
        });
        world.gateway.partner_key("clerk").await.publish(&scorer).await.expect(201);
        world.behave("scorer", "1.0.0", "none", &[NAME]).await;
        world.chat("ada").await;
        let reader = with_manifest(&remade("reader", "mallory", &[COUNT]), |manifest| match by_purpose {
            true => manifest["plugin"]["purpose"] = json!("essential.service.notifications.sms"),
            false => manifest["endpoint"][0]["channel"] = json!("sms"),
        });
        world.gateway.partner_key("mallory").await.publish(&reader).await.expect(201);
        world.grant("reader", &[COUNT]).await;
        world.chat("ada").await;
        let before = world.row("ada", "reader", stage).await;
        assert_eq!(verdict_on(&before, COUNT)["decision"], "allow", "{before}");

        let stop = event("sms.received", BRAND, "texter", json!({ "text": "STOP", "phone": NUMBER }));
        world.gateway.source(BRAND).await.post_event(&stop).await.expect(202);
        world.chat("ada").await;
        assert_withheld(&verdict_on(&world.row("ada", "reader", stage).await, COUNT), "clause:choice.sms");
    }
}
