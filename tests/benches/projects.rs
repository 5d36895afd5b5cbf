//! What a partner waits for: a new project in each language, built and tested. The first project of a language brings
//! what is had once on a machine (the compiled SDK, the tools); the second one is measured.
//!
//! `cargo bench --bench projects`

use std::path::Path;
use std::time::{Duration, Instant};

use gateway::cli::plugin::builder::missing_tool;
use gateway::manifest::Language;
use gateway_tests::child::command;

/// Languages, and seconds that a project may take from `new` to its passed test (issue 5, Speed).
const LANGUAGES: [(Language, u64); 3] =
    [(Language::Rust, 10), (Language::JavaScript, 40), (Language::Python, 40)];

fn main() {
    gateway_tests::gateway_binary();
    for (language, allowed) in LANGUAGES {
        let name = language.as_str();
        if let Some(missing) = missing_tool(language, Path::new(".")) {
            println!("{name}: skipped, {missing}");
            continue;
        }
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
