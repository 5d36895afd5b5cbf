//! A plugin's life by its commands: each says what it did, and the API shows that it did it.

use gateway_tests::{Client, Options, TestGateway, components, events, gateway_binary, world};
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;

const BRAND: &str = "testers";
const CONNECTION: &str = "/v1/brands/testers/connections/hostile";
const EMAIL: &str = "/contact/email";

/// A gateway with two releases of the `hostile` plugin, the first of them on.
struct World {
    gateway: TestGateway,
    brand: Client,
    partner: Client,
    operator: Client,
    /// As the API shows it.
    first: Value,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let gateway = TestGateway::start(Options::default()).await;
        world::hostile(&gateway, "none").await;
        let (brand, partner) = (gateway.brand(BRAND).await, gateway.partner_key("mallory").await);
        let first = brand.get("/v1/plugins/hostile/releases").await.expect(200)[0].clone();
        let narrower = with_manifest(&components().hostile.bytes, |manifest| {
            manifest["plugin"]["version"] = json!("1.1.0");
            let receives = manifest["share"][0]["receives"].as_array_mut().unwrap();
            receives.retain(|field| field["field"] != EMAIL);
        });
        partner.publish(&narrower).await.expect(201);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("narrower.wasm"), narrower).unwrap();
        let operator = gateway.operator().await;
        Self { gateway, brand, partner, operator, first, dir }
    }

    /// What `gateway plugin` prints, line by line with single spaces, and whether it succeeds.
    async fn says(&self, key: &Client, arguments: &[&str]) -> (bool, Vec<String>) {
        let mut command = tokio::process::Command::new(gateway_binary());
        command.current_dir(self.dir.path()).arg("plugin").args(arguments);
        command.env("GATEWAY_URL", &self.gateway.url).env("GATEWAY_KEY", key.key());
        let output = command.output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        (output.status.success(), lines.collect())
    }

    /// As [`World::says`], of a command that succeeds and prints this line.
    async fn does(&self, key: &Client, arguments: &[&str], line: &str) {
        let (succeeded, said) = self.says(key, arguments).await;
        assert!(succeeded && said.iter().any(|told| told == line), "{arguments:?}: {line}\nin\n{said:#?}");
    }

    /// As [`World::says`], of a command that fails and says this.
    async fn refuses(&self, key: &Client, arguments: &[&str], words: &str) {
        let (succeeded, said) = self.says(key, arguments).await;
        assert!(!succeeded && said.join("\n").contains(words), "{arguments:?}: {words}\nin\n{said:#?}");
    }

    /// Version and state of the connection.
    async fn stands(&self) -> (String, String) {
        let view = self.brand.get(CONNECTION).await.expect(200);
        let text = |key: &str| view[key].as_str().unwrap().to_owned();
        (text("version"), text("state"))
    }

    /// Status of a release, and why.
    async fn status(&self, version: &str) -> (String, Option<String>) {
        let releases = self.brand.get("/v1/plugins/hostile/releases").await.expect(200);
        let release = releases.as_array().unwrap().iter().find(|one| one["version"] == version).unwrap();
        (release["status"].as_str().unwrap().to_owned(), release["reason"].as_str().map(str::to_owned))
    }

    /// The outcome of the newest call, after one more event.
    async fn outcome(&self) -> String {
        let event = events::chat_ended(BRAND, "ada");
        self.gateway.source(BRAND).await.post_event(&event).await.expect(202);
        self.gateway.settled().await;
        self.brand.flows("stage=call").await[0]["outcome"].as_str().unwrap().to_owned()
    }
}

fn stand(version: &str, state: &str) -> (String, String) {
    (version.to_owned(), state.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_and_rollback_say_what_changes_and_change_it() {
    let world = World::new().await;
    let (old, new) = ("hostile@1.0.0", "hostile@1.1.0");
    for (from, to, line, whole) in [
        (old, new, "narrower share chat.ended loses /contact/email", "the whole is narrower"),
        (new, old, "wider share chat.ended gains /contact/email, sealed", "the whole is wider"),
        (old, "narrower.wasm", "narrower share chat.ended loses /contact/email", "the whole is narrower"),
    ] {
        world.does(&world.brand, &["diff", from, to], line).await;
        world.does(&world.brand, &["diff", from, to], whole).await;
    }
    world.does(&world.brand, &["diff", old, old], "the whole is equal").await;

    // The second was never on here; it gets no more than what stands.
    world.does(&world.brand, &["rollback", BRAND, "hostile", "1.1.0"], "testers hostile 1.1.0 on - -").await;
    assert_eq!(world.stands().await, stand("1.1.0", "on"));
    world.does(&world.brand, &["rollback", BRAND, "hostile"], "testers hostile 1.0.0 on - -").await;
    assert_eq!(world.stands().await, stand("1.0.0", "on"));
    world
        .refuses(&world.brand, &["rollback", BRAND, "hostile", "9.9.9"], "release 9.9.9 of plugin hostile")
        .await;
    world.refuses(&world.partner, &["rollback", BRAND, "hostile", "1.1.0"], "this needs a key of role").await;
    assert_eq!(world.stands().await, stand("1.0.0", "on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_status_show_what_the_plugin_wrote_and_how_its_calls_ended() {
    let world = World::new().await;
    world::hostile_behaves(&world.gateway, &world.first, "value-in-log").await;
    assert_eq!(world.outcome().await, "ran");
    world::hostile_behaves(&world.gateway, &world.first, "trap").await;
    assert_eq!(world.outcome().await, "failed:trap");

    let logs = world.partner.get("/v1/partner/logs").await.ok();
    let line = &logs["items"].as_array().unwrap().last().unwrap()["lines"][0];
    let (level, text) = (line[0].as_str().unwrap(), line[1].as_str().unwrap());
    for arguments in [&["logs"][..], &["logs", "hostile"], &["logs", "hostile", "--brand", BRAND]] {
        let (succeeded, said) = world.says(&world.partner, arguments).await;
        let has = |end: String| said.iter().any(|line| line.ends_with(&format!(" testers hostile {end}")));
        assert!(succeeded && has(format!("{level} {text}")), "{said:#?}");
        assert!(has("failed see plugin-sdk/docs/errors.md#trap".into()), "{said:#?}");
    }
    let (succeeded, said) = world.says(&world.partner, &["logs", "another"]).await;
    assert!(succeeded && said.len() == 1, "a heading alone: {said:#?}");

    let status = &world.partner.get("/v1/partner/status").await.ok()[0];
    assert_eq!((&status["calls"], &status["failures"]), (&json!(2), &json!(1)), "{status}");
    let (succeeded, said) = world.says(&world.partner, &["status", "hostile"]).await;
    assert!(succeeded && said.iter().any(|line| line.starts_with("testers hostile 2 1 ")), "{said:#?}");
    assert!(said[0].starts_with("brand plugin calls failures"), "{said:#?}");
    world.refuses(&world.brand, &["status"], "this needs a key of role").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdraw_takes_no_one_further_and_block_stops_at_once_until_it_is_lifted() {
    let world = World::new().await;
    let reason = "it loses leads";
    world
        .does(
            &world.partner,
            &["withdraw", "hostile", "1.1.0", "--reason", reason],
            "hostile 1.1.0 mallory withdrawn it loses leads",
        )
        .await;
    assert_eq!(world.status("1.1.0").await, ("withdrawn".to_owned(), Some(reason.to_owned())));
    let told = "is withdrawn by its partner (it loses leads)";
    world.refuses(&world.brand, &["rollback", BRAND, "hostile", "1.1.0"], told).await;
    world.refuses(&world.brand, &["rollout", BRAND, "hostile", "1.1.0", "--percent", "10"], told).await;
    assert_eq!((world.stands().await, world.outcome().await), (stand("1.0.0", "on"), "ran".to_owned()));

    let block = ["block", "hostile", "1.0.0", "--reason", reason];
    for key in [&world.partner, &world.brand] {
        world.refuses(key, &block, "this needs a key of role").await;
    }
    world.does(&world.operator, &block, "hostile 1.0.0 mallory blocked it loses leads").await;
    assert_eq!(world.status("1.0.0").await, ("blocked".to_owned(), Some(reason.to_owned())));
    assert_eq!(world.stands().await, stand("1.0.0", "blocked"));
    assert_eq!(world.outcome().await, "not-run:blocked");
    world
        .does(&world.operator, &["block", "hostile", "1.0.0", "--lift"], "hostile 1.0.0 mallory published -")
        .await;
    assert_eq!((world.stands().await, world.outcome().await), (stand("1.0.0", "on"), "ran".to_owned()));
}
