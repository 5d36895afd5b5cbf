//! A whole crossing of the samples in JavaScript and Python, beside that of the one in Rust.

use std::path::Path;
use std::sync::Arc;

use criterion::Criterion;
use gateway::boundary::{Exposed, Moment, PolicyBook, Subject};
use gateway::catalogue::Catalogue;
use gateway::cli::plugin::builder::{BuildOptions, build, missing_tool};
use gateway::manifest::Language;
use gateway_policy::{Choices, Conditions, Region};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{connection, cross, event, loaded, median};

/// A sample, the event that it gets, and the milliseconds that its crossing may take.
struct Sample {
    language: Language,
    plugin: &'static str,
    kind: &'static str,
    data: Value,
    allowed_ms: f64,
}

/// Measures both, where their tools are there; `rust_ns` is what a crossing in Rust takes.
pub fn interpreted(
    criterion: &mut Criterion,
    runtime: &Runtime,
    book: &PolicyBook,
    moment: Moment,
    rust_ns: f64,
) {
    let contact = json!({ "contact": { "name": { "first": "Ada" }, "email": "ada@example.com" } });
    let samples = [
        Sample {
            language: Language::JavaScript,
            plugin: "visit-note",
            kind: "contact.provided",
            data: contact,
            allowed_ms: 2.0,
        },
        Sample {
            language: Language::Python,
            plugin: "reply-length",
            kind: "chat.ended",
            data: super::chat(),
            allowed_ms: 5.0,
        },
    ];
    for sample in samples {
        let (plugin, language) = (sample.plugin, sample.language.as_str());
        if let Some(missing) = missing_tool(sample.language, Path::new(".")) {
            println!("crossing: {plugin} ({language}): skipped, {missing}");
            continue;
        }
        let median_ms = one(criterion, runtime, book, moment, &sample) / 1e6;
        let times = median_ms * 1e6 / rust_ns;
        println!(
            "crossing of {plugin} ({language}): {median_ms:.3} ms, {times:.0} times that of adf-lead; {} ms are allowed\n",
            sample.allowed_ms
        );
        assert!(median_ms <= sample.allowed_ms, "a crossing of {plugin} takes {median_ms:.3} ms");
    }
}

fn one(
    criterion: &mut Criterion,
    runtime: &Runtime,
    book: &PolicyBook,
    moment: Moment,
    sample: &Sample,
) -> f64 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(sample.plugin);
    let options = BuildOptions { dir, out: None, install_toolchain: false, version: None };
    let built = build(&options, &mut |line| eprintln!("{line}")).unwrap();
    let component = std::fs::read(built.path).unwrap();
    let catalogue = Catalogue::embedded().unwrap();
    let connection = connection(book, &component, &catalogue, false);
    let (host, loaded, _cache) = loaded(runtime, &connection, &component);

    let data = Arc::new(sample.data.clone());
    let conditions = Conditions { region: Region::Us, in_conversation: true, ..Conditions::default() };
    let choices = Choices::default();
    let subject = Subject { conditions: &conditions, choices: Some(&choices), engaged: true };
    let exposed = Exposed::default();
    let event = event(sample.kind, &data, &exposed);
    let (plugin, language) = (sample.plugin, sample.language.as_str());
    criterion.bench_function(&format!("crossing: {plugin}, in {language}"), |bencher| {
        bencher.to_async(runtime).iter(|| cross(book, &connection, &host, &loaded, &event, subject, moment));
    });
    median(101, 5, || {
        runtime.block_on(cross(book, &connection, &host, &loaded, &event, subject, moment));
    })
}
