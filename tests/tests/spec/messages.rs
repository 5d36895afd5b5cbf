//! Given a partner that sends messages to its plugin; when they are about consumers who are known, unknown or opted out,
//! or the gateway stops, or the brand switches the plugin off; then the partner hears the same, and what is kept is what
//! may be.

mod kept;
mod rehearsed;

use gateway_tests::world::{brand, connection, partner};
use gateway_tests::{Options, TestGateway, components, events};
use serde_json::{Value, json};
use sqlx::Connection as _;
use standardwebhooks::Webhook;

use crate::onward::{assert_withheld, labels, verdict_on};

pub(crate) const BRAND: &str = "testers";
const PLUGIN: &str = "pen-pal";
/// The name in each chat.
const NAME: &str = "Ottoline";
const FIRST: &str = "first-party:user.name.first";
const OWN: &str = "partner:mallory:user.account";

/// A gateway with the plugin `pen-pal` on at one brand; to its partner the consumer `ada` is known by a handle.
pub(crate) struct World {
    pub(crate) gateway: TestGateway,
    release: Value,
    secret: String,
    handle: String,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With the plugin's manifest changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let gateway = TestGateway::start(Options::default()).await;
        let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
        brand(&gateway, BRAND, false).await;
        partner(&gateway, "mallory", "US", "mallory.example").await;
        let component = crate::hostile::remade::with_manifest(&built.pen_pal.bytes, change);
        let release = gateway.partner_key("mallory").await.publish(&component).await.expect(201);
        let mut world = Self { gateway, release, secret: String::new(), handle: String::new() };
        world.secret = world.behave("").await.expect("the secret is shown once");
        world.chat().await;
        let request = world.gateway.partner.wait_for(1).await.remove(0);
        let body: Value = serde_json::from_slice(&request.body).expect("the request is JSON");
        world.handle = body["ref"].as_str().expect("the request holds the handle").to_owned();
        world
    }

    fn path(&self) -> String {
        format!("/v1/brands/{BRAND}/connections/{PLUGIN}")
    }

    /// Switches the plugin to a behaviour; the secret for messages, where it is new.
    pub(crate) async fn behave(&self, behaviour: &str) -> Option<String> {
        let document = connection(&self.release, json!({ "behaviour": behaviour }), json!({}));
        let view = self.gateway.brand(BRAND).await.put(&self.path(), &document).await.ok();
        view["inbound_secret"].as_str().map(str::to_owned)
    }

    /// A chat of `ada`, and all that comes of it.
    pub(crate) async fn chat(&self) {
        let chat = events::chat_ended(BRAND, "ada");
        self.gateway.source(BRAND).await.post_event(&chat).await.expect(202);
        self.gateway.settled().await;
    }

    /// Sends a message and waits for the answer alone: status, headers that say something, body.
    async fn post(&self, id: &str, handle: &str, says: &str) -> (u16, Vec<(String, String)>, String) {
        let body = json!({ "member": { "ref": handle, "says": says } }).to_string();
        let at = self.gateway.clock.now_ms() / 1000;
        let signature = Webhook::new(&self.secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
        let answer = reqwest::Client::new()
            .post(format!("{}/v1/inbound/{BRAND}/{PLUGIN}", self.gateway.url))
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            .expect("the gateway answers");
        let status = answer.status().as_u16();
        let headers = answer.headers().iter().filter(|(name, _)| *name != "date" && *name != "x-request-id");
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (status, headers.collect(), answer.text().await.expect("a body"))
    }

    /// The same about `ada`, with all that comes of it.
    pub(crate) async fn send(&self, id: &str, says: &str) {
        assert_eq!(self.post(id, &self.handle, says).await.0, 202);
        self.gateway.settled().await;
    }

    /// Outcomes of messages, oldest first.
    async fn outcomes(&self) -> Vec<String> {
        let mut rows = self.gateway.auditor().await.flows("stage=receive").await;
        rows.reverse();
        rows.iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
    }

    /// The newest row of a stage.
    async fn newest(&self, stage: &str) -> Value {
        self.gateway.auditor().await.flows(&format!("stage={stage}")).await.remove(0)
    }

    async fn consumer(&self) -> Value {
        self.gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/consumers/ada")).await.ok()
    }

    async fn received(&self) -> Value {
        self.consumer().await["received"].clone()
    }

    /// What was returned last.
    async fn returned(&self) -> Value {
        let feed = self.gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/returns")).await.ok();
        feed.as_array().and_then(|feed| feed.last()).cloned().unwrap_or_default()
    }

    async fn choose(&self, choices: Value) {
        let path = format!("/v1/brands/{BRAND}/consumers/ada/choices");
        self.gateway.brand(BRAND).await.put(&path, &choices).await.ok();
    }

    async fn later(&self, seconds: i64) {
        self.gateway.clock.advance(time::Duration::seconds(seconds));
        self.gateway.settled().await;
    }
}

fn opted_out() -> Value {
    json!({ "opt_out": { "integrations": [PLUGIN] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_the_plugin_and_is_the_same_for_all() {
    let world = World::new().await;
    world.behave("loop").await;
    let known = world.post("m-1", &world.handle, "gold").await;
    assert_eq!((known.0, known.2.as_str()), (202, ""));
    assert!(world.outcomes().await.is_empty(), "it is answered before its plugin is through");
    world.gateway.settled().await;
    assert_eq!(world.outcomes().await.len(), 1);
    let unknown = world.post("m-2", "00112233445566778899aabbccddeeff", "gold").await;
    let nobody = world.post("m-3", "", "gold").await;
    let again = world.post("m-1", &world.handle, "gold").await;
    world.choose(opted_out()).await;
    let opted_out = world.post("m-4", &world.handle, "gold").await;
    for (name, answer) in
        [("unknown", unknown), ("nobody", nobody), ("again", again), ("opted out", opted_out)]
    {
        assert_eq!(answer, known, "{name}");
    }
    world.gateway.settled().await;
    let outcomes = world.outcomes().await;
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    assert!(outcomes[0].starts_with("failed:"), "{outcomes:?}");
    for outcome in ["not-run:unknown-consumer", "not-run:nothing-left"] {
        assert!(outcomes.iter().any(|known| known == outcome), "{outcomes:?}");
    }
}

/// Whether its plugin writes back would tell a partner whether it ran, and so what the consumer chose.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_back_to_the_partner_on_a_message() {
    let world = World::new().await;
    let before = world.gateway.partner.received().len();
    world.behave("answer").await;
    world.send("m-1", "gold").await;
    let rows = world.gateway.auditor().await.flows("stage=delivery").await;
    assert_eq!(rows[0]["outcome"], "withheld", "{rows:?}");
    assert_eq!(world.gateway.partner.received().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_taken_is_worked_on_after_a_restart_and_once() {
    let mut world = World::new().await;
    world.behave("unavailable").await;
    world.send("m-1", "gold").await;
    assert_eq!(world.outcomes().await, ["failed:unavailable"]);
    world.gateway = world.gateway.stop().await.start().await;
    world.behave("").await;
    assert_eq!(world.received().await, json!({}));
    world.later(6).await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));
    world.later(600).await;
    assert_eq!(world.outcomes().await, ["failed:unavailable", "received"]);
    let database = world.gateway.database();
    for file in [database.clone(), database.with_extension("db-wal")] {
        let bytes = std::fs::read(&file).expect("the store's file");
        let handle = world.handle.as_bytes();
        assert!(!bytes.windows(handle.len()).any(|window| window == handle), "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_message_that_is_done_later_replaces_nothing() {
    let world = World::new().await;
    world.behave("unavailable").await;
    world.send("m-1", "silver").await;
    world.behave("").await;
    world.send("m-2", "gold").await;
    world.later(6).await;
    assert_eq!(world.outcomes().await, ["failed:unavailable", "received", "received"]);
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));
}

/// A commit whose outcome is not known, or that somebody else made: here another process does the message meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_read_again_where_a_commit_came_to_nothing() {
    const KEEP: &str = "CREATE TABLE kept AS SELECT payload FROM received";
    const MEANWHILE: [&str; 3] =
        ["DELETE FROM inbox", "UPDATE received SET payload = (SELECT payload FROM kept)", "DROP TABLE kept"];
    let world = World::new().await;
    let url = format!("sqlite:{}?mode=rw", world.gateway.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.expect("the store opens");
    world.send("m-1", "silver").await;
    sqlx::query(KEEP).execute(&mut store).await.expect("what is kept is set aside");
    world.send("m-2", "gold").await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));

    world.behave("slow").await;
    assert_eq!(world.post("m-3", &world.handle, "bronze").await.0, 202);
    sqlx::query("BEGIN IMMEDIATE").execute(&mut store).await.expect("nobody else writes");
    for change in MEANWHILE {
        sqlx::query(change).execute(&mut store).await.expect("the change is made");
    }
    sqlx::query("COMMIT").execute(&mut store).await.expect("it commits");
    world.gateway.settled().await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "silver" }), "as it is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_while_a_message_is_worked_on_keeps_its_fields_out() {
    let world = World::new().await;
    world.behave("slow").await;
    assert_eq!(world.post("m-1", &world.handle, "gold").await.0, 202);
    world.choose(opted_out()).await;
    world.gateway.settled().await;
    let outcomes = world.outcomes().await;
    // Decided anew: what the call brought under the older choices is not kept.
    let kept_out = ["not-kept:decision-stale", "not-run:nothing-left"];
    assert_eq!(outcomes, kept_out);
    world.choose(json!({})).await;
    assert_eq!(world.received().await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_finds_the_memory_and_leaves_one_with_labels() {
    let world = World::new().await;
    world.behave("remember").await;
    world.chat().await;
    world.behave("recall").await;
    world.send("m-1", "").await;
    let received = world.received().await[PLUGIN].clone();
    assert_eq!(received["value"], json!({ "said": NAME }));
    for label in [FIRST, OWN] {
        assert!(received["labels"]["/said"].as_array().unwrap().contains(&json!(label)), "{received}");
    }
    // The row of the message says what could be looked at and what came of it, each with its labels.
    let row = world.newest("receive").await;
    let memory = verdict_on(&row, "memory");
    assert_eq!((&memory["access"], &memory["decision"]), (&json!("memory"), &json!("allow")), "{row}");
    assert_eq!(labels(&memory), [FIRST], "{row}");
    let said = verdict_on(&row, "/said");
    assert_eq!((&said["access"], &said["decision"]), (&json!("return"), &json!("allow")), "{row}");
    assert_eq!(said["labels"], received["labels"]["/said"], "{row}");

    world.behave("remember").await;
    world.send("m-2", "gold").await;
    let row = world.newest("receive").await;
    assert_eq!(row["outcome"], "nothing-received");
    assert_eq!(verdict_on(&row, "memory")["decision"], "allow", "{row}");
    world.behave("recall").await;
    world.chat().await;
    // What the message was joined what was remembered before.
    let memory = verdict_on(&world.newest("call").await, "memory");
    assert_withheld(&memory, "clause:integrations.combine");
    let pair = &memory["kept_apart"];
    assert_eq!((&pair["label"], &pair["with"]), (&json!(OWN), &json!(FIRST)), "{memory}");
    for label in [FIRST, OWN] {
        assert!(labels(&memory).contains(&label), "{memory}");
    }
    let returned = world.returned().await;
    assert_eq!(
        returned["value"]["said"], "nothing",
        "what the partner said meets no name without a grant: {returned}"
    );
    world.send("m-3", "").await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_keeps_goes_with_its_connection() {
    let mut world = World::new().await;
    world.send("m-1", "gold").await;
    world.behave("remember").await;
    world.chat().await;
    world.behave("unavailable").await;
    world.send("m-2", "silver").await;
    assert_eq!(world.received().await[PLUGIN]["value"], json!({ "said": "gold" }));

    world.gateway.brand(BRAND).await.delete(&world.path()).await.ok();
    assert_eq!(world.received().await, json!({}));
    world.secret = world.behave("recall").await.expect("it is switched on anew");
    // What was sent to the connection of before is not for this one.
    world.later(6).await;
    assert_eq!(world.outcomes().await.last().map(String::as_str), Some("not-run:switched-off"));
    world.chat().await;
    assert_eq!(world.returned().await["value"]["said"], "nothing");
    assert_eq!(world.received().await, json!({}));
    world.gateway = world.gateway.stop().await.start().await;
    assert_eq!(world.received().await, json!({}));
    world.chat().await;
    assert_eq!(world.returned().await["value"]["said"], "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_sees_that_a_plugin_remembers_and_gets_messages() {
    let world = World::new().await;
    let client = world.gateway.brand(BRAND).await;
    let preview = client.get(&format!("{}/preview", world.path())).await.ok();
    assert_eq!(preview["memory"]["max_bytes"], 32 * 1024);
    let labels = &preview["memory"]["labels"];
    assert_eq!(*labels, json!([OWN, FIRST]), "not the pseudonym, which it cannot read");
    let sentences = preview["sentences"].to_string();
    for part in ["may send it messages", "may remember up to 32768 bytes", FIRST] {
        assert!(sentences.contains(part), "{part}: {sentences}");
    }

    assert_eq!(world.consumer().await["memories"], json!({}));
    world.behave("remember").await;
    world.chat().await;
    let memories = world.consumer().await["memories"].clone();
    let memory = &memories[PLUGIN];
    assert_eq!((&memory["entries"], &memory["labels"]), (&json!(1), &json!([FIRST])), "{memories}");
    assert_eq!(memory["bytes"], "kept".len() + NAME.len() + 2);
    assert!(!memories.to_string().contains(NAME), "that there is one, and not what is in it: {memories}");
    client.delete(&world.path()).await.ok();
    assert_eq!(world.consumer().await["memories"], json!({}));
}

/// Clause share.legal: an export covers what plugins keep, where all that it derives from is within the scope.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_an_authority_holds_what_plugins_keep_within_its_scope() {
    let world = World::new().await;
    world.send("m-1", "gold").await;
    world.behave("remember").await;
    world.chat().await;
    world.behave("recall").await;
    world.chat().await;
    let gateway = &world.gateway;
    let key = async || {
        let made = gateway.gateway.create_key(gateway::pipeline::Role::Operator, None, None, "tests").await;
        gateway.anonymous().with_key(Some(&made.unwrap().1))
    };
    let (ada, carl) = (key().await, key().await);
    let base = format!("/v1/brands/{BRAND}/disclosures");
    let export = async |scope: &[&str]| {
        let document = json!({
            "consumer": "ada", "reason": "i", "scope": scope, "authority": "District Court", "reference": "1",
            "person": "Ada Bell",
        });
        let body = |document: &Value| document.to_string().into_bytes();
        let asked = ada.post_body(&base, "application/json", body(&document)).await.expect(201);
        let one = format!("{base}/{}", asked["id"].as_str().unwrap());
        let approval = json!({ "person": "Carl Dow" });
        carl.post_body(&format!("{one}/approve"), "application/json", body(&approval)).await.expect(200);
        let answer = ada.get(&format!("{one}/export")).await.expect(200);
        let mut rows = gateway.auditor().await.flows("stage=disclose").await;
        rows.retain(|row| row["event"] == asked["id"] && row["plugin"] == PLUGIN);
        rows.sort_by_key(|row| row["event_type"].to_string());
        (answer["kept"].clone(), rows)
    };
    // All that any of it derives from, and no more.
    let (kept, rows) = export(&["user.account", "user.name", "user.unique_id"]).await;
    let told: Vec<_> = kept.as_array().unwrap().iter().map(|one| (&one["kind"], &one["data"])).collect();
    let (memory, name) = (json!({ "kept": NAME }), json!({ "said": NAME }));
    assert_eq!(
        told,
        [
            (&json!("received"), &json!({ "said": "gold" })),
            (&json!("memory"), &memory),
            (&json!("returned"), &name),
        ]
    );
    assert_eq!(kept[1]["labels"]["memory"], json!([FIRST]));
    assert_eq!(rows.len(), 3);
    for (row, kind) in rows.iter().zip(["memory", "received", "returned"]) {
        assert_eq!((&row["event_type"], &row["partner"]), (&json!(kind), &json!("mallory")));
        assert_eq!(row["outcome"], "exported:share.legal.i");
        assert_eq!(row["fields"][0]["reason"], "clause:share.legal");
    }
    // A name that was remembered: the name alone may go; what the partner said derives from more.
    let (kept, rows) = export(&["user.name"]).await;
    let told: Vec<_> = kept.as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(told, [&json!("memory")]);
    let reasons: Vec<_> = rows.iter().map(|row| row["fields"][0]["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["clause:share.legal", "not-granted", "not-granted"]);
    let (kept, rows) = export(&["user.contact"]).await;
    assert_eq!((kept, rows), (json!([]), vec![]));
}
