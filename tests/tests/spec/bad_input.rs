//! Given a request with one thing wrong; when it is sent; then the answer is a problem (RFC 9457) of a stable
//! type that names the thing and repeats no value, nothing of the request is kept, and after each the next event
//! passes in a gateway that is well.
//!
//! The cases are data: `tests/cases/bad_input`, one file for each operation.

use std::collections::{BTreeMap, BTreeSet};

use gateway::http::Code;
use gateway::pipeline::Role;
use gateway_tests::client::EVENT;
use gateway_tests::{Options, TestGateway, components, events, paths, world};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hostile::remade::with_manifest;
use crate::next_event::Standing;

const BRAND: &str = world::NORTHSIDE;
/// Stands in a value of each case; no answer may hold it.
const CANARY: &str = "c4n4ry";
/// The same for values that are numbers.
const NUMBER: &str = "40499";
/// The consumer of every bad event.
const CONSUMER: &str = "c4n4ry@example.org";

/// A request with one thing wrong, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    name: String,
    /// A role's key, `nobody`, or a key's text.
    r#as: Option<String>,
    method: Option<String>,
    path: Option<String>,
    /// `null`: none is sent.
    #[serde(default = "usual")]
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    body_text: Option<String>,
    body_hex: Option<String>,
    body_repeat: Option<(String, usize)>,
    /// Changes to a good event, as [`events::with`] takes them.
    event: Option<BTreeMap<String, Value>>,
    /// The same for each event of a batch.
    batch: Option<Vec<BTreeMap<String, Value>>>,
    /// Changes to a good connection of `adf-lead`.
    connection: Option<BTreeMap<String, Value>>,
    status: u16,
    r#type: String,
    pointer: Option<String>,
    /// What the answer must name.
    #[serde(default)]
    names: Vec<String>,
}

/// In place of a content type that a case does not give.
const USUAL: &str = "usual";

fn usual() -> Option<String> {
    Some(USUAL.to_owned())
}

/// What the cases of one file have in common.
struct Operation {
    file: &'static str,
    r#as: &'static str,
    method: &'static str,
    path: &'static str,
    content_type: &'static str,
}

const JSON: &str = "application/json";

const OPERATIONS: [Operation; 6] = [
    Operation {
        file: "events",
        r#as: "source",
        method: "POST",
        path: "/v1/brands/northside-motors/events",
        content_type: EVENT,
    },
    Operation {
        file: "decisions",
        r#as: "source",
        method: "POST",
        path: "/v1/brands/northside-motors/decisions/chat-button",
        content_type: EVENT,
    },
    Operation {
        file: "connections",
        r#as: "brand",
        method: "PUT",
        path: "/v1/brands/northside-motors/connections/adf-lead",
        content_type: JSON,
    },
    Operation {
        file: "choices",
        r#as: "brand",
        method: "PUT",
        path: "/v1/brands/northside-motors/consumers/c4n4ry/choices",
        content_type: JSON,
    },
    Operation {
        file: "control",
        r#as: "operator",
        method: "PUT",
        path: "/v1/brands/new-brand",
        content_type: JSON,
    },
    Operation { file: "queries", r#as: "auditor", method: "GET", path: "/v1/flows", content_type: JSON },
];

/// The good document with a case's changes in it.
fn changed(mut document: Value, changes: &BTreeMap<String, Value>) -> Value {
    for (place, value) in changes {
        document = events::with(document, [(place.as_str(), value.clone())]);
    }
    document
}

/// A good event but for its consumer, whom no good event is about.
fn event(changes: &BTreeMap<String, Value>) -> Value {
    let event = events::with(
        events::chat_ended(BRAND, CONSUMER),
        [
            ("/data/contact/email", json!("c4n4ry@example.org")),
            ("/data/transcript/0/text", json!("c4n4ry?")),
            ("/data/conversation", json!(CANARY)),
        ],
    );
    changed(event, changes)
}

impl Case {
    fn body(&self, release: &Value) -> Vec<u8> {
        let batch = self.batch.as_ref().map(|all| all.iter().map(event).collect::<Value>());
        let connection = self.connection.as_ref().map(|changes| {
            let mut secrets = world::adf_secrets();
            secrets["api-key"] = json!("c4n4ry-of-a-secret");
            let mut settings = world::adf_settings();
            settings["vendor-name"] = json!("c4n4ry Motors");
            changed(world::connection(release, settings, secrets), changes)
        });
        let document = self.body.clone().or(batch).or(connection).or(self.event.as_ref().map(event));
        if let Some(document) = document {
            return document.to_string().into_bytes();
        }
        if let Some((text, times)) = &self.body_repeat {
            return text.repeat(*times).into_bytes();
        }
        if let Some(text) = &self.body_hex {
            let octet = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
            return (0..text.len()).step_by(2).map(octet).collect();
        }
        self.body_text.clone().unwrap_or_default().into_bytes()
    }
}

fn cases(file: &str) -> Vec<Case> {
    let path = paths::root().join("tests/cases/bad_input").join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn key(gateway: &TestGateway, named: &str) -> Option<String> {
    let (role, scope) = match named {
        "nobody" => return None,
        "source" => (Role::Source, Some(BRAND)),
        "brand" => (Role::Brand, Some(BRAND)),
        "bank" => (Role::Brand, Some(world::BANK)),
        "operator" => (Role::Operator, None),
        "auditor" => (Role::Auditor, None),
        "acme" => (Role::Partner, Some("acme-crm")),
        key => return Some(key.to_owned()),
    };
    Some(gateway.client(role, scope).await.key().to_owned())
}

async fn send(
    gateway: &TestGateway,
    operation: &Operation,
    case: &Case,
    release: &Value,
) -> (u16, String, String) {
    let method = case.method.as_deref().unwrap_or(operation.method);
    let path = case.path.as_deref().unwrap_or(operation.path);
    let mut request = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .expect("a client for loopback")
        .request(method.parse().expect("a method"), format!("{}{path}", gateway.url));
    if let Some(key) = key(gateway, case.r#as.as_deref().unwrap_or(operation.r#as)).await {
        request = request.bearer_auth(key);
    }
    if let Some(kind) = &case.content_type {
        request = request.header("content-type", if kind == USUAL { operation.content_type } else { kind });
    }
    for (name, value) in &case.headers {
        request = request.header(name, value);
    }
    if method != "GET" {
        request = request.body(case.body(release));
    }
    let response = request.send().await.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (response.status().as_u16(), kind.to_owned());
    (status, kind, response.text().await.expect("a body"))
}

/// What is wrong with the answer to a case.
fn faults(case: &Case, status: u16, kind: &str, text: &str) -> Vec<String> {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    check(status == case.status, format!("status {status}, not {}", case.status));
    check(kind == "application/problem+json", format!("content type {kind}"));
    check(problem["type"] == case.r#type, format!("type {}, not {}", problem["type"], case.r#type));
    check(problem["status"] == status, format!("status {} in the body", problem["status"]));
    for member in ["title", "detail"] {
        check(problem[member].as_str().is_some_and(|text| !text.is_empty()), format!("no {member}"));
    }
    if let Some(pointer) = &case.pointer {
        check(problem["pointer"] == **pointer, format!("pointer {}, not {pointer}", problem["pointer"]));
    }
    for name in &case.names {
        check(text.contains(name.as_str()), format!("{name} is not named"));
    }
    for canary in [CANARY, NUMBER] {
        check(!text.contains(canary), "a value is repeated".to_owned());
    }
    faults
}

/// The demo's world, a platform brand, and a plugin for a slot that is filled.
async fn start() -> (TestGateway, Value) {
    let gateway = TestGateway::demo().await;
    world::brand(&gateway, "the-platform", true).await;
    world::partner(&gateway, "other", "US", "other.example").await;
    let other = with_manifest(&components().chat_button.bytes, |manifest| {
        manifest["plugin"]["name"] = json!("other-button");
        manifest["plugin"]["partner"] = json!("other");
    });
    gateway.partner_key("other").await.publish(&other).await.expect(201);
    let releases = gateway.brand(BRAND).await.get("/v1/plugins/adf-lead/releases").await.expect(200);
    (gateway, releases[0].clone())
}

async fn refused_with_nothing_kept(file: &str) {
    let (gateway, release) = start().await;
    let operation = OPERATIONS.iter().find(|operation| operation.file == file).expect("an operation");
    let switches = switches(&gateway).await;
    let mut wrong = Vec::new();
    for (number, case) in cases(file).into_iter().enumerate() {
        let before = Standing::of(&gateway);
        let (status, kind, text) = send(&gateway, operation, &case, &release).await;
        let mut faults = faults(&case, status, &kind, &text);
        faults.extend(before.faults_after_next(&gateway, &format!("good-{number}")).await);
        if !faults.is_empty() {
            wrong.push(format!("{}: {}\n    {text}", case.name, faults.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    // What was counted is what the ledger holds, and no connection is another than before.
    assert_eq!(gateway.auditor().await.flows("").await.len() as u64, gateway.gateway.counts().flows);
    assert_eq!(self::switches(&gateway).await, switches);
}

/// What is on at every brand.
async fn switches(gateway: &TestGateway) -> Vec<Value> {
    let mut all = Vec::new();
    for brand in [world::NORTHSIDE, world::DENTAL, world::BANK] {
        let path = format!("/v1/brands/{brand}/connections");
        all.push(gateway.brand(brand).await.get(&path).await.expect(200));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_refused() {
    refused_with_nothing_kept("events").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused() {
    refused_with_nothing_kept("decisions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_switches_are_refused() {
    refused_with_nothing_kept("connections").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_choices_are_refused() {
    refused_with_nothing_kept("choices").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_components_and_routes_are_refused() {
    refused_with_nothing_kept("control").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_queries_are_refused() {
    refused_with_nothing_kept("queries").await;
}

#[test]
fn every_type_of_problem_that_a_request_can_cause_has_a_case() {
    let given: BTreeSet<String> =
        OPERATIONS.iter().flat_map(|operation| cases(operation.file)).map(|case| case.r#type).collect();
    for code in Code::ALL {
        let by_the_request =
            !matches!(code, Code::Internal | Code::Unavailable | Code::RequestTimeout | Code::Gone);
        let kind = code.type_reference();
        assert_eq!(given.contains(kind), by_the_request, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_event_is_a_duplicate_and_with_another_body_a_conflict() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(BRAND).await;
    let first = events::chat_ended(BRAND, CONSUMER);
    let counts = |accepted: u64, duplicates: u64| json!({ "accepted": accepted, "duplicates": duplicates });
    assert_eq!(source.post_event(&first).await.expect(202), counts(1, 0));
    assert_eq!(source.post_event(&first).await.expect(202), counts(0, 1));

    let other = events::with(first.clone(), [("/data/contact/email", json!("other-c4n4ry@example.org"))]);
    gateway.settled().await;
    let new = events::chat_ended(BRAND, "new");
    let twice = events::with(new.clone(), [("/subject", json!("another"))]);
    for (about, conflicting) in [
        ("after-another-body", vec![other.clone()]),
        ("after-a-whole-batch", vec![new.clone(), other.clone()]),
        ("after-a-key-twice-in-one-batch", vec![new.clone(), twice]),
    ] {
        let before = Standing::of(&gateway);
        let answer = match conflicting.as_slice() {
            [one] => source.post_event(one).await,
            batch => source.post_batch(BRAND, batch).await,
        };
        let problem = answer.expect(409);
        assert_eq!(problem["type"], "/problems/conflict");
        assert!(!answer.text.contains(CANARY), "{problem}");
        before.assert_next_passes(&gateway, about).await;
    }

    // The same key from another source, and at another brand, is another event.
    let elsewhere = events::with(other, [("/source", json!("/elsewhere"))]);
    assert_eq!(source.post_event(&elsewhere).await.expect(202), counts(1, 0));
    let dental = events::with(first.clone(), [("/brand", json!(world::DENTAL))]);
    assert_eq!(gateway.source(world::DENTAL).await.post_event(&dental).await.expect(202), counts(1, 0));
    assert_eq!(source.post_batch(BRAND, &[new.clone(), new, first]).await.expect(202), counts(1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_about_a_stored_event_with_another_body_is_a_conflict() {
    let gateway = TestGateway::demo().await;
    let source = gateway.source(BRAND).await;
    let first = events::page_viewed(BRAND, CONSUMER);
    source.decide("chat-button", &first).await.expect(200);
    gateway.settled().await;
    let before = Standing::of(&gateway);
    let other = events::with(first, [("/data/url", json!("https://c4n4ry.example/"))]);
    let answer = source.decide("chat-button", &other).await;
    assert_eq!(answer.expect(409)["type"], "/problems/conflict");
    assert!(!answer.text.contains(CANARY), "{}", answer.text);
    before.assert_next_passes(&gateway, "after-a-conflict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_stand_where_they_are_said_to_stand() {
    const LIMIT: usize = 4096;
    let gateway = TestGateway::demo_with(Options { max_body: LIMIT, ..Options::default() }).await;
    let source = gateway.source(BRAND).await;
    let sized = |size: usize| {
        let event = events::with(events::page_viewed(BRAND, "sized"), [("/data/url", json!(""))]);
        let missing = size - event.to_string().len();
        events::with(event, [("/data/url", json!("x".repeat(missing)))])
    };
    let whole = sized(LIMIT);
    assert_eq!(whole.to_string().len(), LIMIT);
    source.post_event(&whole).await.expect(202);
    gateway.settled().await;
    let before = Standing::of(&gateway);
    source.post_event(&sized(LIMIT + 1)).await.expect(413);
    before.assert_next_passes(&gateway, "after-a-large-one").await;

    // Events of one batch: by number, whatever their size.
    let gateway = TestGateway::demo().await;
    let source = gateway.source(BRAND).await;
    let batch = |count: usize| -> Vec<Value> {
        let small = |_| events::event("page.viewed", BRAND, "many", json!({ "url": "u" }));
        (0..count).map(small).collect()
    };
    source.post_batch(BRAND, &batch(1000)).await.expect(202);
    gateway.settled().await;
    assert_eq!(gateway.gateway.counts().events, 1000);
    let before = Standing::of(&gateway);
    let answer = source.post_batch(BRAND, &batch(1001)).await;
    let problem = answer.expect(422);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("1000")), "{problem}");
    before.assert_next_passes(&gateway, "after-a-large-batch").await;
}
