//! Many releases, and a large one: how long a start takes to load a hundred of them from compiled code, and what
//! publishing a Python plugin takes and does to the calls of others.
//!
//! `cargo bench --bench releases` (`-- --seconds 10` for longer phases, `-- --releases 20` for fewer)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::cli::plugin::builder::missing_tool;
use gateway::manifest::Language;
use gateway::pipeline::Role;
use gateway_tests::client::EVENT;
use gateway_tests::pace::{most, ms, open_loop, quantiles};
use gateway_tests::remade::with_manifest;
use gateway_tests::wire::{Sink, Wire, wires};
use gateway_tests::world::{self, NORTHSIDE, connection};
use gateway_tests::{ChildConfig, Client, Keyed as _, built_at, components, events, paths};
use serde_json::{Value, json};

/// Starts of which the median counts.
const STARTS: usize = 5;
const LANES: usize = 16;
const CONSUMERS: usize = 500;
/// Of the most decisions that the gateway answers, the part that is asked for.
const BESIDE: f64 = 0.25;

fn main() {
    gateway_tests::measured_binary(env!("CARGO_CRATE_NAME"));
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let phase = Duration::from_secs(after("--seconds").unwrap_or(5));
    let releases = usize::try_from(after("--releases").unwrap_or(100)).unwrap();
    runtime.block_on(async {
        let one = start_with(1).await;
        let many = start_with(releases).await;
        println!(
            "reading the control plane at a start: with 1 release {} ms, with {releases} releases from compiled code {} ms",
            one.0, many.0
        );
        println!(
            "from the process's start to its first answer: {:.0} ms and {:.0} ms",
            ms(one.1),
            ms(many.1)
        );
        match missing_tool(Language::Python, Path::new(".")) {
            Some(missing) => println!("publishing a large component: skipped, {missing}"),
            None => publish_large(phase).await,
        }
    });
}

/// Milliseconds that a start says it takes to read the control plane with so many releases switched on, and the time
/// until it serves: medians.
async fn start_with(releases: usize) -> (u64, Duration) {
    let sink = Sink::start().await;
    let config = ChildConfig::new(sink.address, "");
    let server = config.serve();
    let keys = config.with(&server);
    let plugin = &components().transcript_quality;
    world::brand(&keys, NORTHSIDE, false).await;
    world::partner(&keys, "clarity", "EU", "clarity.example").await;
    let (partner, brand) = (keys.partner_key("clarity").await, keys.brand(NORTHSIDE).await);
    for number in 0..releases {
        let name = format!("quality-{number}");
        let component = with_manifest(&plugin.bytes, |manifest| manifest["plugin"]["name"] = json!(name));
        let release = partner.publish(&component).await.expect(201);
        let path = format!("/v1/brands/{NORTHSIDE}/connections/{name}");
        brand.put(&path, &connection(&release, json!({}), json!({}))).await.ok();
        if number % 20 == 19 {
            eprintln!("  {} of {releases} releases published", number + 1);
        }
    }
    server.terminate();
    let (mut told, mut served) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let started = Instant::now();
        let server = config.serve();
        served.push(started.elapsed());
        let log = server.terminate();
        let read = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line.to_string().contains("the control plane is read"))
            .unwrap();
        let of = |name: &str| read["fields"][name].as_u64().or_else(|| read[name].as_u64()).unwrap();
        assert_eq!(of("loaded"), releases as u64);
        told.push(of("taken_ms"));
    }
    told.sort_unstable();
    (told[STARTS / 2], quantiles(served).0)
}

/// Publishes a Python plugin at a gateway without its code, while another plugin's decisions are asked for.
async fn publish_large(phase: Duration) {
    eprintln!("  building a Python plugin");
    let plugin =
        tokio::task::spawn_blocking(|| built_at(&paths::root().join("plugins/reply-length"))).await.unwrap();
    let sink = Sink::start().await;
    let config = ChildConfig::new(sink.address, "log-level = \"warn\"");
    // Compiled code of its own, so that the component is compiled each time this runs.
    let text = std::fs::read_to_string(config.file()).unwrap();
    let own = format!("cache-dir = {:?}", config.dir.path().join("compiled"));
    let lines: Vec<&str> =
        text.lines().map(|line| if line.starts_with("cache-dir") { &own } else { line }).collect();
    std::fs::write(config.file(), lines.join("\n")).unwrap();
    let source = config.key(Role::Source, Some(NORTHSIDE));
    let server = config.serve();
    let keys = config.with(&server);
    world::demo(&keys).await;
    world::partner(&keys, "measure", "US", "measure.example").await;
    let partner = keys.partner_key("measure").await;

    let address = server.url.trim_start_matches("http://").to_owned();
    let rate = most(wires(&address, &source, LANES).await, phase / 2, |wire, number| async move {
        ask(wire, "most", number).await.0
    })
    .await;
    let rate = rate * BESIDE;
    let (flows, late) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let asking = tokio::spawn(open_loop(
        rate,
        wires(&address, &source, LANES).await,
        {
            let flows = Arc::clone(&flows);
            move |_| flows.load(Ordering::Relaxed)
        },
        {
            let late = Arc::clone(&late);
            move |wire, number| {
                let late = Arc::clone(&late);
                async move {
                    let (wire, answered) = ask(wire, "beside", number).await;
                    late.fetch_add(usize::from(!answered), Ordering::Relaxed);
                    wire
                }
            }
        },
    ));
    tokio::time::sleep(phase).await;
    let late_before = late.load(Ordering::Relaxed);
    let (from, took) = publish(&partner, &plugin.bytes).await;
    let late_beside = late.load(Ordering::Relaxed) - late_before;
    tokio::time::sleep(phase).await;
    flows.store(false, Ordering::Relaxed);
    let taken = asking.await.unwrap();
    let beside = |due: &Instant| (from..from + took).contains(due);
    let (within, quiet): (Vec<_>, Vec<_>) = taken.iter().partition(|(due, _)| beside(due));
    println!(
        "publishing a component of {:.1} MB: {:.1} s, with {rate:.0} decisions/s of another plugin beside it",
        plugin.bytes.len() as f64 / 1e6,
        took.as_secs_f64()
    );
    let of = |what: &str, taken: Vec<&(Instant, Duration)>, late: usize| {
        let longest = taken.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let calls = taken.len();
        let (p50, p99) = quantiles(taken.into_iter().map(|(_, took)| *took).collect());
        let (p50, p99, longest) = (ms(p50), ms(p99), ms(longest));
        println!(
            "  {what}: p50 {p50:.2} ms, p99 {p99:.2} ms, longest {longest:.1} ms, {late} late of {calls}"
        );
    };
    of("decisions, quiet", quiet, late.load(Ordering::Relaxed) - late_beside);
    of("decisions beside publishing", within, late_beside);
    server.terminate();
}

async fn publish(partner: &Client, component: &[u8]) -> (Instant, Duration) {
    let from = Instant::now();
    partner.publish(component).await.expect(201);
    (from, from.elapsed())
}

/// One decision of `chat-button`; whether it came in time.
async fn ask(mut wire: Wire, kind: &str, number: usize) -> (Wire, bool) {
    let mut event = events::page_viewed(NORTHSIDE, &format!("c-{}", number % CONSUMERS));
    event["id"] = json!(format!("{kind}-{number}"));
    let path = format!("/v1/brands/{NORTHSIDE}/decisions/chat-button");
    let (status, reply) = wire.post(&path, EVENT, event.to_string().into_bytes()).await;
    let answer: Value = serde_json::from_slice(&reply).unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(answer["decision"].is_object() || answer["reason"] == "late", "{answer}");
    (wire, answer["decision"].is_object())
}
