//! Load on a real server process: end to end with `adf-lead` beside a native twin, decisions beside one
//! durable row, and memory. Everything shares two cores, so the ratios of one run are what counts.
//!
//! `cargo bench --bench load` (`-- --seconds 10` for longer phases, `-- --only decisions` for one of
//! `events`, `decisions`, `connections` and `rollouts`)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

mod disk;
mod native;
mod rollouts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use gateway::pipeline::Role;
use gateway_tests::pace::{fdatasync, most, ms, paced, quantiles};
use gateway_tests::wire::{Sink, Wire, wires};
use gateway_tests::world::{adf_secrets, adf_settings, connection};
use gateway_tests::{ChildConfig, ChildGateway, Client, components, signing_key};
use serde_json::{Value, json};

/// As in the gateway: the twin is a process of this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keep-alive clients.
const CLIENTS: usize = 64;
const CONSUMERS: usize = 2000;
/// Times that decisions and rows are measured in turn, for half a phase each.
const TURNS: usize = 5;
/// Decisions that had no answer in time.
static LATE: AtomicUsize = AtomicUsize::new(0);
/// A brand with nothing on for page views: such an event of it is one durable row and nothing else.
const QUIET: &str = "first-bank";
const BRAND: &str = "northside-motors";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(partner) = after("--native") {
        let dir = arguments.last().unwrap();
        return runtime.block_on(native::serve(partner.parse().unwrap(), dir.as_ref()));
    }
    let seconds = after("--seconds").map_or(5, |text| text.parse().unwrap());
    let only = after("--only").map(String::as_str);
    runtime.block_on(run(Duration::from_secs(seconds), only));
}

async fn run(phase: Duration, only: Option<&str>) {
    let runs = |name| only.is_none_or(|only| only == name);
    gateway_tests::measured_binary(env!("CARGO_CRATE_NAME"));
    let scratch = tempfile::tempdir().unwrap();
    let sync = fdatasync(scratch.path());
    println!("fdatasync of 4 KiB: p50 {:.2} ms, p99 {:.2} ms", ms(sync.0), ms(sync.1));

    let sink = Sink::start().await;
    let config = ChildConfig::new(sink.address, "log-level = \"warn\"");
    let operator = config.key(Role::Operator, None);
    let source = config.key(Role::Source, Some(BRAND));
    let quiet = config.key(Role::Source, Some(QUIET));
    let testers = config.key(Role::Source, Some(rollouts::BRAND));
    let server = config.serve();
    set_up(&config, &server.client(&operator)).await;
    let address = server.url.trim_start_matches("http://").to_owned();

    if runs("events") {
        let native = native::Child::start(sink.address);
        let twin = end_to_end(&native.address, None, &sink, phase).await;
        drop(native);
        println!("native twin, no policy, no ledger: {twin:.0} events/s end to end");
        server.forget_highest_resident();
        let full = end_to_end(&address, Some(&source), &sink, phase).await;
        let highest = server.highest_resident_kib();
        println!("gateway with adf-lead, durable and ledgered: {full:.0} events/s end to end");
        println!("ratio to the native twin: {:.2}", full / twin);
        println!("resident under that load, at its highest: {:.1} MB", mb(highest));
    }
    if runs("decisions") {
        server.forget_highest_resident();
        decisions(&address, &source, &quiet, scratch.path(), phase).await;
        println!("resident under decisions, at its highest: {:.1} MB", mb(server.highest_resident_kib()));
    }
    if runs("connections") {
        many_connections(&config, &server, &operator).await;
    }
    if runs("rollouts") {
        rollouts::run(&config, &server, &testers, phase).await;
    }
    server.terminate();
}

async fn set_up(config: &ChildConfig, operator: &Client) {
    let built = components();
    for brand in [BRAND, QUIET] {
        operator.put(&format!("/v1/brands/{brand}"), &json!({ "display_name": brand })).await.ok();
    }
    for (partner, region, domain, purpose, component, plugin) in [
        ("acme-crm", "US", "acme.example", "essential", &built.adf_lead, "adf-lead"),
        ("engage", "US", "engage.example", "personalize", &built.chat_button, "chat-button"),
        ("clarity", "EU", "clarity.example", "essential", &built.transcript_quality, "transcript-quality"),
    ] {
        let keys = [signing_key(partner).public()];
        let record =
            json!({ "display_name": partner, "region": region, "domains": [domain], "release_keys": keys });
        operator.put(&format!("/v1/partners/{partner}"), &record).await.ok();
        let terms = json!({ "purposes": [purpose], "categories": ["user"], "onward_transfer": true });
        operator.put(&format!("/v1/partners/{partner}/contracts/terms"), &terms).await.ok();
        let key = config.key(Role::Partner, Some(partner));
        let client = operator.with_key(Some(&key)).signing_as(partner);
        let release = client.publish(&component.bytes).await.ok();
        // All three are loaded; the third at another brand, so that the first alone has work with these chats.
        let at = if plugin == "transcript-quality" { QUIET } else { BRAND };
        let brand = operator.with_key(Some(&config.key(Role::Brand, Some(at))));
        let (settings, secrets) = match plugin {
            "adf-lead" => (adf_settings(), adf_secrets()),
            _ => (json!({}), json!({})),
        };
        let document = connection(&release, settings, secrets);
        brand.put(&format!("/v1/brands/{at}/connections/{plugin}"), &document).await.ok();
    }
}

/// An event by one of 2,000 consumers in the US. Only its numbers are written anew each time: what makes load
/// shares the cores.
struct Sample([String; 3]);

/// A chat of 15 turns.
static CHAT: LazyLock<Sample> = LazyLock::new(|| {
    let turn = |index: usize| {
        json!({
            "speaker": if index.is_multiple_of(2) { "consumer" } else { "agent" },
            "text": "I would like to pick the car up at ten in the morning, if that is possible at all.",
            "at": "2026-01-02T03:04:05Z"
        })
    };
    let data = json!({
        "conversation": "c-0001", "channel": "web",
        "contact": { "name": { "first": "Ada", "last": "Okafor" }, "email": "ada@example.com", "phone": "+1 202 555 0100" },
        "visit": { "ip": "198.51.100.2", "browser": "Firefox 140", "os": "Linux", "device_type": "desktop" },
        "transcript": (0..15).map(turn).collect::<Vec<_>>(),
    });
    Sample::new("chat.ended", &data)
});
static PAGE: LazyLock<Sample> = LazyLock::new(|| {
    let data = json!({ "url": "https://northside.example/offers", "title": "Offers", "seconds_on_page": 90, "device_type": "phone" });
    Sample::new("page.viewed", &data)
});

impl Sample {
    fn new(kind: &str, data: &Value) -> Self {
        let event = json!({
            "specversion": "1.0", "id": format!("{kind}-#"), "source": "/load", "type": kind,
            "subject": "c-#", "region": "US", "data": data,
        });
        let parts: Vec<String> = event.to_string().split('#').map(str::to_owned).collect();
        Self(parts.try_into().unwrap())
    }

    fn numbered(&self, number: usize) -> Vec<u8> {
        let [before, between, after] = &self.0;
        format!("{before}{number}{between}{}{after}", number % CONSUMERS).into_bytes()
    }
}

/// Events a second, from the first request until the last one is at the partner.
async fn end_to_end(address: &str, key: Option<&str>, sink: &Sink, phase: Duration) -> f64 {
    let number = Arc::new(AtomicUsize::new(0));
    let before = sink.count();
    let started = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect(address, key).await;
        let number = Arc::clone(&number);
        clients.push(tokio::spawn(async move {
            let mut accepted = 0;
            while started.elapsed() < phase {
                let body = CHAT.numbered(number.fetch_add(1, Ordering::Relaxed));
                let (status, reply) = wire
                    .post(&format!("/v1/brands/{BRAND}/events"), "application/cloudevents+json", body)
                    .await;
                assert_eq!(status, 202, "{}", String::from_utf8_lossy(&reply));
                accepted += 1;
            }
            accepted
        }));
    }
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.unwrap();
    }
    let answered = started.elapsed();
    while sink.count() - before < accepted {
        assert!(started.elapsed() < phase * 20, "{} of {accepted} arrived", sink.count() - before);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let all = started.elapsed();
    eprintln!(
        "  {accepted} events: answered in {:.2} s, all delivered in {:.2} s",
        answered.as_secs_f64(),
        all.as_secs_f64()
    );
    accepted as f64 / all.as_secs_f64()
}

/// Decisions: their maximum rate, then p99 at half of it beside that of one durable row at the same rate.
async fn decisions(address: &str, key: &str, quiet: &str, scratch: &std::path::Path, phase: Duration) {
    let path = format!("/v1/brands/{BRAND}/decisions/chat-button");
    let rate = most(wires(address, key, CLIENTS).await, phase, {
        let path = path.clone();
        move |mut wire: Wire, number| {
            let path = path.clone();
            async move {
                let (status, reply) =
                    wire.post(&path, "application/cloudevents+json", PAGE.numbered(number)).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
                wire
            }
        }
    })
    .await;
    println!("decisions: at most {rate:.0}/s");

    let half = rate / 2.0;
    let post = |quiet_row: bool, path: String, numbers: usize| {
        move |mut wire: Wire, turn: usize| {
            let (body, path) = (PAGE.numbered(numbers + turn), path.clone());
            async move {
                let (status, reply) = wire.post(&path, "application/cloudevents+json", body).await;
                let answer: Value = serde_json::from_slice(&reply).unwrap();
                let late = answer["reason"] == "late";
                LATE.fetch_add(usize::from(late), Ordering::Relaxed);
                let as_asked = if quiet_row { status == 202 } else { late || answer["decision"].is_object() };
                assert!(as_asked, "{status} {answer}");
                wire
            }
        }
    };
    let row = format!("/v1/brands/{QUIET}/events");
    // Consumers are made with their first event, and rows of them are not what is asked about.
    let mut first = wires(address, quiet, 1).await.remove(0);
    for turn in 0..CONSUMERS {
        first = post(true, row.clone(), 4_000_000)(first, turn).await;
    }
    // In turns, so that what the machine does meanwhile falls on both: decisions with an eighth as many rows
    // beside them, through the same store at the same time, then rows alone at the decisions' rate.
    let (mut decided, mut beside, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let after = |numbers| numbers + turn * 100_000;
        let (decisions, quiets) =
            (wires(address, key, CLIENTS).await, wires(address, quiet, CLIENTS / 8).await);
        let (first, second) = tokio::join!(
            paced(half, phase / 2, decisions, post(false, path.clone(), after(10_000_000))),
            paced(half / 8.0, phase / 2, quiets, post(true, row.clone(), after(20_000_000))),
        );
        let alone = wires(address, quiet, CLIENTS).await;
        let third = paced(half, phase / 2, alone, post(true, row.clone(), after(30_000_000))).await;
        decided.extend(first);
        beside.extend(second);
        accepted.extend(third);
    }
    let (decided, beside, accepted) = (quantiles(decided), quantiles(beside), quantiles(accepted));
    let late = LATE.load(Ordering::Relaxed);
    let rows = disk::Rows::open(&scratch.join("rows.db")).await;
    let rows = paced(half, phase, vec![rows; CLIENTS], |rows: disk::Rows, number_in_turn| async move {
        rows.write(number_in_turn).await;
        rows
    })
    .await;
    let rows = quantiles(rows);
    println!(
        "decisions at {half:.0}/s: p50 {:.2} ms, p99 {:.2} ms; {late} late",
        ms(decided.0),
        ms(decided.1)
    );
    for (what, row) in [
        ("one row over HTTP, beside them", beside),
        ("one row over HTTP, alone at the same rate", accepted),
        ("one row into a store of its own, without HTTP", rows),
    ] {
        let ratio = decided.1.as_secs_f64() / row.1.as_secs_f64();
        println!("{what}: p50 {:.2} ms, p99 {:.2} ms; ratio of the p99 {ratio:.2}", ms(row.0), ms(row.1));
    }
}

/// A thousand brands with `chat-button` on: what each connection adds.
async fn many_connections(config: &ChildConfig, server: &ChildGateway, operator: &str) {
    let client = server.client(operator);
    let partner = config.key(Role::Partner, Some("engage"));
    let releases = client.with_key(Some(&partner)).get("/v1/plugins/chat-button/releases").await.ok();
    let release = releases.get(0).or_else(|| releases["items"].get(0)).cloned().unwrap();
    let mut brands = Vec::new();
    for number in 0..1000 {
        let name = format!("brand-{number}");
        client.put(&format!("/v1/brands/{name}"), &json!({ "display_name": name })).await.ok();
        brands.push((config.key(Role::Brand, Some(&name)), name));
    }
    let document = connection(&release, json!({}), json!({}));
    let before = server.resident_kib();
    for (key, name) in brands {
        let path = format!("/v1/brands/{name}/connections/chat-button");
        client.with_key(Some(&key)).put(&path, &document).await.ok();
    }
    let after = server.resident_kib();
    println!("a thousand connections add {:.1} MB", mb(after.saturating_sub(before)));
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
