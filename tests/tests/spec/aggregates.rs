//! Clause share.aggregate: statistics over many consumers, and the ways of asking that would isolate one.

use gateway::boundary::PolicyBook;
use gateway_tests::events::{contact_provided, event, page_viewed, with};
use gateway_tests::world::{self, NORTHSIDE};
use gateway_tests::{Answer, Client, Options, TestGateway};
use serde_json::{Value, json};

use crate::links::link;

/// Consumers behind a number, by the shipped policy.
const K: usize = 20;
const PAGES: &str = "measure=events&event=page.viewed";
/// What the ledger says of a question that is none.
const NONE: &str = "no known question";
/// The label of what happened.
const HAPPENED: &str = "first-party:user.behavior";
const SECONDS: (&str, &str) = ("/seconds_on_page", "first-party:user.behavior.browsing_history");
const DEVICE: (&str, &str) = ("/device_type", "first-party:user.device");

/// A brand's gateway, and a day of events.
struct Day {
    gateway: TestGateway,
    /// `YYYY-MM-DD`.
    date: String,
}

impl Day {
    /// At one o'clock of a day, so that none of the test's events falls into another.
    async fn begin(policy: Option<String>) -> Self {
        let options = Options { policies: policy.map(|text| vec![text]), ..Options::default() };
        let gateway = TestGateway::start(options).await;
        world::brand(&gateway, NORTHSIDE, false).await;
        let mut day = Self { gateway, date: String::new() };
        day.next(1).await;
        day
    }

    /// Goes on to this hour of the next day, which is the day from then on; the date of the one before.
    async fn next(&mut self, hour: i64) -> String {
        let clock = &self.gateway.clock;
        let now = clock.now();
        let midnight = now.date().next_day().unwrap().midnight().assume_utc();
        clock.advance(midnight - now + time::Duration::hours(hour));
        std::mem::replace(&mut self.date, clock.now().date().to_string())
    }

    async fn post(&self, events: &[Value]) {
        self.gateway.source(NORTHSIDE).await.post_batch(NORTHSIDE, events).await.expect(202);
    }

    async fn ask(&self, question: &str, day: &str) -> Answer {
        ask(&self.gateway.auditor().await, question, day).await
    }

    /// A question about a day, in the ledger's words (`events of page.viewed`), has rows with these outcomes and these
    /// parts, each with its label. Each part is allowed: where nothing is told, it is for how few are behind it and
    /// for no label.
    async fn has_rows(&self, asked: &str, day: &str, outcomes: &[&str], parts: &[(&str, &str)]) {
        let named = if asked == NONE { NONE.to_owned() } else { format!("{asked} on {day}") };
        let mut rows = self.gateway.auditor().await.flows("stage=aggregate").await;
        rows.retain(|row| row["endpoint"] == named);
        let found: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
        assert_eq!(found, outcomes, "{named}");
        let parts: Vec<_> =
            parts.iter().map(|(field, label)| (json!(field), json!("allow"), json!([label]))).collect();
        for row in &rows {
            let fields = row["fields"].as_array().unwrap().iter();
            let decided: Vec<_> = fields
                .map(|field| (field["field"].clone(), field["decision"].clone(), field["labels"].clone()))
                .collect();
            assert_eq!(decided, parts, "{row}");
        }
    }

    async fn opt_out(&self, consumer: &str) {
        let path = format!("/v1/brands/{NORTHSIDE}/consumers/{consumer}/choices");
        let choices = json!({ "opt_out": { "all_integrations": true } });
        self.gateway.brand(NORTHSIDE).await.put(&path, &choices).await.ok();
    }
}

async fn ask(client: &Client, question: &str, day: &str) -> Answer {
    client.get(&format!("/v1/brands/{NORTHSIDE}/aggregates?{question}&day={day}")).await
}

/// What is told: each group with its number.
fn groups(answer: &Answer) -> Vec<(String, f64)> {
    let groups = answer.expect(200)["groups"].as_array().unwrap().clone();
    groups.iter().map(|one| (one["group"].as_str().unwrap().into(), one["value"].as_f64().unwrap())).collect()
}

fn number(answer: &Answer) -> f64 {
    groups(answer).iter().map(|(_, number)| number).sum()
}

/// The whole of a refusal.
fn refusal(answer: &Answer) -> Value {
    answer.expect(404)
}

/// Engaged consumers `c0`…, each with one page view on a device.
fn visitors(range: std::ops::Range<usize>, device: &str) -> Vec<Value> {
    range
        .flat_map(|number| {
            let consumer = format!("c{number}");
            let page = with(page_viewed(NORTHSIDE, &consumer), [("/data/device_type", json!(device))]);
            [contact_provided(NORTHSIDE, &consumer), page]
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_day_of_enough_consumers_is_told_and_every_answer_is_a_row() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K, "phone")).await;
    day.post(&visitors(K..2 * K, "desktop")).await;
    // Who only looked at pages is not engaged, and not counted.
    day.post(&[page_viewed(NORTHSIDE, "passer-by")]).await;
    let date = day.next(2).await;
    for (question, expected) in [
        (PAGES, vec![("all", 40.0)]),
        ("measure=consumers&event=page.viewed", vec![("all", 40.0)]),
        ("measure=sum&event=page.viewed&field=/seconds_on_page", vec![("all", 3600.0)]),
        ("measure=average&event=page.viewed&field=/seconds_on_page", vec![("all", 90.0)]),
        ("measure=events&event=page.viewed&by=/device_type", vec![("desktop", 20.0), ("phone", 20.0)]),
        ("measure=events&event=contact.provided", vec![("all", 40.0)]),
    ] {
        let answer = day.ask(question, &date).await;
        let expected: Vec<_> = expected.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
        assert_eq!(groups(&answer), expected, "{question}");
        let id = answer.json()["flow"].as_str().unwrap().to_owned();
        let row = day.gateway.auditor().await.get(&format!("/v1/flows/{id}")).await.ok();
        assert_eq!((&row["stage"], &row["flow"]), (&json!("aggregate"), &json!("aggregate")));
        assert_eq!((&row["recipient"], &row["outcome"]), (&json!("brand"), &json!("answered")));
        assert!(row["facts"].as_array().unwrap().contains(&json!("aggregated")), "{row}");
        assert!(row["fields"].as_array().unwrap().iter().all(|field| field["decision"] == "allow"), "{row}");
        assert!(row["endpoint"].as_str().unwrap().ends_with(&date), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_and_the_same_whatever_the_reason() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K - 1, "phone")).await;
    let date = day.next(2).await;
    let today = day.date.clone();
    let first = refusal(&day.ask(PAGES, &date).await);
    let mut asked = 1;
    for (name, question, on) in [
        ("too few consumers", "measure=consumers&event=page.viewed", &date),
        ("too few, in groups", "measure=events&event=page.viewed&by=/device_type", &date),
        ("nobody at all", "measure=events&event=purchase.completed", &date),
        ("a day that is not over", PAGES, &today),
        ("a day to come", PAGES, &"2999-01-01".to_owned()),
        ("a range", PAGES, &format!("{date}/{today}")),
        ("no day", PAGES, &"canary-day".to_owned()),
        ("unknown measure", "measure=median&event=page.viewed", &date),
        ("unknown event", "measure=events&event=canary.event", &date),
        ("unknown field", "measure=sum&event=page.viewed&field=/canary", &date),
        ("no measure of the catalogue", "measure=sum&event=page.viewed&field=/url", &date),
        ("content", "measure=average&event=survey.completed&field=/rating", &date),
        ("free text", "measure=events&event=page.viewed&by=/url", &date),
        ("identity", "measure=events&event=purchase.completed&by=/order", &date),
    ] {
        assert_eq!(refusal(&day.ask(question, on).await), first, "{name}");
        asked += 1;
    }
    let rows = day.gateway.auditor().await.flows("stage=aggregate").await;
    assert_eq!(rows.len(), asked);
    assert!(rows.iter().all(|row| row["outcome"] == "refused"));
    // The question is in the ledger in the gateway's words: a value cannot get there by asking.
    assert!(rows.iter().all(|row| !row.to_string().contains("canary")));
    // A brand's own key hears the same, and a filter that the question does not have is no question.
    assert_eq!(refusal(&ask(&day.gateway.brand(NORTHSIDE).await, PAGES, &date).await), first);
    day.ask("measure=events&event=page.viewed&consumer=c1", &date).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hour_of_settling_is_still_open() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K, "phone")).await;
    let date = day.next(0).await;
    refusal(&day.ask(PAGES, &date).await);
    day.has_rows(NONE, &date, &["refused"], &[]).await;
    day.gateway.clock.advance(time::Duration::hours(1));
    assert_eq!(number(&day.ask(PAGES, &date).await), 20.0);
    day.has_rows("events of page.viewed", &date, &["answered"], &[("events", HAPPENED)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_questions_do_not_differ_by_who_opted_out_between_them() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..2 * K, "phone")).await;
    let date = day.next(2).await;
    assert_eq!(number(&day.ask(PAGES, &date).await), 40.0);
    day.opt_out("c7").await;
    // Late by its own account, and of another day by the gateway's: it cannot be counted into the old one.
    let late = with(page_viewed(NORTHSIDE, "c8"), [("/time", json!(format!("{date}T12:00:00Z")))]);
    day.post(&[late]).await;
    // Asked for the first time now: the same count all the same.
    for question in [
        PAGES,
        "measure=events&event=page.viewed&by=/device_type",
        "measure=consumers&event=page.viewed",
        "measure=consumers&event=page.viewed&by=/device_type",
    ] {
        for client in [day.gateway.auditor().await, day.gateway.brand(NORTHSIDE).await] {
            assert_eq!(number(&ask(&client, question, &date).await), 40.0, "{question}");
        }
    }
    let seconds = "event=page.viewed&field=/seconds_on_page";
    assert_eq!(number(&day.ask(&format!("measure=sum&{seconds}"), &date).await), 3600.0);
    for (asked, times, parts) in [
        ("events of page.viewed", 3, vec![("events", HAPPENED)]),
        ("events by /device_type of page.viewed", 2, vec![("events", HAPPENED), DEVICE]),
        ("consumers of page.viewed", 2, vec![("consumers", HAPPENED)]),
        ("consumers by /device_type of page.viewed", 2, vec![("consumers", HAPPENED), DEVICE]),
        ("sum /seconds_on_page of page.viewed", 1, vec![("sum", HAPPENED), SECONDS]),
    ] {
        day.has_rows(asked, &date, &vec!["answered"; times], &parts).await;
    }
    // What is counted from now on is counted without them.
    day.post(&visitors(0..K, "phone")).await;
    let date = day.next(2).await;
    refusal(&day.ask("measure=events&event=contact.provided", &date).await);
    day.has_rows("events of contact.provided", &date, &["refused"], &[("events", HAPPENED)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_outlive_a_restart() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K, "phone")).await;
    let date = day.next(2).await;
    assert_eq!(number(&day.ask(PAGES, &date).await), 20.0);
    day.opt_out("c3").await;
    let Day { gateway, date: today } = day;
    let day = Day { gateway: gateway.stop().await.start().await, date: today };
    assert_eq!(number(&day.ask("measure=consumers&event=page.viewed", &date).await), 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tiny_group_is_not_told_nor_what_it_is_the_rest_of() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K, "phone")).await;
    day.post(&visitors(K..2 * K, "desktop")).await;
    day.post(&visitors(100..101, "a device of its own")).await;
    let date = day.next(2).await;
    assert_eq!(number(&day.ask(PAGES, &date).await), 41.0);
    for measure in ["events", "consumers", "sum", "average"] {
        let field = if ["sum", "average"].contains(&measure) { "&field=/seconds_on_page" } else { "" };
        let question = format!("measure={measure}&event=page.viewed&by=/device_type{field}");
        refusal(&day.ask(&question, &date).await);
        let (of, summed) = if field.is_empty() { ("", None) } else { (" /seconds_on_page", Some(SECONDS)) };
        let parts: Vec<_> = [(measure, HAPPENED)].into_iter().chain(summed).chain([DEVICE]).collect();
        let asked = format!("{measure}{of} by /device_type of page.viewed");
        day.has_rows(&asked, &date, &["refused"], &parts).await;
    }
}

/// Linking many ids to one consumer would else make a crowd of them, and tell their values.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_under_many_ids_is_no_crowd_and_counts_once() {
    let mut day = Day::begin(None).await;
    day.post(&visitors(0..K, "phone")).await;
    let source = day.gateway.source(NORTHSIDE).await;
    for visitor in 1..K {
        link(&source, NORTHSIDE, "c0", &format!("c{visitor}")).await.expect(200);
    }
    let alone = day.next(1).await;
    // Each id on another device: the person is in one group of them.
    day.post(&visitors(0..K / 2, "phone")).await;
    day.post(&visitors(K / 2..K, "desktop")).await;
    day.post(&visitors(K..2 * K, "phone")).await;
    let date = day.next(2).await;
    refusal(&day.ask(PAGES, &alone).await);
    assert_eq!(number(&day.ask("measure=consumers&event=page.viewed", &date).await), 21.0);
    let by_device = groups(&day.ask("measure=consumers&event=page.viewed&by=/device_type", &date).await);
    assert_eq!(by_device, [("phone".to_owned(), 21.0)]);
    day.has_rows("events of page.viewed", &alone, &["refused"], &[("events", HAPPENED)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_consumer_is_no_crowd_and_does_not_outweigh_one() {
    let mut day = Day::begin(None).await;
    let many = |consumer: &str, seconds: u32| -> Vec<Value> {
        let page = |_| with(page_viewed(NORTHSIDE, consumer), [("/data/seconds_on_page", json!(seconds))]);
        (0..100).map(page).collect()
    };
    day.post(&[contact_provided(NORTHSIDE, "busy")]).await;
    day.post(&many("busy", 604_800)).await;
    let alone = day.next(1).await;
    day.post(&visitors(0..K - 1, "phone")).await;
    day.post(&many("busy", 604_800)).await;
    let date = day.next(2).await;
    refusal(&day.ask(PAGES, &alone).await);
    assert_eq!(number(&day.ask(PAGES, &date).await), 19.0 + 20.0);
    let sum = number(&day.ask("measure=sum&event=page.viewed&field=/seconds_on_page", &date).await);
    assert_eq!(sum, 19.0 * 90.0 + 20.0 * 3600.0);
    let of_pages = [("events", HAPPENED)];
    day.has_rows("events of page.viewed", &alone, &["refused"], &of_pages).await;
    day.has_rows("events of page.viewed", &date, &["answered"], &of_pages).await;
    let asked = "sum /seconds_on_page of page.viewed";
    day.has_rows(asked, &date, &["answered"], &[("sum", HAPPENED), SECONDS]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_budget_is_refused_like_everything_else_until_the_next_day() {
    let policy = PolicyBook::SHIPPED.replace("queries-per-day = 100", "queries-per-day = 3");
    let mut day = Day::begin(Some(policy)).await;
    day.post(&visitors(0..K, "phone")).await;
    let date = day.next(2).await;
    let unknown = refusal(&day.ask("measure=median&event=page.viewed", &date).await);
    for _ in 0..2 {
        assert_eq!(number(&day.ask(PAGES, &date).await), 20.0);
    }
    assert_eq!(refusal(&day.ask(PAGES, &date).await), unknown);
    // Another asker has questions left; and so has this one, tomorrow.
    assert_eq!(number(&ask(&day.gateway.brand(NORTHSIDE).await, PAGES, &date).await), 20.0);
    day.next(1).await;
    assert_eq!(number(&day.ask(PAGES, &date).await), 20.0);
}

/// Switches `page-metrics` on, of a third party in the US.
async fn page_metrics(gateway: &TestGateway) {
    let built = tokio::task::spawn_blocking(gateway_tests::components).await.unwrap();
    world::partner(gateway, "tally", "US", "tally.example").await;
    let release = world::publish(gateway, "tally", &built.page_metrics).await;
    let settings = json!({ "host": "api", "site": "main" });
    world::switch_on(gateway, NORTHSIDE, &release, settings, json!({ "api-key": "the-tally-key" })).await;
}

/// A page view of an engaged consumer, now.
fn visit(day: &Day, consumer: &str) -> Value {
    with(page_viewed(NORTHSIDE, consumer), [("/time", json!(format!("{}T01:30:00Z", day.date)))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reports_numbers_over_all_and_hears_what_the_auditor_hears() {
    let mut day = Day::begin(None).await;
    page_metrics(&day.gateway).await;
    day.post(&visitors(0..K, "phone")).await;
    day.post(&visitors(K..2 * K, "desktop")).await;
    // Who opted out of this plugin is counted for nobody, or the auditor's number and the plugin's would
    // differ by them.
    day.post(&visitors(50..51, "phone")).await;
    let path = format!("/v1/brands/{NORTHSIDE}/consumers/c50/choices");
    let choices = json!({ "opt_out": { "integrations": ["page-metrics"] } });
    day.gateway.brand(NORTHSIDE).await.put(&path, &choices).await.ok();
    day.gateway.settled().await;
    assert_eq!(day.gateway.partner.received().len(), 0, "the day before has no answers");
    let path = format!("/v1/brands/{NORTHSIDE}/connections/page-metrics/preview");
    let preview = day.gateway.brand(NORTHSIDE).await.get(&path).await.expect(200);
    assert!(preview["sentences"].to_string().contains("statistics over many consumers"), "{preview}");

    let date = day.next(2).await;
    day.post(&[visit(&day, "c0")]).await;
    day.gateway.settled().await;
    let received = day.gateway.partner.received();
    let [report] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(
        (report.method.as_str(), report.path.as_str()),
        ("PUT", format!("/v1/sites/main/days/{date}").as_str())
    );
    let body: Value = serde_json::from_slice(&report.body).unwrap();
    let expected = json!({
        "views": 40, "visitors": 40, "seconds_on_page": 90, "views_by_device": { "desktop": 20, "phone": 20 },
    });
    assert_eq!(body, expected);
    assert_eq!(number(&day.ask(PAGES, &date).await), 40.0);

    let rows = day.gateway.auditor().await.flows("stage=aggregate&plugin=page-metrics").await;
    let today: Vec<_> = rows.iter().filter(|row| row["outcome"] == "answered").collect();
    assert_eq!(today.len(), 4);
    for row in today {
        assert_eq!((&row["recipient"], &row["partner"]), (&json!("third-party"), &json!("tally")));
        assert_eq!(row["purpose"], "analytics.reporting.content_performance");
        assert!(row["endpoint"].as_str().unwrap().ends_with(&date), "{row}");
    }
    // A page view is the occasion and no more: of no one consumer does it read anything.
    let calls = day.gateway.auditor().await.flows("stage=call&plugin=page-metrics").await;
    assert!(calls.iter().any(|call| call["outcome"] == "ran"), "{calls:?}");
    for call in calls {
        let mut fields = call["fields"].as_array().unwrap().iter();
        assert!(fields.all(|field| field["access"] != "read"), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_asks_too_often_hears_nothing_more_that_day() {
    let policy = PolicyBook::SHIPPED.replace("queries-per-day = 100", "queries-per-day = 5");
    let mut day = Day::begin(Some(policy)).await;
    day.post(&visitors(0..K, "phone")).await;
    day.next(2).await;
    page_metrics(&day.gateway).await;
    for consumer in ["c0", "c1", "c2"] {
        day.post(&[visit(&day, consumer)]).await;
        day.gateway.settled().await;
    }
    assert_eq!(day.gateway.partner.received().len(), 1);
    let rows = day.gateway.auditor().await.flows("stage=aggregate&plugin=page-metrics").await;
    let of = |outcome: &str| rows.iter().filter(|row| row["outcome"] == outcome).count();
    // Four of the first report, one of the second, and what was asked after it.
    assert_eq!((of("answered"), of("refused")), (5, 2));
}

/// A plugin that asks, on the day after one with 41 visitors, of whom one has a device of its own: by overlap, by time,
/// by tiny groups. What it hears its partner is told, and each question is a row, refused or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_isolates_nobody_by_what_it_asks_and_each_question_is_a_row() {
    let mut day = Day::begin(None).await;
    let the_day_before = day.next(1).await;
    day.post(&visitors(0..K, "phone")).await;
    day.post(&visitors(K..2 * K, "desktop")).await;
    day.post(&visitors(100..101, "a device of its own")).await;
    let date = day.next(2).await;
    let today = day.date.clone();

    let built = tokio::task::spawn_blocking(gateway_tests::components).await.unwrap();
    world::partner(&day.gateway, "mallory", "US", "mallory.example").await;
    let release = world::publish(&day.gateway, "mallory", &built.nosy).await;
    let question = |measure: &str, by: Option<&str>, on: &str| {
        let field = ["sum", "average"].contains(&measure).then_some("/seconds_on_page");
        let mut asked = json!({ "measure": measure, "event": "page.viewed", "day": on });
        for (name, value) in [("by", by), ("field", field)] {
            asked[name] = json!(value);
        }
        asked.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        asked
    };
    let device = Some("/device_type");
    let overlap = [("consumers", None), ("consumers", device), ("events", None), ("events", device)];
    let tiny = [("sum", device), ("average", device), ("events", Some("/url"))];
    let spans = [format!("{date}/{today}"), format!("{date}T13"), today.clone(), the_day_before];
    let cases: Vec<(&str, Vec<Value>, &str)> = vec![
        (
            "all, and all but one",
            overlap.map(|(of, by)| question(of, by, &date)).to_vec(),
            "all=41; -; all=41; -",
        ),
        ("tiny groups", tiny.map(|(of, by)| question(of, by, &date)).to_vec(), "-; -; -"),
        ("times", spans.iter().map(|on| question("events", None, on)).collect(), "-; -; -; -"),
        // Asked again after the one opted out, in the hope of a difference.
        ("before and after", vec![question("consumers", None, &date)], "all=41"),
    ];
    for (name, questions, expected) in cases {
        if name == "before and after" {
            day.opt_out("c100").await;
        }
        let settings = json!({ "questions": questions });
        world::switch_on(&day.gateway, NORTHSIDE, &release, settings, json!({})).await;
        let before = day.gateway.auditor().await.flows("stage=aggregate").await.len();
        day.post(&[visit(&day, "c0")]).await;
        day.gateway.settled().await;
        let heard: Value =
            serde_json::from_slice(&day.gateway.partner.received().pop().expect("a request").body).unwrap();
        assert_eq!(heard, json!({ "heard": expected }), "{name}");
        let mut rows = day.gateway.auditor().await.flows("stage=aggregate").await;
        rows.truncate(rows.len() - before);
        // Rows of one millisecond have no order.
        let mut outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
        let of_each = |answer: &'static str| if answer.ends_with('-') { "refused" } else { "answered" };
        let mut of_all: Vec<&str> = expected.split(';').map(of_each).collect();
        outcomes.sort_unstable();
        of_all.sort_unstable();
        assert_eq!(outcomes, of_all, "{name}");
        for row in &rows {
            assert_eq!((&row["partner"], &row["plugin"]), (&json!("mallory"), &json!("nosy")), "{name}");
            assert_eq!(row["recipient"], "third-party", "{name}: {row}");
            // All of it might be told of enough consumers; what is no question has no parts.
            let mut fields = row["fields"].as_array().unwrap().iter();
            assert!(fields.all(|field| field["decision"] == "allow"), "{name}: {row}");
            assert_eq!(row["fields"] == json!([]), row["endpoint"] == NONE, "{name}: {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_of_two_currencies_are_never_added() {
    let mut day = Day::begin(None).await;
    let purchase = |consumer: usize, currency: &str, total: f64| {
        let data = json!({ "order": "o-1", "total": total, "currency": currency });
        event("purchase.completed", NORTHSIDE, &format!("c{consumer}"), data)
    };
    let of = |range: std::ops::Range<usize>, currency: &'static str, total: f64| {
        range.map(move |consumer| purchase(consumer, currency, total)).collect::<Vec<_>>()
    };
    day.post(&of(0..K, "USD", 10.0)).await;
    day.post(&of(K..2 * K, "EUR", 100.0)).await;
    let date = day.next(2).await;
    let first = refusal(&day.ask("measure=median&event=purchase.completed", &date).await);
    for question in ["measure=sum", "measure=average"] {
        let question = format!("{question}&event=purchase.completed&field=/total");
        assert_eq!(refusal(&day.ask(&question, &date).await), first, "{question}");
    }
    let by = "event=purchase.completed&field=/total&by=/currency";
    let expected = |eur, usd| vec![("EUR".to_owned(), eur), ("USD".to_owned(), usd)];
    assert_eq!(groups(&day.ask(&format!("measure=sum&{by}"), &date).await), expected(2_000.0, 200.0));
    assert_eq!(groups(&day.ask(&format!("measure=average&{by}"), &date).await), expected(100.0, 10.0));
}
