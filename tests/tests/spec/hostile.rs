//! Given a plugin that does what it may not; when it is called; then the call ends, nothing of it leaves, the
//! ledger has a stable code without a word of the plugin's, and the next call is as good as ever.

mod compiling;
mod publication;
pub(crate) use gateway_tests::remade;

use gateway_tests::{Options, TestGateway, components, events, world};
use serde_json::{Value, json};

const BRAND: &str = "testers";
const PLUGIN: &str = "/v1/brands/testers/connections/hostile";
/// The readable value that the plugin smuggles into keys, failures and logs.
const SMUGGLED: &str = "Zyxomma-Petiolatum";
/// Texts of the plugin's own that may turn up nowhere: undeclared names, texts of failures and of requests.
const OF_THE_PLUGIN: [&str; 6] =
    [SMUGGLED, "extra", "no such customer", "elsewhere", "internal.example", "/etc/passwd"];

/// What becomes of a `share` call.
enum Then {
    /// It passes; the partner gets one request, under this path.
    Delivered(&'static str),
    /// It ends with one of these codes, and nothing leaves.
    Ends(&'static [&'static str]),
}
use Then::{Delivered, Ends};

const PATH: &str = "/v1/s-1/json";
/// The field does not stand as a value of its own, or with it the body is none of its media type.
const BROKEN_OUT: &[&str] = &["refused:misplaced", "refused:malformed"];

/// Every behaviour of the plugin's list, with what becomes of it.
const SHARE: &[(&str, Then)] = &[
    ("none", Delivered(PATH)),
    // It uses up what there is.
    ("trap", Ends(&["failed:trap"])),
    ("panic", Ends(&["failed:trap"])),
    ("loop", Ends(&["failed:out-of-fuel", "failed:deadline"])),
    ("recurse", Ends(&["failed:stack-overflow", "failed:trap"])),
    ("hoard", Ends(&["failed:memory-limit"])),
    ("grow-once", Ends(&["failed:memory-limit"])),
    ("flood-log", Delivered(PATH)),
    ("long-log-line", Delivered(PATH)),
    // Ten megabytes in one line are not copied at all.
    ("huge-log-line", Ends(&["failed:output-too-large"])),
    ("slow", Delivered(PATH)),
    // It returns what it may not.
    ("huge-returns", Ends(&["failed:memory-limit"])),
    ("undeclared-return", Ends(&["refused:undeclared-field"])),
    ("undeclared-return-named-by-value", Ends(&["refused:undeclared-field"])),
    ("wrong-type", Ends(&["refused:undeclared-field"])),
    ("not-an-object", Ends(&["refused:returns-not-json"])),
    ("invalid-json", Ends(&["refused:returns-not-json"])),
    ("empty-returns", Ends(&["refused:returns-not-json"])),
    ("trailing-json", Ends(&["refused:returns-not-json"])),
    ("deep-json", Ends(&["failed:output-too-large"])),
    ("duplicate-keys", Ends(&["refused:returns-not-json"])),
    ("invalid-utf8", Ends(&["failed:invalid-output"])),
    // Values in texts: kept under the consumer's key, shown to nobody.
    ("value-in-failure", Ends(&["failed:rejected"])),
    ("value-in-log", Delivered(PATH)),
    ("huge-failure", Ends(&["failed:output-too-large"])),
    // It asks for what it may not.
    ("undeclared-endpoint", Ends(&["refused:undeclared-endpoint"])),
    ("ungranted-field", Ends(&["refused:field-not-given"])),
    ("misspelt-field", Ends(&["refused:field-not-given"])),
    ("undeclared-slot", Ends(&["refused:slots-not-declared"])),
    ("undeclared-header", Ends(&["refused:headers-not-declared"])),
    ("host-header", Ends(&["refused:headers-not-declared"])),
    ("authorization-header", Ends(&["refused:headers-not-declared"])),
    ("signature-header", Ends(&["refused:headers-not-declared"])),
    ("many-requests", Ends(&["failed:output-too-large"])),
    ("huge-request", Ends(&["failed:memory-limit", "failed:output-too-large"])),
    // It breaks out of a place.
    ("json-field-in-string", Ends(BROKEN_OUT)),
    ("json-field-as-key", Ends(BROKEN_OUT)),
    ("json-unbalanced", Ends(BROKEN_OUT)),
    ("json-two-values", Ends(BROKEN_OUT)),
    ("json-duplicate-keys", Ends(BROKEN_OUT)),
    ("xml-field-as-name", Ends(BROKEN_OUT)),
    ("xml-field-in-tag", Ends(BROKEN_OUT)),
    ("xml-field-in-cdata", Ends(BROKEN_OUT)),
    ("xml-field-in-comment", Ends(BROKEN_OUT)),
    ("xml-field-in-instruction", Ends(BROKEN_OUT)),
    ("xml-doctype", Ends(BROKEN_OUT)),
    ("xml-unbalanced", Ends(BROKEN_OUT)),
    ("xml-two-roots", Ends(BROKEN_OUT)),
    ("form-broken-escape", Ends(BROKEN_OUT)),
    ("path-empty", Ends(&["refused:segment"])),
    ("path-dot-dot", Ends(&["refused:segment"])),
    ("path-missing", Ends(&["refused:slot-missing"])),
    ("header-line-break", Ends(&["refused:header-value"])),
    ("header-nul", Ends(&["refused:header-value"])),
    // Encoded, it would still be `..` to a server that decodes before it splits.
    ("path-slash", Ends(&["refused:segment"])),
    // Encoded by the gateway, and so one segment.
    ("path-query", Delivered("/v1/x%3Fadmin%3D1%23y/json")),
    // What it never holds: the gateway places it, or the plugin's words are its own.
    ("sealed-in-header", Delivered(PATH)),
    ("sealed-in-path", Delivered("/v1/ottoline.quillfeather%40example.org/json")),
    ("sealed-in-return", Delivered(PATH)),
    ("sealed-in-log", Delivered(PATH)),
];

/// What becomes of a `decide` call: an answer, or a reason from these.
const DECIDE: &[(&str, &[&str])] = &[
    ("none", &[]),
    ("trap", &["failed:trap"]),
    ("panic", &["failed:trap"]),
    ("loop", &["failed:out-of-fuel", "failed:deadline", "late"]),
    ("recurse", &["failed:stack-overflow", "failed:trap"]),
    ("hoard", &["failed:memory-limit"]),
    ("grow-once", &["failed:memory-limit"]),
    ("flood-log", &[]),
    ("long-log-line", &[]),
    ("huge-log-line", &["failed:output-too-large"]),
    ("huge-returns", &["failed:memory-limit"]),
    ("undeclared-return", &["refused:undeclared-field"]),
    ("undeclared-return-named-by-value", &["refused:undeclared-field"]),
    ("wrong-type", &["refused:undeclared-field"]),
    ("not-an-object", &["refused:returns-not-json"]),
    ("invalid-json", &["refused:returns-not-json"]),
    ("empty-returns", &["refused:returns-not-json"]),
    ("trailing-json", &["refused:returns-not-json"]),
    ("deep-json", &["failed:output-too-large"]),
    ("duplicate-keys", &["refused:returns-not-json"]),
    ("invalid-utf8", &["failed:invalid-output"]),
    ("value-in-failure", &["failed:rejected"]),
    ("value-in-log", &[]),
    ("huge-failure", &["failed:output-too-large"]),
];

/// The plugin, with two seconds for a decision: these tests run beside others.
async fn start() -> (TestGateway, Value) {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.expect("the components are built");
    let patient = remade::with_manifest(&built.hostile.bytes, |manifest| {
        manifest["decide"][0]["deadline-ms"] = json!(2_000);
    });
    world::brand(&gateway, BRAND, false).await;
    world::partner(&gateway, "mallory", "US", "mallory.example").await;
    let release = gateway.partner_key("mallory").await.publish(&patient).await.expect(201);
    (gateway, release)
}

fn chat(subject: &str) -> Value {
    let value = |text: &str| json!(text);
    let chat = events::chat_ended(BRAND, subject);
    events::with(chat, [("/data/contact/name/first", value(SMUGGLED)), ("/data/contact/phone", Value::Null)])
}

fn page(subject: &str) -> Value {
    events::with(events::page_viewed(BRAND, subject), [("/data/url", json!(SMUGGLED))])
}

/// The rows of a consumer as (stage, outcome): calls before deliveries before returns, oldest first.
async fn rows(gateway: &TestGateway, subject: &str) -> Vec<(String, String)> {
    let mut rows = gateway.brand(BRAND).await.flows(&format!("consumer={subject}")).await;
    rows.reverse();
    rows.sort_by_key(|row| row["stage"].as_str().map(str::to_owned));
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "stage"), text(row, "outcome"))).collect()
}

/// Everything that a brand, an auditor or a partner can read: the ledger, the switch, dead letters.
async fn assert_nothing_smuggled(gateway: &TestGateway) {
    let brand = gateway.brand(BRAND).await;
    let seen = [
        gateway.auditor().await.get("/v1/flows?limit=1000").await.text,
        brand.get(PLUGIN).await.text,
        brand.get(&format!("/v1/brands/{BRAND}/dead-letters")).await.text,
        gateway.anonymous().get("/metrics").await.text,
    ];
    for text in seen {
        for word in OF_THE_PLUGIN {
            assert!(!text.contains(word), "{word} is in {text}");
        }
    }
}

async fn returned(gateway: &TestGateway) -> usize {
    let feed = gateway.brand(BRAND).await.get(&format!("/v1/brands/{BRAND}/returns?limit=1000")).await;
    feed.expect(200).as_array().map_or(0, Vec::len)
}

/// A call that has nothing wrong with it: it passes whatever was before.
async fn assert_next_call_succeeds(gateway: &TestGateway, release: &Value, after: &str) {
    world::hostile_behaves(gateway, release, "none").await;
    let (delivered, feed) = (gateway.partner.received().len(), returned(gateway).await);
    let subject = format!("good-after-{after}");
    gateway.source(BRAND).await.post_event(&chat(&subject)).await.expect(202);
    gateway.settled().await;
    let stages = ["call", "delivery", "return"];
    let rows = rows(gateway, &subject).await;
    assert_eq!(rows.iter().map(|(stage, _)| stage.as_str()).collect::<Vec<_>>(), stages, "after {after}");
    assert_eq!(gateway.partner.received().len(), delivered + 1, "after {after}");
    assert_eq!(returned(gateway).await, feed + 1, "after {after}");
    let view = gateway.brand(BRAND).await.get(PLUGIN).await.expect(200);
    assert_eq!(view["breaker"], "closed", "after {after}");
    gateway.anonymous().get("/readyz").await.expect(200);
}

#[test]
fn the_tables_name_every_behaviour_of_the_plugin() {
    let source = std::fs::read_to_string(gateway_tests::paths::root().join("plugins/hostile/src/lib.rs"))
        .expect("the plugin's source");
    let table = source.split("pub const BEHAVIOURS").nth(1).and_then(|rest| rest.split("\n};").next());
    let named: Vec<&str> = table
        .expect("the plugin's table")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next())
        .collect();
    assert_eq!(named, SHARE.iter().map(|(behaviour, _)| *behaviour).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_share_call_does_nothing_of_it_leaves_and_the_next_one_passes() {
    let (gateway, release) = start().await;
    for (behaviour, then) in SHARE {
        world::hostile_behaves(&gateway, &release, behaviour).await;
        let before = (gateway.partner.received().len(), returned(&gateway).await);
        gateway.source(BRAND).await.post_event(&chat(behaviour)).await.expect(202);
        gateway.settled().await;
        let rows = rows(&gateway, behaviour).await;
        let after = (gateway.partner.received().len(), returned(&gateway).await);
        match then {
            Ends(codes) => {
                let [(stage, outcome)] = rows.as_slice() else { panic!("{behaviour}: {rows:?}") };
                assert_eq!(stage, "call", "{behaviour}");
                assert!(codes.contains(&outcome.as_str()), "{behaviour}: {outcome}, not one of {codes:?}");
                assert_eq!(after, before, "{behaviour}: something left");
            }
            Delivered(path) => {
                assert_eq!(rows.first().map(|(_, outcome)| outcome.as_str()), Some("ran"), "{behaviour}");
                assert_eq!(after.0, before.0 + 1, "{behaviour}: {rows:?}");
                let request = gateway.partner.received().pop().expect("a request");
                assert_eq!(request.path, *path, "{behaviour}");
            }
        }
        assert_next_call_succeeds(&gateway, &release, behaviour).await;
    }
    let refused = SHARE.iter().filter(|(_, then)| match then {
        Ends(codes) => codes.iter().all(|code| code.starts_with("refused")),
        Delivered(_) => false,
    });
    assert_eq!(gateway.gateway.counts().violations, refused.count() as u64);
    assert_nothing_smuggled(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_decision_does_the_brand_gets_an_answer_or_a_reason_in_stable_words() {
    let (gateway, release) = start().await;
    let source = gateway.source(BRAND).await;
    // Engaged beforehand: the partner is a third party.
    let subject = "decided";
    source.post_event(&events::contact_provided(BRAND, subject)).await.expect(202);
    for (behaviour, reasons) in DECIDE {
        world::hostile_behaves(&gateway, &release, behaviour).await;
        let event = page(subject);
        let answer = source.decide("hostile", &event).await;
        let view = answer.expect(200);
        if reasons.is_empty() {
            assert_eq!(view["decision"], json!({ "verdict": "fine", "count": 1 }), "{behaviour}: {view}");
        } else {
            assert_eq!(view["decision"], Value::Null, "{behaviour}: {view}");
            let reason = view["reason"].as_str().unwrap_or_default();
            assert!(reasons.contains(&reason), "{behaviour}: {reason}, not one of {reasons:?}");
            // The same event again gets what is recorded, once it is; the plugin is not asked a second time.
            gateway.settled().await;
            world::hostile_behaves(&gateway, &release, "none").await;
            if reason != "late" {
                assert_eq!(source.decide("hostile", &event).await.expect(200), view, "{behaviour}");
            }
        }
        assert!(!answer.text.contains(SMUGGLED), "{}", answer.text);
        world::hostile_behaves(&gateway, &release, "none").await;
        let good = source.decide("hostile", &page(subject)).await.expect(200);
        assert_eq!(good["decision"]["verdict"], "fine", "after {behaviour}: {good}");
        gateway.anonymous().get("/readyz").await.expect(200);
    }
    assert!(gateway.partner.received().is_empty(), "a decision sends nothing");
    assert_nothing_smuggled(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_failures_open_the_breaker_visibly_and_what_waits_is_not_lost() {
    const FAILURES: usize = 5;
    let (gateway, release) = start().await;
    let (source, brand) = (gateway.source(BRAND).await, gateway.brand(BRAND).await);
    source.post_event(&events::contact_provided(BRAND, "decided")).await.expect(202);
    world::hostile_behaves(&gateway, &release, "trap").await;
    for failure in 0..FAILURES {
        assert_eq!(brand.get(PLUGIN).await.expect(200)["breaker"], "closed", "after {failure}");
        source.post_event(&chat(&format!("failing-{failure}"))).await.expect(202);
        gateway.settled().await;
    }
    assert_eq!(brand.get(PLUGIN).await.expect(200)["breaker"], "open");

    // Nothing runs now. A decision says so; a share waits.
    let view = source.decide("hostile", &page("decided")).await.expect(200);
    assert_eq!(view, json!({ "decision": null, "reason": "not-run:breaker-open" }));
    source.post_event(&chat("waiting")).await.expect(202);
    gateway.settled().await;
    let call = |outcome: &str| ("call".to_owned(), outcome.to_owned());
    assert_eq!(rows(&gateway, "waiting").await, [call("not-run:breaker-open")]);

    // Another brand's connection of the same plugin is none the worse.
    world::brand(&gateway, "others", false).await;
    let good = json!({ "host": "api", "behaviour": "none" });
    world::switch_on(&gateway, "others", &release, good, json!({})).await;
    let others = gateway.source("others").await;
    others.post_event(&events::with(chat("elsewhere"), [("/brand", json!("others"))])).await.expect(202);
    gateway.partner.wait_for(1).await;

    // Mended, and the time is up: what waited runs, once.
    world::hostile_behaves(&gateway, &release, "none").await;
    gateway.clock.advance(time::Duration::seconds(31));
    gateway.settled().await;
    let outcomes = rows(&gateway, "waiting").await;
    assert_eq!(outcomes[..2], [call("not-run:breaker-open"), call("ran")]);
    assert_eq!(brand.get(PLUGIN).await.expect(200)["breaker"], "closed");
    assert_eq!(gateway.partner.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_misbehave_at_once_do_not_keep_others_from_their_turn() {
    let (gateway, release) = start().await;
    world::brand(&gateway, "others", false).await;
    world::switch_on(&gateway, "others", &release, json!({ "host": "api" }), json!({})).await;
    world::hostile_behaves(&gateway, &release, "hoard").await;
    let (bad, good) = (gateway.source(BRAND).await, gateway.source("others").await);
    for number in 0..4 {
        bad.post_event(&chat(&format!("bad-{number}"))).await.expect(202);
        let event = events::with(chat(&format!("good-{number}")), [("/brand", json!("others"))]);
        good.post_event(&event).await.expect(202);
    }
    gateway.settled().await;
    assert_eq!(gateway.partner.received().len(), 4);
    let calls = gateway.auditor().await.flows("brand=others&stage=call").await;
    assert!(calls.iter().all(|call| call["outcome"] == "ran"), "{calls:?}");
}
