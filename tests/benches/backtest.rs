//! `gateway policy backtest` over a large ledger: rows that a real gateway wrote about the demo's world, each
//! repeated under numbers of its own, decided again on one core under a policy that says otherwise of what may be
//! shared and of what may meet. Once over a tenth of them and once over all, with the most memory that the command
//! had: ten times the rows may not take more. Then with the list of all flows that flip, and over rows of which hardly
//! two are alike, so that nothing is decided for many rows at once.
//!
//! `cargo bench --bench backtest` (`-- --rows 10000000` for more)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong ends a benchmark"
)]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use gateway::boundary::PolicyBook;
use gateway::pipeline::Role;
use gateway_policy::{Fact, Facts};
use gateway_tests::client::{Keyed as _, brand_of};
use gateway_tests::{ChildConfig, Partner, child, events, paths, world};
use serde_json::Value;
use sqlx::Connection as _;

/// Each row once more, under another number.
const DOUBLE: &str = "INSERT INTO flows (id, at_ms, shape, brand, consumer, event, facts, delivery, attempt, payload, \
                      fuel, micros, memory) SELECT randomblob(16), at_ms, shape, brand, consumer, event, facts, \
                      delivery, attempt, payload, fuel, micros, memory FROM flows LIMIT ?";
/// Each row with facts of its own.
const UNALIKE: &str = "UPDATE flows SET facts = random() & ?";
/// The ledger is thrown away, so its making waits for no disk, and has its indexes in memory.
const FASTER: &str = "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000";
/// Between two looks at the command's memory, whose peak only grows.
const LOOK: Duration = Duration::from_millis(2);
const KIB_A_MIB: u64 = 1024;

fn main() {
    gateway_tests::measured_binary(env!("CARGO_CRATE_NAME"));
    let arguments: Vec<String> = std::env::args().collect();
    let rows = arguments.iter().position(|a| a == "--rows").and_then(|at| arguments.get(at + 1));
    let rows = rows.map_or(3_000_000, |text| text.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(run(rows));
}

async fn run(rows: i64) {
    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "log-level = \"warn\"");
    ledger(&config).await;
    let url = format!("sqlite://{}", config.database().display());
    let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(FASTER).execute(&mut store).await.unwrap();
    let there = count(&mut store, "SELECT count(*) FROM flows").await;
    let shapes = count(&mut store, "SELECT count(DISTINCT shape || ':' || facts) FROM flows").await;
    println!("{there} rows of a gateway, {shapes} of them different; repeated until there are {rows}");

    let (mut of_rows, mut peaks) = (Vec::new(), Vec::new());
    for least in [rows / 10, rows] {
        repeat(&mut store, least).await;
        let (found, peak) = backtest(&config, &[]);
        report("decided again", &found, peak);
        let size = std::fs::metadata(config.database()).unwrap().len() / (KIB_A_MIB * KIB_A_MIB);
        println!("  in {size} MiB");
        of_rows.push(found["rows"].as_i64().unwrap());
        peaks.push(peak as i64);
    }
    let times = |of: &[i64]| of[1] as f64 / of[0] as f64;
    println!("{:.1} times the rows: {:.2} times the memory", times(&of_rows), times(&peaks));

    let list = config.dir.path().join("flips.jsonl");
    let started = Instant::now();
    let (found, peak) = backtest(&config, &["--list", list.to_str().unwrap()]);
    let size = std::fs::metadata(&list).unwrap().len() / (KIB_A_MIB * KIB_A_MIB);
    println!(
        "with a list of {} flows ({size} MiB): {:.2} s in all, at most {:.1} MiB of memory",
        found["listed"],
        started.elapsed().as_secs_f64(),
        peak as f64 / KIB_A_MIB as f64,
    );
    let any = Fact::ALL.iter().fold(Facts::none(), |facts, fact| facts.with(*fact, true)).to_bits() as i64;
    // It is thrown away: what keeps a ledger from being changed may go.
    sqlx::raw_sql("DROP TRIGGER flows_update").execute(&mut store).await.unwrap();
    sqlx::query(UNALIKE).bind(any).execute(&mut store).await.unwrap();
    let unalike = count(&mut store, "SELECT count(*) FROM (SELECT DISTINCT shape, facts FROM flows)").await;
    let (found, peak) = backtest(&config, &[]);
    report(&format!("decided again, {unalike} of them different"), &found, peak);
    store.close().await.unwrap();
}

fn report(what: &str, found: &Value, peak: u64) {
    let (rows, seconds) = (found["rows"].as_f64().unwrap(), found["seconds"].as_f64().unwrap());
    println!(
        "{rows} rows {what} in {seconds:.2} s: {:.0} rows/s, {} flip, {} fields are open, at most {:.1} MiB of memory",
        rows / seconds,
        found["rows_that_flip"],
        found["fields_open"],
        peak as f64 / KIB_A_MIB as f64,
    );
}

/// The shipped policy with another rule for what is shared and for what may meet, and with one declassification less.
fn otherwise() -> String {
    let rules = "\n[[rule]]\neffect = 'forbid'\nflow = ['share', 'decide']\n\
                 recipient = ['third-party', 'service-provider']\ncategory = ['user.device']\n\
                 clause = 'choice.location'\n\
                 [[rule]]\neffect = 'forbid'\nflow = ['combine']\nrecipient = ['third-party', 'service-provider']\n\
                 category = ['user.behavior']\nwith = ['user.contact', 'user.name']\n\
                 clause = 'cookies.third-party-analytics'\n";
    PolicyBook::SHIPPED.replace("\"coordinate-to-place\"", "\"coordinate-to-area\"") + rules
}

/// Until there are so many rows, all of them in the database's file.
async fn repeat(store: &mut sqlx::SqliteConnection, rows: i64) {
    loop {
        let there = count(store, "SELECT count(*) FROM flows").await;
        if there >= rows {
            break;
        }
        sqlx::query(DOUBLE).bind(rows - there).execute(&mut *store).await.unwrap();
    }
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(store).await.unwrap();
}

/// What the command finds under that policy, and its peak of resident memory in KiB.
fn backtest(config: &ChildConfig, options: &[&str]) -> (Value, u64) {
    let new = config.dir.path().join("new.toml");
    std::fs::write(&new, otherwise()).unwrap();
    let mut running = child::command(config.dir.path())
        .args(["policy", "backtest", "--format", "json", "--config"])
        .arg(config.file())
        .arg(new)
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    // It prints less than a pipe holds.
    while running.try_wait().unwrap().is_none() {
        peak = peak.max(high_water_kib(&running).unwrap_or_default());
        std::thread::sleep(LOOK);
    }
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_slice(&output.stdout).unwrap(), peak)
}

/// The most that a process had so far; none where it is ending.
fn high_water_kib(running: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// What a gateway writes about the demo's events: real ones where they are, else the project's sample.
async fn ledger(config: &ChildConfig) {
    let server = config.serve();
    let keyed = config.with(&server);
    world::demo(&keyed).await;
    let input = paths::shared("events.jsonl").unwrap_or_else(paths::sample);
    for event in events::read(&input) {
        let source = keyed.client(Role::Source, Some(brand_of(&event))).await;
        if event["type"] == "page.viewed" && brand_of(&event) != world::BANK {
            source.decide("chat-button", &event).await.ok();
        } else {
            source.post_event(&event).await.ok();
        }
    }
    server.terminate();
}

async fn count(store: &mut sqlx::SqliteConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(store).await.unwrap()
}
