//! The demo, as it is run by hand: its numbers, its ledger, and what its partner received, held against the
//! input and against what the clauses say.
//!
//! How the numbers of the real events were worked out. `worked_out.rs` says in some thirty lines what
//! `clauses.md` means for the three plugins of the main job; a reading without the code came first, by counting
//! `events.jsonl` by type, brand, region, signals and cookie class:
//! - `adf-lead`, 150 chats of northside-motors: 97 of consumers inside the area or of unknown region, all
//!   withheld (transfer.onward); 53 of the US: all but the transcript (share.content) goes, so 53 calls and 53
//!   leads. Names, conversation and device type are in each; e-mail address and telephone number in some.
//! - `transcript-quality`, 90 chats of city-dental: both fields go (a service provider in the area): 90 calls.
//! - `chat-button`, 503 page views of both: 345 go whole; 68 with DNT keep only the device type; 45 with
//!   strictly necessary cookies and 45 with performance cookies keep nothing, so no call: 413 calls.
//! - Calls: 53 + 90 + 413 = 556. Leads: 53. Nothing is transformed, because no grant asks for it.
//! - Allowed: 1035 + 68 for `chat-button`; 180 for `transcript-quality`; for `adf-lead` 4 in each of 53 leads
//!   and 73 of e-mail address or telephone number: 285. In all 1568. Withheld: 1078.

pub(crate) mod lead;
mod staying;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use gateway_tests::{TestGateway, child, events, paths};
use serde_json::{Value, json};

use crate::worked_out::{self, values, work_out};
use lead::{Arrived, take_apart};

/// What one run of the demo left.
pub(crate) struct Run {
    /// What it printed.
    pub(crate) text: String,
    input: Vec<Value>,
    last_line: Value,
    received: Vec<Value>,
    flows: Vec<Value>,
}

fn run(input: &Path) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let mut command = child::command(dir.path());
    command.args(["demo", "--once", "--record"]).arg(&record).arg("--input").arg(input);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let last = text.lines().last().unwrap_or_default();
    Run {
        input: events::read(input),
        last_line: serde_json::from_str(last).unwrap_or_else(|_| panic!("the last line is no JSON: {last}")),
        received: events::read(&record.join("received.jsonl")),
        flows: events::read(&record.join("flows.jsonl")),
        text,
    }
}

/// The demo on the real events, once; `None` where they are not beside this checkout.
fn real() -> Option<&'static Run> {
    static RUN: OnceLock<Option<Run>> = OnceLock::new();
    RUN.get_or_init(|| paths::shared("events.jsonl").map(|path| run(&path))).as_ref()
}

/// The demo on the project's own sample, once.
fn sample() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| run(&paths::sample()))
}

/// The runs that there are.
pub(crate) fn runs() -> Vec<&'static Run> {
    real().into_iter().chain([sample()]).collect()
}

#[test]
fn the_real_events_come_to_the_numbers_worked_out_by_hand() {
    let Some(run) = real() else { return };
    let flows = run.flows.len();
    assert_eq!(
        run.last_line,
        json!({
            "events": 1397, "calls": 556,
            "fields": { "allow": 1568, "transform": 0, "withhold": 1078 },
            "deliveries": { "delivered": 53, "failed": 0 },
            "violations": 0, "flows": flows,
        })
    );
}

#[test]
fn the_sample_flows_and_all_of_it_is_fine() {
    let run = sample();
    assert_eq!(run.last_line["events"], run.input.len());
    assert_eq!(run.last_line["violations"], 0);
    assert_eq!(run.last_line["deliveries"]["failed"], 0);
    assert!(run.last_line["deliveries"]["delivered"].as_u64() >= Some(1), "{}", run.last_line);
    assert_eq!(run.last_line["flows"], run.flows.len());
}

#[test]
fn the_last_line_adds_up_to_the_ledger() {
    for run in runs() {
        let of_stage = |stage: &'static str| run.flows.iter().filter(move |row| row["stage"] == stage);
        let ran = of_stage("call").filter(|row| ran(row)).count();
        assert_eq!(run.last_line["calls"], ran);
        for decision in ["allow", "transform", "withhold"] {
            let fields = of_stage("call").flat_map(|row| row["fields"].as_array().unwrap());
            let count = fields.filter(|field| field["decision"] == decision).count();
            assert_eq!(run.last_line["fields"][decision], count, "{decision}");
        }
        let delivered = of_stage("delivery").filter(|row| row["result"]["outcome"] == "delivered").count();
        assert_eq!(run.last_line["deliveries"]["delivered"], delivered);
    }
}

/// A call without what is a matter of chance.
type Called = (String, String, bool, Vec<(String, String)>);

#[test]
fn every_call_in_the_ledger_is_what_the_clauses_say_and_none_is_missing() {
    for run in runs() {
        // Which of several clauses that forbid a field is named is the policy's to choose.
        let mut expected: BTreeMap<Called, (usize, Vec<Vec<&str>>)> = BTreeMap::new();
        for event in &run.input {
            for worked in work_out(event) {
                let fields = worked
                    .fields
                    .iter()
                    .map(|(field, clauses)| {
                        (
                            (*field).to_owned(),
                            if clauses.is_empty() { "allow" } else { "withhold" }.to_owned(),
                        )
                    })
                    .collect();
                let key = (
                    event["brand"].as_str().unwrap().to_owned(),
                    worked.plugin.to_owned(),
                    worked.runs,
                    fields,
                );
                let clauses: Vec<_> = worked.fields.into_iter().map(|(_, clauses)| clauses).collect();
                let entry = expected.entry(key).or_insert((0, vec![Vec::new(); clauses.len()]));
                entry.0 += 1;
                for (known, more) in entry.1.iter_mut().zip(clauses) {
                    known.extend(more);
                }
            }
        }
        let mut recorded: BTreeMap<Called, usize> = BTreeMap::new();
        for row in run.flows.iter().filter(|row| row["stage"] == "call") {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let fields = row["fields"].as_array().unwrap();
            let pairs = fields
                .iter()
                .map(|field| {
                    (
                        field["field"].as_str().unwrap().to_owned(),
                        field["decision"].as_str().unwrap().to_owned(),
                    )
                })
                .collect();
            let key = (text("brand"), text("plugin"), ran(row), pairs);
            let (_, clauses) = expected.get(&key).unwrap_or_else(|| panic!("nothing explains {row}"));
            for (field, clauses) in fields.iter().zip(clauses) {
                let clause = field["reason"].as_str().unwrap().strip_prefix("clause:").unwrap();
                let allowed = if key.1 == "adf-lead" { "integrations.share" } else { "share.brand" };
                let fine = match field["decision"].as_str() {
                    Some("allow") => clause == allowed,
                    _ => clauses.contains(&clause),
                };
                assert!(fine, "{field} is not explained by {clauses:?}");
            }
            *recorded.entry(key).or_default() += 1;
        }
        let expected: BTreeMap<Called, usize> =
            expected.into_iter().map(|(key, (count, _))| (key, count)).collect();
        assert_eq!(recorded, expected);
    }
}

fn ran(row: &Value) -> bool {
    !row["outcome"].as_str().unwrap().starts_with("not-run")
}

// ---- one by one ----

const ALLOWED: &str = "clause:integrations.share";
const PROVIDED: &str = "clause:share.brand";

/// A row of the ledger, as it must be: plugin, outcome, and each field with its reason.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Events of `events.jsonl`, read by a person with `clauses.md` beside: the event's id, why, and the row. An
/// event without connections has none.
const BY_HAND: &[(&str, &str, Option<Row>)] = &[
    (
        "686c938639cdcf0c3788449c",
        "a US chat with DNT and GPC: DNT is about behaviour and GPC spares essential purposes, so a third party gets what was granted, but never the transcript",
        Some((
            "adf-lead",
            "ran",
            &[
                ("/contact/name/first", ALLOWED),
                ("/contact/name/last", ALLOWED),
                ("/conversation", ALLOWED),
                ("/visit/device_type", ALLOWED),
                ("/transcript/*/text", "clause:share.content"),
                ("/contact/email", ALLOWED),
                ("/contact/phone", ALLOWED),
            ],
        )),
    ),
    (
        "1c07c81a88de36d9f8c55030",
        "a US chat whose consumer gave a name and nothing else: what is absent has no verdict",
        Some((
            "adf-lead",
            "ran",
            &[
                ("/contact/name/first", ALLOWED),
                ("/contact/name/last", ALLOWED),
                ("/conversation", ALLOWED),
                ("/visit/device_type", ALLOWED),
                ("/transcript/*/text", "clause:share.content"),
            ],
        )),
    ),
    (
        "738cc58b5a8d1a9135a6e2b4",
        "a Swiss chat: the partner is outside the area and has no onward-transfer contract, so not even the names go, and they are required",
        Some((
            "adf-lead",
            "not-run:required-withheld",
            &[
                ("/contact/name/first", "clause:transfer.onward"),
                ("/contact/name/last", "clause:transfer.onward"),
                ("/conversation", "clause:transfer.onward"),
                ("/visit/device_type", "clause:transfer.onward"),
                ("/transcript/*/text", "clause:transfer.onward"),
                ("/contact/email", "clause:transfer.onward"),
            ],
        )),
    ),
    (
        "a7fa80a6e091cbce12520326",
        "a chat of unknown region counts as inside the area",
        Some((
            "adf-lead",
            "not-run:required-withheld",
            &[
                ("/contact/name/first", "clause:transfer.onward"),
                ("/contact/name/last", "clause:transfer.onward"),
                ("/conversation", "clause:transfer.onward"),
                ("/visit/device_type", "clause:transfer.onward"),
                ("/transcript/*/text", "clause:transfer.onward"),
                ("/contact/email", "clause:transfer.onward"),
                ("/contact/phone", "clause:transfer.onward"),
            ],
        )),
    ),
    (
        "6d4bab60ee675fbcdff807d1",
        "a British chat: the same area",
        Some((
            "adf-lead",
            "not-run:required-withheld",
            &[
                ("/contact/name/first", "clause:transfer.onward"),
                ("/contact/name/last", "clause:transfer.onward"),
                ("/conversation", "clause:transfer.onward"),
                ("/visit/device_type", "clause:transfer.onward"),
                ("/transcript/*/text", "clause:transfer.onward"),
                ("/contact/email", "clause:transfer.onward"),
                ("/contact/phone", "clause:transfer.onward"),
            ],
        )),
    ),
    (
        "25b5d59f5ff52c118df74e08",
        "a page view of unknown region: the contract covers the onward transfer",
        Some((
            "chat-button",
            "ran",
            &[("/url", PROVIDED), ("/seconds_on_page", PROVIDED), ("/device_type", PROVIDED)],
        )),
    ),
    (
        "e186852a342e654f02e53027",
        "a page view with DNT: behaviour stays from whoever personalises, a service provider too; the device's type is no behaviour",
        Some((
            "chat-button",
            "ran",
            &[
                ("/url", "clause:signals.dnt"),
                ("/seconds_on_page", "clause:signals.dnt"),
                ("/device_type", PROVIDED),
            ],
        )),
    ),
    (
        "75772ee195b7235cbb1a4b13",
        "a page view with GPC: that is about third parties, and the partner is a service provider here",
        Some((
            "chat-button",
            "ran",
            &[("/url", PROVIDED), ("/seconds_on_page", PROVIDED), ("/device_type", PROVIDED)],
        )),
    ),
    (
        "1ec18ef3cd7b027f91f645c4",
        "strictly necessary cookies: essential purposes only, and personalising is none; nothing is left, so no call",
        Some((
            "chat-button",
            "not-run:nothing-left",
            &[
                ("/url", "clause:cookies.strictly-necessary"),
                ("/seconds_on_page", "clause:cookies.strictly-necessary"),
                ("/device_type", "clause:cookies.strictly-necessary"),
            ],
        )),
    ),
    (
        "d81dcc2ac148699f760be1d6",
        "performance cookies: aggregates only",
        Some((
            "chat-button",
            "not-run:nothing-left",
            &[
                ("/url", "clause:cookies.performance"),
                ("/seconds_on_page", "clause:cookies.performance"),
                ("/device_type", "clause:cookies.performance"),
            ],
        )),
    ),
    (
        "53fca20f5b4e18828994ea98",
        "functionality cookies keep identifying fields back, and none of these identifies",
        Some((
            "chat-button",
            "ran",
            &[("/url", PROVIDED), ("/seconds_on_page", PROVIDED), ("/device_type", PROVIDED)],
        )),
    ),
    (
        "d4d1b75847ccfca7594f298f",
        "a Swiss chat to a service provider inside the area: the contents of the conversation may go to it",
        Some((
            "transcript-quality",
            "ran",
            &[("/transcript/*/text", PROVIDED), ("/transcript/*/speaker", PROVIDED)],
        )),
    ),
    (
        "0073edf7c19ff902ce8482b2",
        "a US chat with DNT: content is no behaviour",
        Some((
            "transcript-quality",
            "ran",
            &[("/transcript/*/text", PROVIDED), ("/transcript/*/speaker", PROVIDED)],
        )),
    ),
    ("66eb6e508b18550c23d9fad1", "a chat of a brand that has nothing on", None),
    ("d642dc074d33918049329a21", "a purchase, which no plugin declares", None),
    ("cb8b95c742bc1d5ab1a455b0", "a survey, which no plugin declares", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn events_read_by_a_person_come_to_what_the_person_says() {
    let Some(path) = paths::shared("events.jsonl") else { return };
    let input = events::read(&path);
    let gateway = TestGateway::demo().await;
    let auditor = gateway.auditor().await;
    for (id, why, expected) in BY_HAND {
        let event = input.iter().find(|event| event["id"] == *id).expect(id);
        let brand = event["brand"].as_str().unwrap();
        let source = gateway.source(brand).await;
        if event["type"] == "page.viewed" && brand != "first-bank" {
            source.decide("chat-button", event).await.expect(200);
        } else {
            source.post_event(event).await.expect(202);
        }
        gateway.settled().await;
        let query = format!("stage=call&brand={brand}&consumer={}", event["subject"].as_str().unwrap());
        // The consumer's newest; two events of one consumer are of different types here.
        let row = auditor.flows(&query).await.into_iter().find(|row| row["event_type"] == event["type"]);
        let found = row.as_ref().map(|row| {
            let fields: Vec<(&str, &str)> = row["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| (field["field"].as_str().unwrap(), field["reason"].as_str().unwrap()))
                .collect();
            (row["plugin"].as_str().unwrap(), row["outcome"].as_str().unwrap(), fields)
        });
        let expected = expected.map(|(plugin, outcome, fields)| (plugin, outcome, fields.to_vec()));
        assert_eq!(found, expected, "{id}: {why}");
    }
}

// ---- both sides against each other ----

fn delivery_of(received: &Value) -> &str {
    let id = received["headers"]["webhook-id"].as_str().expect("a request has its webhook-id");
    id.strip_prefix("msg_").expect("which is made of the delivery's id")
}

#[test]
fn every_value_that_the_partner_received_is_explained_by_the_ledger() {
    for run in runs() {
        for received in &run.received {
            let delivery = delivery_of(received);
            let attempt = run
                .flows
                .iter()
                .find(|row| row["delivery"] == delivery && row["result"]["outcome"] == "delivered")
                .unwrap_or_else(|| panic!("no row of the ledger says that {delivery} was delivered"));
            let call = run
                .flows
                .iter()
                .find(|row| row["stage"] == "call" && row["event"] == attempt["event"])
                .expect("a request comes from a call");
            assert!(ran(call));
            assert_eq!(attempt["partner"], "acme-crm");
            assert_eq!(received["headers"]["host"], "leads.acme.example");
            assert_eq!(received["path"], "/v1/dealers/4711/leads");

            let arrived = take_apart(received["body"].as_str().unwrap());
            let conversation = &arrived.iter().find(|value| value.field == "/conversation").unwrap().value;
            let event = run
                .input
                .iter()
                .find(|event| {
                    event["type"] == "chat.ended" && event["data"]["conversation"] == **conversation
                })
                .expect("a lead comes from a chat");
            assert_eq!(event["region"], "US");
            for Arrived { field, value } in arrived {
                if field == "/requestdate" {
                    assert_eq!(event["time"], value);
                    continue;
                }
                for row in [call, attempt] {
                    let verdicts = row["fields"].as_array().unwrap();
                    let verdict = verdicts.iter().find(|verdict| verdict["field"] == field);
                    let verdict = verdict.unwrap_or_else(|| panic!("{field} is not in the row {row}"));
                    assert_eq!(verdict["decision"], "allow", "{field} arrived");
                }
                assert_eq!(values(&event["data"], field), [&Value::from(value)], "{field} of that chat");
            }
            // A row of a delivery speaks of nothing that is withheld: it would not have been sent.
            for verdict in attempt["fields"].as_array().unwrap() {
                assert_eq!(verdict["decision"], "allow", "{verdict}");
            }
        }
    }
}

#[test]
fn every_row_that_says_delivered_is_found_at_the_partner_once() {
    for run in runs() {
        let mut said: Vec<&str> = run
            .flows
            .iter()
            .filter(|row| row["result"]["outcome"] == "delivered")
            .map(|row| row["delivery"].as_str().unwrap())
            .collect();
        let mut got: Vec<&str> = run.received.iter().map(delivery_of).collect();
        said.sort_unstable();
        got.sort_unstable();
        assert!(!said.is_empty());
        assert_eq!(said, got);
    }
}

#[test]
fn nothing_of_a_conversation_and_of_nobody_inside_the_area_is_at_the_third_party() {
    for run in runs() {
        let received: String =
            run.received.iter().map(|request| unescaped(&request.to_string())).collect::<Vec<_>>().join("\n");
        let mut looked_for = BTreeSet::new();
        for event in &run.input {
            for text in values(&event["data"], "/transcript/*/text") {
                looked_for.insert(text.as_str().unwrap().to_owned());
            }
        }
        let outside = identifying(run, |event| event["region"] == "US");
        looked_for.extend(identifying(run, |event| event["region"] != "US").difference(&outside).cloned());
        // A word such as `Yes` can stand in any text.
        looked_for.retain(|text| text.len() >= 8);
        assert!(looked_for.len() > 20, "there is something to look for: {}", looked_for.len());
        for text in looked_for {
            assert!(!received.contains(&text), "{text:?} is at the partner");
        }
    }
}

/// What tells one consumer from another, of the events that are meant.
fn identifying(run: &Run, meant: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    const FIELDS: [&str; 6] =
        ["/contact/email", "/contact/phone", "/conversation", "/order", "/visit/ip", "/ip"];
    run.input
        .iter()
        .filter(|event| meant(event))
        .flat_map(|event| {
            let subject = event["subject"].as_str().map(str::to_owned);
            let fields = FIELDS.iter().flat_map(|field| worked_out::values(&event["data"], field));
            fields.filter_map(|value| value.as_str().map(str::to_owned)).chain(subject).collect::<Vec<_>>()
        })
        .collect()
}

/// JSON's and XML's escapes taken out, so that a text is found however it was written.
pub(crate) fn unescaped(text: &str) -> String {
    [
        ("\\\"", "\""),
        ("\\n", "\n"),
        ("&#10;", "\n"),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
