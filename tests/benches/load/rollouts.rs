//! Releases come and go while events and questions flow: published, switched to, followed, rolled out, failing,
//! completed, rolled back. What calls take in the windows of these acts beside quiet ones, and by the store's own
//! rows that each event was handled once, and by which release.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway_tests::client::EVENT;
use gateway_tests::pace::{most, ms, open_loop, quantiles};
use gateway_tests::remade::with_manifest;
use gateway_tests::wire::{Wire, wires};
use gateway_tests::world::{self, connection};
use gateway_tests::{BOUND, ChildConfig, ChildGateway, Client, Keyed as _, components, events};
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _, SqliteConnection};

pub const BRAND: &str = "testers";
const CONNECTION: &str = "/v1/brands/testers/connections/hostile";
/// All acts are done so many times.
const TURNS: usize = 4;
/// Of the most decisions that the gateway answers, the part that is asked for beside the events.
const DECISIONS: f64 = 0.3;
/// The same of events, each of which costs a call and a request.
const EVENTS: f64 = 0.06;
const LANES: usize = 48;
/// Longer than a busy machine keeps a call waiting: how long calls take is measured apart from which fail.
const DEADLINE_MS: u32 = 1_000;

/// What is counted while the load flows.
#[derive(Default)]
struct Told {
    posted: AtomicUsize,
    asked: AtomicUsize,
    /// Decisions of an event that have none.
    undecided: AtomicUsize,
    late: AtomicUsize,
}

/// When an act began and ended.
struct Act {
    name: &'static str,
    from: Instant,
    until: Instant,
}

/// Runs the acts at the gateway; a window is a part of `phase`.
pub async fn run(config: &ChildConfig, server: &ChildGateway, source: &str, phase: Duration) {
    let keys = config.with(server);
    world::hostile(&keys, "none").await;
    let mut stage = Stage {
        brand: keys.brand(BRAND).await,
        partner: keys.partner_key("mallory").await,
        window: phase / 5,
        version: 0,
        broken: Vec::new(),
        acts: Vec::new(),
    };
    let patient = stage.publish().await;
    stage.switch(&patient, "none").await;
    let told = Arc::new(Told::default());
    let address = server.url.trim_start_matches("http://").to_owned();
    // Whom the brand has not heard from, it decides nothing about.
    let mut first = Wire::connect(&address, Some(source)).await;
    for number in 0..super::CONSUMERS {
        first = post(first, "first", number, Arc::clone(&told)).await;
    }
    let rate = most(wires(&address, source, LANES).await, phase / 2, |mut wire: Wire, number| async move {
        let (status, reply) = wire.post(&decisions(), EVENT, page("most", number)).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
        wire
    })
    .await;
    println!("decisions of the plugin that is rolled out: at most {rate:.0}/s");

    let flows = Arc::new(AtomicBool::new(true));
    let goes_on = {
        let flows = Arc::clone(&flows);
        move |_| flows.load(Ordering::Relaxed)
    };
    let asking =
        tokio::spawn(open_loop(rate * DECISIONS, wires(&address, source, LANES).await, goes_on.clone(), {
            let told = Arc::clone(&told);
            move |wire, number| ask(wire, number, Arc::clone(&told))
        }));
    let posting = tokio::spawn(open_loop(rate * EVENTS, wires(&address, source, LANES).await, goes_on, {
        let told = Arc::clone(&told);
        move |wire, number| post(wire, "chat", number, Arc::clone(&told))
    }));

    tokio::time::sleep(phase).await;
    for _ in 0..TURNS {
        stage.turn().await;
    }
    flows.store(false, Ordering::Relaxed);
    let (asked, posted) = (asking.await.unwrap(), posting.await.unwrap());
    println!(
        "{:.0} decisions/s and {:.0} events/s all the while, {TURNS} times each act:",
        rate * DECISIONS,
        rate * EVENTS
    );
    tell("decision", &asked, &stage.acts);
    tell("event accepted", &posted, &stage.acts);
    rows(config, &told, &stage.broken).await;
}

fn decisions() -> String {
    format!("/v1/brands/{BRAND}/decisions/hostile")
}

fn page(kind: &str, number: usize) -> Vec<u8> {
    identified(events::page_viewed(BRAND, &format!("c-{}", number % super::CONSUMERS)), kind, number)
}

fn chat(kind: &str, number: usize) -> Vec<u8> {
    identified(events::chat_ended(BRAND, &format!("c-{}", number % super::CONSUMERS)), kind, number)
}

fn identified(mut event: Value, kind: &str, number: usize) -> Vec<u8> {
    event["id"] = json!(format!("{kind}-{number}"));
    event.to_string().into_bytes()
}

async fn ask(mut wire: Wire, number: usize, told: Arc<Told>) -> Wire {
    let (status, reply) = wire.post(&decisions(), EVENT, page("asked", number)).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
    let answer: Value = serde_json::from_slice(&reply).unwrap();
    told.asked.fetch_add(1, Ordering::Relaxed);
    if !answer["decision"].is_object() {
        let of = if answer["reason"] == "late" { &told.late } else { &told.undecided };
        of.fetch_add(1, Ordering::Relaxed);
    }
    wire
}

async fn post(mut wire: Wire, kind: &str, number: usize, told: Arc<Told>) -> Wire {
    let (status, reply) = wire.post(&format!("/v1/brands/{BRAND}/events"), EVENT, chat(kind, number)).await;
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&reply));
    told.posted.fetch_add(1, Ordering::Relaxed);
    wire
}

/// Who acts, and what was done.
struct Stage {
    brand: Client,
    partner: Client,
    window: Duration,
    /// Of the release published last.
    version: usize,
    /// Digests of releases that fail.
    broken: Vec<String>,
    acts: Vec<Act>,
}

impl Stage {
    /// Every act once, each with a quiet window after its own.
    async fn turn(&mut self) {
        let from = Instant::now();
        let first = self.publish().await;
        self.acted("publish", from).await;

        let from = Instant::now();
        self.switch(&first, "narrower").await;
        self.acted("switch over", from).await;

        let from = Instant::now();
        let followed = self.publish().await;
        assert_eq!(self.connection().await["release"], followed["release"], "an equal release is taken over");
        self.acted("publish, taken over", from).await;

        self.switch(&followed, "none").await;
        let broken = self.publish().await;
        self.broken.push(broken["release"].as_str().unwrap().to_owned());
        let good = self.publish().await;
        tokio::time::sleep(self.window).await;

        let from = Instant::now();
        let trap = json!({ "host": "api", "behaviour": "trap" });
        self.roll_out(json!({ "release": broken["release"], "percent": 50, "settings": trap })).await;
        while !self.connection().await["rollout"]["ended"].is_string() {
            assert!(from.elapsed() < BOUND, "the failing rollout ends by itself");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.acted("roll out at 50 %, failing, taken back", from).await;

        for (name, percent) in [("roll out at 50 %", 50), ("roll out at 100 %", 100)] {
            let from = Instant::now();
            self.roll_out(json!({ "release": good["release"], "percent": percent })).await;
            self.acted(name, from).await;
        }

        let from = Instant::now();
        let path = format!("{CONNECTION}/rollback");
        let view = self.brand.post_body(&path, "application/json", b"{}".to_vec()).await.expect(200);
        assert_eq!(view["release"], followed["release"]);
        self.acted("roll back", from).await;
    }

    /// Notes an act that ends now; its window, then a quiet one.
    async fn acted(&mut self, name: &'static str, from: Instant) {
        let until = Instant::now().max(from + self.window);
        self.acts.push(Act { name, from, until });
        tokio::time::sleep_until((until + self.window).into()).await;
    }

    async fn publish(&mut self) -> Value {
        self.version += 1;
        let version = format!("1.{}.0", self.version);
        let component = with_manifest(&components().hostile.bytes, |manifest| {
            manifest["plugin"]["version"] = json!(version);
            manifest["decide"][0]["deadline-ms"] = json!(DEADLINE_MS);
        });
        self.partner.publish(&component).await.expect(201)
    }

    async fn connection(&self) -> Value {
        self.brand.get(CONNECTION).await.expect(200)
    }

    async fn switch(&self, release: &Value, follow: &str) {
        let mut document = connection(release, json!({ "host": "api", "behaviour": "none" }), json!({}));
        document["follow"] = json!(follow);
        self.brand.put(CONNECTION, &document).await.expect(200);
    }

    async fn roll_out(&self, document: Value) {
        self.brand.put(&format!("{CONNECTION}/rollout"), &document).await.expect(200);
    }
}

/// p50 and p99 in the windows of each act and outside them all, and the ratio of the p99s: of all windows together, and
/// of the median window, which one pause of the disk does not move.
fn tell(what: &str, taken: &[(Instant, Duration)], acts: &[Act]) {
    // By the place of an act in the first turn; `None`: no act.
    let mut windows: BTreeMap<Option<usize>, BTreeMap<usize, Vec<Duration>>> = BTreeMap::new();
    // What comes before the first act fills caches.
    let Some(first) = acts.first() else { return };
    for (due, took) in taken.iter().filter(|(due, _)| *due + first.window() >= first.from) {
        let begun = acts.iter().take_while(|act| act.from <= *due).count();
        let act = begun.checked_sub(1).and_then(|at| acts.get(at)).filter(|act| *due < act.until);
        let place = act.and_then(|act| acts.iter().position(|first| first.name == act.name));
        windows.entry(place).or_default().entry(begun).or_default().push(*took);
    }
    let figures = |windows: &BTreeMap<usize, Vec<Duration>>| {
        let all = quantiles(windows.values().flatten().copied().collect());
        let each = windows.values().map(|window| quantiles(window.clone()).1).collect();
        (all.0, all.1, quantiles(each).0)
    };
    let Some(quiet) = windows.remove(&None).as_ref().map(figures) else { return };
    println!(
        "  {what:<14} quiet: p50 {:.2} ms, p99 {:.2} ms, of the median window {:.2} ms",
        ms(quiet.0),
        ms(quiet.1),
        ms(quiet.2)
    );
    for (place, of_act) in &windows {
        let name = place.and_then(|place| acts.get(place)).map_or("", |act| act.name);
        let (p50, p99, median) = figures(of_act);
        println!(
            "  {what:<14} {name}: p50 {:.2} ms, p99 {:.2} ms ({:.2} of quiet), of the median window {:.2} ms ({:.2} of quiet)",
            ms(p50),
            ms(p99),
            p99.as_secs_f64() / quiet.1.as_secs_f64(),
            ms(median),
            median.as_secs_f64() / quiet.2.as_secs_f64(),
        );
    }
}

impl Act {
    fn window(&self) -> Duration {
        self.until - self.from
    }
}

/// What the store's rows say: each event handled once by a release that did not fail it.
async fn rows(config: &ChildConfig, told: &Told, broken: &[String]) {
    let url = format!("sqlite:{}?mode=ro", config.database().display());
    let mut store = SqliteConnection::connect(&url).await.unwrap();
    let started = Instant::now();
    while sqlx::query("SELECT 1 FROM work LIMIT 1").fetch_optional(&mut store).await.unwrap().is_some() {
        assert!(started.elapsed() < BOUND, "the work that was accepted is done");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calls = sqlx::query(
        "SELECT events.kind, COALESCE(ran, 0) AS ran, COALESCE(failed, 0) AS failed, COUNT(*) AS of_them FROM events \
         LEFT JOIN (SELECT event, SUM(outcome = 'ran') AS ran, SUM(outcome <> 'ran') AS failed FROM flows \
         JOIN flow_shapes ON flow_shapes.id = shape WHERE stage = 'call' GROUP BY event) ON event = uid \
         WHERE brand = ? GROUP BY 1, 2, 3",
    )
    .bind(BRAND)
    .fetch_all(&mut store)
    .await
    .unwrap();
    let (mut chats, mut lost, mut twice, mut unanswered) = (0, 0, 0, 0);
    for row in calls {
        let (kind, ran, failed): (String, i64, i64) = (row.get("kind"), row.get("ran"), row.get("failed"));
        let of_them: i64 = row.get("of_them");
        match (kind.as_str(), ran, failed) {
            ("chat.ended", 1, _) => chats += of_them,
            ("page.viewed", 1, 0) => {}
            ("page.viewed", 0, 1) => unanswered += of_them,
            (_, 0, _) => lost += of_them,
            _ => twice += of_them,
        }
    }
    let failing = sqlx::query(
        "SELECT lower(hex(release)) AS release, flow, outcome, COUNT(*) AS of_them FROM flows \
         JOIN flow_shapes ON flow_shapes.id = shape WHERE stage = 'call' AND outcome <> 'ran' AND brand = ? GROUP BY 1, 2, 3",
    )
    .bind(BRAND)
    .fetch_all(&mut store)
    .await
    .unwrap();
    let (mut by_broken, mut by_others) = (0, 0);
    for row in failing {
        let (release, of_them): (String, i64) = (row.get("release"), row.get("of_them"));
        if broken.contains(&release) {
            by_broken += of_them;
        } else {
            let (flow, outcome): (String, String) = (row.get("flow"), row.get("outcome"));
            println!("  failed by another release: {of_them} times {flow} {outcome}");
            by_others += of_them;
        }
    }
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    let posted = count(&told.posted);
    println!(
        "{posted} events accepted, {chats} handled once, {lost} lost, {twice} handled twice; {} decisions asked for, {} \
         late; calls that failed: {by_others}, and {by_broken} of the release that is to fail ({unanswered} decisions \
         without an answer, {} of them told so)",
        count(&told.asked),
        count(&told.late),
        count(&told.undecided),
    );
    assert_eq!((chats, lost, twice, by_others), (i64::try_from(posted).unwrap(), 0, 0, 0));
}
