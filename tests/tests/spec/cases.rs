//! Rehearsed calls: what `gateway plugin test` and `run` say of an event is what a running gateway does with it.

use std::collections::BTreeMap;

use gateway::boundary::PolicyBook;
use gateway::catalogue::Catalogue;
use gateway::pipeline::{Case, Rehearsal};
use gateway_tests::builds::Component;
use gateway_tests::events::{chat_ended, page_viewed};
use gateway_tests::gateway::shared_host;
use gateway_tests::paths::root;
use gateway_tests::world::{DENTAL, NORTHSIDE};
use gateway_tests::{Options, TestGateway, components};
use serde_json::{Value, json};

/// The names that production gives have these lengths; so the call costs the same.
pub fn identity() -> Value {
    json!({ "event": "0".repeat(32), "consumer": "00000000-0000-0000-0000-000000000000" })
}

/// Verdict, reason and labels by field, of a row of the ledger.
pub fn of_row(row: &Value) -> BTreeMap<String, Value> {
    let fields = row["fields"].as_array().into_iter().flatten();
    fields
        .map(|field| {
            let said = json!([field["access"], field["decision"], field["reason"], field["labels"]]);
            (field["field"].as_str().unwrap().to_owned(), said)
        })
        .collect()
}

/// The same of a rehearsed call.
pub fn of_call(fields: &Value) -> BTreeMap<String, Value> {
    let fields = fields.as_object().into_iter().flatten();
    fields
        .map(|(name, of)| (name.clone(), json!([of["access"], of["verdict"], of["reason"], of["labels"]])))
        .collect()
}

async fn rehearse(
    gateway: &TestGateway,
    component: &Component,
    event: &Value,
    connection: Value,
    choices: &Value,
) -> Value {
    let case = Case {
        event: Some(event.to_string().into_bytes()),
        connection: serde_json::from_value(connection).unwrap(),
        choices: serde_json::from_value(choices.clone()).unwrap(),
        ..Case::default()
    };
    rehearsed(gateway, &component.bytes, case).await
}

/// What comes of a case, by the gateway's clock.
pub async fn rehearsed(gateway: &TestGateway, component: &[u8], case: Case) -> Value {
    let (catalogue, book) = (Catalogue::embedded().unwrap(), PolicyBook::shipped().unwrap());
    let rehearsal = Rehearsal::new(catalogue, book, shared_host(), gateway.clock.clone());
    let plugin = rehearsal.plugin(component).await.unwrap();
    let called = rehearsal.run(&plugin, case, "").await.unwrap_or_else(|problems| panic!("{problems:?}"));
    serde_json::to_value(called).unwrap()
}

/// What a consumer may have said, and what of their device.
fn variations(plugin: &str) -> Vec<(&'static str, Value, Value)> {
    let permission = json!({ "permissions": [
        { "for": { "integration": plugin }, "wording": "Share this chat", "actor": "window" },
    ] });
    vec![
        ("nothing", json!({}), json!({})),
        ("permission", permission, json!({})),
        ("opt-out", json!({ "opt_out": { "integrations": [plugin] } }), json!({})),
        ("all", json!({ "opt_out": { "all_integrations": true } }), json!({})),
        ("marketing", json!({ "opt_out": { "marketing": true } }), json!({})),
        ("limit", json!({ "limit_pending": true }), json!({})),
        ("dnt", json!({}), json!({ "dnt": true })),
        ("gpc", json!({}), json!({ "gpc": true })),
        ("cookies", json!({}), json!({ "cookies": "strictly-necessary" })),
        ("europe", json!({}), json!({ "region": "EU" })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsed_call_is_decided_checked_and_sent_as_in_production() {
    let gateway = TestGateway::demo().await;
    let built = tokio::task::spawn_blocking(components).await.unwrap();
    let settings = gateway_tests::world::adf_settings();
    let contract = |purpose: &str, onward: bool| json!({ "terms": { "purposes": [purpose], "categories": ["user"], "onward_transfer": onward } });
    let adf = json!({
        "identity": identity(), "settings": settings,
        "partner": { "region": "US", "domains": ["acme.example"] },
    });
    let quality = json!({
        "identity": identity(), "partner": { "region": "EU", "domains": ["clarity.example"] },
        "contracts": contract("essential.service.operations.improve", false),
    });
    let button = json!({
        "identity": identity(), "partner": { "region": "US", "domains": ["engage.example"] },
        "contracts": contract("personalize.content.limited", true),
    });
    let mut ran = 0;
    for (plugin, component, brand, connection) in [
        ("adf-lead", &built.adf_lead, NORTHSIDE, adf),
        ("transcript-quality", &built.transcript_quality, DENTAL, quality),
        ("chat-button", &built.chat_button, DENTAL, button),
    ] {
        for (name, choices, attributes) in variations(plugin) {
            let subject = format!("{plugin}-{name}");
            let path = format!("/v1/brands/{brand}/consumers/{subject}/choices");
            gateway.brand(brand).await.put(&path, &choices).await.ok();
            let slot = plugin == "chat-button";
            let event = if slot { page_viewed(brand, &subject) } else { chat_ended(brand, &subject) };
            let mut event = event;
            for (name, value) in attributes.as_object().unwrap() {
                event[name] = value.clone();
            }
            let before = gateway.partner.received().len();
            let source = gateway.source(brand).await;
            if slot {
                source.decide("chat-button", &event).await.ok();
            } else {
                source.post_event(&event).await.expect(202);
            }
            gateway.settled().await;
            let query = format!("brand={brand}&consumer={subject}&plugin={plugin}");
            let rows = gateway.auditor().await.flows(&query).await;
            let called = rehearse(&gateway, component, &event, connection.clone(), &choices).await;

            let case = format!("{plugin} {name}: {called}");
            let row = rows.iter().find(|row| row["stage"] == "call").unwrap_or_else(|| panic!("{case}"));
            assert_eq!(row["outcome"], called["outcome"], "{case}");
            assert_eq!(row["recipient"], called["recipient"], "{case}");
            assert_eq!(of_row(row), of_call(&called["fields"]), "{case}");
            assert_eq!(row["fuel"], called["fuel"], "{case}");
            ran += usize::from(row["outcome"] == "ran");

            let returned = rows.iter().find(|row| row["stage"] == "return").map(of_row).unwrap_or_default();
            assert_eq!(returned, of_call(&called["returned"]["fields"]), "{case}");

            let requests = called["requests"].as_array().unwrap();
            let sent: Vec<&Value> = requests.iter().filter(|request| request["outcome"] == "sent").collect();
            let received = gateway.partner.received();
            assert_eq!(received.len() - before, sent.len(), "{case}");
            for (sent, received) in sent.iter().zip(&received[before..]) {
                let contact = &event["data"]["contact"];
                let filled = ["email", "phone"].iter().fold(
                    sent["body"].as_str().unwrap().to_owned(),
                    |body, name| {
                        body.replace(&format!("«sealed /contact/{name}»"), contact[name].as_str().unwrap())
                    },
                );
                assert_eq!(filled, received.text(), "{case}");
                assert!(!sent["body"].as_str().unwrap().contains("quillfeather@"), "{case}");
            }
            let delivered = rows.iter().filter(|row| row["stage"] == "delivery").map(|row| {
                let labels = row["fields"].as_array().unwrap().iter();
                let mut labels: Vec<&str> = labels
                    .flat_map(|field| field["labels"].as_array().unwrap())
                    .filter_map(Value::as_str)
                    .collect();
                labels.sort_unstable();
                labels.dedup();
                json!(labels)
            });
            assert_eq!(
                delivered.collect::<Vec<_>>(),
                requests.iter().map(|request| request["labels"].clone()).collect::<Vec<_>>(),
                "{case}"
            );
        }
    }
    assert!(ran > 10, "{ran} calls ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_says_why_and_where_to_read_on() {
    let gateway = TestGateway::start(Options::default()).await;
    let built = tokio::task::spawn_blocking(components).await.unwrap();
    for (behaviour, code) in
        [("trap", "trap"), ("recurse", "stack-overflow"), ("value-in-failure", "rejected")]
    {
        let connection = json!({
            "settings": { "host": "api", "behaviour": behaviour },
            "partner": { "region": "US", "domains": ["mallory.example"] },
        });
        let event = chat_ended("testers", "ada");
        let called = rehearse(&gateway, &built.hostile, &event, connection, &json!({})).await;
        assert_eq!(called["outcome"], format!("failed:{code}"), "{called}");
        let message = called["failure"]["message"].as_str().expect("a message");
        assert!(message.ends_with(&format!("; see plugin-sdk/docs/errors.md#{code}")), "{message}");
        assert_eq!(gateway.anonymous().get(&format!("/problems/{code}")).await.status, 200);
    }
}

/// A copy of the cases of `adf-lead`, to be changed.
fn copied_cases() -> tempfile::TempDir {
    let cases = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join("plugins/adf-lead/cases")).unwrap() {
        let from = entry.unwrap().path();
        let to = cases.path().join(from.file_name().unwrap());
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&from).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    cases
}

/// What `gateway plugin` prints, with its exit status.
async fn command(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(gateway_tests::gateway_binary());
    let output = command.arg("plugin").args(arguments).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The verdict of each case in a table.
fn verdicts_in(table: &str) -> Vec<&str> {
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    rows.map(|line| line.split_whitespace().nth(1).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn update_writes_what_came_as_what_is_expected_and_then_it_passes() {
    let built = tokio::task::spawn_blocking(components).await.unwrap();
    let cases = copied_cases();
    let case = cases.path().join("without-permission");
    let [event, expected] = ["event.json", "expected.json"].map(|file| case.join(file));
    let changed = std::fs::read_to_string(&event).unwrap().replace("Mina", "Minna");
    std::fs::write(&event, changed).unwrap();
    let before = std::fs::read_to_string(&expected).unwrap();
    let arguments = [
        "test",
        "--component",
        built.adf_lead.path.to_str().unwrap(),
        "--cases",
        cases.path().to_str().unwrap(),
    ];
    let update = [&arguments[..], &["--update"]].concat();

    let (code, told) = command(&arguments).await;
    assert_eq!((code, verdicts_in(&told)), (Some(1), vec!["passed", "passed", "differs"]), "{told}");
    assert!(told.ends_with("2 of 3 passed\n"), "{told}");
    assert_eq!(std::fs::read_to_string(&expected).unwrap(), before, "nothing is rewritten unasked");

    let (code, told) = command(&update).await;
    assert_eq!((code, verdicts_in(&told)), (Some(0), vec!["updated"; 3]), "{told}");
    let after = std::fs::read_to_string(&expected).unwrap();
    assert!(after.contains("Minna") && !after.contains("Mina<") && after != before, "{after}");
    let stated: Value = serde_json::from_str(&after).unwrap();
    for name in ["fuel", "memory-bytes", "log"] {
        assert!(stated.get(name).is_none(), "{name} is nothing that a case expects");
    }

    let (code, told) = command(&arguments).await;
    assert_eq!((code, verdicts_in(&told)), (Some(0), vec!["passed"; 3]), "{told}");
    assert!(told.ends_with("3 of 3 passed\n"), "{told}");
}

/// The command has files, and the system's clock; all else is what the gateway does with the same event.
#[tokio::test(flavor = "multi_thread")]
async fn run_prints_what_production_does_with_the_event() {
    let gateway = TestGateway::demo().await;
    let component = &tokio::task::spawn_blocking(components).await.unwrap().adf_lead;
    let settings = gateway_tests::world::adf_settings();
    let connection = json!({
        "identity": identity(), "settings": settings,
        "partner": { "region": "US", "domains": ["acme.example"] },
    });
    for (subject, choices, outcome) in [
        ("ada", variations("adf-lead")[1].1.clone(), "ran"),
        ("zoe", json!({ "opt_out": { "all_integrations": true } }), "not-run:required-withheld"),
    ] {
        let event = chat_ended(NORTHSIDE, subject);
        let path = format!("/v1/brands/{NORTHSIDE}/consumers/{subject}/choices");
        gateway.brand(NORTHSIDE).await.put(&path, &choices).await.ok();
        gateway.source(NORTHSIDE).await.post_event(&event).await.expect(202);
        gateway.settled().await;
        let query = format!("brand={NORTHSIDE}&consumer={subject}&plugin=adf-lead&stage=call");
        let row = gateway.auditor().await.flows(&query).await[0].clone();
        assert_eq!(row["outcome"], outcome, "{row}");

        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, document: &Value| {
            let path = dir.path().join(name);
            std::fs::write(&path, document.to_string()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let files = [
            file("event.json", &event),
            file("connection.json", &connection),
            file("choices.json", &choices),
        ];
        let arguments = [
            "run",
            component.path.to_str().unwrap(),
            "--event",
            &files[0],
            "--connection",
            &files[1],
            "--choices",
            &files[2],
        ];
        let (code, told) = command(&arguments).await;
        assert_eq!(code, Some(0), "{told}");
        let recipient = row["recipient"].as_str().unwrap();
        assert!(told.starts_with(&format!("share chat.ended: {outcome} ({recipient})\n")), "{told}");
        let lines: Vec<String> =
            told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let fields = row["fields"].as_array().unwrap();
        assert!(!fields.is_empty());
        for field in fields {
            let of = |key: &str| field[key].as_str().unwrap();
            let labels: Vec<&str> =
                field["labels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let (name, access, verdict, reason) = (of("field"), of("access"), of("decision"), of("reason"));
            let line = format!("{name} {access} {verdict} {reason} {}", labels.join(", "));
            assert!(lines.contains(&line.trim_end().to_owned()), "{line}\nin\n{told}");
        }
        let cost = format!("fuel {}, memory {} bytes", row["fuel"], row["memory"]);
        assert!(lines.contains(&cost), "{cost}\nin\n{told}");
        let sent = gateway.partner.received().into_iter().next_back().map(|sent| sent.text());
        assert_eq!(told.contains("request to leads: sent; "), outcome == "ran", "{told}");
        if outcome == "ran" {
            let contact = &event["data"]["contact"];
            let filled = ["email", "phone"].iter().fold(told.clone(), |told, name| {
                told.replace(&format!("«sealed /contact/{name}»"), contact[name].as_str().unwrap())
            });
            assert!(filled.contains(sent.as_deref().unwrap()), "{sent:?}\nin\n{filled}");
            assert!(!told.contains("quillfeather@"), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_plugins_cases_pass_and_a_broken_one_is_named_while_the_others_run() {
    let built = tokio::task::spawn_blocking(components).await.unwrap();
    let cases = copied_cases();
    let test = || async {
        let (component, cases) = (built.adf_lead.path.to_str().unwrap(), cases.path().to_str().unwrap());
        let (code, told) =
            command(&["test", "--format", "json", "--component", component, "--cases", cases]).await;
        (code, serde_json::from_str::<Value>(&told).unwrap())
    };
    let verdicts = |told: &Value| -> Vec<String> {
        told.as_array().unwrap().iter().map(|one| one["verdict"].as_str().unwrap().to_owned()).collect()
    };
    let (code, told) = test().await;
    assert_eq!((code, verdicts(&told)), (Some(0), vec!["passed".to_owned(); 3]), "{told}");

    std::fs::write(cases.path().join("opted-out/choices.json"), r#"{"opt_out":{"sms":"no"}}"#).unwrap();
    let event = cases.path().join("without-permission/event.json");
    let text = std::fs::read_to_string(&event).unwrap().replace("Mina", "Minna");
    std::fs::write(&event, text).unwrap();
    let (code, told) = test().await;
    assert_eq!((code, verdicts(&told)), (Some(1), vec!["passed".into(), "broken".into(), "differs".into()]));
    let line = told[1]["lines"][0].as_str().unwrap();
    assert!(line.starts_with("cases/opted-out/choices.json /opt_out/sms: expected a boolean"), "{line}");
    assert!(told[2]["lines"][0].as_str().unwrap().starts_with("/requests/0/body: "), "{told}");
}
