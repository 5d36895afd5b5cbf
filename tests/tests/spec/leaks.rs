//! After a run, no value of a consumer is in the ledger, the logs, the errors, the metrics, or in the clear
//! in the store. What is looked for is every value of the input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aho_corasick::AhoCorasick;
use gateway_tests::events::{self, with};
use gateway_tests::{
    Answer, ChildConfig, ChildGateway, Client, Keyed, Partner, client, components, paths, remade, world,
};
use serde_json::{Value, json};

/// Values of the input that are words of the gateway's own, of its plugins or of the demo's settings: to find
/// them somewhere says nothing.
const PUBLIC: &[&str] = &[
    "phone",
    "tablet",
    "desktop",
    "consumer",
    "agent",
    "Contact",
    "Finance",
    "Hours",
    "Inventory",
    "Offers",
    "Northside Motors",
];

/// Characters that a number has at least, without its sign: a shorter one may stand in any time, size or count.
const DIGITS: usize = 9;

/// All of the input's values with what they are, those too short to look for left out.
pub(crate) fn values_of(input: &[Value], at_least: usize) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for event in input {
        collect(&event["data"], &mut String::new(), &mut values);
        for attribute in ["subject", "id"] {
            values.insert(event[attribute].as_str().unwrap().to_owned(), attribute.to_owned());
        }
    }
    values.retain(|value, _| value.len() >= at_least && !PUBLIC.contains(&value.as_str()));
    values
}

fn collect(value: &Value, path: &mut String, values: &mut BTreeMap<String, String>) {
    let mut inside = |name: &str, value: &Value| {
        let length = path.len();
        path.push('/');
        path.push_str(name);
        collect(value, path, values);
        path.truncate(length);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| inside(name, value)),
        Value::Array(items) => items.iter().for_each(|item| inside("*", item)),
        Value::String(text) => {
            values.insert(text.clone(), path.clone());
        }
        Value::Number(number) => {
            // Whoever writes it otherwise may leave the sign out.
            let digits = number.to_string().trim_start_matches('-').to_owned();
            if digits.len() >= DIGITS {
                values.insert(digits, path.clone());
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}

/// What is looked for.
struct Secrets {
    names: Vec<(String, String)>,
    search: AhoCorasick,
}

impl Secrets {
    fn new(values: BTreeMap<String, String>) -> Self {
        assert!(values.len() > 20, "there is something to look for");
        // Also as JSON writes it.
        let escaped = |value: &String| {
            let text = Value::from(value.as_str()).to_string();
            text[1..text.len() - 1].to_owned()
        };
        let names: Vec<(String, String)> = values.into_iter().collect();
        let patterns: Vec<String> =
            names.iter().flat_map(|(value, _)| [value.clone(), escaped(value)]).collect();
        Self { names, search: AhoCorasick::new(patterns).unwrap() }
    }

    /// Where in `text` a value of the input stands, with a little of what is around it.
    fn assert_none_in(&self, text: &[u8], place: &str) {
        let mut found = BTreeSet::new();
        for hit in self.search.find_iter(text).take(1000) {
            let (value, path) = &self.names[hit.pattern().as_usize() / 2];
            let around = &text[hit.start().saturating_sub(120)..(hit.end() + 40).min(text.len())];
            found.insert(format!("{path} {value:?} in: {}", String::from_utf8_lossy(around)));
            if found.len() == 5 {
                break;
            }
        }
        assert!(found.is_empty(), "in {place}:\n{}", found.into_iter().collect::<Vec<_>>().join("\n"));
    }
}

/// Of a brand, what says something in numbers: where a device is, and what was bought.
fn numbered(brand: &str) -> [Value; 2] {
    let event = |kind: &str, id: &str, data: Value| {
        let event = events::event(kind, brand, "numbered-consumer", data);
        with(event, [("id", json!(id))])
    };
    let place = json!({ "lat": 47.376886541273, "lon": -122.417354629183 });
    let items = json!([{ "name": "Periwinkle hubcaps", "quantity": 736451928.25 }]);
    [
        event("device.reported", "where-it-is", json!({ "location": place })),
        event("purchase.completed", "what-it-cost", json!({ "items": items, "total": 918273645.37 })),
    ]
}

/// Numbers of the input where they may not be: out of range, or no text, or no time.
fn bad_numbers(brand: &str) -> Vec<String> {
    let [device, purchase] = numbered(brand);
    let number = |place: &str, event: &Value| event.pointer(place).unwrap().clone();
    let (lon, total) = (number("/data/location/lon", &device), number("/data/total", &purchase));
    let changed = [
        with(device.clone(), [("data/location/lat", lon.clone())]),
        with(device.clone(), [("data/location/lon", total.clone())]),
        with(device.clone(), [("data/location", lon.clone())]),
        with(device.clone(), [("data/device_id", lon.clone())]),
        with(device.clone(), [("data", lon.clone())]),
        with(device.clone(), [("subject", lon.clone())]),
        with(device.clone(), [("time", lon.clone())]),
        with(device, [("dnt", lon.clone())]),
        with(purchase.clone(), [("data/total", json!([total]))]),
        with(purchase.clone(), [("data/items/0/quantity", lon)]),
        with(purchase.clone(), [("region", total.clone())]),
        with(purchase, [("data/currency", total)]),
    ];
    changed.iter().map(Value::to_string).collect()
}

/// A plugin that reads those numbers, and puts them into failures and logs: `share` those of devices, `decide` those of
/// purchases.
async fn reads_numbers(gateway: &impl Keyed) -> Value {
    let field = |field: &str| json!({ "field": field, "access": "read", "why": "something to leak" });
    let component = remade::with_manifest(&components().hostile.bytes, |manifest| {
        manifest["share"][0]["event"] = json!("device.reported");
        manifest["share"][0]["receives"] = json!([field("/location/lat"), field("/location/lon")]);
        manifest["decide"][0]["event"] = json!("purchase.completed");
        manifest["decide"][0]["receives"] = json!([field("/total"), field("/items/*/quantity")]);
    });
    world::partner(gateway, "mallory", "US", "mallory.example").await;
    world::contract(gateway, "mallory", "essential.service.operations.support", json!({})).await;
    gateway.partner_key("mallory").await.publish(&component).await.expect(201)
}

/// Has the numbers read by that plugin, which says them wherever it can.
async fn read_numbers(config: &ChildConfig, child: &ChildGateway, release: &Value) {
    let (gateway, brand) = (config.with(child), world::NORTHSIDE);
    for behaviour in ["value-in-log", "value-in-failure", "undeclared-return-named-by-value"] {
        let settings = json!({ "host": "api", "behaviour": behaviour });
        world::switch_on(&gateway, brand, release, settings, json!({})).await;
        let [device, purchase] =
            numbered(brand).map(|event| with(event, [("id", json!(events::new_id() + behaviour))]));
        gateway.source(brand).await.post_event(&device).await.expect(202);
        gateway.source(brand).await.decide("hostile", &purchase).await.expect(200);
        wait_until_idle(config, child).await;
    }
    let calls = gateway.auditor().await.flows("plugin=hostile&stage=call").await;
    for field in ["/location/lat", "/location/lon", "/total", "/items/*/quantity"] {
        let allowed = |call: &&Value| {
            let fields = call["fields"].as_array().into_iter().flatten();
            fields.into_iter().any(|it| it["field"] == field && it["decision"] == "allow")
        };
        assert_eq!(calls.iter().filter(allowed).count(), 3, "the plugin reads {field}: {calls:?}");
    }
}

/// One event each of what is refused, with values of the input in every place that a message could quote; and
/// whether the answer may name it. An unknown property is refused with its pointer (design §3), so its name goes
/// back to the source that wrote it, and nowhere else.
fn bad_events(event: &Value) -> Vec<(bool, String)> {
    let email = event["data"]["contact"]["email"].clone();
    let name = email.as_str().unwrap();
    let changed: Vec<Value> = vec![
        with(event.clone(), [("type", email.clone())]),
        with(event.clone(), [("specversion", email.clone())]),
        with(event.clone(), [("region", json!([email]))]),
        with(event.clone(), [("cookies", email.clone())]),
        with(event.clone(), [("time", email.clone())]),
        with(event.clone(), [("dnt", email.clone())]),
        with(event.clone(), [("brand", email.clone())]),
        with(event.clone(), [("subject", json!(""))]),
        with(event.clone(), [("data", email.clone())]),
        with(event.clone(), [("data/contact/email", json!([email]))]),
        with(event.clone(), [("data/contact", email.clone())]),
        with(event.clone(), [("data/transcript", email.clone())]),
        with(event.clone(), [("data/transcript/0/at", email.clone())]),
        with(event.clone(), [("data/contact/phone", json!(name.repeat(200)))]),
    ];
    let named = [
        with(event.clone(), [(name, json!(1))]),
        with(event.clone(), [(&format!("data/{name}"), json!(1))]),
        with(event.clone(), [(&format!("data/contact/{name}"), email.clone())]),
    ];
    let mut texts: Vec<String> = changed.iter().map(Value::to_string).collect();
    let text = event.to_string();
    texts.push(text.chars().take(text.chars().count() / 2).collect());
    texts.push(format!("{text}{name}"));
    texts.push(text.replacen("\"data\":", "\"data\":{},\"data\":", 1));
    texts.push(format!("[{text}"));
    let unnamed = texts.into_iter().map(|text| (false, text));
    unnamed.chain(named.iter().map(|event| (true, event.to_string()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_the_input_is_in_ledger_logs_errors_metrics_or_in_the_clear_in_the_store() {
    let path = paths::shared("events.jsonl").unwrap_or_else(paths::sample);
    let mut input = events::read(&path);
    input.extend(numbered(world::NORTHSIDE));
    let secrets = Secrets::new(values_of(&input, 4));
    // In so many bytes of ciphertext, four of them come together by chance.
    let secrets_at_rest = Secrets::new(values_of(&input, 6));

    let partner = Partner::start().await;
    let config = ChildConfig::new(partner.address, "log-level = \"trace\"\nmax-attempts = 3");
    let child = tokio::task::block_in_place(|| config.serve());
    let gateway = config.with(&child);
    world::demo(&gateway).await;

    // Some fail, so that errors and retries have their say too.
    partner.script([
        gateway_tests::Behaviour::Status(500),
        gateway_tests::Behaviour::Close,
        gateway_tests::Behaviour::Garbage(b"\x16\x03\x01 no HTTP".to_vec()),
        gateway_tests::Behaviour::Answer(400, vec![], b"unknown customer".to_vec()),
    ]);
    for brand in [world::NORTHSIDE, world::DENTAL, world::BANK] {
        let source = gateway.source(brand).await;
        send(&source, brand, &input).await;
    }
    let release = reads_numbers(&gateway).await;
    read_numbers(&config, &child, &release).await;

    let source = gateway.source(world::NORTHSIDE).await;
    let chat = input
        .iter()
        .find(|event| event["type"] == "chat.ended" && event["data"]["contact"]["email"].is_string())
        .unwrap();
    let chat = with(chat.clone(), [("brand", json!(world::NORTHSIDE))]);
    let bad = bad_events(&with(chat.clone(), [("id", json!("a-new-id-of-this-test"))]));
    let bad_numbers = bad_numbers(world::NORTHSIDE).into_iter().map(|text| (false, text));
    for (names, text) in bad.into_iter().chain(bad_numbers) {
        let path = format!("/v1/brands/{}/events", world::NORTHSIDE);
        let answer = source.post_body(&path, client::EVENT, text.clone().into_bytes()).await;
        assert!((400..500).contains(&answer.status), "{}: {text}", answer.status);
        let path = format!("/v1/brands/{}/decisions/chat-button", world::NORTHSIDE);
        let asked = source.post_body(&path, client::EVENT, text.into_bytes()).await;
        if !names {
            no_secret_in(&secrets, &answer);
            no_secret_in(&secrets, &asked);
        }
    }
    let conflict = source.post_event(&with(chat.clone(), [("data/channel", json!("elsewhere"))])).await;
    assert_eq!(conflict.status, if chat["data"]["channel"].is_null() { 202 } else { 409 });
    no_secret_in(&secrets, &conflict);
    let subject = chat["subject"].as_str().unwrap();
    for path in [
        format!("/v1/brands/{}/consumers/{subject}", world::BANK),
        format!("/v1/brands/no-such-brand/consumers/{subject}"),
        format!("/v1/flows?consumer={subject}"),
        format!("/v1/flows?{subject}=1"),
        format!("/v1/flows?brand={subject}"),
        format!("/v1/flows/{subject}"),
        format!("/v1/{subject}"),
    ] {
        no_secret_in(&secrets, &gateway.brand(world::NORTHSIDE).await.get(&path).await);
    }

    wait_until_idle(&config, &child).await;
    let rows = gateway.auditor().await.flows("").await;
    assert!(rows.len() > 20);
    secrets.assert_none_in(Value::from(rows).to_string().as_bytes(), "the ledger");
    const VIEWS: &[&str] = &["calls", "deliveries", "status", "logs"];
    // Of the one that was given the numbers, what its plugin logged is its own to read.
    let (given, of_it) = ("mallory", &VIEWS[..3]);
    for (partner, views) in [("acme-crm", VIEWS), ("engage", VIEWS), ("clarity", VIEWS), (given, of_it)] {
        for what in views {
            let answer = gateway.partner_key(partner).await.get(&format!("/v1/partner/{what}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            secrets.assert_none_in(answer.text.as_bytes(), what);
        }
    }
    let metrics = gateway.operator().await.get("/metrics").await;
    assert!(metrics.text.contains("gateway_calls_total"), "{}", metrics.text);
    secrets.assert_none_in(metrics.text.as_bytes(), "the metrics");

    // With what is in the write-ahead log, and then with all of it in the file.
    scan_files(&secrets_at_rest, &config);
    let log = tokio::task::block_in_place(|| child.terminate());
    assert!(log.lines().count() > 100, "the log has its say: {log}");
    secrets.assert_none_in(log.as_bytes(), "the log");
    scan_files(&secrets_at_rest, &config);
}

fn no_secret_in(secrets: &Secrets, answer: &Answer) {
    if answer.status >= 400 {
        secrets.assert_none_in(answer.text.as_bytes(), &format!("an error: {}", answer.text));
        let headers = format!("{:?}", answer.headers);
        secrets.assert_none_in(headers.as_bytes(), "an error's headers");
    }
}

/// Events of a brand: page views through the slot, others in batches.
async fn send(source: &Client, brand: &str, input: &[Value]) {
    let own = || input.iter().filter(|event| event["brand"] == brand);
    let others: Vec<Value> = own().filter(|event| event["type"] != "page.viewed").cloned().collect();
    for batch in others.chunks(50) {
        source.post_batch(brand, batch).await.expect(202);
    }
    for view in own().filter(|event| event["type"] == "page.viewed") {
        source.decide("chat-button", view).await.expect(200);
    }
}

/// Until every event of the input with work to do has its row.
async fn wait_until_idle(config: &ChildConfig, child: &ChildGateway) {
    let ready = config.with(child).operator().await;
    gateway_tests::eventually("the work to be done", || async {
        // Work that is done is deleted; retries of deliveries may stay.
        let left: i64 = query(&config.database(), "SELECT count(*) FROM work").await;
        let attempts: i64 = query(
            &config.database(),
            "SELECT count(*) FROM delivery_states WHERE state = 0 AND last IS NULL",
        )
        .await;
        assert_eq!(ready.get("/readyz").await.status, 200);
        (left + attempts == 0).then_some(())
    })
    .await;
}

async fn query(database: &Path, sql: &'static str) -> i64 {
    use sqlx::Connection as _;
    let url = format!("sqlite:{}?mode=ro", database.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Every file of the store.
fn scan_files(secrets: &Secrets, config: &ChildConfig) {
    let mut scanned = 0;
    for entry in std::fs::read_dir(config.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && name.starts_with("gateway.db") {
            scanned += 1;
            secrets.assert_none_in(&std::fs::read(&path).unwrap(), &name);
        }
    }
    assert!(scanned >= 1);
}

#[test]
fn the_search_finds_what_is_there() {
    let mut input = events::read(&paths::sample());
    input.extend(numbered(world::NORTHSIDE));
    let secrets = Secrets::new(values_of(&input, 4));
    let email = input.iter().find_map(|event| event["data"]["contact"]["email"].as_str()).unwrap();
    let hidden = format!("{{\"message\":\"about {email}\"}}");
    let finds =
        |text: &str| std::panic::catch_unwind(|| secrets.assert_none_in(text.as_bytes(), "a text")).is_err();
    assert!(finds(&hidden));
    for number in ["47.376886541273", "-122.417354629183", "918273645.37", "736451928.25"] {
        assert!(finds(&format!("{{\"message\":\"at {number}\"}}")), "{number}");
    }
    secrets.assert_none_in(b"nothing of it here", "a text");
}
