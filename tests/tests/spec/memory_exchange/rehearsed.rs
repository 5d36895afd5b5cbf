//! What a rehearsal says of a plugin that remembers and asks is what a running gateway does with it.

use std::collections::{BTreeMap, BTreeSet};

use gateway::pipeline::Case;
use gateway_tests::{Behaviour, events};
use serde_json::{Value, json};

use super::{BRAND, VALUE, World, chat, nameless, patient};
use crate::cases::{identity, of_call, of_row, rehearsed};

/// All labels of a row.
fn labels(row: &Value) -> BTreeSet<&str> {
    let fields = row["fields"].as_array().into_iter().flatten();
    fields.flat_map(|field| field["labels"].as_array().unwrap()).filter_map(Value::as_str).collect()
}

fn texts(labels: &Value) -> BTreeSet<&str> {
    labels.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What came of an exchange, as a rehearsal calls it.
fn ended(row: &Value) -> String {
    match (row["outcome"].as_str().unwrap(), row["result"]["outcome"].as_str()) {
        ("attempt", Some("answered")) => "answered".to_owned(),
        ("attempt", _) => "no-reply".to_owned(),
        (stays, _) => stays.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsed_call_asks_and_remembers_as_in_production() {
    let world = World::new().await;
    let component = patient();
    let gold = || Some((200, json!({ "echo": "gold" })));
    let email = Some((200, json!({ "echo": "ottoline.quillfeather@example.org" })));
    let page = |subject: &str| events::page_viewed(BRAND, subject);
    // What each consumer's memory is by now, as the rehearsals say.
    let mut memories: BTreeMap<String, Value> = BTreeMap::new();
    let mut asked = 0;
    for (behaviour, event, reply) in [
        ("recall", chat("ada"), None),
        ("remember", chat("ada"), None),
        ("recall", nameless("ada"), None),
        ("recall", page("ada"), None),
        ("recall-by-name", chat("ada"), None),
        ("recall-what-it-remembers", chat("ada"), None),
        ("remember-and-trap", chat("bob"), None),
        ("recall", nameless("bob"), None),
        ("remember-by-name", chat("cyd"), None),
        ("ask", chat("dan"), gold()),
        ("ask", nameless("eve"), Some((503, json!({ "echo": "no" })))),
        ("launder", nameless("fay"), email),
        ("ask-about-sealed", chat("gus"), gold()),
        ("ask-and-recall", chat("ada"), gold()),
        ("ask-undeclared-endpoint", chat("hal"), None),
        ("ask-without-reply", chat("ida"), None),
        ("ask-ungranted-field", chat("jim"), None),
        ("ask-sealed-in-undeclared-header", chat("kim"), None),
    ] {
        let subject = event["subject"].as_str().unwrap().to_owned();
        let before =
            (world.rows(&subject, "exchange").await.len(), world.rows(&subject, "delivery").await.len());
        if let Some((status, body)) = &reply {
            let body = body.to_string().into_bytes();
            world.gateway.partner.script([Behaviour::Answer(*status, vec![], body)]);
        }
        let slot = event["type"] == "page.viewed";
        if slot {
            world.behave(behaviour, &[]).await;
            world.gateway.source(BRAND).await.decide("hostile", &event).await.ok();
            world.gateway.settled().await;
        } else {
            world.share(behaviour, &event).await;
        }
        let mut connection = json!({
            "identity": identity(), "engaged": true, "settings": { "host": "api", "behaviour": behaviour },
            "partner": { "region": "US", "domains": ["mallory.example"] },
        });
        if let Some(memory) = memories.get(&subject) {
            let read = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap();
            let entries = memory["entries"].as_object().unwrap().iter();
            let entries: BTreeMap<&String, Value> = entries.map(|(key, text)| (key, read(text))).collect();
            connection["memory"] = json!({ "entries": entries, "labels": memory["labels"] });
        }
        let replies =
            reply.map(|(status, body)| json!({ "endpoint": "ask", "status": status, "body": body }));
        let case = Case {
            event: Some(event.to_string().into_bytes()),
            connection: serde_json::from_value(connection).unwrap(),
            replies: replies.into_iter().map(|reply| serde_json::from_value(reply).unwrap()).collect(),
            ..Case::default()
        };
        let called = rehearsed(&world.gateway, &component, case).await;

        let case = format!("{behaviour} {subject}: {called}");
        let row = world.rows(&subject, "call").await.pop().unwrap_or_else(|| panic!("{case}"));
        for (of_row, of_call) in
            [("outcome", "outcome"), ("recipient", "recipient"), ("fuel", "fuel"), ("memory", "memory-bytes")]
        {
            assert_eq!(row[of_row], called[of_call], "{of_row} {case}");
        }
        assert_eq!(of_row(&row), of_call(&called["fields"]), "{case}");

        let exchanges = world.rows(&subject, "exchange").await.split_off(before.0);
        let rehearsed = called["exchanges"].as_array().unwrap();
        assert_eq!(exchanges.len(), rehearsed.len(), "{case}");
        for (row, rehearsed) in exchanges.iter().zip(rehearsed) {
            assert_eq!(row["endpoint"].as_str().unwrap_or_default(), rehearsed["endpoint"], "{case}");
            assert_eq!(json!(ended(row)), rehearsed["outcome"], "{case}");
            assert_eq!(labels(row), texts(&rehearsed["labels"]), "{case}");
        }
        asked += exchanges.len();
        let sent = world.rows(&subject, "delivery").await.split_off(before.1);
        let requests = called["requests"].as_array().unwrap();
        assert_eq!(sent.len(), requests.len(), "{case}");
        for (row, request) in sent.iter().zip(requests) {
            assert_eq!(labels(row), texts(&request["labels"]), "{case}");
        }
        if row["outcome"] == "ran" {
            let returns = world.rows(&subject, "return").await.pop();
            let returned = returns.as_ref().map(of_row).unwrap_or_default();
            assert_eq!(returned, of_call(&called["returned"]["fields"]), "{case}");
        }
        if row["outcome"] == "ran" && !slot {
            assert_eq!(world.returned().await["value"], called["returned"]["value"], "{case}");
        }
        if called["memory"].is_object() {
            memories.insert(subject.clone(), called["memory"].clone());
        }
        let path = format!("/v1/brands/{BRAND}/consumers/{subject}");
        let kept =
            world.gateway.brand(BRAND).await.get(&path).await.ok()["memories"]["hostile"]["labels"].clone();
        let rehearsed = memories.get(&subject).map_or(&Value::Null, |memory| &memory["labels"]);
        assert_eq!(&kept, rehearsed, "{case}");
    }
    assert!(asked >= 8, "{asked} exchanges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_has_neither_what_is_remembered_nor_what_was_answered() {
    let world = World::new().await;
    world.share("remember", &chat("ada")).await;
    let secret = json!({ "echo": "what-the-partner-said" }).to_string().into_bytes();
    world.gateway.partner.script([Behaviour::Answer(200, vec![], secret)]);
    world.share("ask-about-sealed", &nameless("ada")).await;
    world.gateway.partner.script([Behaviour::Answer(200, vec![], b"{\"echo\":\"spoken\"}".to_vec())]);
    world.share("launder", &nameless("bea")).await;
    for (subject, answered, lacks_requests) in [("ada", 1, false), ("bea", 1, true)] {
        let flow = world.rows(subject, "call").await.pop().unwrap()["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/flows/{flow}/recording");
        let recorded = world.gateway.brand(BRAND).await.get(&path).await.expect(200);
        let replies = recorded["replies"]["replies"].as_array().unwrap();
        assert_eq!(replies.len(), answered, "{recorded}");
        assert_eq!(replies[0], json!({ "endpoint": "ask", "status": 200, "body": null }));
        assert!(recorded["connection"].get("memory").is_none(), "{recorded}");
        let lacks = recorded["not_repeated"].as_array().unwrap();
        for name in ["memory", "replies"] {
            assert!(lacks.contains(&json!(name)), "{lacks:?}");
        }
        // A request that carries the reply's labels may hold what is the partner's.
        assert_eq!(lacks.contains(&json!("requests")), lacks_requests, "{recorded}");
        assert_eq!(recorded["recorded"].get("requests").is_none(), lacks_requests, "{recorded}");
        assert!(!recorded.to_string().contains(VALUE), "{recorded}");
        // For the partner it is the same, with values made up.
        let recorded = world.gateway.partner_key("mallory").await.get(&path).await.expect(200);
        assert!(recorded.get("replies").is_none() && recorded["recorded"].get("requests").is_none());
        assert!(!recorded.to_string().contains("@example.org"), "{recorded}");
    }
}
