//! What another plugin returned, to be placed and not to be read.

use serde_json::json;

use super::{BRAND, NAME, SCORE, VALUE, World, labels, remade, verdict_on};
use crate::hostile::remade::with_manifest;

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_returned_field_is_only_where_it_was_placed_and_the_row_has_its_labels() {
    let world = World::new().await;
    world.switch_on("scorer", "clerk", &[], &[NAME]).await;
    world.chat("ada").await;
    let component = with_manifest(&remade("reader", "mallory", &[SCORE]), |manifest| {
        let receives = manifest["share"][0]["receives"].as_array_mut().expect("fields");
        receives.last_mut().expect("a field")["access"] = json!("sealed");
    });
    world.gateway.partner_key("mallory").await.publish(&component).await.expect(201);
    let path = format!("/v1/brands/{BRAND}/connections/reader");
    let document = |behaviour: &str| {
        json!({
            "release": "1.0.0",
            "grant": { "share chat.ended": [SCORE] },
            "settings": { "host": "api", "behaviour": behaviour },
        })
    };
    let brand = world.gateway.brand(BRAND).await;
    // Nothing of it can be read: what the plugin passes on is empty.
    brand.put(&path, &document("pass-on")).await.ok();
    world.chat("ada").await;
    let row = world.row("ada", "reader", "call").await;
    let verdict = verdict_on(&row, SCORE);
    assert_eq!((&verdict["access"], &verdict["decision"]), (&json!("sealed"), &json!("allow")), "{row}");
    let returned = world.returned("ada").await;
    let passed_on = returned.iter().find(|row| row["plugin"] == "reader").expect("it returned");
    assert!(!passed_on["value"].to_string().contains(VALUE), "{passed_on}");

    brand.put(&path, &document("deliver-sealed")).await.ok();
    let before = world.gateway.partner.received().len();
    world.chat("ada").await;
    let sent = &world.gateway.partner.received()[before..];
    let to_reader: Vec<_> = sent.iter().filter(|request| request.host() == "api.mallory.example").collect();
    let [request] = to_reader.as_slice() else { panic!("{sent:?}") };
    assert_eq!(request.text(), json!({ "who": VALUE }).to_string());
    let carried = verdict_on(&world.row("ada", "reader", "delivery").await, SCORE);
    assert_eq!(labels(&carried), labels(&verdict), "{carried}");
    assert!(labels(&carried).contains(&"first-party:user.name.first"), "{carried}");
}
