//! Given a partner with keys for its releases; when a component comes that none of them signed, or not just so; then it
//! is refused with its remedy and nothing of it is kept; and what a key signed stays when the key goes.

use gateway_tests::{ChildConfig, Keyed as _, Options, Partner, TestGateway, components, signing_key, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

async fn start() -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    gateway
}

/// The `hostile` plugin as another version.
fn version(version: &str) -> Vec<u8> {
    with_manifest(&components().hostile.bytes, |manifest| manifest["plugin"]["version"] = json!(version))
}

async fn write_keys(gateway: &TestGateway, keys: &[&str]) {
    let keys: Vec<_> = keys.iter().map(|name| signing_key(name).public()).collect();
    let record = json!({
        "display_name": "mallory", "region": "US", "domains": ["mallory.example"], "release_keys": keys,
    });
    gateway.operator().await.put("/v1/partners/mallory", &record).await.ok();
}

async fn published(gateway: &TestGateway) -> Value {
    gateway.brand("testers").await.get("/v1/plugins").await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_key_of_the_partner_signed_is_refused_with_its_remedy() {
    let gateway = start().await;
    let partner = gateway.partner_key("mallory").await;
    let (component, mut altered) = (version("1.0.1"), version("1.0.1"));
    *altered.last_mut().expect("bytes") ^= 1;
    let good = signing_key("mallory").sign(&component);
    for (name, bytes, signature, told) in [
        ("unsigned", &component, None, "it has no signature"),
        ("no signature", &component, Some("v1a,AAAA".to_owned()), "not in the form `v1a,BASE64`"),
        ("another scheme", &component, Some(good.replace("v1a,", "v1,")), "not in the form `v1a,BASE64`"),
        ("altered", &altered, Some(good.clone()), "its bytes were changed"),
        ("a stranger's key", &component, Some(signing_key("trent").sign(&component)), "another key signed"),
    ] {
        let answer = partner.publish_signed(bytes, signature).await;
        let problem = answer.expect(401);
        assert_eq!(problem["type"], "/problems/unsigned", "{name}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(told) && detail.contains("--signing-key"), "{name}: {detail}");
    }
    write_keys(&gateway, &[]).await;
    let problem = partner.publish_signed(&component, Some(good.clone())).await.expect(403);
    assert!(problem["detail"].as_str().unwrap().contains("gateway plugin keygen"), "{problem}");
    assert_eq!(published(&gateway).await, json!([]));

    write_keys(&gateway, &["mallory"]).await;
    let release = partner.publish_signed(&component, Some(good.clone())).await.expect(201);
    assert_eq!(
        (&release["signed_by"], &release["signature"]),
        (&json!(signing_key("mallory").public()), &json!(good))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_one_that_goes_unpublishes_nothing() {
    let gateway = start().await;
    let partner = gateway.partner_key("mallory").await;
    let signed = async |version_text: &str, key: &str| {
        let component = version(version_text);
        let signature = signing_key(key).sign(&component);
        partner.publish_signed(&component, Some(signature)).await.status
    };
    write_keys(&gateway, &["mallory", "next"]).await;
    assert_eq!(signed("1.0.1", "mallory").await, 201);
    assert_eq!(signed("1.0.2", "next").await, 201);
    write_keys(&gateway, &["next"]).await;
    assert_eq!(signed("1.0.3", "mallory").await, 401);
    assert_eq!(signed("1.0.1", "mallory").await, 401, "the same bytes need a key that stands, too");
    assert_eq!(signed("1.0.1", "next").await, 201);
    let releases = partner.get("/v1/plugins/hostile/releases").await.expect(200);
    let by: Vec<_> =
        releases.as_array().unwrap().iter().map(|release| release["signed_by"].clone()).collect();
    assert_eq!(by, [signing_key("next").public(), signing_key("mallory").public()]);

    let bad = json!({ "display_name": "m", "region": "US", "release_keys": ["rlpk_AAAA"] });
    let problem = gateway.operator().await.put("/v1/partners/mallory", &bad).await.expect(422);
    assert_eq!(problem["pointer"], "/release_keys/0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_over_the_cap_is_told_the_cap() {
    let gateway = TestGateway::start(Options { max_component: 1_000, ..Options::default() }).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let problem = gateway.partner_key("mallory").await.publish(&[0; 1_001]).await.expect(413);
    assert_eq!(problem["type"], "/problems/too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1000"), "{problem}");
}

/// Compiled code is in memory where a connection needs it: of a process of its own, whose metrics are its alone.
#[tokio::test(flavor = "multi_thread")]
async fn code_that_no_connection_needs_is_not_loaded() {
    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "");
    let child = tokio::task::block_in_place(|| config.serve());
    let gateway = config.with(&child);
    tokio::task::spawn_blocking(components).await.expect("the components are built");
    world::brand(&gateway, "testers", false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let mut releases = Vec::new();
    for number in ["1.0.0", "1.0.1"] {
        let client = gateway.partner_key("mallory").await;
        releases.push(client.publish(&version(number)).await.expect(201));
    }
    let loaded = async || {
        let text = gateway.operator().await.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix("gateway_releases_loaded "));
        line.map(str::to_owned)
    };
    assert_eq!(loaded().await.as_deref(), Some("0"), "both are published");
    for (brand, release, expected) in [
        ("testers", &releases[0], "1"),
        ("others", &releases[0], "1"),
        ("others", &releases[1], "2"),
        ("testers", &releases[1], "1"),
    ] {
        world::brand(&gateway, brand, false).await;
        world::switch_on(&gateway, brand, release, json!({ "host": "api" }), json!({})).await;
        assert_eq!(loaded().await.as_deref(), Some(expected), "{brand} at {}", release["version"]);
    }
    for (brand, expected) in [("testers", "1"), ("others", "0")] {
        let path = format!("/v1/brands/{brand}/connections/hostile");
        gateway.brand(brand).await.delete(&path).await.ok();
        assert_eq!(loaded().await.as_deref(), Some(expected), "{brand} switched it off");
    }
}
