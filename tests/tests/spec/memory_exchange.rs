//! Given a plugin that remembers and asks its partner during a call, and means ill; when it tries to get a value
//! past its labels; then the labels have it, the value stays where it may be, and a row of the ledger says so.

mod blocked;
mod exchange;
mod memory;
mod numbers;
mod oauth;
mod rehearsed;

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};

const BRAND: &str = "testers";
/// What the plugin reads and would carry off.
const VALUE: &str = "Zyxomma-Petiolatum";

/// A gateway with the `hostile` plugin of `mallory`, a third party, at one brand.
struct World {
    gateway: TestGateway,
    release: Value,
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let gateway = TestGateway::start(options).await;
        let patient = tokio::task::spawn_blocking(patient).await.expect("the components are built");
        world::brand(&gateway, BRAND, false).await;
        world::partner(&gateway, "mallory", "US", "mallory.example").await;
        let release = gateway.partner_key("mallory").await.publish(&patient).await.expect(201);
        Self { gateway, release }
    }

    /// Switches the plugin to a behaviour, with these fields and combinations taken out of the grant.
    async fn behave(&self, behaviour: &str, without: &[&str]) {
        let settings = json!({ "host": "api", "behaviour": behaviour });
        let mut document = world::connection(&self.release, settings, json!({}));
        let grant = document["grant"].as_object_mut().unwrap();
        grant.retain(|key, _| !without.contains(&key.as_str()));
        for fields in grant.values_mut() {
            fields.as_array_mut().unwrap().retain(|field| !without.contains(&field.as_str().unwrap()));
        }
        let path = format!("/v1/brands/{BRAND}/connections/hostile");
        self.gateway.brand(BRAND).await.put(&path, &document).await.ok();
    }

    /// Sends the event and waits for all that comes of it.
    async fn share(&self, behaviour: &str, event: &Value) {
        self.behave(behaviour, &[]).await;
        self.send(event).await;
    }

    async fn send(&self, event: &Value) {
        self.gateway.source(BRAND).await.post_event(event).await.expect(202);
        self.gateway.settled().await;
    }

    /// What was returned last.
    async fn returned(&self) -> Value {
        let path = format!("/v1/brands/{BRAND}/returns?limit=1000");
        let feed = self.gateway.brand(BRAND).await.get(&path).await.expect(200);
        feed.as_array().and_then(|feed| feed.last()).cloned().unwrap_or_default()
    }

    /// The rows of a consumer in one stage, oldest first.
    async fn rows(&self, subject: &str, stage: &str) -> Vec<Value> {
        let query = format!("consumer={subject}&stage={stage}");
        let mut rows = self.gateway.brand(BRAND).await.flows(&query).await;
        rows.reverse();
        rows
    }

    async fn choose(&self, subject: &str, choices: Value) {
        let path = format!("/v1/brands/{BRAND}/consumers/{subject}/choices");
        self.gateway.brand(BRAND).await.put(&path, &choices).await.ok();
    }
}

/// The plugin, for which a decision may take long, with all combinations.
fn patient() -> Vec<u8> {
    crate::hostile::remade::with_manifest(&components().hostile.bytes, |manifest| {
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
        let_all_meet(manifest);
    })
}

/// What is read and what is answered may meet, wherever the plugin puts it.
pub(crate) fn let_all_meet(manifest: &mut Value) {
    let of = json!(["first-party:user", "partner:user"]);
    let combine = |into: &str| json!({ "of": of, "into": into, "why": "to be tested" });
    manifest["combine"] = ["/verdict", "/count", "json", "ask"].map(combine).to_vec().into();
}

/// A chat in which the consumer gives a name.
fn chat(subject: &str) -> Value {
    events::with(events::chat_ended(BRAND, subject), [("/data/contact/name/first", json!(VALUE))])
}

/// A chat in which the consumer gives an e-mail address and no name: nothing of it can be read without a
/// permission for its transcript.
fn nameless(subject: &str) -> Value {
    events::with(events::chat_ended(BRAND, subject), [("/data/contact/name", Value::Null)])
}

/// The permission by which the transcript can be read.
fn permitted() -> Value {
    let permission = json!({ "for": { "integration": "hostile" }, "wording": "It may.", "actor": "agent-7" });
    json!({ "permissions": [permission] })
}

/// The verdict of a row on what was not a field of the event.
fn verdict_on<'r>(row: &'r Value, field: &str) -> Option<&'r Value> {
    row["fields"].as_array().into_iter().flatten().find(|verdict| verdict["field"] == field)
}

fn has_label(labels: &Value, label: &str) -> bool {
    labels.as_array().is_some_and(|labels| labels.iter().any(|known| known == label))
}
