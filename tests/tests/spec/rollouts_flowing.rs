//! Given events and questions that flow all the while; when a release is published, rolled out, fails, is taken back by
//! itself, another is completed and rolled back; then each event is handled once, by a release that the ledger names
//! and that was there for it, and nobody is told of a failure but by the release that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gateway_tests::remade::with_manifest;
use gateway_tests::{Client, Options, TestGateway, components, events, eventually, world};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const BRAND: &str = "testers";
const CONNECTION: &str = "/v1/brands/testers/connections/hostile";
/// Enough that each side of a rollout has some.
const CONSUMERS: usize = 24;
/// Events that each step sees before the next.
const SEEN: usize = 80;

/// What is sent while releases change.
struct Flowing {
    goes_on: Arc<AtomicBool>,
    posted: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Sent>>,
}

/// Of one sender.
#[derive(Default)]
struct Sent {
    /// Events whose acceptance was told.
    events: usize,
    /// Decisions that were given, by the release that gave them.
    decided: BTreeMap<String, usize>,
    /// Reasons why there was none.
    undecided: BTreeMap<String, usize>,
}

impl Flowing {
    async fn start(gateway: &TestGateway) -> Self {
        let flowing =
            Self { goes_on: Arc::new(AtomicBool::new(true)), posted: Arc::default(), tasks: Vec::new() };
        let source = gateway.source(BRAND).await;
        let tasks = [true, true, false]
            .into_iter()
            .enumerate()
            .map(|(lane, posts)| {
                let (goes_on, posted) = (Arc::clone(&flowing.goes_on), Arc::clone(&flowing.posted));
                tokio::spawn(send(source.clone(), lane, posts, goes_on, posted))
            })
            .collect();
        Self { tasks, ..flowing }
    }

    /// Waits until the step that has just been taken has seen its events.
    async fn goes_by(&self) {
        let until = self.posted.load(Ordering::SeqCst) + SEEN;
        let seen = || async { (self.posted.load(Ordering::SeqCst) >= until).then_some(()) };
        eventually("events to go by", seen).await;
    }

    /// All that was sent.
    async fn end(self) -> Sent {
        self.goes_on.store(false, Ordering::SeqCst);
        let mut all = Sent::default();
        for task in self.tasks {
            let sent = task.await.expect("a sender is always answered");
            all.events += sent.events;
            for (of, from) in [(&mut all.decided, sent.decided), (&mut all.undecided, sent.undecided)] {
                for (name, count) in from {
                    *of.entry(name).or_default() += count;
                }
            }
        }
        all
    }
}

/// Posts chats, or asks about pages, one after another; each must be answered as ever.
async fn send(
    source: Client,
    lane: usize,
    posts: bool,
    goes_on: Arc<AtomicBool>,
    posted: Arc<AtomicUsize>,
) -> Sent {
    let mut sent = Sent::default();
    for number in 0.. {
        if !goes_on.load(Ordering::SeqCst) {
            break;
        }
        let consumer = format!("consumer-{}", (number + lane) % CONSUMERS);
        if posts {
            source.post_event(&events::chat_ended(BRAND, &consumer)).await.expect(202);
            posted.fetch_add(1, Ordering::SeqCst);
            sent.events += 1;
            continue;
        }
        let answer = source.decide("hostile", &events::page_viewed(BRAND, &consumer)).await.expect(200);
        let (of, name) = match answer["provenance"]["release"].as_str() {
            Some(release) => (&mut sent.decided, release),
            None => (&mut sent.undecided, answer["reason"].as_str().unwrap_or("no reason")),
        };
        *of.entry(name.to_owned()).or_default() += 1;
    }
    sent
}

async fn publish(gateway: &TestGateway, version: &str) -> Value {
    let component = with_manifest(&components().hostile.bytes, |manifest| {
        manifest["plugin"]["version"] = json!(version);
        // Longer than a busy machine keeps a call waiting: what is asked about here is no deadline.
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
    });
    gateway.partner_key("mallory").await.publish(&component).await.expect(201)
}

async fn connection(gateway: &TestGateway) -> Value {
    gateway.brand(BRAND).await.get(CONNECTION).await.expect(200)
}

async fn roll_out(gateway: &TestGateway, document: Value) -> Value {
    gateway.brand(BRAND).await.put(&format!("{CONNECTION}/rollout"), &document).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_while_releases_come_and_go() {
    let gateway = TestGateway::start(Options::default()).await;
    world::hostile(&gateway, "none").await;
    let fine = json!({ "host": "api", "behaviour": "none" });
    let first = publish(&gateway, "1.0.1").await;
    world::switch_on(&gateway, BRAND, &first, fine.clone(), json!({})).await;
    // Whom the brand has not heard from, it decides nothing about.
    for consumer in 0..CONSUMERS {
        let event = events::chat_ended(BRAND, &format!("consumer-{consumer}"));
        gateway.source(BRAND).await.post_event(&event).await.expect(202);
    }
    let flowing = Flowing::start(&gateway).await;
    flowing.goes_by().await;

    let bad = publish(&gateway, "1.1.0").await;
    flowing.goes_by().await;
    // The same code, told to trap: what a broken release does.
    let broken = json!({ "host": "api", "behaviour": "trap" });
    roll_out(&gateway, json!({ "release": "1.1.0", "percent": 50, "settings": broken })).await;
    let ended = || async {
        let view = connection(&gateway).await;
        view["rollout"]["ended"].is_string().then_some(view)
    };
    let view = eventually("the failing rollout to be taken back", ended).await;
    assert!(view["rollout"]["ended"].as_str().unwrap().contains("calls failed"), "{view}");
    assert_eq!((&view["rollout"]["percent"], &view["release"]), (&json!(0), &first["release"]));
    flowing.goes_by().await;

    let good = publish(&gateway, "1.2.0").await;
    roll_out(&gateway, json!({ "release": "1.2.0", "percent": 50 })).await;
    flowing.goes_by().await;
    let view = roll_out(&gateway, json!({ "release": "1.2.0", "percent": 100 })).await;
    assert_eq!(view["release"], good["release"]);
    flowing.goes_by().await;
    let path = format!("{CONNECTION}/rollback");
    let view = gateway.brand(BRAND).await.post_body(&path, "application/json", b"{}".to_vec()).await;
    assert_eq!(view.expect(200)["release"], first["release"]);
    flowing.goes_by().await;
    let mut sent = flowing.end().await;
    sent.events += CONSUMERS;
    gateway.settled().await;

    let rows = gateway.brand(BRAND).await.flows("stage=call").await;
    let mut of_event: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["event_type"] == "chat.ended") {
        let text = |name: &str| row[name].as_str().expect("a row of a call names it");
        of_event.entry(text("event")).or_default().push((text("release"), text("outcome")));
    }
    assert_eq!(of_event.len(), sent.events, "nothing is lost");
    for (event, rows) in &of_event {
        let ran = rows.iter().filter(|(_, outcome)| *outcome == "ran").count();
        assert_eq!(ran, 1, "event {event} is handled once: {rows:?}");
    }
    let requests = gateway.partner.received();
    let distinct: BTreeSet<&str> = requests.iter().map(gateway_tests::Received::webhook_id).collect();
    assert_eq!(
        (requests.len(), distinct.len()),
        (sent.events, sent.events),
        "each event's request is sent once"
    );

    // Who handled what: the two that stood and the one that was rolled out did, and only the bad one failed.
    let by = |release: &Value, ran: bool| {
        of_event
            .values()
            .flatten()
            .filter(|(by, outcome)| release == *by && (*outcome == "ran") == ran)
            .count()
    };
    assert!(by(&first["release"], true) > 4 * SEEN / 2 && by(&good["release"], true) >= SEEN / 2);
    assert!(by(&bad["release"], false) + sent.undecided.values().sum::<usize>() > 3);
    assert_eq!(
        [by(&first["release"], false), by(&good["release"], false), by(&bad["release"], true)],
        [0; 3]
    );

    // Each question has one row, and the answer is what its row says.
    let asked: Vec<_> = rows.iter().filter(|row| row["event_type"] == "page.viewed").collect();
    let (mut decided, mut undecided) = (BTreeMap::new(), BTreeMap::new());
    for row in &asked {
        let (release, outcome) = (row["release"].as_str().unwrap(), row["outcome"].as_str().unwrap());
        let (of, name) = if outcome == "ran" { (&mut decided, release) } else { (&mut undecided, outcome) };
        *of.entry(name.to_owned()).or_insert(0_usize) += 1;
        assert!(outcome == "ran" || bad["release"] == release, "only the bad release fails: {row}");
    }
    assert_eq!((decided, undecided), (sent.decided, sent.undecided));
    assert_eq!(asked.iter().map(|row| row["event"].as_str()).collect::<BTreeSet<_>>().len(), asked.len());
}
