//! Brands, partners, contracts and switches, written through the API. The demo's world is written here a
//! second time, from the task and not from the demo's code, so that one is checked against the other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::builds::{Component, components};
use crate::client::{Keyed, signing_key};

/// Brands of the demo's world.
pub const NORTHSIDE: &str = "northside-motors";
pub const DENTAL: &str = "city-dental";
pub const BANK: &str = "first-bank";

/// Writes a brand.
pub async fn brand(gateway: &impl Keyed, name: &str, platform: bool) {
    let document = json!({ "display_name": name, "platform": platform });
    gateway.operator().await.put(&format!("/v1/brands/{name}"), &document).await.ok();
}

/// Writes a partner with one domain.
pub async fn partner(gateway: &impl Keyed, name: &str, region: &str, domain: &str) {
    let document = json!({
        "display_name": name, "region": region, "domains": [domain], "release_keys": [signing_key(name).public()],
    });
    gateway.operator().await.put(&format!("/v1/partners/{name}"), &document).await.ok();
}

/// Writes a contract for one purpose and all categories; `changes` are put over it.
pub async fn contract(gateway: &impl Keyed, partner: &str, purpose: &str, changes: Value) {
    let mut document = json!({ "purposes": [purpose], "categories": ["user"], "onward_transfer": false });
    for (name, value) in changes.as_object().into_iter().flatten() {
        document[name] = value.clone();
    }
    let path = format!("/v1/partners/{partner}/contracts/terms");
    gateway.operator().await.put(&path, &document).await.ok();
}

/// Publishes a component for its partner; the release as the API shows it.
pub async fn publish(gateway: &impl Keyed, partner: &str, component: &Component) -> Value {
    gateway.partner_key(partner).await.publish(&component.bytes).await.ok()
}

/// A grant of every field and every combination that a release declares.
pub fn full_grant(release: &Value) -> BTreeMap<String, Vec<String>> {
    let hooks = release["hooks"].as_object().expect("a release has hooks");
    let fields = |fields: &Value| {
        let fields = fields.as_array().into_iter().flatten();
        fields.filter_map(|field| field["field"].as_str().map(str::to_owned)).collect()
    };
    let combinations = release["combinations"].as_object().into_iter().flatten();
    let combinations = combinations.map(|(key, of)| {
        let of = of.as_array().into_iter().flatten().filter_map(|part| part.as_str().map(str::to_owned));
        (key.clone(), of.collect())
    });
    hooks.iter().map(|(hook, of)| (hook.clone(), fields(of))).chain(combinations).collect()
}

/// The document that switches a release on with every declared field granted.
pub fn connection(release: &Value, settings: Value, secrets: Value) -> Value {
    json!({
        "release": release["release"], "grant": full_grant(release), "settings": settings, "secrets": secrets,
    })
}

/// Switches a release on, with every declared field granted.
pub async fn switch_on(gateway: &impl Keyed, brand: &str, release: &Value, settings: Value, secrets: Value) {
    let plugin = release["plugin"].as_str().expect("a release names its plugin");
    let path = format!("/v1/brands/{brand}/connections/{plugin}");
    gateway.brand(brand).await.put(&path, &connection(release, settings, secrets)).await.ok();
}

/// Settings of `adf-lead`.
pub fn adf_settings() -> Value {
    json!({ "host": "leads", "dealer": "4711", "vendor-name": "Northside Motors" })
}

/// Secrets of `adf-lead`.
pub fn adf_secrets() -> Value {
    json!({ "api-key": "the-dealers-api-key-of-the-tests" })
}

/// The demo's world: northside-motors with `adf-lead` and `chat-button`, city-dental with
/// `transcript-quality` and `chat-button`, first-bank with nothing; acme-crm in the US without a contract,
/// engage in the US with one for its purpose and onward transfer, clarity in the EU with one for its purpose.
pub async fn demo(gateway: &impl Keyed) {
    // Building blocks; the runtime has other things to do meanwhile.
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    for name in [NORTHSIDE, DENTAL, BANK] {
        brand(gateway, name, false).await;
    }
    partner(gateway, "acme-crm", "US", "acme.example").await;
    partner(gateway, "engage", "US", "engage.example").await;
    partner(gateway, "clarity", "EU", "clarity.example").await;
    contract(gateway, "engage", "personalize.content.limited", json!({ "onward_transfer": true })).await;
    contract(gateway, "clarity", "essential.service.operations.improve", json!({})).await;

    let adf = publish(gateway, "acme-crm", &built.adf_lead).await;
    let button = publish(gateway, "engage", &built.chat_button).await;
    let quality = publish(gateway, "clarity", &built.transcript_quality).await;
    switch_on(gateway, NORTHSIDE, &adf, adf_settings(), adf_secrets()).await;
    switch_on(gateway, NORTHSIDE, &button, json!({}), json!({})).await;
    switch_on(gateway, DENTAL, &quality, json!({}), json!({})).await;
    switch_on(gateway, DENTAL, &button, json!({}), json!({})).await;
}

/// A brand `testers` with the `hostile` plugin of partner `mallory`, a third party in the US; `behaviour` is
/// one of the plugin's list.
pub async fn hostile(gateway: &impl Keyed, behaviour: &str) {
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    brand(gateway, "testers", false).await;
    partner(gateway, "mallory", "US", "mallory.example").await;
    let release = publish(gateway, "mallory", &built.hostile).await;
    hostile_behaves(gateway, &release, behaviour).await;
}

/// Switches the `hostile` plugin to another behaviour.
pub async fn hostile_behaves(gateway: &impl Keyed, release: &Value, behaviour: &str) {
    let settings = json!({ "host": "api", "behaviour": behaviour });
    switch_on(gateway, "testers", release, settings, json!({})).await;
}
