//! Plugins as their languages build them: Rust to the same bytes anywhere; JavaScript and Python built, checked,
//! published, switched on, called. Where the tools of these are missing the tests say so and end; never where `CI` is
//! set.

use std::path::Path;

use gateway::cli::plugin::builder::missing_tool;
use gateway::manifest::{Language, inspect};
use gateway_tests::child::command;
use gateway_tests::{Component, Options, TestGateway, built_at, events, paths, world};
use serde_json::{Value, json};

const BRAND: &str = "testers";
const IMPROVE: &str = "essential.service.operations.improve";

/// False where the tools are missing.
pub(crate) fn has_tools(language: Language) -> bool {
    match missing_tool(language, Path::new(".")) {
        None => true,
        Some(missing) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
            eprintln!("skipped: {missing}");
            false
        }
    }
}

async fn built(dir: std::path::PathBuf) -> Component {
    tokio::task::spawn_blocking(move || built_at(&dir)).await.expect("the plugin is built")
}

/// A gateway whose partner's names under `domain` lead to the tests' endpoint.
async fn gateway_of(partner: &str, domain: &str) -> TestGateway {
    let gateway = TestGateway::start(Options::default()).await;
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, partner, "US", domain).await;
    gateway
}

async fn returned(gateway: &TestGateway) -> Value {
    let returns = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/returns")).await.ok();
    let newest = returns.as_array().and_then(|items| items.last()).cloned();
    match newest {
        Some(newest) => newest["value"].clone(),
        None => panic!("nothing was returned: {:?}", gateway.auditor().await.flows("stage=return").await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_javascript_delivers_a_note_with_a_field_that_it_never_saw() {
    if !has_tools(Language::JavaScript) {
        return;
    }
    let plugin = built(paths::root().join("plugins/visit-note")).await;
    let gateway = gateway_of("front-desk", "front-desk.example").await;
    let release = world::publish(&gateway, "front-desk", &plugin).await;
    assert_eq!(release["provenance"]["language"], "javascript");
    assert_eq!(release["provenance"]["tools"]["@bytecodealliance/componentize-js"], "0.23.0");
    world::switch_on(&gateway, BRAND, &release, json!({}), json!({})).await;

    let event = events::with(
        events::contact_provided(BRAND, "ada"),
        [("/data/contact/email", json!("ada@example.org")), ("/time", json!("2026-03-02T09:00:00Z"))],
    );
    gateway.source(BRAND).await.post_event(&event).await.expect(202);
    let received = gateway.partner.wait_for(1).await;
    let note: Value = serde_json::from_str(&received[0].text()).unwrap();
    let at = note["at"].as_str().unwrap();
    assert!(at.starts_with("2026-03-02T09:00:00"), "{at}");
    assert_eq!(note["email"], "ada@example.org");
    assert_eq!(note["note"], "Ottoline left an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_of_the_sample_plugins_pass() {
    for (language, name) in [(Language::JavaScript, "visit-note"), (Language::Python, "reply-length")] {
        if !has_tools(language) {
            continue;
        }
        let dir = paths::root().join("plugins").join(name);
        let plugin = built(dir.clone()).await;
        let mut command = tokio::process::Command::new(gateway_tests::gateway_binary());
        command.args(["plugin", "test", "--format", "json", "--component"]).arg(&plugin.path);
        let output = command.arg("--cases").arg(dir.join("cases")).output().await.expect("it runs");
        let told: Value = serde_json::from_slice(&output.stdout).expect("a list of cases");
        let cases = told.as_array().expect("a list");
        assert!(cases.len() > 1 && cases.iter().all(|case| case["verdict"] == "passed"), "{name}: {told}");
        assert!(cases.iter().any(|case| case["outcome"]["outcome"] == "ran"), "{name}: {told}");
        assert!(output.status.success(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_python_returns_its_figures() {
    if !has_tools(Language::Python) {
        return;
    }
    let plugin = built(paths::root().join("plugins/reply-length")).await;
    let gateway = gateway_of("measure", "measure.example").await;
    world::contract(&gateway, "measure", IMPROVE, json!({})).await;
    let release = world::publish(&gateway, "measure", &plugin).await;
    assert_eq!(release["provenance"]["language"], "python");
    world::switch_on(&gateway, BRAND, &release, json!({}), json!({})).await;
    gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, "ada")).await.expect(202);
    gateway.settled().await;
    assert_eq!(
        returned(&gateway).await,
        json!({ "reply": { "count": 1, "median_words": 7, "longest_words": 7 } })
    );
}

const MANIFEST: &str = r#"
[plugin]
name = "frozen-NAME"
version = "1.0.0"
partner = "measure"
api = "0.1"
summary = "Tries what a plugin does not have."
privacy-policy = "https://measure.example/privacy"
purpose = "essential.service.operations.improve"

[[share]]
event = "chat.ended"
receives = [{ field = "/transcript/*/speaker", access = "read", why = "a call needs a field" }]
returns = "said.json"
"#;
const SAID: &str = r#"{ "type": "object", "additionalProperties": false, "properties": {
  "said": { "type": "string", "description": "What was said.", "x-category": "user.telemetry" } } }"#;

fn write(dir: &Path, name: &str, files: &[(&str, &str)]) {
    let manifest = MANIFEST.replace("NAME", name);
    for (file, text) in files.iter().chain(&[("plugin.toml", manifest.as_str()), ("said.json", SAID)]) {
        std::fs::write(dir.join(file), text).unwrap();
    }
}

/// Runs the plugin in `dir` once; what it returned.
async fn said(dir: &Path) -> String {
    let plugin = built(dir.to_path_buf()).await;
    let gateway = gateway_of("measure", "measure.example").await;
    world::contract(&gateway, "measure", IMPROVE, json!({})).await;
    let release = world::publish(&gateway, "measure", &plugin).await;
    world::switch_on(&gateway, BRAND, &release, json!({}), json!({})).await;
    gateway.source(BRAND).await.post_event(&events::chat_ended(BRAND, "ada")).await.expect(202);
    gateway.settled().await;
    returned(&gateway).await["said"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_clock_and_chance_of_javascript_are_errors_that_name_the_alternative() {
    if !has_tools(Language::JavaScript) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = r"
const tries = {
  now: () => Date.now(), date: () => new Date(), text: () => Date(), random: () => Math.random(),
  timer: () => setTimeout(() => {}, 1), fetch: () => fetch('https://x.example/'),
  crypto: () => crypto.getRandomValues(new Uint8Array(4)), uuid: () => crypto.randomUUID(),
};
export const share = { onEvent(event) {
  const said = Object.entries(tries).map(([name, attempt]) => {
    try { attempt(); return `${name} worked`; } catch (error) { return `${name}: ${error.message}`; }
  });
  said.push(new Date(event.time).toISOString(), String(new Date(0) instanceof Date));
  return { deliveries: [], returns: JSON.stringify({ said: said.join('\n') }) };
} };
";
    let package = r#"{ "name": "frozen", "version": "1.0.0", "type": "module", "main": "plugin.js" }"#;
    let lock = r#"{ "name": "frozen", "lockfileVersion": 3, "packages": {} }"#;
    write(dir.path(), "js", &[("plugin.js", source), ("package.json", package), ("package-lock.json", lock)]);
    let said = said(dir.path()).await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(!said.contains("worked"), "{said}");
    for (line, alternative) in lines.iter().zip([
        "new Date(event.time)",
        "new Date(event.time)",
        "new Date(event.time)",
        "event.id",
        "when it returns",
        "deliveries",
        "event.id",
        "event.id",
    ]) {
        assert!(line.contains(" is not there: ") && line.contains(alternative), "{line}");
    }
    assert_eq!(lines[8..], ["2026-03-02T09:00:00.000Z", "true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frozen_clock_and_chance_of_python_are_errors_that_name_the_alternative() {
    if !has_tools(Language::Python) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = r"
import json, os, random, secrets, time, urllib.request, uuid
from datetime import datetime, date
from wit_world import exports
from wit_world.imports.types import Outcome

TRIES = {
    'time': time.time, 'localtime': time.localtime, 'now': datetime.now, 'today': date.today,
    'random': random.random, 'generator': random.Random, 'urandom': lambda: os.urandom(4), 'uuid4': uuid.uuid4,
    'token': secrets.token_hex, 'urlopen': lambda: urllib.request.urlopen('https://x.example/'),
}

class Share(exports.Share):
    def on_event(self, event):
        said = []
        for name, attempt in TRIES.items():
            try:
                attempt()
                said.append(f'{name} worked')
            except Exception as error:
                said.append(f'{name}: {error}')
        said.append(datetime.fromisoformat(event.time.replace('Z', '+00:00')).date().isoformat())
        said.append(str(random.Random(7).random() == random.Random(7).random()))
        return Outcome(deliveries=[], returns=json.dumps({'said': '\n'.join(said)}))
";
    write(dir.path(), "py", &[("app.py", source), ("requirements.txt", "")]);
    let said = said(dir.path()).await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(!said.contains("worked"), "{said}");
    for (line, alternative) in lines.iter().zip([
        "event.time",
        "event.time",
        "event.time",
        "event.time",
        "event.id",
        "event.id",
        "event.id",
        "event.id",
        "event.id",
        "deliveries",
    ]) {
        assert!(line.contains(" is not there: ") && line.contains(alternative), "{line}");
    }
    assert_eq!(lines[10..], ["2026-03-02", "True"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_build_of_the_same_source_says_so() {
    if !has_tools(Language::Python) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = "from wit_world import exports\nfrom wit_world.imports.types import Outcome\n\n\
        class Share(exports.Share):\n    def on_event(self, event):\n        return Outcome(deliveries=[], returns='{}')\n";
    write(dir.path(), "twice", &[("app.py", source), ("requirements.txt", "")]);
    let first = built(dir.path().to_path_buf()).await;
    let again = built(dir.path().to_path_buf()).await;
    assert_eq!(first.digest, again.digest, "nothing changed, so nothing is built");
    std::fs::remove_dir_all(dir.path().join("build")).unwrap();
    let other = built(dir.path().to_path_buf()).await;
    let provenance = |component: &Component| inspect(&component.bytes).unwrap().provenance.unwrap();
    assert_eq!(provenance(&first), provenance(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rust_source_and_lock_file_give_the_same_bytes_in_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let project = |place: &str, source: Option<(&str, &str)>| {
        let to = dir.path().join(place);
        let made = command(dir.path())
            .args(["plugin", "new", "same-bytes", "--lang", "rust", "--dir"])
            .arg(&to)
            .output()
            .expect("the gateway's binary runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if let Some((from, to_text)) = source {
            let file = to.join("src/lib.rs");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(from));
            std::fs::write(file, text.replace(from, to_text)).unwrap();
        }
        to
    };
    // With a panic that names its file, and a path of another length.
    let panics = Some(("let lead =", "assert!(event.time.len() < 100, \"a time\");\n        let lead ="));
    let one = built(project("one", panics)).await;
    let other = built(project("in/a place/with a longer name", panics)).await;
    assert_eq!(one.digest, other.digest);
    let changed = built(project("changed", Some(("\"Hello\".to_owned()", "\"Good day\".to_owned()")))).await;
    assert_ne!(one.digest, changed.digest);
    let here = dir.path().to_str().unwrap();
    let names_a_path =
        |component: &Component| component.bytes.windows(here.len()).any(|at| at == here.as_bytes());
    assert!(!names_a_path(&one) && !names_a_path(&other));
}
