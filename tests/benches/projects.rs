//! What a partner waits for: a new project in each language, built and tested. The first project of a language brings
//! what is had once on a machine (the compiled SDK, the tools); the second one is measured. Then `gateway plugin dev`:
//! how long after its build changed code handles calls in a running gateway. It fails where either takes longer than is
//! wanted.
//!
//! `cargo bench --bench projects` (`-- reload` for the reloads alone, `-- reload rust` for those of one language)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use gateway::cli::plugin::builder::missing_tool;
use gateway::manifest::Language;
use gateway_tests::child::command;
use gateway_tests::wire::Sink;
use gateway_tests::{ChildConfig, Keyed as _, world};
use serde_json::{Value, json};

/// Languages, and seconds that a project may take from `new` to its passed test.
const LANGUAGES: [(Language, u64); 3] =
    [(Language::Rust, 10), (Language::JavaScript, 40), (Language::Python, 40)];

/// What the project says, and what it says after each change: code, which no bundler drops, and which its case holds it
/// to. The first change finds least of what was compiled before.
const GREETINGS: [&str; 6] = ["Hello", "Welcome", "Good day", "Greetings", "Well met", "Ahoy"];
/// For a change to handle calls once it is built.
const RELOADED: Duration = Duration::from_secs(1);
const BRAND: &str = "testers";
const PARTNER: &str = "acme";

fn main() {
    gateway_tests::measured_binary(env!("CARGO_CRATE_NAME"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let is_asked = |word: &str| asked.iter().any(|argument| argument == word);
    let only_reloads = is_asked("reload");
    let any = !LANGUAGES.iter().any(|(language, _)| is_asked(language.as_str()));
    for (language, allowed) in LANGUAGES {
        let name = language.as_str();
        if !any && !is_asked(name) {
            continue;
        }
        if let Some(missing) = missing_tool(language, Path::new(".")) {
            println!("{name}: skipped, {missing}");
            continue;
        }
        if !only_reloads {
            new_built_and_tested(name, allowed);
        }
        runtime.block_on(reloads(name));
    }
}

fn new_built_and_tested(name: &str, allowed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let first: Duration = project(dir.path(), "first", name).iter().sum();
    let [made, built, tested] = project(dir.path(), "second", name);
    let again = run(dir.path(), &["plugin", "test", "second"]);
    let all = made + built + tested;
    println!(
        "{name}: new {:.2} s, build {:.1} s, test {:.1} s, together {:.1} s of {allowed} s; test again {:.1} s; \
             the project before it {:.1} s",
        made.as_secs_f64(),
        built.as_secs_f64(),
        tested.as_secs_f64(),
        all.as_secs_f64(),
        again.as_secs_f64(),
        first.as_secs_f64(),
    );
    assert!(all <= Duration::from_secs(allowed), "a project in {name} takes {:.1} s", all.as_secs_f64());
}

/// Develops a plugin that a brand follows.
async fn reloads(language: &str) {
    let config = ChildConfig::new(Sink::start().await.address, "log-level = \"warn\"");
    // Compiled code of its own, so that the first build is one.
    let text = std::fs::read_to_string(config.file()).unwrap();
    let own = format!("cache-dir = {:?}", config.dir.path().join("compiled"));
    let lines: Vec<&str> =
        text.lines().map(|line| if line.starts_with("cache-dir") { &own } else { line }).collect();
    std::fs::write(config.file(), lines.join("\n")).unwrap();
    let server = config.serve();
    let keys = config.with(&server);
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    run(dir.path(), &["plugin", "new", "lead-watch", "--lang", language, "--dir", "project"]);
    for file in ["plugin.toml", "cases/lead/expected.json"] {
        let text = std::fs::read_to_string(project.join(file)).unwrap();
        std::fs::write(project.join(file), text.replace("my-company", PARTNER)).unwrap();
    }
    let made =
        command(dir.path()).args(["plugin", "keygen", "release.key", "--format", "json"]).output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    world::brand(&keys, BRAND, false).await;
    let partner = json!({
        "display_name": PARTNER, "region": "US", "domains": ["acme.example"], "release_keys": [made["public_key"]],
    });
    keys.operator().await.put(&format!("/v1/partners/{PARTNER}"), &partner).await.ok();
    let partner = keys.partner_key(PARTNER).await;
    let develop = || {
        let arguments = ["plugin", "dev", "project", "--signing-key", "release.key", "--once"];
        let mut dev = command(dir.path());
        dev.args(arguments).env("GATEWAY_URL", &server.url).env("GATEWAY_KEY", partner.key());
        let output = dev.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    develop();
    let releases = partner.get("/v1/plugins/lead-watch/releases").await.expect(200);
    let mut connection = world::connection(&releases[0], json!({}), json!({ "api-key": "s3cret" }));
    connection["follow"] = json!("narrower");
    let path = format!("/v1/brands/{BRAND}/connections/lead-watch");
    keys.brand(BRAND).await.put(&path, &connection).await.ok();
    let source = match language {
        "rust" => "src/lib.rs",
        "javascript" => "src/plugin.js",
        _ => "app.py",
    };
    let mut took = Vec::new();
    for (said_before, says) in GREETINGS.iter().zip(&GREETINGS[1..]) {
        // The case fails where the code that is called is not the changed one.
        for file in [source, "cases/lead/expected.json"] {
            let text = std::fs::read_to_string(project.join(file)).unwrap();
            assert!(text.contains(said_before), "{file} does not say {said_before}");
            std::fs::write(project.join(file), text.replace(said_before, says)).unwrap();
        }
        let said = develop();
        // "calls are handled by VERSION at BRAND, SECONDS s after the build"
        let line =
            said.lines().find(|line| line.ends_with(" after the build")).unwrap_or_else(|| panic!("{said}"));
        let seconds: f64 = line.split(' ').rev().nth(4).and_then(|number| number.parse().ok()).expect(line);
        took.push(seconds);
    }
    server.terminate();
    let told: Vec<String> = took.iter().map(|seconds| format!("{seconds} s")).collect();
    println!("{language}: changes handle calls after their builds: {}", told.join(", "));
    let slowest = took.iter().copied().fold(0.0, f64::max);
    assert!(
        slowest <= RELOADED.as_secs_f64(),
        "a change in {language} handles calls {slowest} s after its build, and {} s is wanted",
        RELOADED.as_secs_f64()
    );
}

/// Makes, builds and tests a project; what each took.
fn project(dir: &Path, name: &str, language: &str) -> [Duration; 3] {
    [
        run(dir, &["plugin", "new", name, "--lang", language]),
        run(dir, &["plugin", "build", name]),
        run(dir, &["plugin", "test", name]),
    ]
}

fn run(dir: &Path, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let output = command(dir).args(arguments).output().unwrap();
    let taken = started.elapsed();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    taken
}
