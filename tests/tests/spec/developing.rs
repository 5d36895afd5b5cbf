//! Given a gateway at work and a plugin that is being written; when its source changes, does not compile, fails its
//! case or asks for more; then the build goes to the calls of the connections that may have it, every event is handled
//! once all the while, and what may not be taken is told and leaves the release before where it is.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gateway_tests::child::command;
use gateway_tests::{Client, Options, TestGateway, events, eventually, world};
use serde_json::{Value, json};

const BRAND: &str = "testers";
const PARTNER: &str = "acme";

/// A project as `gateway plugin new` writes it, a partner's key, and a gateway.
struct Workshop {
    gateway: TestGateway,
    dir: tempfile::TempDir,
    plugin: &'static str,
}

impl Workshop {
    async fn new(plugin: &'static str) -> Self {
        let gateway = TestGateway::start(Options::default()).await;
        let dir = tempfile::tempdir().expect("a temporary directory");
        world::brand(&gateway, BRAND, false).await;
        let workshop = Self { gateway, dir, plugin };
        workshop.ran(&["plugin", "new", plugin, "--lang", "rust", "--dir", "project"], "").await;
        // The tests' endpoint answers for this name.
        for file in ["plugin.toml", "cases/lead/expected.json"] {
            workshop.edit(file, "my-company", PARTNER);
        }
        let made = workshop.ran(&["plugin", "keygen", "release.key", "--format", "json"], "").await;
        let made: Value = serde_json::from_str(&made).expect("a key as JSON");
        let partner = json!({
            "display_name": PARTNER, "region": "US", "domains": ["acme.example"],
            "release_keys": [made["public_key"]],
        });
        let path = format!("/v1/partners/{PARTNER}");
        workshop.gateway.operator().await.put(&path, &partner).await.ok();
        workshop
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// Replaces text in a file of the project, by way of a rename, as editors do.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.project().join(file);
        let text = std::fs::read_to_string(&path).expect("a file of the project");
        assert!(text.contains(from), "{file} has no `{from}`");
        let beside = self.project().join(".editing");
        std::fs::write(&beside, text.replace(from, to)).expect("a file beside it");
        std::fs::rename(&beside, &path).expect("a rename");
    }

    /// What a command says that succeeds, with an API key.
    async fn ran(&self, arguments: &[&str], key: &str) -> String {
        let (succeeded, said) = self.run(arguments, key, "").await;
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    async fn run(&self, arguments: &[&str], key: &str, brand_key: &str) -> (bool, String) {
        let mut command = command(self.dir.path());
        command.args(arguments).env("GATEWAY_URL", &self.gateway.url);
        for (name, key) in [("GATEWAY_KEY", key), ("GATEWAY_BRAND_KEY", brand_key)] {
            if !key.is_empty() {
                command.env(name, key);
            }
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let output = output.expect("the gateway's binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    async fn dev_once(&self) -> (bool, String) {
        let key = self.gateway.partner_key(PARTNER).await.key().to_owned();
        self.run(&["plugin", "dev", "project", "--signing-key", "release.key", "--once"], &key, "").await
    }

    async fn releases(&self) -> Vec<Value> {
        let path = format!("/v1/plugins/{}/releases", self.plugin);
        let releases = self.gateway.partner_key(PARTNER).await.get(&path).await.expect(200);
        releases.as_array().expect("a list").clone()
    }

    fn connection_path(&self) -> String {
        format!("/v1/brands/{BRAND}/connections/{}", self.plugin)
    }

    async fn version(&self) -> Value {
        let brand = self.gateway.brand(BRAND).await;
        brand.get(&self.connection_path()).await.expect(200)["version"].clone()
    }

    /// Switches a release on with every field granted.
    async fn switch_on(&self, release: &Value, follow: &str) {
        let mut document = world::connection(release, json!({}), json!({ "api-key": "s3cret" }));
        document["follow"] = json!(follow);
        self.gateway.brand(BRAND).await.put(&self.connection_path(), &document).await.ok();
    }

    async fn develop(&self) -> Developing {
        let key = self.gateway.partner_key(PARTNER).await.key().to_owned();
        let mut command = command(self.dir.path());
        command
            .args(["plugin", "dev", "project", "--signing-key", "release.key"])
            .env("GATEWAY_URL", &self.gateway.url)
            .env("GATEWAY_KEY", key);
        // Both into one file, so that they stand in their order, as on a terminal.
        let said = self.dir.path().join("dev.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&said).expect("a file");
        command.stdout(file.try_clone().expect("the same file")).stderr(file);
        let child = command.spawn().expect("the gateway's binary runs");
        Developing { child, said, read: 0 }
    }
}

/// `gateway plugin dev` as it runs.
struct Developing {
    child: Child,
    said: PathBuf,
    read: usize,
}

impl Developing {
    /// What it said since it was last asked, once it watches again.
    async fn round(&mut self) -> String {
        const END: &str = "watching; ctrl-c ends it\n";
        let all = eventually("the end of a round", || {
            let all = self.unread();
            async move { all.contains(END).then_some(all) }
        })
        .await;
        let end = all.find(END).expect("it was there") + END.len();
        self.read += end;
        all[..end].to_owned()
    }

    fn unread(&self) -> String {
        std::fs::read_to_string(&self.said).expect("what it said")[self.read..].to_owned()
    }

    /// Ends it as ctrl-c does.
    async fn interrupt(mut self) -> (bool, String) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(sent.success());
        let status = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("it ends");
            (status, self)
        });
        let (status, ended) = status.await.expect("no panic");
        (status.success(), ended.unread())
    }
}

impl Drop for Developing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Events that come all the while.
struct Stream {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<String>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Stream {
    fn start(source: Client) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let task = tokio::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let event = events::chat_ended(BRAND, &format!("consumer-{}@example.com", number % 25));
                    source.post_event(&event).await.expect(202);
                    sent.lock().unwrap().push(event["id"].as_str().unwrap().to_owned());
                    // Others build meanwhile.
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                sent.lock().unwrap().clone()
            }
        });
        Self { stop, task, sent }
    }

    fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// Ends when so many more were taken in.
    async fn flows(&self, more: usize) {
        let goal = self.sent() + more;
        eventually("events", || async { (self.sent() >= goal).then_some(()) }).await;
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

/// The release that handled each event, in the order in which the events were taken in.
async fn handled(gateway: &TestGateway, sent: &[String]) -> Vec<String> {
    let mut rows = gateway.brand(BRAND).await.flows("stage=call").await;
    assert_eq!(rows.len(), sent.len(), "each event has one call");
    // An event's id in the ledger begins with its time.
    rows.sort_by_key(|row| row["event"].as_str().unwrap_or_default().to_owned());
    for two in rows.windows(2) {
        assert_ne!(two[0]["event"], two[1]["event"], "an event has one call");
    }
    let release = |row: &Value| {
        assert_eq!(row["outcome"], "ran", "{row}");
        row["release"].as_str().expect("a release").to_owned()
    };
    rows.iter().map(release).collect()
}

fn source(project: &Path) -> String {
    std::fs::read_to_string(project.join("src/lib.rs")).expect("the source")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_reloaded_while_events_flow_and_what_may_not_run_is_told() {
    let shop = Workshop::new("lead-watch").await;
    let (succeeded, said) = shop.dev_once().await;
    assert!(succeeded && said.contains("no brand runs lead-watch"), "{said}");
    assert!(said.contains("1 of 1 passed"), "{said}");
    let first = shop.releases().await[0].clone();
    assert_eq!((&first["version"], &first["brands"]), (&json!("0.1.0-dev.1"), &json!([])));
    shop.switch_on(&first, "narrower").await;

    let mut dev = shop.develop().await;
    let said = dev.round().await;
    assert!(said.contains("0.1.0-dev.1 is published from this source already"), "{said}");
    let stream = Stream::start(shop.gateway.source(BRAND).await);
    stream.flows(20).await;
    let before = stream.sent();
    let good = source(&shop.project());
    shop.edit("src/lib.rs", "\"Hello\".to_owned()", "\"Good day\".to_owned()");
    let said = dev.round().await;
    eprintln!("{said}");
    assert!(said.contains("calls are handled by 0.1.0-dev.2 at testers, "), "{said}");
    let after = stream.sent() + 1;
    stream.flows(20).await;
    let second = shop.releases().await[0].clone();
    assert_eq!((&second["version"], &second["brands"]), (&json!("0.1.0-dev.2"), &json!([BRAND])));

    shop.edit("src/lib.rs", "plugin_sdk::export!", "let unfinished = \nplugin_sdk::export!");
    let said = dev.round().await;
    assert!(said.contains("does not compile") && said.contains("src/lib.rs"), "{said}");
    shop.edit("src/lib.rs", "let unfinished = \nplugin_sdk::export!", "plugin_sdk::export!");
    let said = dev.round().await;
    assert!(said.contains("0.1.0-dev.2 is published from this source already"), "{said}");

    shop.edit("src/lib.rs", "Hello {name}", "Good day {name}");
    let said = dev.round().await;
    assert!(said.contains("does not pass its cases, and it is not published"), "{said}");
    assert!(said.contains("Good day Mira") && said.contains("0 of 1 passed"), "{said}");
    // What the case expects is changed instead: the same build passes, and is published.
    shop.edit("cases/lead/expected.json", "Hello Mira", "Good day Mira");
    let said = dev.round().await;
    assert!(said.contains("1 of 1 passed") && !said.contains("is built in"), "{said}");
    assert!(said.contains("calls are handled by 0.1.0-dev.3 at testers, "), "{said}");
    stream.flows(20).await;

    std::fs::remove_dir_all(shop.project().join("cases")).expect("no cases");
    shop.edit(
        "plugin.toml",
        "receives = [",
        "receives = [\n  { field = \"/contact/phone\", access = \"sealed\", why = \"the CRM calls back\" },",
    );
    let mut said = dev.round().await;
    if !said.contains("keeps") {
        // The removal alone was a round of its own.
        said = dev.round().await;
    }
    assert!(
        said.contains("testers keeps 0.1.0-dev.3 until it agrees, because 0.1.0-dev.4 gets more"),
        "{said}"
    );
    assert!(said.contains("/contact/phone"), "{said}");
    let remedy = "gateway plugin rollout testers lead-watch 0.1.0-dev.4 --percent 100 --grant GRANT.json";
    assert!(said.contains(remedy), "{said}");
    stream.flows(20).await;
    assert_eq!(shop.version().await, "0.1.0-dev.3");

    // The brand agrees, as it was told.
    let wider = shop.releases().await[0].clone();
    std::fs::write(shop.dir.path().join("GRANT.json"), json!(world::full_grant(&wider)).to_string()).unwrap();
    let arguments: Vec<&str> = remedy.split(' ').skip(1).collect();
    let brand_key = shop.gateway.brand(BRAND).await.key().to_owned();
    shop.ran(&arguments, &brand_key).await;
    assert_eq!(shop.version().await, "0.1.0-dev.4");
    stream.flows(20).await;

    let (succeeded, said) = dev.interrupt().await;
    assert!(succeeded && said.contains("stopped"), "{said}");
    let sent = stream.end().await;
    shop.gateway.settled().await;
    let handled = handled(&shop.gateway, &sent).await;
    let (first, second) = (first["release"].as_str().unwrap(), second["release"].as_str().unwrap());
    assert!(handled[..before - 1].iter().all(|by| by == first), "before the change");
    assert_eq!(handled[after], second, "after it");
    assert_eq!(handled.last().map(String::as_str), wider["release"].as_str());
    let mut releases = handled.clone();
    releases.dedup();
    releases.sort();
    releases.dedup();
    assert_eq!(releases.len(), 4, "what was built handled calls, and nothing else");
    assert_ne!(good, source(&shop.project()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_with_a_brands_key_has_each_release_there() {
    let shop = Workshop::new("lead-brand").await;
    let key = shop.gateway.partner_key(PARTNER).await.key().to_owned();
    let brand_key = shop.gateway.brand(BRAND).await.key().to_owned();
    let arguments = ["plugin", "dev", "project", "--signing-key", "release.key", "--once", "--brand", BRAND];
    let (succeeded, said) = shop.run(&arguments, &key, &brand_key).await;
    assert!(!succeeded && said.contains("connection of lead-brand at brand testers"), "{said}");
    shop.switch_on(&shop.releases().await[0], "none").await;

    shop.edit(
        "plugin.toml",
        "receives = [",
        "receives = [\n  { field = \"/contact/phone\", access = \"sealed\", why = \"the CRM calls back\" },",
    );
    std::fs::remove_dir_all(shop.project().join("cases")).expect("no cases");
    let (succeeded, said) = shop.run(&arguments, &key, &brand_key).await;
    assert!(succeeded, "{said}");
    assert!(said.contains("0.1.0-dev.2 gets more than 0.1.0-dev.1; testers keeps its grant"), "{said}");
    assert!(said.contains("calls are handled by 0.1.0-dev.2 at testers, "), "{said}");
    let connection = shop.gateway.brand(BRAND).await.get(&shop.connection_path()).await.expect(200);
    assert!(!connection["grant"].to_string().contains("/contact/phone"), "{connection}");

    // Nothing changed: nothing is published.
    let (succeeded, said) = shop.run(&arguments, &key, &brand_key).await;
    assert!(succeeded && said.contains("0.1.0-dev.2 is published from this source already"), "{said}");
    assert_eq!(shop.releases().await.len(), 2);
    // With a key that is none of the partner's it ends, and says what is missing.
    let (succeeded, said) = shop.run(&arguments, "gk_none", &brand_key).await;
    assert!(!succeeded && said.contains("GATEWAY_KEY"), "{said}");
    let releases = shop.releases().await;
    assert!(releases.iter().all(|release| release["status"] == "published"), "{releases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_the_plugin_came_to_depend_on_is_watched_too() {
    let shop = Workshop::new("lead-words").await;
    let mut dev = shop.develop().await;
    let said = dev.round().await;
    assert!(said.contains("lead-words 0.1.0-dev.1 is built"), "{said}");

    let words = shop.dir.path().join("words");
    std::fs::create_dir_all(words.join("src")).expect("a directory");
    let manifest = "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    std::fs::write(words.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::write(words.join("src/lib.rs"), "pub const HELLO: &str = \"Hello\";\n").expect("a source");
    shop.edit("Cargo.toml", "[dependencies]", "[dependencies]\nwords = { path = \"../words\" }");
    let said = dev.round().await;
    assert!(said.contains("lead-words 0.1.0-dev.2 is built"), "{said}");

    std::fs::write(words.join("src/lib.rs"), "pub const HELLO: &str = \"Good day\";\n").expect("a source");
    eventually("the release of what changed in the package", || async {
        (shop.releases().await.len() == 3).then_some(())
    })
    .await;
    let (succeeded, said) = dev.interrupt().await;
    assert!(succeeded, "{said}");
}
