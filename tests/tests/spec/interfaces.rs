//! Versions of the interface: what was built for one that was released goes on running.

use gateway_tests::{Options, TestGateway, built_at, events, paths, world};
use serde_json::json;
use sha2::{Digest, Sha256};

const BRAND: &str = "testers";

/// Of every file of the guest, with its name: its source never changes.
const GUEST_0_1: &str = "0c1faeb11cf2f13e25337240d9050cd5cd834a496f9b27553e312ca2aaa672e2";

#[test]
fn the_guest_of_0_1_is_as_it_was() {
    let dir = paths::root().join("tests/guests/0.1");
    let mut digest = Sha256::new();
    for name in
        ["Cargo.lock", "Cargo.toml", "plugin.toml", "schemas/calls.json", "schemas/show.json", "src/lib.rs"]
    {
        digest.update(format!("{name}\n"));
        digest.update(std::fs::read(dir.join(name)).expect("a file of the guest"));
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, GUEST_0_1, "leave it as it is, and write another guest for what is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_0_1_shares_decides_and_remembers() {
    let guest = tokio::task::spawn_blocking(|| built_at(&paths::root().join("tests/guests/0.1")));
    let guest = guest.await.expect("the guest is built");
    let gateway = TestGateway::start(Options::default()).await;
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "frozen", "US", "frozen.example").await;
    let release = world::publish(&gateway, "frozen", &guest).await;
    world::switch_on(&gateway, BRAND, &release, json!({}), json!({})).await;

    for calls in 1..=2 {
        gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, "ada")).await.expect(202);
        gateway.settled().await;
        let returns = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/returns")).await.ok();
        let newest = returns["items"].as_array().and_then(|items| items.last()).expect("a returned field");
        assert_eq!(newest["value"], json!({ "calls": calls }), "{returns}");
    }
    let asked = events::page_viewed(BRAND, "ada");
    let decided = gateway.source(BRAND).await.decide("guest", &asked).await.expect(200);
    assert_eq!(decided["decision"], json!({ "show": true }), "{decided}");
}
